"""Forms of HDF5 storage that netCDF-C reads and few programs write, and links without targets. For
files that were written, and for ``FileSpec.extra``.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import netCDF4
import numpy as np

from .datasets import FileSpec


def add_user_block(path: Path) -> None:
    """Put 512 bytes before the file, as h5jam does."""
    path.write_bytes(bytes(512) + path.read_bytes())


def add_blosc(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A variable that is compressed with Blosc."""
    chunks = (max(spec.months, 1), *spec.grid)
    variable = file.createVariable(
        "smooth", "f4", ("time", "lat", "lon"), chunksizes=chunks, compression="blosc_lz4"
    )
    variable[:] = np.ones((spec.months, *spec.grid)) * spec.start


def add_fixed_strings(path: Path) -> None:
    """Strings of one length, padded by NULs and by blanks."""
    letters = [b"ice", "s\u00e9a".encode(), b"land", b""]
    with h5py.File(path, "r+") as file:
        count = len(file["lat"])
        texts = np.array([letters[number % 4] for number in range(count)], "S6")
        for name, padding in (("label", h5py.h5t.STR_NULLPAD), ("note", h5py.h5t.STR_SPACEPAD)):
            kind = h5py.h5t.C_S1.copy()
            kind.set_size(6)
            kind.set_strpad(padding)
            space = h5py.h5s.create_simple((count,))
            made = h5py.Dataset(h5py.h5d.create(file.id, name.encode(), kind, space))
            filler = b" " if padding == h5py.h5t.STR_SPACEPAD else b"\0"
            padded = np.array([text.ljust(6, filler) for text in texts.tolist()], "S6")
            made.id.write(h5py.h5s.ALL, h5py.h5s.ALL, padded, kind)
            made.dims[0].attach_scale(file["lat"])


def add_booleans(path: Path) -> None:
    """Truth values as h5py and h5netcdf write them: an enumeration."""
    with h5py.File(path, "r+") as file:
        made = file.create_dataset("land", data=np.arange(len(file["lat"])) % 2 == 0)
        made.dims[0].attach_scale(file["lat"])


def put_checksum_first(path: Path) -> None:
    """Bounds of time with a checksum before shuffling, so that a chunk is not a whole number of
    elements.
    """
    with h5py.File(path, "r+") as file:
        values = file["time_bnds"][()]
        del file["time_bnds"]
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((12, 2))
        creation.set_fletcher32()
        creation.set_shuffle()
        creation.set_deflate(4)
        kind = h5py.h5t.py_create(values.dtype)
        space = h5py.h5s.create_simple(values.shape, (h5py.h5s.UNLIMITED, 2))
        made = h5py.Dataset(h5py.h5d.create(file.id, b"time_bnds", kind, space, creation))
        made[...] = values
        for axis, name in enumerate(("time", "bnds")):
            made.dims[axis].attach_scale(file[name])


def add_szip_coordinate(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A coordinate that is compressed with szip, for which readers of references have no
    decoder.
    """
    file.createDimension("station", 1000)
    variable = file.createVariable("station", "f8", ("station",), compression="szip")
    variable[:] = np.linspace(-90, 90, 1000)


def state_encoding(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Characters whose encoding an attribute states, along time and not."""
    file.createDimension("strlen", 8)
    for name, dims in (("place", ("strlen",)), ("event", ("time", "strlen"))):
        variable = file.createVariable(name, "S1", dims)
        variable.setncattr("_Encoding", "iso-8859-1")
        variable.set_auto_chartostring(False)
        letters = np.frombuffer("d\u00e9bit\0\0\0".encode("latin-1"), "S1")
        variable[:] = np.broadcast_to(letters, variable.shape)


def link_to_nothing(path: Path) -> None:
    """A soft link whose target does not exist."""
    with h5py.File(path, "r+") as file:
        file["gone"] = h5py.SoftLink("/nowhere")


def link_to_other_file(path: Path) -> None:
    """A link to a variable of another file."""
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = h5py.ExternalLink("other.nc", "/tas")


def link_to_dimension(path: Path) -> None:
    """A second name of a dimension."""
    with h5py.File(path, "r+") as file:
        file["alias"] = h5py.SoftLink("/lat")


def link_to_data(path: Path) -> None:
    """A second name of the data, by a soft and by a hard link."""
    with h5py.File(path, "r+") as file:
        file["soft"] = h5py.SoftLink("/tas")
        file["hard"] = file["tas"]


def add_second_record_dimension(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Another unlimited dimension that has its own steps in each file."""
    file.createDimension("event", None)
    event = file.createVariable("event", "f8", ("event",))
    event.units = "days since 1850-01-01"
    event[:] = spec.start * 30.0 + np.arange(3)
    file.createVariable("strength", "f4", ("event", "lat"))[:] = spec.start


def add_empty_root_group(path: Path) -> None:
    """Put all variables into a group."""
    with netCDF4.Dataset(path, "w") as file:
        group = file.createGroup("all")
        group.createDimension("time", 1)
        group.createVariable("time", "f8", ("time",))[:] = 0


def take_all_variables(path: Path) -> None:
    """Remove all variables; dimensions and attributes stay."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.setncattr("variable_id", "tas")


def exchange_chunk_keys(path: Path) -> None:
    """Exchange the keys of the first two steps in the chunk index of ``tas``, which has a chunk for
    each step, so that libhdf5 lists both chunks and finds neither by its step.
    """
    entry = np.dtype([("size", "<u4"), ("mask", "<u4"), ("starts", "<u8", (4,)), ("child", "<u8")])
    data = bytearray(path.read_bytes())
    at = data.find(b"TREE\x01\x00")
    while at >= 0:
        entries = np.frombuffer(data, entry, 2, at + 24)
        if entries["starts"][:, :3].tolist() == [[0, 0, 0], [1, 0, 0]]:
            entries["starts"] = entries["starts"][::-1].copy()
            path.write_bytes(data)
            return
        at = data.find(b"TREE\x01\x00", at + 1)
    raise AssertionError(f"{path} has no chunk index of one step a chunk")


def add_long_double(path: Path) -> None:
    """A variable of the compiler's long double, of 80 bits in 16 bytes, a type that netCDF does not
    have.
    """
    with h5py.File(path, "r+") as file:
        wide = file.create_dataset("wide", data=np.ones(4, np.longdouble))
        wide.dims[0].attach_scale(file["lat"])


def add_scalar_named_as_dimension(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A scalar with the length of texts, named like the dimension of the texts."""
    file.createDimension("strlen", 4)
    file.createVariable("strlen", "i4", ())[...] = 4
    file.createVariable("code", "S1", ("strlen",))[:] = np.array(list("abcd"), "S1")
