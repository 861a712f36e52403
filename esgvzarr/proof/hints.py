"""Predict which bytes of a file will be read, so that they can be fetched first. Nothing else
depends on these predictions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from .. import cf
from ..formats.values import spans
from ..model import FileReferences, Variable
from .sample import Box


class Hints:
    """Where a scan, or the references, say that the values of one file lie."""

    def __init__(self, scanned: FileReferences) -> None:
        self._variables = scanned.variables
        self._numbers: dict[str, np.ndarray] = {}

    def beside_data(self) -> Iterator[tuple[int, int]]:
        """Return the (start, stop) of everything that is read whole: times, their bounds, and
        variables without time.
        """
        time = cf.time_name(self._variables)
        dates = (time, *cf.time_companions(self._variables, time)) if time else ()
        for name, variable in self._variables.items():
            if name in dates or time not in variable.dims:
                yield from spans(variable)

    def of_box(self, name: str, box: Box) -> Iterator[tuple[int, int]]:
        """Return the (start, stop) of the chunks that hold a box; of unfiltered chunks only the
        needed part.
        """
        variable = self._variables.get(name)
        if variable is None or not len(variable.chunks) or len(box) != len(variable.chunk_shape):
            return
        for key in keys_of_box(box, variable.chunk_shape):
            row = self._row(variable, key)
            if row is None:
                continue
            offset = int(variable.chunks.offsets[row])
            size = int(variable.chunks.sizes[row])
            first, last = (0, size) if variable.codecs else _part(variable, key, box)
            yield offset + first, offset + min(last, size)

    def _row(self, variable: Variable, key: tuple[int, ...]) -> int | None:
        """Return the row of the chunk with this key; chunks are in the order of the grid."""
        grid = tuple(
            -(-size // max(chunk, 1))
            for size, chunk in zip(variable.shape, variable.chunk_shape, strict=True)
        )
        if variable.name not in self._numbers:
            keys = tuple(variable.chunks.keys.T)
            numbers = np.ravel_multi_index(keys, grid) if keys else np.zeros(1, np.int64)
            self._numbers[variable.name] = np.asarray(numbers)
        numbers = self._numbers[variable.name]
        number = int(np.ravel_multi_index(key, grid)) if key else 0
        row = int(np.searchsorted(numbers, number))
        return row if row < len(numbers) and numbers[row] == number else None


def keys_of_box(box: Box, chunk_shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Return the indices in the chunk grid of the chunks that hold a box."""
    yield from itertools.product(
        *(
            range(part.start // max(chunk, 1), -(-part.stop // max(chunk, 1)))
            for part, chunk in zip(box, chunk_shape, strict=True)
        )
    )


def _part(variable: Variable, key: tuple[int, ...], box: Box) -> tuple[int, int]:
    """Return the (start, stop) within an unfiltered chunk, from the first to the last element of a
    box.
    """
    first = last = 0
    for place, part, chunk in zip(key, box, variable.chunk_shape, strict=True):
        begin = max(part.start - place * chunk, 0)
        end = min(part.stop - place * chunk, chunk) - 1
        first = first * chunk + begin
        last = last * chunk + end
    itemsize = variable.dtype.itemsize
    return first * itemsize, (last + 1) * itemsize
