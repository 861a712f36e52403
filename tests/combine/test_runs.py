"""Which files are one array: the grids of their chunks, one after the other."""

from __future__ import annotations

import pytest

from esgvzarr.combine.runs import _Grid, _grow


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
