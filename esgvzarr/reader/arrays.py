"""Arrays that are read when they are indexed: several Zarr arrays as one, and parts that were
decoded differently as one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from xarray import Variable

    from .source import Source

Selector = int | slice | np.ndarray
"""Selection along one dimension: an integer, a slice with a positive step, or increasing
integers.
"""
WIDE = 16
"""Number of parts that are read at the same time, if a selection spans several."""


class LazyArray(BackendArray):
    """An array that is read when xarray indexes it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self.read
        )

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        """Read for ``Dataset.load_async``."""
        return await asyncio.to_thread(self.__getitem__, key)

    def read(self, key: tuple[Selector, ...]) -> np.ndarray:
        """Return the values of a selection, with one selector for each dimension."""
        raise NotImplementedError


class StackedArrays(LazyArray):
    """Zarr arrays of one type, concatenated along one axis; or a single array."""

    def __init__(
        self,
        source: Source,
        paths: Sequence[str],
        lengths: Sequence[int],
        axis: int,
        like: Any,
    ) -> None:
        """Make one array.

        Args:
            source: the document.
            paths: paths of the arrays in it, in order.
            lengths: length of each along the axis; empty for a single array without the axis.
            axis: the axis along which they follow each other.
            like: has the ``shape`` of the first array, and the ``dtype`` of all.
        """
        self._source = source
        self._paths = tuple(paths)
        self._axis = axis
        self._ends = ends_of(lengths)
        self._opened: dict[str, Any] = {}
        self.dtype = like.dtype
        self.shape = tuple(like.shape)
        if lengths:
            self.shape = _with(self.shape, axis, int(self._ends[-1]))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": {}}

    def read(self, key: tuple[Selector, ...]) -> np.ndarray:
        """Read the Zarr arrays that hold some of the selection."""
        if len(self._paths) == 1:
            return self._read_one(self._paths[0], key)

        def read_part(part: int, inside: Selector) -> np.ndarray:
            return self._read_one(self._paths[part], _with(key, self._axis, inside))

        return gather(key, self._axis, self._ends, self, read_part)

    def _read_one(self, path: str, key: tuple[Selector, ...]) -> np.ndarray:
        array = self._opened.get(path)
        if array is None:
            array = self._opened[path] = self._source.open_array(path)
        return np.asarray(array.oindex[key] if key else array[()])


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive steps of the whole array that lie in one part."""

    part: int
    first: int
    """The first of these steps in the part."""
    length: int


class JoinedVariables(LazyArray):
    """Variables that were decoded differently, as one array along one axis."""

    def __init__(
        self,
        parts: Sequence[Variable],
        stretches: Sequence[Stretch],
        axis: int,
        dtype: np.dtype[Any],
    ) -> None:
        """Make one array.

        Args:
            parts: decoded variables, of equal shape except along the axis.
            stretches: where the steps of the whole array lie, in order.
            axis: the axis along which they follow each other.
            dtype: a type that holds the values of all parts.
        """
        self._parts = tuple(parts)
        self._stretches = tuple(stretches)
        self._axis = axis
        self._ends = ends_of([stretch.length for stretch in stretches])
        self.dtype = dtype
        self.shape = _with(tuple(parts[0].shape), axis, int(self._ends[-1]))

    def read(self, key: tuple[Selector, ...]) -> np.ndarray:
        """Read the parts that hold some of the selection."""

        def read_part(number: int, inside: Selector) -> np.ndarray:
            stretch = self._stretches[number]
            own = _with(key, self._axis, _moved(inside, stretch.first))
            return np.asarray(self._parts[stretch.part][own].values)

        return gather(key, self._axis, self._ends, self, read_part)


def ends_of(lengths: Sequence[int]) -> np.ndarray:
    """Return where each part ends, along the axis on which the parts follow each other."""
    return np.fromiter(accumulate(lengths), np.int64, len(lengths))


def gather(
    key: tuple[Selector, ...],
    axis: int,
    ends: np.ndarray,
    whole: LazyArray,
    read_part: Callable[[int, Selector], np.ndarray],
) -> np.ndarray:
    """Read a selection that may span several parts.

    Args:
        key: one selector for each dimension.
        axis: the axis along which the parts follow each other.
        ends: where each part ends.
        whole: the shape and type of all parts together.
        read_part: reads steps of a part, given its number and a selector.
    """
    along = key[axis]
    if isinstance(along, (int, np.integer)):
        part, inside = _place(int(along), ends)
        return read_part(part, inside).astype(whole.dtype, copy=False)
    pieces = list(_pieces(along, ends))
    result = np.empty(_shape(key, whole.shape), whole.dtype)
    before = (slice(None),) * sum(not isinstance(one, (int, np.integer)) for one in key[:axis])

    def fill(piece: _Piece) -> None:
        result[(*before, piece.place)] = read_part(piece.part, piece.inside)

    if len(pieces) > 1:
        with ThreadPoolExecutor(min(WIDE, len(pieces))) as pool:
            list(pool.map(fill, pieces))
    else:
        for piece in pieces:
            fill(piece)
    return result


@dataclass(frozen=True, slots=True)
class _Piece:
    """The share of one part in a selection."""

    part: int
    inside: Selector
    """The steps in the part."""
    place: slice
    """Where the steps go in the result."""


def _place(step: int, ends: np.ndarray) -> tuple[int, int]:
    """Return the part that holds a step, and the step's number there."""
    part = int(np.searchsorted(ends, step, side="right"))
    begin = int(ends[part - 1]) if part else 0
    return part, step - begin


def _pieces(along: slice | np.ndarray, ends: np.ndarray) -> Iterator[_Piece]:
    if isinstance(along, slice):
        yield from _pieces_of_slice(range(int(ends[-1]))[along], ends)
        return
    begins = np.concatenate([[0], ends[:-1]])
    cuts = np.searchsorted(along, np.concatenate([begins, ends[-1:]]))
    for part, begin in enumerate(begins.tolist()):
        here = slice(int(cuts[part]), int(cuts[part + 1]))
        if here.stop > here.start:
            yield _Piece(part, along[here] - begin, here)


def _pieces_of_slice(steps: range, ends: np.ndarray) -> Iterator[_Piece]:
    done = 0
    while done < len(steps):
        first = steps[done]
        part, inside = _place(first, ends)
        count = min(-(-(int(ends[part]) - first) // steps.step), len(steps) - done)
        stop = inside + (count - 1) * steps.step + 1
        yield _Piece(part, slice(inside, stop, steps.step), slice(done, done + count))
        done += count


def _shape(key: tuple[Selector, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the values of a selection; an integer drops its dimension."""
    sizes = []
    for selector, size in zip(key, shape, strict=True):
        if isinstance(selector, slice):
            sizes.append(len(range(*selector.indices(size))))
        elif isinstance(selector, np.ndarray):
            sizes.append(len(selector))
    return tuple(sizes)


def _moved(selector: Selector, by: int) -> Selector:
    if isinstance(selector, slice):
        return slice(selector.start + by, selector.stop + by, selector.step)
    return selector + by


def _with(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    """Return the tuple with another value at one place."""
    return (*values[:place], value, *values[place + 1 :])
