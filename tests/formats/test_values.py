"""Values of small variables, put together from their chunks."""

from __future__ import annotations

import numpy as np
import pytest

from esgvzarr.errors import FormatError
from esgvzarr.formats.content import SparseContent
from esgvzarr.formats.values import fill_in, spans
from esgvzarr.model import ChunkTable, FileRecord, FileReferences, Variable
from esgvzarr.transport import COALESCE_GAP

STEPS = 1000
VALUES = np.arange(2.0 * STEPS).reshape(STEPS, 2)
FAR = 4 * COALESCE_GAP


def stored_step_by_step(sizes: int = 16) -> tuple[FileReferences, SparseContent]:
    """Chunks of one step each, in two far parts of the file, not in the order of time."""
    order = np.random.default_rng(3).permutation(STEPS)
    places = 100 + 24 * np.argsort(order)
    offsets = np.where(order % 2 == 0, places, places + FAR)
    data = bytearray(int(offsets.max()) + 16)
    for value, offset in zip(VALUES, offsets.tolist(), strict=True):
        data[offset : offset + 16] = value.tobytes()
    keys = np.column_stack([np.arange(STEPS), np.zeros(STEPS, np.int64)])
    variable = Variable(
        name="time_bnds",
        dims=("time", "bnds"),
        shape=VALUES.shape,
        dtype=VALUES.dtype,
        attrs={},
        fill_value=None,
        chunk_shape=(1, 2),
        codecs=(),
        chunks=ChunkTable(keys, offsets, np.full(STEPS, sizes, np.int64)),
    )
    dims = {"time": STEPS, "bnds": 2}
    file = FileRecord("a.nc", "a.nc")
    content = SparseContent(len(data), bytes(data))
    return FileReferences(file, "hdf5", dims, {}, {"time_bnds": variable}, len(data)), content


def test_chunks_in_several_parts_of_a_file_come_in_the_order_of_time() -> None:
    file, content = stored_step_by_step()
    assert len(spans(file.variables["time_bnds"])) > 1
    filled = fill_in(file, ["time_bnds"], content).variables["time_bnds"]
    assert np.array_equal(np.asarray(filled.values), VALUES)


def test_chunks_of_another_size_than_their_shape_are_refused() -> None:
    file, content = stored_step_by_step(sizes=15)
    with pytest.raises(FormatError) as caught:
        fill_in(file, ["time_bnds"], content)
    assert caught.value.code == "file-unreadable"
