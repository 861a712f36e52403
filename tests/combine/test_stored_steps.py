"""The chunks that hold a part of a variable, and where the part is in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esgvzarr.combine import stored_steps
from esgvzarr.combine.stored_steps import StoredSteps, _boxes, _by_step
from esgvzarr.model import ChunkTable, Variable

from .in_memory import file, variable


def stored(*, begin: int = 0, values: Any = None, inline: Any = None) -> StoredSteps:
    """Eight steps and six columns, in chunks of two and four."""
    keys = np.array([(row, column) for row in range(4) for column in range(2)], np.int64)
    held = dict(inline or {})
    keys = np.array([key for key in keys.tolist() if tuple(key) not in held], np.int64)
    chunks = ChunkTable(keys, np.arange(len(keys)) * 100, np.full(len(keys), 100))
    made: Variable = variable("tas", "time x", np.zeros((8, 6), "f4"))
    codecs = ({"id": "zlib", "level": 1},)
    one = replace(
        made, chunk_shape=(2, 4), codecs=codecs, chunks=chunks, inline=held, values=values
    )
    return StoredSteps(one, 0, begin, file(one))


@pytest.mark.parametrize(
    ("begin", "box", "keys", "shape", "within"),
    [
        (0, ((0, 2), (0, 4)), [[0, 0]], (2, 4), ((0, 2), (0, 4))),
        (0, ((1, 3), (3, 5)), [[0, 0], [0, 1], [1, 0], [1, 1]], (4, 6), ((1, 3), (3, 5))),
        (4, ((1, 3), (4, 6)), [[0, 0], [1, 0]], (4, 2), ((1, 3), (0, 2))),
        (7, ((0, 1), (0, 6)), [[0, 0], [0, 1]], (2, 6), ((1, 2), (0, 6))),
    ],
)
def test_the_chunks_that_hold_a_box_are_a_variable_of_their_own(
    begin: int, box: Any, keys: Any, shape: Any, within: Any
) -> None:
    own, place = stored(begin=begin).chunks_of(tuple(slice(*ends) for ends in box))
    assert own.chunks.keys.tolist() == keys
    assert own.shape == shape
    assert place == tuple(slice(*ends) for ends in within)


def test_chunks_that_are_held_are_taken_with_the_others() -> None:
    held = {(0, 0): b"a", (2, 1): b"b", (3, 0): b"c"}
    own, _ = stored(inline=held).chunks_of((slice(4, 8), slice(0, 6)))
    assert own.inline == {(0, 1): b"b", (1, 0): b"c"}
    assert own.chunks.keys.tolist() == [[0, 0], [1, 1]]
    own, _ = stored(inline=held).chunks_of((slice(0, 2), slice(0, 6)))
    assert own.inline == {(0, 0): b"a"}


def test_values_that_were_read_are_taken_at_their_steps() -> None:
    values = np.arange(48, dtype="f4").reshape(8, 6)
    own, place = stored(begin=3, values=values).chunks_of((slice(1, 3), slice(2, 4)))
    assert own.values is not None
    assert own.values[place].tolist() == values[4:6, 2:4].tolist()


def test_boxes_are_all_steps_and_columns_in_the_order_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_steps, "_AT_ONCE", 2 * 4 * 4)
    boxes = [
        tuple((part.start, part.stop) for part in box) for box in _boxes(stored(), stored(), 5)
    ]
    assert boxes == [
        ((first, min(first + 2, 5)), columns) for first in (0, 2, 4) for columns in ((0, 4), (4, 6))
    ]


def test_numbers_are_compared_as_bytes_whatever_their_order() -> None:
    values = np.arange(6, dtype=">f4").reshape(2, 3)
    assert np.array_equal(_by_step(values, 0), _by_step(values.astype("<f4"), 0))
    assert np.array_equal(_by_step(values.T, 1), _by_step(values, 0))
    nan = np.full((1, 1), np.nan, "f4")
    assert np.array_equal(_by_step(nan, 0), _by_step(nan.copy(), 0))
    assert not np.array_equal(_by_step(np.zeros((1, 1)), 0), _by_step(-np.zeros((1, 1)), 0))
