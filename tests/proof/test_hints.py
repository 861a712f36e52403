"""Which bytes of a file are worth fetching for a box."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esgvzarr.model import ChunkTable, FileReferences, Variable
from esgvzarr.proof.hints import Hints, keys_of_box

from .in_memory import DAYS, FILE

DEFLATE = ({"id": "zlib", "level": 1},)


def stored(
    dims: str,
    shape: tuple[int, ...],
    chunk_shape: tuple[int, ...],
    keys: Iterable[tuple[int, ...]],
    **more: Any,
) -> Variable:
    """A variable whose chunks lie at 1000, 2000 and so on, and take a hundred bytes each."""
    rows = list(keys)
    places = np.array(rows, np.int64).reshape(len(rows), len(shape))
    offsets = 1000 * np.arange(1, len(places) + 1)
    chunks = ChunkTable(places, offsets, np.full(len(places), 100))
    named = {"name": "tas", "attrs": {}, "codecs": DEFLATE, **more}
    return Variable(
        dims=tuple(dims.split()),
        shape=shape,
        dtype=np.dtype("<f4"),
        fill_value=None,
        chunk_shape=chunk_shape,
        chunks=chunks,
        **named,
    )


def hints(*variables: Variable) -> Hints:
    known = {one.name: one for one in variables}
    return Hints(FileReferences(FILE, "hdf5", {}, {}, known, 10_000))


GRID = stored("time lat", (3, 5), (1, 2), [(0, 0), (0, 2), (1, 1), (2, 0), (2, 2)])
"""Three steps and five latitudes in chunks of one and two. Four chunks were never written."""


@pytest.mark.parametrize(
    ("box", "offsets"),
    [
        ((slice(0, 1), slice(0, 2)), [1000]),
        ((slice(0, 1), slice(0, 5)), [1000, 2000]),
        ((slice(0, 1), slice(2, 4)), []),
        ((slice(1, 2), slice(3, 4)), [3000]),
        ((slice(2, 3), slice(1, 5)), [4000, 5000]),
        ((slice(0, 3), slice(4, 5)), [2000, 5000]),
        ((slice(0, 3), slice(0, 5)), [1000, 2000, 3000, 4000, 5000]),
    ],
)
def test_the_chunks_that_hold_a_box_are_fetched_whole(
    box: tuple[slice, ...], offsets: list[int]
) -> None:
    assert list(hints(GRID).of_box("tas", box)) == [(start, start + 100) for start in offsets]


def test_of_what_is_not_compressed_the_part_that_holds_the_box_is_fetched() -> None:
    """Chunks of five latitudes and five longitudes, each of four bytes."""
    plain = stored("lat lon", (8, 5), (5, 5), [(0, 0), (1, 0)], codecs=())
    known = hints(plain)
    assert list(known.of_box("tas", (slice(0, 1), slice(0, 1)))) == [(1000, 1004)]
    assert list(known.of_box("tas", (slice(1, 3), slice(2, 4)))) == [(1028, 1056)]
    assert list(known.of_box("tas", (slice(4, 6), slice(0, 5)))) == [(1080, 1100), (2000, 2020)]
    assert list(known.of_box("tas", (slice(0, 5), slice(0, 5)))) == [(1000, 1100)]


def test_a_chunk_behind_the_last_that_was_written_is_not_fetched() -> None:
    begun = stored("time lat", (3, 5), (1, 2), [(0, 0), (0, 1)])
    whole = (slice(0, 3), slice(0, 5))
    assert list(hints(begun).of_box("tas", whole)) == [(1000, 1100), (2000, 2100)]


def test_no_more_is_fetched_than_is_stored() -> None:
    """The file was cut off within the chunk."""
    plain = stored("lat lon", (5, 6), (5, 6), [(0, 0)], codecs=())
    assert list(hints(plain).of_box("tas", (slice(0, 5), slice(0, 6)))) == [(1000, 1100)]


def test_a_scalar_is_one_chunk() -> None:
    scalar = stored("", (), (), [()])
    assert list(hints(scalar).of_box("tas", ())) == [(1000, 1100)]


def test_of_what_a_scan_did_not_find_nothing_is_fetched() -> None:
    whole = (slice(0, 3), slice(0, 5))
    empty = stored("time lat", (3, 5), (1, 2), [])
    assert list(hints(GRID).of_box("pr", whole)) == []
    assert list(hints(empty).of_box("tas", whole)) == []
    assert list(hints(GRID).of_box("tas", (slice(0, 3),))) == []


def test_all_that_is_no_data_is_fetched_beforehand() -> None:
    time = stored("time", (3,), (3,), [(0,)], name="time", attrs={**DAYS, "bounds": "edges"})
    edges = stored("time nv", (3, 2), (3, 2), [(0, 0)], name="edges")
    lat = stored("lat", (5,), (5,), [(0,)], name="lat")
    edges = replace(edges, chunks=replace(edges.chunks, offsets=np.array([8000])))
    found = sorted(hints(GRID, time, edges, lat).beside_data())
    assert found == [(1000, 1100), (1000, 1100), (8000, 8100)]


@pytest.mark.parametrize(
    ("box", "keys"),
    [
        ((slice(0, 4),), [(0,)]),
        ((slice(3, 5),), [(0,), (1,)]),
        ((slice(4, 8),), [(1,)]),
        ((slice(4, 9),), [(1,), (2,)]),
        ((), [()]),
    ],
)
def test_places_in_the_grid_of_what_holds_a_box(
    box: tuple[slice, ...], keys: list[tuple[int, ...]]
) -> None:
    assert list(keys_of_box(box, (4,) * len(box))) == keys
