"""Join segments into one array whose chunks differ in length: Zarr's rectilinear grid.

HDF5 stores the last chunk of each file at full length, even if the file is shorter. In a regular
grid that makes each file a segment. In a rectilinear grid all other chunks can be referenced as
they are stored. The last chunks are read, cut to the length that is shown, and encoded again.

Rule: zarr-extensions, chunk grid ``rectilinear``. The bytes of a chunk are those of its own shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numcodecs
import numpy as np

from ..model import Array, ChunkTable, Group, ReferenceSet
from .attributes import variable_attrs
from .ends import End, cropped, ends_of
from .runs import packing

_SEGMENTS = "esgvzarr_segments"
_DIMENSION = "esgvzarr_concat_dim"
_FACTS = (_SEGMENTS, _DIMENSION)
Read = Callable[[Sequence[tuple[int, int, int]]], Sequence[bytes]]
"""Reads many pieces, each (number of the file, first byte, byte after the last), and returns their
bytes.
"""


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit for the bytes that may be copied."""

    fraction: float
    """Fraction of the dataset's bytes."""
    size: int
    """Number of bytes."""

    def of(self, references: ReferenceSet) -> int:
        """Return how many bytes of these files may be copied."""
        whole = sum(file.size for file in references.files)
        return min(self.size, int(self.fraction * whole))


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Segments that were joined as far as they fit together; the file ends are not included yet."""

    references: ReferenceSet
    ends: tuple[End, ...]

    @property
    def copied(self) -> int:
        """Bytes that will be copied, as stored in the files."""
        return sum(end.place[2] - end.place[1] for end in self.ends if end.place)

    def filled(self, read: Read) -> ReferenceSet:
        """Return the references with all file ends, encoded again.

        Args:
            read: reads pieces of files.

        Raises:
            ValueError: a chunk is damaged.
        """
        places = [end.place for end in self.ends if end.place is not None]
        bodies = iter(read(places))
        found: dict[tuple[int, str], dict[tuple[int, ...], bytes]] = {}
        for end in self.ends:
            data = end.data if end.place is None else next(bodies)
            array = self._array(end)
            axis = array.dims.index(end.dim)
            found.setdefault((end.group, end.array), {})[end.key] = cropped(
                array, axis, end.length, data
            )
        groups = []
        for number, group in enumerate(self.references.groups):
            arrays = []
            for array in group.arrays:
                more = found.get((number, array.name), {})
                inline = dict(sorted({**array.inline, **more}.items()))
                arrays.append(replace(array, inline=inline))
            groups.append(replace(group, arrays=tuple(arrays)))
        provenance = dict(self.references.provenance)
        if self.ends:
            provenance["copied_ends"] = {"chunks": len(self.ends), "bytes": self.copied}
        return replace(self.references, groups=tuple(groups), provenance=provenance)

    def _array(self, end: End) -> Array:
        arrays = self.references.groups[end.group].arrays
        return next(array for array in arrays if array.name == end.array)


def join_segments(references: ReferenceSet, *, padded: bool = False) -> Joined | None:
    """Join the segments of the root, or of each group of a document, if their types, filters and
    packing are equal.

    Args:
        references: references with segments.
        padded: refer to file ends as they are stored, at full length. Then nothing is copied, only
            segments with equal chunks are joined, and readers need a codec that crops.

    Returns:
        The joined references; None if there are no segments, or none of them fit together.
    """
    ends: list[End] = []
    groups: list[Group] = []
    waiting = list(references.groups)
    while waiting:
        group = waiting.pop(0)
        names = list(group.attrs.get(_SEGMENTS, ()))
        segments = waiting[: len(names)]
        if not names or names != [segment.path for segment in segments]:
            groups.append(group)
            continue
        del waiting[: len(names)]
        runs = _runs(segments, group.attrs[_DIMENSION], padded=padded)
        if len(runs) == len(segments):
            groups += [group, *segments]
        else:
            groups += _joined_groups(group, runs, len(groups), None if padded else ends)
    if len(groups) == len(references.groups):
        return None
    reading = _reading(references.groups[0], groups)
    provenance = {**references.provenance, "reading": reading}
    joined = replace(references, groups=tuple(groups), provenance=provenance)
    return Joined(joined, tuple(ends))


def _reading(before: Group, groups: Sequence[Group]) -> dict[str, Any]:
    """Return the advice for readers of joined groups. ``before`` is the root before joining."""
    in_segments = [group for group in groups if _SEGMENTS in group.attrs]
    reading: dict[str, Any] = {}
    if _DIMENSION in before.attrs:
        reading["dimension"] = before.attrs[_DIMENSION]
        if in_segments:
            reading["segments"] = len(in_segments[0].attrs[_SEGMENTS])
    else:
        reading["groups"] = list(before.attrs["esgvzarr_groups"])
        if in_segments:
            reading["segmented"] = [group.path for group in in_segments]
    if any(array.is_padded for group in groups for array in group.arrays):
        reading["codec"] = True
    return reading


def _joined_groups(
    above: Group, runs: Sequence[Sequence[Group]], begin: int, ends: list[End] | None
) -> list[Group]:
    """Return a group for each run. A single run replaces the group that was in segments; several
    runs become groups below it, which it lists.

    Args:
        above: the group that is in segments.
        runs: segments that will be joined.
        begin: number of the first of these groups.
        ends: receives the chunks that must be encoded again; None if they stay as stored.
    """
    time = above.attrs[_DIMENSION]
    common = {key: value for key, value in above.attrs.items() if key not in _FACTS}
    paths = [above.path]
    groups: list[Group] = []
    if len(runs) > 1:
        paths = [f"{above.path}/seg-{number:03}".lstrip("/") for number in range(len(runs))]
        facts = {_SEGMENTS: paths, _DIMENSION: time}
        groups.append(Group(above.path, {**facts, **common}, ()))
    for path, run in zip(paths, runs, strict=True):
        arrays = tuple(_joined_arrays(run, time, begin + len(groups), ends))
        files = tuple(itertools.chain.from_iterable(group.file_indices for group in run))
        attrs = {**common, **_coordinates(above, run)}
        groups.append(Group(path, attrs, arrays, tuple(dict.fromkeys(files))))
    return groups


def _coordinates(above: Group, run: Sequence[Group]) -> dict[str, Any]:
    """Return the attribute ``coordinates`` of a document's group, which names coordinates besides
    its data.
    """
    stated = {group.attrs.get("coordinates") for group in run}
    if not above.path or len(stated) != 1 or None in stated:
        return {}
    return {"coordinates": stated.pop()}


def _runs(segments: Sequence[Group], time: str, *, padded: bool) -> list[list[Group]]:
    """Return runs of consecutive segments of one kind."""
    runs: list[list[Group]] = []
    for segment in segments:
        if runs and _kind(runs[-1][0], time, padded=padded) == _kind(segment, time, padded=padded):
            runs[-1].append(segment)
        else:
            runs.append([segment])
    return runs


def _kind(segment: Group, time: str, *, padded: bool) -> Any:
    """Return the properties that must be equal in segments that are joined."""
    kinds = []
    for array in segment.arrays:
        if time not in array.dims:
            continue
        axis = array.dims.index(time)
        others = (*array.chunk_shape[:axis], *array.chunk_shape[axis + 1 :])
        if padded:
            others = array.chunk_shape
        codecs = tuple(map(_without_level, array.codecs))
        held = _is_held(array)
        layout = () if held else (codecs, others)
        units = (array.attrs.get("units"), array.attrs.get("calendar"))
        meaning = (array.dtype.str, packing(array), str(units))
        kinds.append((array.name, array.dims, meaning, held, layout))
    return tuple(kinds)


def _without_level(codec: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the parameters of a codec that its decoder needs: the compression level is not among
    them.
    """
    return tuple(sorted((key, value) for key, value in codec.items() if key != "level"))


def _is_held(array: Array) -> bool:
    """Whether the references hold all values of the array, in one chunk."""
    whole = tuple(max(size, 1) for size in array.shape)
    return not len(array.chunks) and array.chunk_shape == whole


def _joined_arrays(
    run: Sequence[Group], time: str, number: int, ends: list[End] | None
) -> Iterator[Array]:
    for first in run[0].arrays:
        versions = [_named(group, first.name) for group in run]
        if time not in first.dims:
            yield first
        elif _is_held(first):
            yield _held(versions, first.dims.index(time))
        else:
            yield _stretched(versions, first.dims.index(time), number, ends)


def _named(group: Group, name: str) -> Array:
    return next(array for array in group.arrays if array.name == name)


def _held(versions: Sequence[Array], axis: int) -> Array:
    """Concatenate values that the references hold."""
    first = versions[0]
    parts = [_values(array) for array in versions]
    values = np.concatenate(parts, axis)
    if first.dtype.kind == "O":
        data = bytes(numcodecs.VLenUTF8().encode(values.ravel()))
    else:
        data = np.ascontiguousarray(values).tobytes()
    shape = values.shape
    return replace(
        first,
        shape=shape,
        chunk_shape=tuple(max(size, 1) for size in shape),
        attrs=variable_attrs(versions),
        inline={(0,) * len(shape): data},
    )


def _values(array: Array) -> np.ndarray:
    data = next(iter(array.inline.values()), b"")
    if array.dtype.kind == "O":
        texts = numcodecs.VLenUTF8().decode(data)
        return np.asarray(texts, object).reshape(array.shape)
    return np.frombuffer(data, array.dtype).reshape(array.shape)


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """The chunks of one segment, by their keys in the joined array."""

    table: ChunkTable
    owners: np.ndarray
    """(chunk,) number of the file."""
    inline: Mapping[tuple[int, ...], bytes]


def _stretched(versions: Sequence[Array], axis: int, number: int, ends: list[End] | None) -> Array:
    """Concatenate the chunks of several segments, which keep their own lengths.

    Args:
        versions: the array of each segment.
        axis: the axis along which they follow each other.
        number: number of the joined group.
        ends: receives the chunks that must be encoded again; None if they stay as stored.
    """
    pieces = []
    lengths: list[int] = []
    is_padded = False
    for place, array in enumerate(versions):
        piece = _piece(array, axis, len(lengths))
        lengths += _shown_lengths(array, axis)
        is_last = place == len(versions) - 1
        is_cut = not is_last and array.shape[axis] % array.chunk_shape[axis] > 0
        if is_cut and ends is None and not _can_shorten(array, axis):
            is_padded = True
        elif is_cut:
            end = End(number, array.dims[axis], array.name, (len(lengths) - 1,), lengths[-1], None)
            piece = _without_end(piece, array, axis, end, [] if ends is None else ends)
        pieces.append(piece)
    lengths[-1] = versions[-1].chunk_shape[axis]  # The last chunk may extend beyond the array.
    return replace(_in_a_row(versions, axis, pieces, lengths), is_padded=is_padded)


def _shown_lengths(array: Array, axis: int) -> list[int]:
    """Return the length that each chunk of a segment shows along ``axis``: the last chunk may show
    less than it holds.
    """
    step = array.chunk_shape[axis]
    whole, rest = divmod(array.shape[axis], step)
    lengths = [step] * whole
    if rest:
        lengths.append(rest)
    return lengths


def _in_a_row(
    versions: Sequence[Array], axis: int, pieces: Sequence[_Piece], lengths: Sequence[int]
) -> Array:
    """Make one array of the chunks of all segments, with these lengths along ``axis``."""
    first = versions[0]
    shape = list(first.shape)
    shape[axis] = sum(array.shape[axis] for array in versions)
    longest = max(lengths)
    is_regular = all(length == longest for length in lengths)
    tables = [piece.table for piece in pieces]
    inline: dict[tuple[int, ...], bytes] = {}
    for piece in pieces:
        inline.update(piece.inline)
    return replace(
        first,
        shape=tuple(shape),
        chunk_shape=(*first.chunk_shape[:axis], longest, *first.chunk_shape[axis + 1 :]),
        attrs=variable_attrs(versions),
        chunks=ChunkTable(
            np.concatenate([table.keys for table in tables]),
            np.concatenate([table.offsets for table in tables]),
            np.concatenate([table.sizes for table in tables]),
        ),
        file_index=np.concatenate([piece.owners for piece in pieces]),
        inline=dict(sorted(inline.items())),
        lengths={} if is_regular else {axis: tuple(lengths)},
    )


def _piece(array: Array, axis: int, begin: int) -> _Piece:
    """Return the chunks of a segment that begins at the chunk ``begin`` of the joined array."""
    shift = np.zeros(len(array.dims), np.int64)
    shift[axis] = begin
    table = ChunkTable(array.chunks.keys + shift, array.chunks.offsets, array.chunks.sizes)
    moved = {_moved(key, axis, begin): data for key, data in array.inline.items()}
    return _Piece(table, array.file_index, moved)


def _without_end(piece: _Piece, array: Array, axis: int, end: End, ends: list[End]) -> _Piece:
    """Cut the last chunks of a segment along ``axis`` to the length that is shown.

    Args:
        piece: the segment's chunks.
        array: the array of the segment.
        axis: the time axis.
        end: the place of the last chunks along the axis, as ``key``, and the length to cut to.
        ends: receives the chunks that must be encoded again.
    """
    (last,) = end.key
    at_end = piece.table.keys[:, axis] == last
    held = {key: data for key, data in piece.inline.items() if key[axis] == last}
    if _can_shorten(array, axis):
        step = math.prod(array.chunk_shape) // array.chunk_shape[axis]
        size = step * end.length * array.dtype.itemsize
        shorter = {key: data[:size] for key, data in held.items()}
        table = replace(piece.table, sizes=np.where(at_end, size, piece.table.sizes))
        return _Piece(table, piece.owners, {**piece.inline, **shorter})
    ends += ends_of(end, piece.table, piece.owners, at_end)
    ends += [replace(end, key=key, data=data) for key, data in held.items()]
    table = ChunkTable(
        piece.table.keys[~at_end], piece.table.offsets[~at_end], piece.table.sizes[~at_end]
    )
    kept = {key: data for key, data in piece.inline.items() if key not in held}
    return _Piece(table, piece.owners[~at_end], kept)


def _moved(key: tuple[int, ...], axis: int, begin: int) -> tuple[int, ...]:
    return (*key[:axis], key[axis] + begin, *key[axis + 1 :])


def _can_shorten(array: Array, axis: int) -> bool:
    """Whether the first bytes of a decoded chunk are the shortened chunk."""
    return not array.codecs and all(size == 1 for size in array.chunk_shape[:axis])
