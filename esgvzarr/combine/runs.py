"""Find which files form one grid of chunks, and how long its chunks are in time.

A run is a stretch of files that one Zarr array can show: type, filters, packing and chunks are
equal, and every file but the last ends where a chunk ends. Uncompressed chunks can be cut to their
common divisor; compressed chunks cannot. Where a run ends, a new segment begins (rules 2, 3, 7, 8
and 9).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Array, Series, Variable

MOST_PIECES = 200_000
"""The most chunks of a variable that result from cutting uncompressed data to a common divisor;
with more chunks, segments are better.
"""
_LEVELS = ("level", "clevel")
"""Parameters of compressors that readers do not need."""
_PACKING = ("scale_factor", "add_offset", "missing_value", "_Unsigned")


@dataclass(frozen=True, slots=True)
class Run:
    """Positions in the series of files that form one grid, and for each variable the length of its
    chunks along time.
    """

    files: tuple[int, ...]
    steps: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Border:
    """The reason why a file does not continue the grid of the files before it."""

    file: int
    """Position in the series of the first file after the border."""
    variable: str
    difference: str


def split(
    series: Series,
    inlined: Iterable[str],
    on_border: Callable[[Border], None] | None = None,
) -> list[Run]:
    """Split a series into the fewest runs, in time order.

    Args:
        series: the files.
        inlined: variables that have no grid, only a type and packing.
        on_border: is called with the reason why a run ends, for each variable.
    """
    if series.time is None:
        return [Run(tuple(range(len(series.files))), {})]
    inline = set(inlined)
    names = _gridded(series, inline)
    runs: list[Run] = []
    current: list[int] = []
    grids: dict[str, _Grid] = {}
    for number, file in enumerate(series.files):
        begun = {
            name: _begin(file.variables[name], series.time, inline=name in inline) for name in names
        }
        joined = _grown(grids, begun) if current else begun
        if len(joined) < len(names):
            if on_border is not None:
                for name in (name for name in names if name not in joined):
                    on_border(Border(number, name, _difference(grids[name], begun[name])))
            runs.append(_run(current, grids, inline))
            current = []
            joined = begun
        current = [*current, number]
        grids = joined
    return [*runs, _run(current, grids, inline)]


def _gridded(series: Series, inline: set[str]) -> list[str]:
    """Return the variables along time that must fit together. Dates that the references hold need
    not: they are rebased, and their types may differ.
    """
    dates = set(series.dates) & inline
    variables = series.files[0].variables.items()
    return [name for name, one in variables if series.time in one.dims and name not in dates]


def _grown(grids: Mapping[str, _Grid], begun: Mapping[str, _Grid]) -> dict[str, _Grid]:
    """Return the grids of a run with one more file; variables that do not fit are left out."""
    grown = {}
    for name, grid in begun.items():
        longer = _grow(grids[name], grid)
        if longer is not None:
            grown[name] = longer
    return grown


def _run(files: Sequence[int], grids: Mapping[str, _Grid], inline: set[str]) -> Run:
    return Run(
        tuple(files), {name: grid.step for name, grid in grids.items() if name not in inline}
    )


@dataclass(frozen=True, slots=True)
class _Grid:
    """The chunks of one variable along time, over the files of a run so far."""

    kind: Hashable
    step: int
    """Chunk length that suits all files."""
    length: int
    """Number of time steps."""
    others: int
    """Number of chunks at one time."""
    can_cut: bool


def _begin(variable: Variable, time: str, *, inline: bool) -> _Grid:
    """Return the grid of one file alone."""
    axis = variable.dims.index(time)
    kind = _kind(variable, time, inline=inline)
    length = variable.shape[axis]
    if inline:
        return _Grid(kind, 1, length, 0, can_cut=True)
    sizes = zip(_without(variable.shape, axis), _without(variable.chunk_shape, axis), strict=True)
    others = math.prod(-(-size // max(chunk, 1)) for size, chunk in sizes)
    return _Grid(kind, variable.chunk_shape[axis], length, others, can_cut(variable, axis))


def _grow(grid: _Grid, added: _Grid) -> _Grid | None:
    """Return the grid with another file after it; None if the two form no grid."""
    length = grid.length + added.length
    if grid.kind != added.kind:
        return None
    if grid.can_cut and added.can_cut:
        step = math.gcd(grid.step, grid.length, added.step, added.length)
        return (
            _Grid(grid.kind, step, length, grid.others, can_cut=True)
            if length // step * grid.others <= MOST_PIECES
            else None
        )
    aligned = grid.step == added.step and grid.length % grid.step == 0
    return _Grid(grid.kind, grid.step, length, grid.others, can_cut=False) if aligned else None


def _difference(before: _Grid, here: _Grid) -> str:
    """Describe why two grids do not form one."""
    if before.kind != here.kind:
        return "its type, packing, filters or chunks differ from those of the files before"
    if before.step != here.step:
        return f"chunks of {here.step} time steps follow chunks of {before.step}"
    rest = before.length % before.step
    return (
        f"the files before end inside a chunk: {rest} of {before.step} time steps, in a "
        "compressed chunk of full size"
    )


def can_cut(variable: Variable, axis: int) -> bool:
    """Whether chunks can be cut along ``axis``: they have no filters, and no earlier dimension has
    more than one element.
    """
    return (
        not variable.codecs
        and not variable.inline
        and all(size == 1 for size in variable.chunk_shape[:axis])
    )


def _kind(variable: Variable, time: str, *, inline: bool) -> Hashable:
    """Return the properties that must be equal in one Zarr array. The compression level is not
    among them.
    """
    if inline:
        return (variable.dtype.str, packing(variable))
    codecs = tuple(map(_codec_key, variable.codecs))
    return (
        variable.dtype.str,
        packing(variable),
        codecs,
        _without(variable.chunk_shape, variable.dims.index(time)),
    )


def packing(variable: Variable | Array) -> Hashable:
    """Return how stored numbers become values, and which of them are missing. Two results are equal
    if they mean the same, bit for bit.
    """
    return (_bits(variable.fill_value), *(_bits(variable.attrs.get(name)) for name in _PACKING))


def _bits(value: object) -> Hashable:
    """Return a key that is equal for equal numbers of equal type, NaN included."""
    return None if value is None else (str(np.asarray(value).dtype), np.asarray(value).tobytes())


def _codec_key(codec: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the parameters of a codec that readers need: the compression level is not among
    them.
    """
    return tuple(sorted((key, value) for key, value in codec.items() if key not in _LEVELS))


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
