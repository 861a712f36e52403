"""Names and lengths of dimensions, which netCDF stores in HDF5's dimension scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from ..errors import FormatError
from .hdf5_attributes import raw_attr, text_of

_NOT_A_COORDINATE = "_nc4_non_coord_"
LONGEST = 2**62
"""The most elements along one dimension."""


def check_aliases(scales: Sequence[str], headers: Mapping[str, int | None], subject: str) -> None:
    """Refuse a second name of a dimension: netCDF-C would use whichever name comes first.

    Raises:
        FormatError: ``file-name-invalid``.
    """
    seen: dict[int | None, str] = {}
    for name in scales:
        first = seen.setdefault(headers[name], name)
        if first != name:
            raise FormatError(
                subject,
                f"has the names {first!r} and {name!r} for one dimension",
                expected="one name for each dimension",
                todo="netCDF libraries disagree about its name: remove one of the two links.",
                code="file-name-invalid",
            )


def length_of(node: h5py.Dataset, name: str, subject: str) -> int:
    """Return the length of the dimension that a scale describes.

    Raises:
        FormatError: the scale has no length, or one that only damage explains.
    """
    if not node.shape or max(node.shape) > LONGEST:
        raise FormatError(
            subject,
            f"the dimension {name!r} has the shape {node.shape}",
            expected="one length",
            todo="The file is damaged: compare its checksum with that of the record.",
            code="file-unreadable",
        )
    return int(node.shape[0])


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """Ways to find HDF5 objects again: the address of their header, or netCDF's number of a
    dimension.
    """

    by_header: Mapping[int, str]
    by_dimension_id: Mapping[int, str]


def header_of(node: h5py.h5d.DatasetID) -> int:
    """Return the first byte of an object's header, which identifies the object in references
    to it.
    """
    return int(h5py.h5g.get_objinfo(node, b".").objno[0])


def plain_name(name: str) -> str:
    """Return a variable's name without the prefix that netCDF adds if a dimension has the same
    name.
    """
    return name.removeprefix(_NOT_A_COORDINATE)


def scale_of(node: h5py.Dataset) -> tuple[int, str] | None:
    """Return netCDF's number of the dimension (-1 if it has none) and the NAME attribute; None if
    the node is not a dimension scale.
    """
    if not h5py.h5ds.is_scale(node.id):
        return None
    number = raw_attr(node.attrs, "_Netcdf4Dimid") if "_Netcdf4Dimid" in node.attrs else -1
    return int(np.ravel(number)[0]), text_of(
        raw_attr(node.attrs, "NAME") if "NAME" in node.attrs else b""
    )


def _listed_dims(node: h5py.Dataset, names: ObjectNames) -> tuple[str, ...]:
    """Return the dimension names from the scales that a variable refers to; empty if some are
    missing.
    """
    if "DIMENSION_LIST" not in node.attrs:
        return ()
    scales = [
        h5py.h5r.dereference(refs[0], node.id) if len(refs) else None
        for refs in raw_attr(node.attrs, "DIMENSION_LIST")
    ]
    if None in scales:
        return ()
    return tuple(plain_name(names.by_header[header_of(scale)]) for scale in scales)


def dims_of(node: h5py.Dataset, name: str, names: ObjectNames, subject: str) -> tuple[str, ...]:
    """Return the dimension names of a variable.

    Args:
        node: the variable.
        name: its name in HDF5.
        names: the names of the objects of the file.
        subject: the file's URL or path, for messages.

    Raises:
        FormatError: ``file-dimensions-unnamed``.
    """
    if node.ndim == 0:
        return ()
    listed = _listed_dims(node, names)
    if listed:
        return listed
    if h5py.h5ds.is_scale(node.id):
        if node.ndim == 1:
            return (plain_name(name),)
        if "_Netcdf4Coordinates" in node.attrs:
            numbers = raw_attr(node.attrs, "_Netcdf4Coordinates")
            return tuple(plain_name(names.by_dimension_id[int(number)]) for number in numbers)
    raise FormatError(
        subject,
        f"the dimensions of {name!r} have no names",
        expected="HDF5 dimension scales, as netCDF-4 writes them",
        todo="Write the file with a netCDF library.",
        code="file-dimensions-unnamed",
    )
