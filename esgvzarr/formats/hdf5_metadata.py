"""Read what libhdf5 reports about a netCDF-4 file: variables, dimensions, attributes, types,
filters, layout.

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

from .. import cf
from ..errors import FormatError
from ..model import ChunkTable, Variable
from .hdf5_attributes import netcdf_types, read_attr, read_attrs
from .hdf5_dimensions import (
    LONGEST,
    ObjectNames,
    check_aliases,
    dims_of,
    header_of,
    length_of,
    plain_name,
    scale_of,
)
from .hdf5_filters import Codecs, library_decodes, readable_codecs
from .hdf5_inline import inline_values, is_character, is_filled, unwritten_value
from .names import check_names
from .values import SMALL, check_fill

HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError)
"""Exceptions that h5py raises for bytes that are damaged or not known yet."""
_NOT_A_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One variable before its chunks are known."""

    name: str
    path: str
    """Name of the object in HDF5, which may differ from the variable's name."""
    header: int
    """First byte of its object header."""
    dims: tuple[str, ...]
    extent: tuple[int, ...]
    """(dimension,) elements that HDF5 states; an unlimited dimension may have become longer
    since.
    """
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    fill_value: Any
    layout: str
    """``chunked``, ``contiguous`` or ``inline`` (compact data, strings of variable length: no byte
    range can be referenced).
    """
    chunk_shape: tuple[int, ...]
    codecs: tuple[Mapping[str, Any], ...]
    unwritten: Any
    filled: bool
    """Whether HDF5 fills elements that were never written, also those of a chunk beyond the
    extent.
    """
    offset: int | None
    """First byte of contiguous data; None if nothing was written."""
    values: np.ndarray | None
    undecodable: FormatError | None = None
    """Why readers cannot decode its chunks, if its values were read instead."""


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Everything in a file except its chunk indexes."""

    dimensions: Mapping[str, int]
    attrs: Mapping[str, Any]
    datasets: tuple[Dataset, ...]
    groups: tuple[str, ...]
    """Names of the groups that the file has in addition to its variables."""


def read_contents(file: h5py.File, subject: str, missed: Sequence[object]) -> Contents | None:
    """Describe every variable of ``file``.

    Args:
        file: opened over bytes of which some may be missing.
        subject: the file's URL or path, for messages.
        missed: the reader appends to it when bytes are missing. As many variables as possible are
            tried, so that one round can fetch many missing ranges.

    Returns:
        None if bytes were missing.

    Raises:
        FormatError: a variable cannot be referenced; none is ever left out.
    """
    nodes, groups = _nodes(file, subject, missed)
    headers = _of_each(nodes, lambda node: header_of(node.id), missed)
    found = _of_each(nodes, scale_of, missed)
    if missed:
        return None
    scales = {name: scale for name, scale in found.items() if scale}
    check_aliases([name for name in scales if headers[name]], headers, subject)
    names = ObjectNames(
        {header or 0: name for name, header in headers.items()},
        {number: name for name, (number, _) in scales.items()},
    )
    variables = {
        name: node
        for name, node in nodes.items()
        if name not in scales or not scales[name][1].startswith(_NOT_A_VARIABLE)
    }
    datasets = _describe_all(variables, headers, names, subject, missed)
    attrs = tolerate(missed, lambda: read_attrs(file, subject))
    if missed or attrs is None:
        return None
    lengths = {plain_name(name): length_of(nodes[name], name, subject) for name in scales}
    dimensions = _dimensions(lengths, datasets, subject)
    _check_data(datasets)
    return Contents(dimensions, attrs, datasets, groups)


def _describe_all(
    variables: Mapping[str, h5py.Dataset],
    headers: Mapping[str, int | None],
    names: ObjectNames,
    subject: str,
    missed: Sequence[object],
) -> tuple[Dataset, ...]:
    """Describe those variables of which no bytes were missing."""
    datasets = []
    for name, node in variables.items():
        work = partial(_describe, node, name, headers[name] or 0, names, subject)
        dataset = tolerate(missed, work)
        if dataset is not None:
            datasets.append(dataset)
    return tuple(datasets)


def _dimensions(
    lengths: Mapping[str, int], datasets: Sequence[Dataset], subject: str
) -> dict[str, int]:
    """Return the length of each dimension: that of its scale, or of the longest variable along it.

    Raises:
        FormatError: a variable does not fit its dimensions.
    """
    dimensions = dict(lengths)
    for dataset in datasets:
        for dim, size in zip(dataset.dims, dataset.extent, strict=True):
            dimensions[dim] = max(dimensions.get(dim, 0), size)
    for dataset in datasets:
        _check_extent(dataset, dimensions, subject)
    return dimensions


def _check_link(file: h5py.File, name: str, subject: str) -> bool:
    """Whether ``name`` is stored in this file.

    Raises:
        FormatError: it is a link to another file, or its target does not exist; netCDF-C cannot
            open either.
    """
    link = file.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise FormatError(
            subject,
            f"{name!r} is a link to {link.path!r} in the file {link.filename!r}",
            expected="variables that are in this file",
            todo="Repack the file, for example with nccopy.",
            code="file-layout-unsupported",
        )
    if isinstance(link, h5py.SoftLink):
        target = file.get(link.path)
        if not isinstance(target, h5py.Dataset):
            what = "which does not exist" if target is None else "which is a group"
            raise FormatError(
                subject,
                f"{name!r} is a link to {link.path!r}, {what}",
                expected="links to variables of this file",
                todo="netCDF libraries cannot open it: remove the link.",
                code="file-layout-unsupported",
            )
    return True


def _check_data(datasets: Sequence[Dataset]) -> None:
    """Refuse data that readers cannot decode. Values of coordinates and other small variables are
    copied instead.

    Raises:
        FormatError: ``filter-unsupported``.
    """
    if all(dataset.undecodable is None for dataset in datasets):
        return
    variables = {dataset.name: _as_variable(dataset) for dataset in datasets}
    data = cf.data_names(variables, cf.time_name(variables))
    for dataset in datasets:
        if dataset.undecodable is not None and dataset.name in data:
            raise dataset.undecodable


def _as_variable(dataset: Dataset) -> Variable:
    """Return those properties of a dataset that determine its CF role."""
    no_chunks = ChunkTable(
        np.empty((0, len(dataset.dims)), np.int64), *(np.empty(0, np.int64),) * 2
    )
    return Variable(
        name=dataset.name,
        dims=dataset.dims,
        shape=dataset.extent,
        dtype=dataset.dtype,
        attrs=dataset.attrs,
        fill_value=dataset.fill_value,
        chunk_shape=dataset.chunk_shape,
        codecs=(),
        chunks=no_chunks,
    )


def _nodes(
    file: h5py.File, subject: str, missed: Sequence[object]
) -> tuple[dict[str, h5py.Dataset], tuple[str, ...]]:
    """Return the datasets of the root group, and the names of the groups beside them.

    Objects whose bytes are not known yet are in neither.

    Raises:
        FormatError: readers cannot tell names apart, a link has no target, or the file holds groups
            only.
    """
    listed = tolerate(missed, lambda: list(file)) or []
    check_names(listed, subject)
    found = {}
    for name in listed:
        if tolerate(missed, partial(_check_link, file, name, subject)):
            found[name] = tolerate(missed, partial(file.__getitem__, name))
    groups = tuple(name for name, node in found.items() if isinstance(node, h5py.Group))
    nodes = {name: node for name, node in found.items() if isinstance(node, h5py.Dataset)}
    if groups and not nodes and not missed:
        raise FormatError(
            subject,
            f"holds only the groups {list(groups)}",
            expected="variables in the root group",
            todo="Write each group to a file of its own.",
            code="file-groups",
        )
    return nodes, groups


def _of_each(
    nodes: Mapping[str, h5py.Dataset],
    work: Callable[[h5py.Dataset], _T],
    missed: Sequence[object],
) -> dict[str, _T | None]:
    """Return the result of ``work`` for each dataset; None if bytes are missing."""
    return {name: tolerate(missed, partial(work, node)) for name, node in nodes.items()}


def _check_extent(dataset: Dataset, dimensions: Mapping[str, int], subject: str) -> None:
    """Refuse extents that libraries read in different ways. Beyond a variable's extent netCDF reads
    fill values (rule 29).

    There are two such cases. A chunk that extends beyond the extent holds zeros if HDF5 does not
    fill it. And if a dimension other than the first is short, netCDF-C 4.10 returns values at wrong
    places, and h5py does not.
    """
    length = tuple(dimensions[dim] for dim in dataset.dims)
    if max(length, default=0) > LONGEST:
        raise FormatError(
            subject,
            f"{dataset.name!r} has the shape {length}",
            expected=f"at most {LONGEST} along one dimension",
            todo="The file is damaged: compare its checksum with that of the record.",
            code="file-unreadable",
        )
    inner = length[1:] != dataset.extent[1:]
    if length != dataset.extent and dataset.layout != "inline" and (inner or not dataset.filled):
        reason = (
            "and netCDF-C and HDF5 read its values at different places"
            if inner
            else "and has no fill value for the other steps"
        )
        raise FormatError(
            subject,
            f"{dataset.name!r} was written up to {dataset.extent} of {length}, {reason}",
            expected="a fill value, or all steps written",
            todo="Write all steps of the variable: readers would get wrong values.",
            code="file-unwritten",
        )


def tolerate(missed: Sequence[object], work: Callable[[], _T]) -> _T | None:
    """Do ``work``; return None if it failed because bytes are not known yet."""
    before = len(missed)
    try:
        return work()
    except HDF5_ERRORS:
        if len(missed) == before:
            raise
        return None


def _describe(
    node: h5py.Dataset, name: str, header: int, names: ObjectNames, subject: str
) -> Dataset:
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
    dims = dims_of(node, name, names, subject)
    stated = None
    if "_FillValue" in node.attrs:
        stated = read_attr(node.attrs, "_FillValue", subject)
    fill = check_fill(stated, dtype, name, subject)
    chunked = layout == "chunked"
    codecs: Codecs = ()
    undecodable = None
    if chunked:
        codecs, undecodable = _codecs(node, dtype, name, subject)
        layout = "chunked" if undecodable is None else "inline"
    return Dataset(
        name=plain_name(name),
        path=name,
        header=header,
        dims=dims,
        extent=node.shape,
        dtype=dtype,
        attrs=read_attrs(node, subject),
        fill_value=fill,
        layout=layout,
        chunk_shape=creation.get_chunk() if chunked else node.shape,
        codecs=codecs,
        unwritten=unwritten_value(node, creation, dtype),
        filled=is_filled(creation),
        offset=node.id.get_offset() if layout == "contiguous" else None,
        values=inline_values(node, dtype, subject) if layout == "inline" else None,
        undecodable=undecodable,
    )


def _codecs(
    node: h5py.Dataset, dtype: np.dtype[Any], name: str, subject: str
) -> tuple[Codecs, FormatError | None]:
    """Return the codecs with which readers decode the chunks of a variable.

    If readers cannot decode a small variable and libhdf5 can, return the reason, and its values are
    copied.

    Raises:
        FormatError: readers cannot decode its chunks, and its values cannot be copied.
    """
    creation = node.id.get_create_plist()
    try:
        return readable_codecs(creation, dtype, name, subject), None
    except FormatError as error:
        if math.prod(node.shape) * dtype.itemsize > SMALL or not library_decodes(creation):
            raise
        return (), error


def _dtype(node: h5py.Dataset, name: str, subject: str) -> np.dtype[Any]:
    """Return the type as stored. Enumerations become their integers, as in netCDF libraries."""
    kind = node.id.get_type()
    if isinstance(kind, h5py.h5t.TypeEnumID):
        kind = kind.get_super()
    if isinstance(kind, h5py.h5t.TypeStringID):
        return np.dtype("S1") if is_character(kind) else np.dtype(object)
    if any(kind.equal(native) for native in netcdf_types()):
        numbers: np.dtype[Any] = np.dtype(kind.dtype)
        return numbers
    raise FormatError(
        subject,
        f"{name!r} is of the HDF5 type {type(kind).__name__} of {kind.get_size()} bytes",
        expected="numbers, characters or strings of netCDF",
        todo="Write the variable with a number type of netCDF: readers support no other.",
        code="file-type-unsupported",
    )
