"""Which chunks are read back: the corners, so many more at random, or all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esgvzarr.proof.sample import choose

SHAPES = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4)), min_size=0, max_size=4)


Ends = tuple[tuple[int, int], ...]


def chosen(shape: list[int], chunks: list[int], **how: object) -> set[Ends]:
    """The first element of each box, and the one after the last, along each dimension."""
    wanted = {"samples": 0, "seed": "tas", **how}
    boxes = choose(shape, chunks, **wanted)  # type: ignore[arg-type]
    found = {tuple((part.start, part.stop) for part in box) for box in boxes}
    assert len(boxes) == len(found)
    return found


def starts(boxes: set[Ends]) -> set[tuple[int, ...]]:
    return {tuple(start for start, _ in box) for box in boxes}


@given(SHAPES)
def test_all_chunks_together_are_the_whole_variable(sizes: list[tuple[int, int]]) -> None:
    shape = [length for length, _ in sizes]
    chunks = [chunk for _, chunk in sizes]
    places: list[tuple[int, ...]] = []
    for box in chosen(shape, chunks, full=True):
        places += itertools.product(*(range(start, stop) for start, stop in box))
    assert sorted(places) == sorted(itertools.product(*map(range, shape)))


@given(SHAPES, st.integers(0, 5))
def test_chosen_chunks_are_some_of_all(sizes: list[tuple[int, int]], samples: int) -> None:
    shape = [length for length, _ in sizes]
    chunks = [chunk for _, chunk in sizes]
    assert chosen(shape, chunks, samples=samples) <= chosen(shape, chunks, full=True)


def test_without_samples_it_is_the_corners() -> None:
    assert starts(chosen([100], [10])) == {(0,), (90,)}
    assert starts(chosen([30, 20], [10, 10])) == {(0, 0), (0, 10), (20, 0), (20, 10)}
    assert len(chosen([9, 9, 9], [1, 1, 1])) == 8


def test_of_four_dimensions_it_is_the_first_and_the_last() -> None:
    assert starts(chosen([9] * 4, [1] * 4)) == {(0,) * 4, (8,) * 4}


def test_samples_are_chunks_besides_the_corners() -> None:
    """A thousand chunks, of which two are corners: sixteen others are read."""
    boxes = chosen([1000], [1], samples=16)
    assert {(0,), (999,)} < starts(boxes)
    assert 12 <= len(boxes) - 2 <= 16


def test_samples_reach_the_whole_variable() -> None:
    places = sorted(start for (start,) in starts(chosen([1000], [1], samples=64)))
    assert places[1] < 100
    assert places[-2] > 900
    assert max(b - a for a, b in itertools.pairwise(places)) < 150


def test_one_seed_gives_the_same_samples_and_another_gives_others() -> None:
    first = chosen([1000], [1], samples=16, seed="a")
    assert first == chosen([1000], [1], samples=16, seed="a")
    assert first != chosen([1000], [1], samples=16, seed="b")


@pytest.mark.parametrize("full", [True, False])
def test_a_scalar_is_one_box_and_nothing_is_none(full: bool) -> None:
    assert chosen([], [], full=full, samples=3) == {()}
    assert chosen([0, 5], [1, 5], full=full, samples=3) == set()


def test_the_last_chunk_ends_with_the_variable() -> None:
    assert ((90, 95),) in chosen([95], [10])
