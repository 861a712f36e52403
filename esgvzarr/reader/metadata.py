"""Read what the groups of a document hold, from its metadata alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import SourceError
from .source import json_of

if TYPE_CHECKING:
    from .source import Source

SEGMENTS = "esgvzarr_segments"
GROUPS = "esgvzarr_groups"
CONCAT_DIM = "esgvzarr_concat_dim"
OURS = (SEGMENTS, CONCAT_DIM, GROUPS, "esgvzarr_recipe", "esgvzarr_how_to_open")
"""Attributes of groups that describe the structure of the document."""
DECODING = (
    "units",
    "calendar",
    "scale_factor",
    "add_offset",
    "missing_value",
    "_FillValue",
    "_Unsigned",
    "bounds",
    "climatology",
    "coordinates",
)
"""Attributes that define how stored numbers become values."""


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """One Zarr array of one segment."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    """Lengths of the chunks, for each dimension."""
    kind: bytes
    """Equal for arrays whose stored numbers become values in the same way."""
    attrs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group, and the arrays of each of its segments."""

    path: str
    attrs: Mapping[str, Any]
    segments: tuple[str, ...]
    """Paths of the groups that hold the arrays: the group itself if it has no segments."""
    arrays: tuple[Mapping[str, ArrayFacts], ...]
    """For each segment, name -> array."""
    time: str
    """The dimension along which the segments follow each other; empty if there is only one."""

    @property
    def lengths(self) -> list[int]:
        """Number of time steps of each segment."""
        return [_length(arrays, self.time) for arrays in self.arrays]


def group_names(source: Source) -> list[str]:
    """Return the groups of a document of several groups; empty for references of one dataset."""
    return list(group_attrs(source, "").get(GROUPS, []))


def read_group(source: Source, path: str) -> GroupFacts:
    """Return the metadata of a group and its segments, read once for each source.

    Raises:
        SourceError: the segments do not fit each other.
    """
    if path not in source.found:
        source.found[path] = _read_group(source, path)
    facts: GroupFacts = source.found[path]
    return facts


def _read_group(source: Source, path: str) -> GroupFacts:
    attrs = group_attrs(source, path)
    segments = tuple(attrs.get(SEGMENTS) or (path,))
    names = source.array_names(segments[0])
    pairs = itertools.product(segments, names)
    keys = [f"{segment}/{name}".lstrip("/") for segment, name in pairs]
    texts = source.read_metadata(keys)
    seen: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    arrays = []
    for segment in segments:
        own = {}
        for name in names:
            text = texts[f"{segment}/{name}".lstrip("/")]
            if not all(text):
                raise SourceError(
                    source.href,
                    f"segment {segment} has no {name}",
                    expected=f"the arrays of segment {segments[0]}",
                    code="source-not-references",
                )
            own[name] = _facts(name, text, seen)
        arrays.append(own)
    time = _time(attrs, arrays) if len(segments) > 1 else ""
    facts = GroupFacts(path, attrs, segments, tuple(arrays), time)
    _check_fit(source, facts)
    return facts


def group_attrs(source: Source, path: str) -> dict[str, Any]:
    """Return the attributes of a group; empty if there is no such group."""
    prefix = f"{path}/" if path else ""
    if source.zarr_format == 2:
        text = source.read_keys([f"{prefix}.zattrs"])[0]
        return dict(json_of(text)) if text else {}
    text = source.read_keys([f"{prefix}zarr.json"])[0]
    return dict(json_of(text).get("attributes", {})) if text else {}


def _facts(name: str, text: Sequence[bytes | None], seen: dict[Any, Any]) -> ArrayFacts:
    """Parse ``.zarray`` and ``.zattrs``, or ``zarr.json``."""
    meta = json_of(text[0] or b"{}")
    if len(text) > 1:
        if text[1] not in seen:
            seen[text[1]] = json_of(text[1] or b"{}")
        attrs = seen[text[1]]
        dims = attrs["_ARRAY_DIMENSIONS"]
        how = [meta["dtype"], meta["fill_value"]]
        chunks = [_regular(n, c) for n, c in zip(meta["shape"], meta["chunks"], strict=True)]
    else:
        attrs = meta.get("attributes", {})
        dims = meta.get("dimension_names") or []
        how = [meta["data_type"], meta["fill_value"]]
        chunks = _grid(meta["shape"], meta["chunk_grid"])
    told = {key: attrs[key] for key in DECODING if key in attrs}
    kind = orjson.dumps([how, dims, told], option=orjson.OPT_SORT_KEYS)
    return ArrayFacts(name, tuple(dims), tuple(meta["shape"]), tuple(chunks), kind, attrs)


def _grid(shape: Sequence[int], grid: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Return the lengths of chunks, of a regular or a rectilinear grid of Zarr version 3."""
    settings = grid["configuration"]
    if grid["name"] == "regular":
        return [_regular(n, c) for n, c in zip(shape, settings["chunk_shape"], strict=True)]
    lengths = []
    for size, along in zip(shape, settings["chunk_shapes"], strict=True):
        lengths.append(_regular(size, along) if isinstance(along, int) else _unpacked(size, along))
    return lengths


def _unpacked(size: int, along: Sequence[Any]) -> tuple[int, ...]:
    """Decode run-length encoding: each entry is a length, or a length and its number of
    repetitions.
    """
    lengths = list[int]()
    for one in along:
        lengths += [one] if isinstance(one, int) else [one[0]] * one[1]
    if len(lengths) == 1:  # Repeated to the end.
        return _regular(size, lengths[0])
    lengths[-1] -= sum(lengths) - size  # The last one may extend beyond the array.
    return tuple(lengths)


def _regular(size: int, chunk: int) -> tuple[int, ...]:
    """Return equal chunk lengths; the last one may be cut by the end of the array."""
    if not size:
        return (0,)
    whole, rest = divmod(size, max(chunk, 1))
    return (chunk,) * whole + ((rest,) if rest else ())


def _time(attrs: Mapping[str, Any], arrays: Sequence[Mapping[str, ArrayFacts]]) -> str:
    """Return the dimension along which segments follow each other. Older documents name it in the
    recipe only, or not at all.
    """
    if CONCAT_DIM in attrs:
        return str(attrs[CONCAT_DIM])
    recipe = str(attrs.get("esgvzarr_recipe", ""))
    if "along '" in recipe:
        return recipe.split("along '", 1)[1].split("'", 1)[0]
    for name, facts in arrays[0].items():
        if facts.dims == (name,) and (name == "time" or facts.attrs.get("axis") == "T"):
            return name
    return "time"


def _length(arrays: Mapping[str, ArrayFacts], time: str) -> int:
    for facts in arrays.values():
        if time in facts.dims:
            return facts.shape[facts.dims.index(time)]
    return 0


def _check_fit(source: Source, group: GroupFacts) -> None:
    """Check that all segments have the same dimensions, and the same sizes except along time."""
    for segment, arrays in zip(group.segments, group.arrays, strict=True):
        for name, first in group.arrays[0].items():
            own = arrays[name]
            if own.dims != first.dims or _sizes(own, group.time) != _sizes(first, group.time):
                raise SourceError(
                    source.href,
                    f"{name} is {own.dims} {own.shape} in segment {segment}",
                    expected=f"{first.dims} {first.shape} as in segment {group.segments[0]}",
                    code="source-not-references",
                )


def _sizes(facts: ArrayFacts, time: str) -> list[int]:
    return [n for dim, n in zip(facts.dims, facts.shape, strict=True) if dim != time]


def chunks_along(group: GroupFacts, name: str) -> dict[str, int | tuple[int, ...]]:
    """Return the true lengths of a variable's chunks, over all segments, in xarray's form."""
    first = group.arrays[0][name]
    chunks: dict[str, int | tuple[int, ...]] = {}
    for axis, dim in enumerate(first.dims):
        if dim == group.time:
            lengths = tuple(_joined(arrays[name].chunks[axis] for arrays in group.arrays))
        else:
            lengths = first.chunks[axis]
        chunks[dim] = _short(lengths)
    return chunks


def _joined(parts: Iterator[tuple[int, ...]]) -> Iterator[int]:
    for part in parts:
        yield from part


def _short(lengths: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return one number if all chunks but the last have one length."""
    if set(lengths[:-1]) <= {lengths[0]} and lengths[-1] <= lengths[0]:
        return lengths[0]
    return lengths
