"""Files that are made to harm, named by how: small on disk, and large for those who believe them.

``HOSTILE[name].make(directory)`` writes the files and returns them.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py

from .defects import Defect
from .recipes import Recipe, Spoil

BOMB = 256 * 2**20
"""Bytes that a chunk expands to."""
_CLASSIC = "NETCDF3_CLASSIC"
_DEFLATED = {"compression": "zlib", "chunks": (1, 4, 6)}


def bomb() -> bytes:
    """``BOMB`` zeros, deflated to a thousandth."""
    squeeze = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join([squeeze.compress(block) for _ in range(BOMB // len(block))]) + squeeze.flush()


def expand_chunk(path: Path) -> None:
    """The second chunk of ``tas`` expands to far more than its size."""
    with h5py.File(path, "r+") as file:
        file["tas"].id.write_direct_chunk((1, 0, 0), bomb())


def expand_coordinate(path: Path) -> None:
    """The only chunk of ``lat`` does."""
    with h5py.File(path, "r+") as file:
        values = file["lat"][:]
        attributes = {name: file["lat"].attrs[name] for name in ("units", "standard_name")}
        del file["lat"]
        lat = file.create_dataset("lat", data=values, chunks=values.shape, compression="gzip")
        lat.make_scale("lat")
        lat.attrs.update(attributes)
        file["tas"].dims[1].attach_scale(lat)
        lat.id.write_direct_chunk((0,), bomb())


def expand_strings(path: Path) -> None:
    """A chunk of strings of variable length does, which libhdf5 itself would decompress."""
    with h5py.File(path, "r+") as file:
        kind = h5py.string_dtype()
        remark = file.create_dataset("note", (4,), kind, chunks=(4,), compression="gzip")
        remark.make_scale("note")
        remark.id.write_direct_chunk((0,), bomb())


def claim_records(path: Path) -> None:
    """The header of a netCDF-3 file states 400 million records: bytes 4 to 8."""
    data = bytearray(path.read_bytes())
    data[4:8] = (400_000_000).to_bytes(4, "big")
    path.write_bytes(data)


def claim_length(path: Path) -> None:
    """A coordinate of 2^40 values, none of which was written."""
    with h5py.File(path, "r+") as file:
        level = file.create_dataset("level", (2**40,), "f8", chunks=(1024,), maxshape=(None,))
        level.make_scale("level")


def name_attribute(path: Path) -> None:
    """The name of an attribute of the dataset is no UTF-8."""
    with h5py.File(path, "r+") as file:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file.id, b"not\xb4", h5py.h5t.NATIVE_INT32, space)


def name_attribute_netcdf3(path: Path) -> None:
    """The name of an attribute is no UTF-8."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"standard_name", b"standard_nam\xb4"))


def end_name(path: Path) -> None:
    """The name of an attribute of a netCDF-3 file has a NUL in it, which ends it in C."""
    path.write_bytes(path.read_bytes().replace(b"standard_name", b"standard\0name"))


def name_path(path: Path) -> None:
    """The name of a variable of a netCDF-3 file has a backslash in it, as paths have."""
    path.write_bytes(path.read_bytes().replace(b"lat_bnds", b"lat\\bnds"))


def name_twice(path: Path) -> None:
    """Two variables of a netCDF-3 file have one name."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\x00\x00\x00\x03lat\x00", b"\x00\x00\x00\x03lon\x00"))


def _hostile(name: str, outcome: str, spoil: Spoil, **changes: object) -> Defect:
    return Defect(name, 24, Recipe(changes, files=({},), spoil_every=(spoil,)), outcome)


_TABLE = (
    _hostile("chunk_expands", "file-chunk-expands", expand_chunk, **_DEFLATED),
    _hostile("coordinate_expands", "file-chunk-expands", expand_coordinate, **_DEFLATED),
    _hostile("strings_expand", "file-chunk-expands", expand_strings, **_DEFLATED),
    _hostile("records_claimed", "file-truncated", claim_records, format=_CLASSIC),
    _hostile("length_claimed", "file-variable-large", claim_length),
    _hostile("name_not_text", "file-name-invalid", name_attribute),
    _hostile("name_not_text_netcdf3", "file-name-invalid", name_attribute_netcdf3, format=_CLASSIC),
    _hostile("name_with_nul", "file-name-invalid", end_name, format=_CLASSIC),
    _hostile("name_is_path", "file-name-invalid", name_path, format=_CLASSIC),
    _hostile("name_twice", "file-name-invalid", name_twice, format=_CLASSIC),
)

HOSTILE: dict[str, Defect] = {defect.name: defect for defect in _TABLE}
"""All, by name."""
