"""Which files form one grid of chunks, and how long its chunks are in time.

A run is a stretch of files that one Zarr array can show: equal type, filters, packing and chunks, and every file but the last ends
where a chunk ends. Uncompressed chunks can be cut, so their common divisor serves; compressed ones cannot. Where a run ends, a new
segment begins (rules 2, 3, 7, 8 and 9).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..model import Series, Variable

MOST_PIECES = 200_000
"""Chunks per variable up to which uncompressed data are cut to a common divisor; beyond, segments are the lesser evil."""
_PACKING = ("scale_factor", "add_offset", "missing_value", "_Unsigned")


@dataclass(frozen=True, slots=True)
class Run:
    """Positions in the series of files that form one grid, and for each variable the length of its chunks along time."""

    files: tuple[int, ...]
    steps: Mapping[str, int]


def split(series: Series, inlined: Iterable[str]) -> list[Run]:
    """The fewest runs, in time order. ``inlined`` variables have no grid, only a type and packing."""
    if series.time is None:
        return [Run(tuple(range(len(series.files))), {})]
    inline = set(inlined)
    moving = [name for name, variable in series.files[0].variables.items() if series.time in variable.dims]
    rebased = _time_names(series, inline)
    runs: list[Run] = []
    current: list[int] = []
    steps: dict[str, int] = {}
    for number in range(len(series.files)):
        grown = _steps(series, [*current, number], moving, inline, rebased)
        if grown is None:
            runs.append(Run(tuple(current), steps))
            current, grown = [], _steps(series, [number], moving, inline, rebased)
        current, steps = [*current, number], grown or {}
    return [*runs, Run(tuple(current), steps)]


def _time_names(series: Series, inline: set[str]) -> set[str]:
    """Time, and its inlined companions: their types are brought into line, so a difference is none."""
    time = series.time or ""
    attrs = series.files[0].variables[time].attrs
    return ({time} | {str(attrs.get("bounds")), str(attrs.get("climatology"))}) & inline


def _steps(series: Series, numbers: Sequence[int], names: Sequence[str], inline: set[str], rebased: set[str]) -> dict[str, int] | None:
    """Chunk lengths along time for a run of these files; None if they form no run."""
    steps = {}
    for name in names:
        variables = [series.files[number].variables[name] for number in numbers]
        if name in rebased:
            continue
        if len({_kind(variable, series.time or "", name in inline) for variable in variables}) > 1:
            return None
        if name not in inline:
            step = _step(variables, variables[0].dims.index(series.time or ""))
            if step is None:
                return None
            steps[name] = step
    return steps


def _step(variables: Sequence[Variable], axis: int) -> int | None:
    """The chunk length along ``axis`` that suits all, or None."""
    lengths, stored = [v.shape[axis] for v in variables], [v.chunk_shape[axis] for v in variables]
    if len(variables) == 1:
        return stored[0]
    if all(can_cut(variable, axis) for variable in variables):
        step = math.gcd(*lengths, *stored)
        others = math.prod(-(-n // c) for n, c in zip(_without(variables[0].shape, axis), _without(variables[0].chunk_shape, axis), strict=True))
        return step if step and sum(lengths) // step * others <= MOST_PIECES else None
    aligned = len(set(stored)) == 1 and all(length % stored[0] == 0 for length in lengths[:-1])
    return stored[0] if aligned else None


def can_cut(variable: Variable, axis: int) -> bool:
    """Whether chunks can be cut along ``axis``: no filters, and nothing varies more slowly."""
    return not variable.codecs and not variable.inline and all(size == 1 for size in variable.chunk_shape[:axis])


def _kind(variable: Variable, time: str, inline: bool) -> Hashable:
    """What has to be equal for one Zarr array. The level of a compressor is of no concern to readers."""
    packing = (_bits(variable.fill_value), *(_bits(variable.attrs.get(name)) for name in _PACKING))
    if inline:
        return (variable.dtype.str, packing)
    codecs = tuple(tuple(sorted((k, v) for k, v in codec.items() if k != "level")) for codec in variable.codecs)
    return (variable.dtype.str, packing, codecs, _without(variable.chunk_shape, variable.dims.index(time)))


def _bits(value: object) -> Hashable:
    """Equal for equal numbers of equal type, NaN included."""
    return None if value is None else (str(np.asarray(value).dtype), np.asarray(value).tobytes())


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]
