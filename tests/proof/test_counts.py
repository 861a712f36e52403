"""Whether all chunks of a file are in the references, by numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr.proof.counts import Counts, judge

STEPS = 12
CHUNK = 2 * 4 * 4
"""Bytes of a chunk of 2 steps, 4 latitudes and 4 bytes."""


def passes(shared: int = 0, **stated: Any) -> bool:
    """Whether six chunks of two steps are all stated, where other files hold the last ``shared``
    steps too.
    """
    known: dict[str, Any] = {
        "url": "https://node.example/tas.nc",
        "subject": "tas in tas.nc",
        "found": 6,
        "size": 6 * CHUNK,
        "inline": 0,
        "copied": 0,
        "shape": (STEPS, 4),
        "chunk_shape": (2, 4),
        "axis": 0,
        "itemsize": 4,
        "stored": (6, 6 * CHUNK, True),
    }
    mask = np.arange(STEPS) >= STEPS - shared
    (check,) = judge(Counts(**{**known, **stated}), mask)
    return check.passed


@pytest.mark.parametrize(
    ("found", "inline", "shared", "right"),
    [
        (6, 0, 0, True),
        (5, 0, 0, False),  # one is lost
        (7, 0, 0, False),  # one is not the file's
        (5, 1, 0, True),  # the output holds it
        (4, 1, 0, False),
        (5, 0, 1, True),  # another file is stated for it
        (5, 0, 2, True),
        (4, 0, 2, False),
        (4, 0, 3, True),  # three steps lie in two chunks
        (3, 1, 3, True),
        (3, 0, 3, False),
        (7, 0, 3, False),
    ],
)
def test_chunks_that_are_stated_are_those_of_the_file(
    found: int, inline: int, shared: int, right: bool
) -> None:
    assert passes(shared, found=found, inline=inline) == right


def test_steps_that_are_shared_are_in_each_chunk_beside_time() -> None:
    two = {"chunk_shape": (2, 2), "stored": (12, 6 * CHUNK, True)}
    assert passes(1, found=10, **two)
    assert not passes(1, found=9, **two)
    assert passes(1, found=10, **two, axis=0)
    assert not passes(1, found=10, **two, axis=None)


@pytest.mark.parametrize(
    ("size", "copied", "shared", "right"),
    [
        (6 * CHUNK, 0, 0, True),
        (6 * CHUNK - 1, 0, 0, False),
        (6 * CHUNK + 1, 0, 0, False),
        (5 * CHUNK, CHUNK, 0, True),
        (5 * CHUNK, CHUNK - 1, 0, False),
        (5 * CHUNK, 0, 2, True),
        (5 * CHUNK - 1, 0, 2, False),
    ],
)
def test_of_chunks_that_were_cut_all_bytes_are_stated(
    size: int, copied: int, shared: int, right: bool
) -> None:
    """Chunks that are not compressed are referred to by pieces, which are more than the chunks."""
    cut = {"found": 12, "size": size, "copied": copied}
    assert passes(shared, **cut, stored=(6, 6 * CHUNK, False)) == right
    assert not passes(shared, **cut, stored=(6, 6 * CHUNK, True))


@pytest.mark.parametrize(
    ("size", "shared", "right"),
    [
        (6 * CHUNK, 0, True),
        (6 * CHUNK - 1, 0, False),
        (6 * CHUNK + 1, 0, False),
        (5 * CHUNK, 2, True),
        (6 * CHUNK - 1, 2, True),
        (6 * CHUNK, 2, True),
        (5 * CHUNK - 1, 2, False),
        (6 * CHUNK + 1, 2, False),
    ],
)
def test_of_netcdf_3_all_bytes_are_stated(size: int, shared: int, right: bool) -> None:
    """libhdf5 does not count its chunks: how many bytes there are follows from the shape."""
    assert passes(shared, size=size, stored=None) == right


def test_of_what_is_wholly_in_the_output_nothing_is_counted() -> None:
    counts = Counts("u", "s", 0, 0, 6, 6 * CHUNK, (STEPS, 4), (2, 4), 0, 4, (6, 6 * CHUNK, True))
    assert list(judge(counts, np.zeros(STEPS, bool))) == []
