"""Open a group of a document as one dataset. All segments of equal kind form one array, which is
decoded once; arrays of different kinds are joined after decoding.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from xarray.conventions import decode_cf_variables
from xarray.core.indexing import LazilyIndexedArray

from ..errors import SourceError
from .arrays import JoinedVariables, StackedArrays, Stretch
from .metadata import (
    DECODING,
    OURS,
    ArrayFacts,
    GroupFacts,
    chunks_along,
    group_attrs,
    group_names,
    read_group,
)

if TYPE_CHECKING:
    from .source import Source

Variables = dict[Hashable, xarray.Variable]
_OF_CHUNKS = ("chunks", "preferred_chunks", "shards")
"""Encoding of one segment that does not apply to the whole dataset."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """Segments whose stored numbers become values in the same way."""

    segments: tuple[int, ...]
    variables: Variables
    """The decoded dataset of all these segments."""
    coordinates: set[Hashable]
    attrs: Mapping[Any, Any]
    """Attributes of the group, without those that decoding has used."""


def open_group(source: Source, path: str, decoding: Mapping[str, Any]) -> xarray.Dataset:
    """Return one group as one lazy dataset.

    Args:
        source: the document.
        path: path of the group.
        decoding: decoding options of ``xarray.open_dataset``.

    Raises:
        SourceError: the document has no such group, or its segments do not fit each other.
    """
    path = path.strip("/")
    names = group_names(source)
    if path not in (names or [""]):
        raise SourceError(
            source.href,
            f"has no group {path!r}" if path else "holds several groups",
            expected=f"one of {', '.join(names) or 'none'}",
            todo="Name a group by group=, or use open_datatree.",
            code="source-group",
        )
    return _joined(source, read_group(source, path), decoding)


def open_groups(
    source: Source, decoding: Mapping[str, Any], below: str = ""
) -> dict[str, xarray.Dataset]:
    """Return the groups of a document, including the root: path -> dataset.

    Args:
        source: the document.
        decoding: as in `open_group`.
        below: return only this group and those below it.
    """
    names = group_names(source)
    if not names:
        return {"/": open_group(source, below, decoding)}
    below = below.strip("/")
    wanted = [name for name in names if f"{name}/".startswith(f"{below}/" if below else "")]
    if below:
        return {f"/{name}": open_group(source, name, decoding) for name in wanted}
    root = _joined(source, read_group(source, ""), decoding)
    return {"/": root, **{f"/{name}": open_group(source, name, decoding) for name in wanted}}


def _joined(source: Source, group: GroupFacts, decoding: Mapping[str, Any]) -> xarray.Dataset:
    kinds = _kinds(source, group, decoding)
    if len({_of_dates(kind, group.time) for kind in kinds}) > 1:
        coder = xarray.coders.CFDatetimeCoder(use_cftime=True)
        kinds = _kinds(source, group, {**decoding, "use_cftime": None, "decode_times": coder})
    variables = _variables(group, kinds)
    for name in group.arrays[0]:
        if name in variables:
            variables[name].encoding["preferred_chunks"] = chunks_along(group, str(name))
            variables[name].encoding["source"] = source.href
    left_out = {*OURS, *({"coordinates"} - set(kinds[0].attrs))}
    attrs = {name: value for name, value in group.attrs.items() if name not in left_out}
    dataset = xarray.Dataset(variables, attrs=attrs)
    coordinates = set.union(*(kind.coordinates for kind in kinds))
    dataset = dataset.set_coords(coordinates.intersection(variables))
    dataset.encoding["source"] = source.href
    return dataset


def _variables(group: GroupFacts, kinds: Sequence[_Kind]) -> Variables:
    """Return the variables of a group; those along time are joined over all its segments."""
    stretches = _stretches(group, kinds)
    variables: Variables = {}
    for name, variable in kinds[0].variables.items():
        if len(kinds) > 1 and group.time in variable.dims:
            variables[name] = _join([kind.variables[name] for kind in kinds], stretches, group.time)
        else:
            variables[name] = variable
    return variables


def _of_dates(kind: _Kind, time: str) -> str:
    """Return the type of dates that decoding has made of the times."""
    variable = kind.variables.get(time)
    return variable.dtype.kind if variable is not None else ""


def _kinds(source: Source, group: GroupFacts, decoding: Mapping[str, Any]) -> list[_Kind]:
    """Return the segments by kind, in the order in which the kinds first occur."""
    of_kind: dict[tuple[bytes, ...], list[int]] = {}
    for number, arrays in enumerate(group.arrays):
        how = tuple(facts.kind for facts in arrays.values())
        of_kind.setdefault(how, []).append(number)
    return [_decoded(source, group, numbers, decoding) for numbers in of_kind.values()]


def _decoded(
    source: Source, group: GroupFacts, numbers: Sequence[int], decoding: Mapping[str, Any]
) -> _Kind:
    template = source.read_variables(group.segments[numbers[0]])
    raw: Variables = {}
    for name in group.arrays[0]:
        versions = [group.arrays[number][name] for number in numbers]
        segments = [group.segments[number] for number in numbers]
        raw[name] = _stacked(source, template[name], versions, segments, group)
    attrs = group_attrs(source, group.segments[numbers[0]])
    variables, left, coordinates = decode_cf_variables(raw, attrs, **decoding)
    return _Kind(tuple(numbers), dict(variables), set(coordinates), left)


def _stacked(
    source: Source,
    template: xarray.Variable,
    versions: Sequence[ArrayFacts],
    segments: Sequence[str],
    group: GroupFacts,
) -> xarray.Variable:
    """Return one variable over segments of one kind, as stored."""
    name = versions[0].name
    moves = group.time in versions[0].dims
    all_versions = [arrays[name] for arrays in group.arrays] if moves else versions[:1]
    paths = [f"{segment}/{name}".lstrip("/") for segment in segments]
    if moves:
        axis = versions[0].dims.index(group.time)
        lengths = [version.shape[axis] for version in versions]
        array = StackedArrays(source, paths, lengths, axis, template)
    else:
        array = StackedArrays(source, paths[:1], (), 0, template)
    attrs = dict(template.attrs)
    for key in template.attrs:
        if key not in DECODING and not _agreed(key, all_versions):
            del attrs[key]
    encoding = {key: value for key, value in template.encoding.items() if key not in _OF_CHUNKS}
    return xarray.Variable(template.dims, LazilyIndexedArray(array), attrs, encoding)


def _agreed(key: str, versions: Sequence[ArrayFacts]) -> bool:
    """Whether an attribute is equal in all segments."""
    first = versions[0].attrs
    return all(one.attrs is first or one.attrs.get(key) == first.get(key) for one in versions)


def _join(
    parts: Sequence[xarray.Variable], stretches: Sequence[Stretch], time: str
) -> xarray.Variable:
    """Join the decoded variables of several kinds."""
    axis = parts[0].dims.index(time)
    array = JoinedVariables(parts, stretches, axis, _common_type(parts))
    attrs = _equal_in_all([part.attrs for part in parts])
    encoding = _equal_in_all([part.encoding for part in parts])
    return xarray.Variable(parts[0].dims, LazilyIndexedArray(array), attrs, encoding)


def _common_type(parts: Sequence[xarray.Variable]) -> np.dtype[Any]:
    """Return the type that holds the values of all parts, as ``xarray.concat`` chooses it."""
    types = [part.dtype for part in parts]
    numeric = {"i", "u", "f", "c", "b"}
    if {one.kind for one in types} <= numeric or len({one.kind for one in types}) == 1:
        return np.result_type(*types)
    return np.dtype(object)


def _equal_in_all(mappings: Sequence[Mapping[Any, Any]]) -> dict[Any, Any]:
    first, *others = mappings
    kept = {}
    for key, value in first.items():
        if all(key in other and _same(other[key], value) for other in others):
            kept[key] = value
    return kept


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b)


def _stretches(group: GroupFacts, kinds: Sequence[_Kind]) -> list[Stretch]:
    """Return where the steps of each segment lie among those of its kind."""
    lengths = group.lengths
    stretches: dict[int, Stretch] = {}
    for part, kind in enumerate(kinds):
        first = 0
        for number in kind.segments:
            stretches[number] = Stretch(part, first, lengths[number])
            first += lengths[number]
    return [stretches[number] for number in range(len(group.segments))]
