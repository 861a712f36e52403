"""Files that have steps between the steps of another file, and share none: they are cut into
stretches without steps of other files, in time order (rule 36).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..model import Series
from .cutting import Part, chunk_length, steps_of

MOST_STRETCHES = 1000
"""The most stretches of all files together. Each takes time in the proof."""


def in_stretches(series: Series) -> Series | None:
    """Cut each file into its stretches, in time order.

    Returns:
        The series of stretches; None if some steps are in two files, or a stretch begins inside a
            compressed chunk.

    Args:
        series: in the order of first times; some times of one file lie between those of another.
    """
    if series.time is None:
        return None
    owners = np.repeat(np.arange(len(series.files)), [len(times) for times in series.times])
    times = np.concatenate(series.times)
    order = np.argsort(times, kind="stable")
    if (np.diff(times[order]) == 0).any():
        return None
    owners = owners[order]
    borders = np.flatnonzero(np.diff(owners)) + 1
    if len(borders) >= MOST_STRETCHES:
        return None
    stretches = _stretches(series, owners, [0, *borders.tolist()])
    if stretches is None:
        return None
    return replace(
        series,
        files=tuple(part.file for part in stretches),
        times=tuple(part.times for part in stretches),
    )


def _stretches(series: Series, owners: np.ndarray, begins: list[int]) -> list[Part] | None:
    """Return the stretches in time order; None if one begins inside a compressed chunk.

    Args:
        series: the files, which have a time.
        owners: (step,) number of the file, in time order.
        begins: the steps at which stretches begin.
    """
    time = str(series.time)
    parts = [Part(*one) for one in zip(series.files, series.times, strict=True)]
    lengths = [chunk_length(part, time) for part in parts]
    stretches = []
    for part, length, start, stop in _spans(parts, lengths, owners, begins):
        if start % length:
            return None
        stretch = steps_of(part, time, start, stop)
        whole = replace(stretch.file, repeated=part.file.repeated)
        stretches.append(replace(stretch, file=whole))
    return stretches


def _spans(
    parts: list[Part], lengths: list[int], owners: np.ndarray, begins: list[int]
) -> Iterator[tuple[Part, int, int, int]]:
    """Return each stretch in time order: its file, the length of that file's chunks, the first step
    and the step after the last.
    """
    taken = [0] * len(parts)
    for begin, end in zip(begins, [*begins[1:], len(owners)], strict=True):
        number = int(owners[begin])
        start = taken[number]
        taken[number] += end - begin
        yield parts[number], lengths[number], start, taken[number]
