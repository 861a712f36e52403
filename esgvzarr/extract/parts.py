"""Read the selected numbers in parts, which are kept on disk until all are read.

A part is one file beside the result, written whole or not at all, so that a repeated run continues
an interrupted one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .selection import Selection, runs_of

if TYPE_CHECKING:
    import xarray

PART_BYTES = 32 * 2**20
"""The most decoded bytes of a part, unless one stored chunk has more."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some steps of one variable along its first dimension."""

    variable: str
    start: int
    """First step, counted in the result."""
    stop: int

    @property
    def file_name(self) -> str:
        """Name of the file that holds it."""
        return f"{self.variable}-{self.start:09}.npy"


def shape_of(variable: xarray.Variable, selection: Selection) -> tuple[int, ...]:
    """Return the lengths of the dimensions in the result."""
    lengths = []
    for dimension, length in zip(variable.dims, variable.shape, strict=True):
        chosen = selection.indices.get(str(dimension))
        lengths.append(length if chosen is None else len(chosen))
    return tuple(lengths)


def parts_of(name: str, variable: xarray.Variable, selection: Selection) -> Iterator[Part]:
    """Yield the parts of a variable. They end where its stored chunks end."""
    shape = shape_of(variable, selection)
    if not shape:
        yield Part(name, 0, 1)
        return
    step_bytes = int(np.prod(shape[1:], dtype=np.int64)) * max(variable.dtype.itemsize, 1)
    most = max(1, PART_BYTES // max(step_bytes, 1))
    ends = _chunk_ends(variable, selection)
    start = 0
    while start < shape[0]:
        reached = ends[(ends > start) & (ends <= start + most)]
        stop = int(reached[-1]) if reached.size else int(ends[ends > start][0])
        yield Part(name, start, stop)
        start = stop


def _chunk_ends(variable: xarray.Variable, selection: Selection) -> np.ndarray:
    """Return the steps of the result at which stored chunks end, including the last one."""
    dimension = str(variable.dims[0])
    chosen = selection.indices.get(dimension)
    indices = np.arange(variable.shape[0]) if chosen is None else chosen
    lengths = variable.encoding.get("preferred_chunks", {}).get(dimension, 1)
    if isinstance(lengths, int):
        numbers = indices // lengths
    else:
        numbers = np.searchsorted(np.cumsum(lengths), indices, side="right")
    changes = np.flatnonzero(np.diff(numbers)) + 1
    return np.append(changes, len(indices))


def read_part(variable: xarray.Variable, selection: Selection, part: Part) -> np.ndarray:
    """Read the numbers of a part. Only the chunks that hold them are fetched."""
    runs = []
    for axis, (dimension, length) in enumerate(zip(variable.dims, variable.shape, strict=True)):
        chosen = selection.indices.get(str(dimension))
        indices = np.arange(length) if chosen is None else chosen
        if axis == 0:
            indices = indices[part.start : part.stop]
        runs.append(list(runs_of(indices)))
    if not runs:
        return np.asarray(variable.values)
    return _read_runs(variable, runs)


def _read_runs(variable: xarray.Variable, runs: list[list[slice]]) -> np.ndarray:
    """Read each combination of runs, and concatenate the pieces."""
    lengths = []
    places = []
    for along in runs:
        start = 0
        placed = []
        for run in along:
            stop = start + run.stop - run.start
            placed.append((run, slice(start, stop)))
            start = stop
        places.append(placed)
        lengths.append(start)
    result = np.empty(lengths, variable.dtype)
    for combination in product(*places):
        source = tuple(run for run, _ in combination)
        target = tuple(place for _, place in combination)
        result[target] = variable[source].values
    return result


class PartStore:
    """The directory of parts beside a result.

    Args:
        out: path of the result.
        meaning: what is extracted. Parts that were kept for another extraction are deleted.
    """

    def __init__(self, out: Path, meaning: Mapping[str, object]) -> None:
        self.directory = out.with_name(f".{out.name}.parts")
        text = json.dumps(meaning, sort_keys=True)
        self._mark = hashlib.sha256(text.encode()).hexdigest()
        marker = self.directory / "meaning"
        if not marker.exists() or marker.read_text() != self._mark:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(parents=True)
            marker.write_text(self._mark)

    def has(self, part: Part) -> bool:
        """Whether an earlier run kept the part."""
        return (self.directory / part.file_name).exists()

    def keep(self, part: Part, values: np.ndarray) -> None:
        """Write a part, whole or not at all."""
        path = self.directory / part.file_name
        staged = path.with_suffix(".new")
        with staged.open("wb") as file:
            np.save(file, values.astype("U") if values.dtype.kind == "O" else values)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)

    def load(self, part: Part) -> np.ndarray:
        """Return the numbers, or texts, of a kept part; pickled data, which another program may
        have left, are refused.
        """
        loaded: np.ndarray = np.load(self.directory / part.file_name, allow_pickle=False)
        return loaded.astype(object) if loaded.dtype.kind == "U" else loaded

    def remove(self) -> None:
        """Delete the directory and all parts."""
        shutil.rmtree(self.directory)
