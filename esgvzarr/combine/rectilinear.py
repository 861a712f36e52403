"""Segments as one array whose chunks differ in length: Zarr's rectilinear grid.

HDF5 stores the last chunk of each file at its full length, whatever the file's. In a regular grid
that makes a segment of each file. In a rectilinear grid all chunks but these can be referred to as
they are. The last ones are read, cut to the length that is shown, and encoded again.

Rule: zarr-extensions, chunk grid ``rectilinear``. Bytes of a chunk are those of its own shape.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numcodecs
import numpy as np

from ..inflate import decode
from ..model import Array, ChunkTable, Group, ReferenceSet
from .attributes import variable_attrs
from .runs import packing

_FACTS = ("esgvzarr_segments", "esgvzarr_concat_dim")
Read = Callable[[Sequence[tuple[int, int, int]]], Sequence[bytes]]
"""(number of the file, first byte, byte after the last) of many pieces -> their bytes."""


@dataclass(frozen=True, slots=True)
class Bound:
    """How much may be copied."""

    fraction: float
    """Of the dataset's bytes."""
    size: int
    """Bytes."""

    def of(self, references: ReferenceSet) -> int:
        """Bytes that may be copied of these files."""
        whole = sum(file.size for file in references.files)
        return min(self.size, int(self.fraction * whole))


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """A chunk that is stored longer than it is shown."""

    group: int
    """Number of the joined group."""
    array: str
    key: tuple[int, ...]
    """In the joined array."""
    length: int
    """Along the joined dimension, as it is shown."""
    place: tuple[int, int, int] | None
    """(number of the file, first byte, byte after the last)."""
    data: bytes = b""
    """The chunk itself, where it was inline before."""


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Segments that were joined as far as they go; file ends are missing yet."""

    references: ReferenceSet
    axis_name: str
    ends: tuple[_End, ...]

    @property
    def copied(self) -> int:
        """Bytes that are to be copied, as stored in the files."""
        return sum(end.place[2] - end.place[1] for end in self.ends if end.place)

    def filled(self, read: Read) -> ReferenceSet:
        """The references with all file ends, encoded anew.

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
            axis = array.dims.index(self.axis_name)
            found.setdefault((end.group, end.array), {})[end.key] = _cropped(
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

    def _array(self, end: _End) -> Array:
        arrays = self.references.groups[end.group].arrays
        return next(array for array in arrays if array.name == end.array)


def join_segments(references: ReferenceSet, *, padded: bool = False) -> Joined | None:
    """Join the segments of one dataset as far as their types, filters and packing are equal.

    Args:
        references: in segments.
        padded: refer to file ends as they are stored, at full length. Nothing is copied; only
            segments of equal chunks are joined then, and readers need a codec that crops.

    Returns:
        What they become; None where there are no segments, or none of them fit together.
    """
    root, *segments = references.groups
    time = root.attrs.get("esgvzarr_concat_dim")
    names = root.attrs.get("esgvzarr_segments")
    if not time or names != [segment.path for segment in segments]:
        return None
    runs = _runs(segments, time, padded=padded)
    if len(runs) == len(segments):
        return None
    ends: list[_End] = []
    groups = _joined_groups(runs, root.attrs, time, None if padded else ends)
    reading: dict[str, Any] = {"dimension": time}
    if len(runs) > 1:
        reading["segments"] = len(runs)
    if any(array.is_padded for group in groups for array in group.arrays):
        reading["codec"] = True
    provenance = {**references.provenance, "reading": reading}
    joined = replace(references, groups=tuple(groups), provenance=provenance)
    return Joined(joined, time, tuple(ends))


def _joined_groups(
    runs: Sequence[Sequence[Group]], attrs: Mapping[str, Any], time: str, ends: list[_End] | None
) -> list[Group]:
    """A group for each run, the root if there is one run, else below a root that lists them.

    Args:
        runs: segments to be joined.
        attrs: of the root before.
        time: name of the dimension.
        ends: grows by the chunks that have to be encoded again; None if they stay as stored.
    """
    common = {key: value for key, value in attrs.items() if key not in _FACTS}
    paths = [""]
    groups: list[Group] = []
    if len(runs) > 1:
        paths = [f"seg-{number:03}" for number in range(len(runs))]
        facts = {"esgvzarr_segments": paths, "esgvzarr_concat_dim": time}
        groups.append(Group("", {**facts, **common}, ()))
    for path, run in zip(paths, runs, strict=True):
        arrays = tuple(_joined_arrays(run, time, len(groups), ends))
        files = tuple(itertools.chain.from_iterable(group.file_indices for group in run))
        groups.append(Group(path, common, arrays, files))
    return groups


def _runs(segments: Sequence[Group], time: str, *, padded: bool) -> list[list[Group]]:
    """Segments that follow each other and are of one kind."""
    runs: list[list[Group]] = []
    for segment in segments:
        if runs and _kind(runs[-1][0], time, padded=padded) == _kind(segment, time, padded=padded):
            runs[-1].append(segment)
        else:
            runs.append([segment])
    return runs


def _kind(segment: Group, time: str, *, padded: bool) -> Any:
    """What has to be equal for one array of each name."""
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
    """A codec as its decoder knows it: each level of compression is decoded the same way."""
    return tuple(sorted((key, value) for key, value in codec.items() if key != "level"))


def _is_held(array: Array) -> bool:
    """Whether the references hold all of the array's values, in one chunk."""
    whole = tuple(max(size, 1) for size in array.shape)
    return not len(array.chunks) and array.chunk_shape == whole


def _joined_arrays(
    run: Sequence[Group], time: str, number: int, ends: list[_End] | None
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
    """Values that the references hold, put one after the other."""
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
    """The chunks of one segment, by their places in the joined array."""

    table: ChunkTable
    owners: np.ndarray
    """Number of the file of each chunk."""
    inline: Mapping[tuple[int, ...], bytes]


def _stretched(versions: Sequence[Array], axis: int, number: int, ends: list[_End] | None) -> Array:
    """Chunks of several segments, one after the other, with their own lengths.

    Args:
        versions: the array of each segment.
        axis: along which they follow each other.
        number: of the joined group.
        ends: grows by the chunks that have to be encoded again; None where they stay as they are
            stored.
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
            end = _End(number, array.name, (len(lengths) - 1,), lengths[-1], None)
            piece = _without_end(piece, array, axis, end, [] if ends is None else ends)
        pieces.append(piece)
    lengths[-1] = versions[-1].chunk_shape[axis]  # the last one may reach beyond the array
    return replace(_in_a_row(versions, axis, pieces, lengths), is_padded=is_padded)


def _shown_lengths(array: Array, axis: int) -> list[int]:
    """How much each chunk of a segment shows along ``axis``: the last one may show less."""
    step = array.chunk_shape[axis]
    whole, rest = divmod(array.shape[axis], step)
    lengths = [step] * whole
    if rest:
        lengths.append(rest)
    return lengths


def _in_a_row(
    versions: Sequence[Array], axis: int, pieces: Sequence[_Piece], lengths: Sequence[int]
) -> Array:
    """One array of the chunks of all segments, whose lengths along ``axis`` are these."""
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
    """The chunks of a segment that begins at the chunk ``begin`` of the joined array."""
    shift = np.zeros(len(array.dims), np.int64)
    shift[axis] = begin
    table = ChunkTable(array.chunks.keys + shift, array.chunks.offsets, array.chunks.sizes)
    moved = {_moved(key, axis, begin): data for key, data in array.inline.items()}
    return _Piece(table, array.file_index, moved)


def _without_end(piece: _Piece, array: Array, axis: int, end: _End, ends: list[_End]) -> _Piece:
    """A segment whose last chunks along ``axis`` are cut to what is shown of them.

    Args:
        piece: the segment's chunks.
        array: the segment.
        axis: of time.
        end: the place of the last chunks along the axis, as ``key``, and the length to cut to.
        ends: grows by the chunks that have to be encoded again.
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
    ends += _ends(end, piece.table, piece.owners, at_end)
    ends += [replace(end, key=key, data=data) for key, data in held.items()]
    table = ChunkTable(
        piece.table.keys[~at_end], piece.table.offsets[~at_end], piece.table.sizes[~at_end]
    )
    kept = {key: data for key, data in piece.inline.items() if key not in held}
    return _Piece(table, piece.owners[~at_end], kept)


def _moved(key: tuple[int, ...], axis: int, begin: int) -> tuple[int, ...]:
    return (*key[:axis], key[axis] + begin, *key[axis + 1 :])


def _can_shorten(array: Array, axis: int) -> bool:
    """Whether the first part of a stored chunk is the shorter chunk."""
    return not array.codecs and all(size == 1 for size in array.chunk_shape[:axis])


def _ends(kind: _End, table: ChunkTable, own: np.ndarray, at_end: np.ndarray) -> Iterator[_End]:
    for row in np.flatnonzero(at_end).tolist():
        start = int(table.offsets[row])
        place = (int(own[row]), start, start + int(table.sizes[row]))
        yield replace(kind, key=tuple(table.keys[row].tolist()), place=place)


def _cropped(array: Array, axis: int, length: int, data: bytes) -> bytes:
    """A stored chunk, cut to a length and encoded again."""
    stored = _stored_shape(array, axis, data)
    part = stored[(*[slice(None)] * axis, slice(length))]
    encoded: Any = np.ascontiguousarray(part).tobytes()
    for codec in array.codecs:
        encoded = numcodecs.get_codec(dict(codec)).encode(encoded)
    return bytes(encoded)


def _stored_shape(array: Array, axis: int, data: bytes) -> np.ndarray:
    """The decoded chunk. Its length follows from its bytes: segments may differ in it."""
    largest = math.prod(array.chunk_shape) * array.dtype.itemsize
    decoded = decode(data, array.codecs, largest)
    numbers = np.frombuffer(decoded, array.dtype)
    shape = (*array.chunk_shape[:axis], -1, *array.chunk_shape[axis + 1 :])
    return numbers.reshape(shape)
