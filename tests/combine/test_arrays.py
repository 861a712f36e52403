"""One variable of many files as one array."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esgvzarr.combine import arrays
from esgvzarr.combine.arrays import referenced_array
from esgvzarr.errors import FormatError
from esgvzarr.model import ChunkTable, FileReferences, Variable

from .in_memory import file, variable

DEFLATE = ({"id": "zlib", "level": 1},)


def stored(steps: int, *, inline: tuple[int, ...] = (), **changes: Any) -> Variable:
    """Two steps in each chunk of four numbers; some chunks are held in the references."""
    rows = [row for row in range(-(-steps // 2)) if row not in inline]
    count = len(rows)
    keys = np.array([(row, 0) for row in rows], np.int64).reshape(count, 2)
    chunks = ChunkTable(keys, 1000 + 100 * np.array(rows, np.int64), np.full(count, 100))
    held = {(row, 0): b"held %d" % row for row in inline}
    made = variable("tas", "time x", np.zeros((steps, 2), "f4"))
    facts = {"chunk_shape": (2, 2), "codecs": DEFLATE, "chunks": chunks, "inline": held}
    return replace(made, values=None, **{**facts, **changes})


def joined(*variables: Variable, step: int | None = 2) -> Any:
    parts: list[tuple[int, FileReferences, Variable]] = []
    for number, one in enumerate(variables):
        parts.append((number, file(one, number=number), one))
    return referenced_array(parts, 0, step, {})


def test_the_chunks_of_files_follow_each_other() -> None:
    array = joined(stored(4), stored(6), stored(3))
    assert array.shape == (13, 2)
    assert array.chunks.keys[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert array.file_index.tolist() == [0, 0, 1, 1, 1, 2, 2]
    assert array.chunks.offsets.tolist() == [1000, 1100, 1000, 1100, 1200, 1000, 1100]


def test_chunks_that_are_held_stand_where_their_file_begins() -> None:
    array = joined(stored(4, inline=(1,)), stored(6, inline=(0, 2)))
    assert array.inline == {(1, 0): b"held 1", (2, 0): b"held 0", (4, 0): b"held 2"}
    assert array.chunks.keys[:, 0].tolist() == [0, 3]


def test_chunks_that_were_never_written_are_written_out_where_no_fill_value_says_so() -> None:
    part = stored(6)
    table = part.chunks
    holes = ChunkTable(table.keys[1:2], table.offsets[1:2], table.sizes[1:2])
    array = joined(stored(4), replace(part, chunks=holes, unwritten=9.0))
    filled = zlib.compress(np.full((2, 2), 9, "f4").tobytes(), 1)
    assert array.inline == {(2, 0): filled, (4, 0): filled}
    told = replace(part, chunks=holes, unwritten=9.0, fill_value=np.float32(9))
    assert joined(stored(4), told).inline == {}
    other = replace(part, chunks=holes, unwritten=9.0, fill_value=np.float32(8))
    assert joined(stored(4), other).inline == array.inline


def test_too_much_that_was_never_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks of 16 bytes may be written out, and not one byte more."""
    none = ChunkTable(np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    empty = stored(4, codecs=(), chunks=none)
    monkeypatch.setattr(arrays, "_MOST_FILL", 32)
    assert joined(empty).inline == {(0, 0): bytes(16), (1, 0): bytes(16)}
    monkeypatch.setattr(arrays, "_MOST_FILL", 31)
    with pytest.raises(FormatError) as caught:
        joined(empty)
    assert caught.value.code == "file-unwritten"


def test_uncompressed_chunks_are_cut_to_the_step_that_suits_all_files() -> None:
    whole = stored(4, codecs=(), chunk_shape=(4, 2))
    table = ChunkTable(np.zeros((1, 2), np.int64), np.array([1000]), np.array([32]))
    array = joined(replace(whole, chunks=table), replace(whole, chunks=table), step=2)
    assert array.chunk_shape == (2, 2)
    assert array.chunks.offsets.tolist() == [1000, 1016, 1000, 1016]
    assert array.chunks.sizes.tolist() == [16] * 4
