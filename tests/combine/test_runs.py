"""Which files are one array: the grids of their chunks, one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from esgvzarr.combine.runs import Border, _Grid, _grow, split
from esgvzarr.model import FileReferences

from .in_memory import DAYS, file, series, variable


@pytest.mark.parametrize(
    ("before", "here", "step"),
    [
        ((4, 8, False), (4, 3, False), 4),  # the first ends where a chunk ends
        ((4, 8, False), (2, 4, False), None),  # chunks of another length
        ((4, 6, False), (4, 4, False), None),  # the first ends inside of a chunk
        ((4, 6, True), (2, 4, True), 2),  # both can be cut
        ((4, 8, True), (4, 4, False), 4),
    ],
)
def test_grids_are_one_where_chunks_are_equally_long_and_begin_where_files_do(
    before: tuple[int, int, bool], here: tuple[int, int, bool], step: int | None
) -> None:
    first, second = (
        _Grid("kind", step_, length, 1, can_cut=can_cut)
        for step_, length, can_cut in (before, here)
    )
    grown = _grow(first, second)
    assert (grown.step if grown else None) == step
    assert grown is None or grown.length == first.length + second.length


def data(number: int, *variables: tuple[str, str]) -> FileReferences:
    """A file of two steps, with variables of some types."""
    time = variable("time", "time", np.arange(2.0) + 2 * number, **DAYS)
    made = [variable(name, "time", np.zeros(2, kind), units="K") for name, kind in variables]
    return file(time, *made, number=number)


def test_each_variable_for_which_a_run_ends_is_told() -> None:
    files = [
        data(0, ("tas", "f4"), ("pr", "f4")),
        data(1, ("tas", "f4"), ("pr", "f4")),
        data(2, ("tas", "f8"), ("pr", "f8")),
        data(3, ("tas", "f8"), ("pr", "f4")),
    ]
    found: list[Border] = []
    runs = split(series(*files, time="time"), {"time"}, found.append)
    assert [run.files for run in runs] == [(0, 1), (2,), (3,)]
    assert [(border.file, border.variable) for border in found] == [
        (2, "tas"),
        (2, "pr"),
        (3, "pr"),
    ]
    assert all(border.difference for border in found)
    assert split(series(*files, time="time"), {"time"}) == runs


def test_without_time_all_files_are_one_run() -> None:
    fixed = [file(variable("lat", "lat", [1.0]), number=number) for number in range(2)]
    assert [run.files for run in split(series(*fixed), set())] == [(0, 1)]
