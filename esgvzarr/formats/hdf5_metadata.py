"""What libhdf5 says of a netCDF-4 file: variables, dimensions, attributes, types, filters, layout.

Rules: netCDF-4 File Format (Unidata: "HDF5 Dimension Scales", "Creation Order", "Dimensions without
    HDF5 Dimension Scales").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import h5py
import numpy as np

from ..errors import FormatError
from .hdf5_attributes import netcdf_types, raw_attr, read_attr, read_attrs, text_of
from .hdf5_filters import FILTERS, codecs_of
from .values import check_fill, check_names, decode_chunk

HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError)
"""What h5py raises for bytes that are damaged, or not there."""
_NOT_A_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_NOT_A_COORDINATE = "_nc4_non_coord_"
_MOST_STRINGS = 1_000_000
_LONGEST = 2**62
"""Elements along one dimension."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One variable before its chunks are known."""

    name: str
    path: str
    """Its name in HDF5, which may differ from the variable's."""
    header: int
    """First byte of its object header."""
    dims: tuple[str, ...]
    extent: tuple[int, ...]
    """Elements per dimension as HDF5 has them; an unlimited dimension may be longer by now."""
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    fill_value: Any
    layout: str
    """``chunked``, ``contiguous`` or ``inline`` (compact data, strings of variable length: no bytes
    to refer to).
    """
    chunk_shape: tuple[int, ...]
    codecs: tuple[Mapping[str, Any], ...]
    unwritten: Any
    filled: bool
    """Whether HDF5 fills what was never written, also in the part of a chunk beyond the extent."""
    offset: int | None
    """First byte of contiguous data; None where nothing was written."""
    values: np.ndarray | None


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """The whole of a file but its chunk indexes."""

    dimensions: Mapping[str, int]
    attrs: Mapping[str, Any]
    datasets: tuple[Dataset, ...]


def read_contents(file: h5py.File, subject: str, missed: Sequence[object]) -> Contents | None:
    """Describe every variable of ``file``.

    Args:
        file: opened over bytes that may not all be there.
        subject: the file's URL or path, for messages.
        missed: grows when bytes are not there. As many variables as possible are tried, so that it
            names much at once.

    Returns:
        None if something was missed.

    Raises:
        FormatError: something in the file cannot be referenced; nothing is ever left out.
    """
    nodes = _nodes(file, subject, missed)
    headers = _of_each(nodes, lambda node: _header(node.id), missed)
    scales = _of_each(nodes, _scale, missed)
    if missed:
        return None
    named = {name: scale for name, scale in scales.items() if scale}
    names = _Names(
        {header or 0: name for name, header in headers.items()},
        {scale[0]: name for name, scale in named.items()},
    )
    datasets = []
    for name, node in nodes.items():
        if name in named and named[name][1].startswith(_NOT_A_VARIABLE):
            continue
        described = partial(_describe, node, name, headers[name] or 0, names, subject)
        datasets.append(tolerate(missed, described))
    attrs = tolerate(missed, lambda: read_attrs(file, subject))
    if missed or attrs is None:
        return None
    known = [dataset for dataset in datasets if dataset is not None]
    dimensions = {_plain(name): _length(nodes[name], name, subject) for name in named}
    for dataset in known:
        for dim, size in zip(dataset.dims, dataset.extent, strict=True):
            dimensions[dim] = max(dimensions.get(dim, 0), size)
    for dataset in known:
        _check_extent(dataset, dimensions, subject)
    return Contents(dimensions, attrs, tuple(known))


def _nodes(file: h5py.File, subject: str, missed: Sequence[object]) -> dict[str, h5py.Dataset]:
    """The datasets of the root group, without those whose bytes are not there yet.

    Raises:
        FormatError: the file has groups, or names that no reader can tell apart.
    """
    listed = tolerate(missed, lambda: list(file)) or []
    check_names(listed, subject)
    found = {name: tolerate(missed, partial(file.__getitem__, name)) for name in listed}
    groups = [name for name, node in found.items() if isinstance(node, h5py.Group)]
    if groups:
        raise FormatError(
            subject,
            f"holds the groups {groups}",
            expected="variables in the root group only",
            todo="Write each group to a file of its own.",
            code="file-groups",
        )
    return {name: node for name, node in found.items() if isinstance(node, h5py.Dataset)}


def _of_each(
    nodes: Mapping[str, h5py.Dataset],
    work: Callable[[h5py.Dataset], _T],
    missed: Sequence[object],
) -> dict[str, _T | None]:
    """What ``work`` says of each dataset; None where bytes are not there yet."""
    return {name: tolerate(missed, partial(work, node)) for name, node in nodes.items()}


def _length(node: h5py.Dataset, name: str, subject: str) -> int:
    """Of the dimension that a scale stands for."""
    if not node.shape or max(node.shape) > _LONGEST:
        raise FormatError(
            subject,
            f"the dimension {name!r} has the shape {node.shape}",
            expected="one length",
            todo="The file is damaged: compare its checksum with the record's.",
            code="file-unreadable",
        )
    return int(node.shape[0])


def _check_extent(dataset: Dataset, dimensions: Mapping[str, int], subject: str) -> None:
    """Beyond a variable's extent netCDF reads its fill (rule 29). Two such files are not read the
    same by all.

    A chunk that reaches beyond the extent holds zeros where HDF5 fills nothing. And where a
    dimension other than the first is short, netCDF-C 4.10 itself hands out the values in wrong
    places, while h5py does not.
    """
    length = tuple(dimensions[dim] for dim in dataset.dims)
    if max(length, default=0) > _LONGEST:
        raise FormatError(
            subject,
            f"{dataset.name!r} has the shape {length}",
            expected=f"at most {_LONGEST} along one dimension",
            todo="The file is damaged: compare its checksum with the record's.",
            code="file-unreadable",
        )
    inner = length[1:] != dataset.extent[1:]
    if length != dataset.extent and dataset.layout != "inline" and (inner or not dataset.filled):
        reason = (
            "and netCDF-C and HDF5 read its values in different places"
            if inner
            else "and has no fill for the rest"
        )
        raise FormatError(
            subject,
            f"{dataset.name!r} was written up to {dataset.extent} of {length} {reason}",
            expected="a fill value, or all steps written",
            todo="Readers would be misled: write all steps of the variable.",
            code="file-unwritten",
        )


def tolerate(missed: Sequence[object], work: Callable[[], _T]) -> _T | None:
    """Do ``work``; None if it failed for bytes that are not there yet."""
    before = len(missed)
    try:
        return work()
    except HDF5_ERRORS:
        if len(missed) == before:
            raise
        return None


@dataclass(frozen=True, slots=True)
class _Names:
    """How HDF5 objects are found again: by the address of their header, or by netCDF's number of a
    dimension.
    """

    by_header: Mapping[int, str]
    by_dimension_id: Mapping[int, str]


def _header(node: h5py.h5d.DatasetID) -> int:
    return int(h5py.h5g.get_objinfo(node, b".").objno[0])


def _plain(name: str) -> str:
    return name.removeprefix(_NOT_A_COORDINATE)


def _scale(node: h5py.Dataset) -> tuple[int, str] | None:
    """For a dimension scale: netCDF's number of the dimension (-1 for none), and what its NAME
    attribute says.
    """
    if not h5py.h5ds.is_scale(node.id):
        return None
    number = raw_attr(node.attrs, "_Netcdf4Dimid") if "_Netcdf4Dimid" in node.attrs else -1
    return int(np.ravel(number)[0]), text_of(
        raw_attr(node.attrs, "NAME") if "NAME" in node.attrs else b""
    )


def _dims(node: h5py.Dataset, name: str, names: _Names, subject: str) -> tuple[str, ...]:
    """The dimension names of a variable."""
    if node.ndim == 0:
        return ()
    if "DIMENSION_LIST" in node.attrs:
        listed = [
            h5py.h5r.dereference(refs[0], node.id) if len(refs) else None
            for refs in raw_attr(node.attrs, "DIMENSION_LIST")
        ]
        if None not in listed:
            return tuple(_plain(names.by_header[_header(scale)]) for scale in listed)
    if h5py.h5ds.is_scale(node.id):
        if node.ndim == 1:
            return (_plain(name),)
        if "_Netcdf4Coordinates" in node.attrs:
            return tuple(
                _plain(names.by_dimension_id[int(number)])
                for number in raw_attr(node.attrs, "_Netcdf4Coordinates")
            )
    raise FormatError(
        subject,
        f"the dimensions of {name!r} have no names",
        expected="HDF5 dimension scales, as netCDF-4 writes them",
        todo="Write the file with a netCDF library.",
        code="file-dimensions-unnamed",
    )


def _describe(node: h5py.Dataset, name: str, header: int, names: _Names, subject: str) -> Dataset:
    creation = node.id.get_create_plist()
    layout = {
        h5py.h5d.CHUNKED: "chunked",
        h5py.h5d.CONTIGUOUS: "contiguous",
        h5py.h5d.COMPACT: "inline",
    }.get(creation.get_layout())
    if node.shape is None or layout is None or creation.get_external_count():
        raise FormatError(
            subject,
            f"{name!r} is not stored in this file, or has no shape",
            expected="chunked, contiguous or compact data",
            todo="Repack the file, for example with nccopy.",
            code="file-layout-unsupported",
        )
    dtype = _dtype(node, name, subject)
    layout = "inline" if dtype.kind == "O" else layout
    dims = _dims(node, name, names, subject)
    fill = check_fill(
        read_attr(node.attrs, "_FillValue", subject) if "_FillValue" in node.attrs else None,
        dtype,
        name,
        subject,
    )
    chunked = layout == "chunked"
    codecs = codecs_of(creation, dtype, name, subject) if chunked else ()
    return Dataset(
        name=_plain(name),
        path=name,
        header=header,
        dims=dims,
        extent=node.shape,
        dtype=dtype,
        attrs=read_attrs(node, subject),
        fill_value=fill,
        layout=layout,
        chunk_shape=creation.get_chunk() if chunked else node.shape,
        codecs=codecs if chunked else (),
        unwritten=_unwritten(node, creation, dtype),
        filled=_filled(creation),
        offset=node.id.get_offset() if layout == "contiguous" else None,
        values=_inline_values(node, dtype, subject) if layout == "inline" else None,
    )


def _dtype(node: h5py.Dataset, name: str, subject: str) -> np.dtype[Any]:
    """The type as stored. Enumerations are their integers, as netCDF libraries hand them out."""
    kind = node.id.get_type()
    if isinstance(kind, h5py.h5t.TypeEnumID):
        kind = kind.get_super()
    if isinstance(kind, h5py.h5t.TypeStringID):
        if kind.is_variable_str():
            return np.dtype(object)
        if kind.get_size() == 1:
            return np.dtype("S1")
    elif any(kind.equal(native) for native in netcdf_types()):
        numbers: np.dtype[Any] = np.dtype(kind.dtype)
        return numbers
    raise FormatError(
        subject,
        f"{name!r} is of the HDF5 type {type(kind).__name__} of {kind.get_size()} bytes",
        expected="numbers, characters or strings of netCDF",
        todo="Write the variable with a number type of netCDF: readers have no other.",
        code="file-type-unsupported",
    )


def _unwritten(node: h5py.Dataset, creation: h5py.h5p.PropDCID, dtype: np.dtype[Any]) -> Any:
    """What HDF5, and so netCDF, reads where nothing was ever written."""
    if dtype.kind == "O":
        return ""
    stored = node.dtype if dtype.kind == "S" else dtype  # HDF5 keeps the character set in the type
    fill = np.zeros((), stored)
    if creation.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
        creation.get_fill_value(fill)
    return np.asarray(fill, dtype)[()]


def _filled(creation: h5py.h5p.PropDCID) -> bool:
    defined = creation.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    return bool(defined and creation.get_fill_time() != h5py.h5d.FILL_TIME_NEVER)


def check_count(name: str, shape: Sequence[int], subject: str) -> None:
    """Refuse values of a number that no file copies into its references.

    Raises:
        FormatError: ``file-type-unsupported``.
    """
    if math.prod(shape) > _MOST_STRINGS:
        raise FormatError(
            subject,
            f"{name!r} has {math.prod(shape)} strings of variable length, or compact values",
            expected=f"at most {_MOST_STRINGS}",
            todo="They cannot be referenced, only copied.",
            code="file-type-unsupported",
        )


def _inline_values(node: h5py.Dataset, dtype: np.dtype[Any], subject: str) -> np.ndarray:
    check_count(node.name, node.shape, subject)
    if node.chunks is not None:
        _check_chunks(node, subject)
    if dtype.kind == "O":
        return np.asarray(node.asstr(errors="replace")[()], object)
    return np.asarray(node[()], dtype)


def _check_chunks(node: h5py.Dataset, subject: str) -> None:
    """Decompress each chunk within its size, before libhdf5 does it without a bound. What has a
    filter that we do not know is left to libhdf5, and to the limit on memory.
    """
    check_count(node.name, node.chunks, subject)
    creation = node.id.get_create_plist()
    filters = [creation.get_filter(number)[0] for number in range(creation.get_nfilters())]
    if not filters or not set(filters) <= FILTERS.keys():
        return
    itemsize = _stored_string_bytes(node)
    codecs = codecs_of(creation, np.dtype(f"V{itemsize}"), node.name, subject)
    size = math.prod(node.chunks) * itemsize
    for number in range(node.id.get_num_chunks()):
        start = node.id.get_chunk_info(number).chunk_offset
        mask, data = node.id.read_direct_chunk(start)
        applied = [codec for place, codec in enumerate(codecs) if not mask >> place & 1]
        decode_chunk(data, applied, size, f"{subject}, {node.name!r}")


def _stored_string_bytes(node: h5py.Dataset) -> int:
    """Bytes of a string of variable length in a chunk: its length, the address of its heap, and
    its number there. HDF5's own size of the type is that in memory.
    """
    address, _ = node.file.id.get_create_plist().get_sizes()
    return 4 + int(address) + 4
