"""Files that are made to harm, named after the attack: they are small on disk, and expand or claim
to be large.

``HOSTILE[name].make(directory)`` writes the files and returns them.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import h5py

from .defects import Defect
from .recipes import Recipe, Spoil

BOMB = 256 * 2**20
"""Size to which a chunk expands, in bytes."""
_CLASSIC = "NETCDF3_CLASSIC"
_DEFLATED = {"compression": "zlib", "chunks": (1, 4, 6)}


def bomb() -> bytes:
    """Return ``BOMB`` zeros, deflated to a thousandth of their size."""
    squeeze = zlib.compressobj(9)
    block = bytes(2**20)
    return b"".join([squeeze.compress(block) for _ in range(BOMB // len(block))]) + squeeze.flush()


def expand_chunk(path: Path) -> None:
    """Let the second chunk of ``tas`` expand to far more than its size."""
    with h5py.File(path, "r+") as file:
        file["tas"].id.write_direct_chunk((1, 0, 0), bomb())


def expand_coordinate(path: Path) -> None:
    """Let the only chunk of ``lat`` expand to far more than its size."""
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
    """Let a chunk of strings of variable length expand; libhdf5 itself would decompress it."""
    with h5py.File(path, "r+") as file:
        kind = h5py.string_dtype()
        remark = file.create_dataset("note", (4,), kind, chunks=(4,), compression="gzip")
        remark.make_scale("note")
        remark.id.write_direct_chunk((0,), bomb())


def claim_records(path: Path) -> None:
    """Let the header of a netCDF-3 file state 400 million records: bytes 4 to 8."""
    data = bytearray(path.read_bytes())
    data[4:8] = (400_000_000).to_bytes(4, "big")
    path.write_bytes(data)


def claim_length(path: Path) -> None:
    """Add a coordinate of 2^40 values, none of which was written."""
    with h5py.File(path, "r+") as file:
        level = file.create_dataset("level", (2**40,), "f8", chunks=(1024,), maxshape=(None,))
        level.make_scale("level")


def name_attribute(path: Path) -> None:
    """Add an attribute of the dataset whose name is not UTF-8."""
    with h5py.File(path, "r+") as file:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        h5py.h5a.create(file.id, b"not\xb4", h5py.h5t.NATIVE_INT32, space)


def name_attribute_netcdf3(path: Path) -> None:
    """Add an attribute whose name is not UTF-8."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"standard_name", b"standard_nam\xb4"))


def end_name(path: Path) -> None:
    """Put a NUL, which ends a name in C, into the name of an attribute of a netCDF-3 file."""
    path.write_bytes(path.read_bytes().replace(b"standard_name", b"standard\0name"))


def name_path(path: Path) -> None:
    """Put a backslash, as in paths, into the name of a variable of a netCDF-3 file."""
    path.write_bytes(path.read_bytes().replace(b"lat_bnds", b"lat\\bnds"))


def name_twice(path: Path) -> None:
    """Give two variables of a netCDF-3 file one name."""
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
"""All hostile files, by name."""
