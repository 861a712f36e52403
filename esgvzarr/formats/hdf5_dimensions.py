"""Names and lengths of dimensions: netCDF keeps them in HDF5's dimension scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from ..errors import FormatError
from .hdf5_attributes import raw_attr, text_of

_NOT_A_COORDINATE = "_nc4_non_coord_"
LONGEST = 2**62
"""Elements along one dimension."""


def check_aliases(scales: Sequence[str], headers: Mapping[str, int | None], subject: str) -> None:
    """Refuse a second name of a dimension: netCDF-C takes whichever comes first.

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
                todo="netCDF libraries differ about its name: remove the link.",
                code="file-name-invalid",
            )


def length_of(node: h5py.Dataset, name: str, subject: str) -> int:
    """The length of the dimension that a scale stands for.

    Raises:
        FormatError: it has none, or one that only damage explains.
    """
    if not node.shape or max(node.shape) > LONGEST:
        raise FormatError(
            subject,
            f"the dimension {name!r} has the shape {node.shape}",
            expected="one length",
            todo="The file is damaged: compare its checksum with the record's.",
            code="file-unreadable",
        )
    return int(node.shape[0])


@dataclass(frozen=True, slots=True)
class ObjectNames:
    """How HDF5 objects are found again: by the address of their header, or by netCDF's number of a
    dimension.
    """

    by_header: Mapping[int, str]
    by_dimension_id: Mapping[int, str]


def header_of(node: h5py.h5d.DatasetID) -> int:
    """First byte of an object's header, by which references to it are resolved."""
    return int(h5py.h5g.get_objinfo(node, b".").objno[0])


def plain_name(name: str) -> str:
    """A variable's name: netCDF puts a prefix before it where a dimension has that name too."""
    return name.removeprefix(_NOT_A_COORDINATE)


def scale_of(node: h5py.Dataset) -> tuple[int, str] | None:
    """For a dimension scale: netCDF's number of the dimension (-1 for none), and what its NAME
    attribute says.
    """
    if not h5py.h5ds.is_scale(node.id):
        return None
    number = raw_attr(node.attrs, "_Netcdf4Dimid") if "_Netcdf4Dimid" in node.attrs else -1
    return int(np.ravel(number)[0]), text_of(
        raw_attr(node.attrs, "NAME") if "NAME" in node.attrs else b""
    )


def _listed_dims(node: h5py.Dataset, names: ObjectNames) -> tuple[str, ...]:
    """The dimension names by the scales that a variable refers to; empty if some are missing."""
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
    """The dimension names of a variable.

    Args:
        node: the variable.
        name: its name in HDF5.
        names: of the objects of the file.
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
