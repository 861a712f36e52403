"""A file as if it had only some of its steps."""

from __future__ import annotations

import numpy as np

from esgvzarr.combine.cutting import Part, steps_of
from esgvzarr.model import ChunkTable, FileRecord, FileReferences, Variable


def test_chunks_inside_of_the_steps_are_kept_and_counted_anew_also_those_that_are_held() -> None:
    keys = np.array([[0, 0], [2, 0]])
    variable = Variable(
        "tas",
        ("time", "x"),
        (8, 1),
        np.dtype("f4"),
        {},
        None,
        (2, 1),
        ({"id": "zlib", "level": 1},),
        ChunkTable(keys, np.array([100, 300]), np.array([7, 9])),
        {(1, 0): b"one", (3, 0): b"three"},
    )
    file = FileReferences(
        FileRecord("a.nc", "/a.nc"), "hdf5", {"time": 8, "x": 1}, {}, {"tas": variable}, 1000
    )
    part = steps_of(Part(file, np.arange(8)), "time", 2, 6)
    cut = part.file.variables["tas"]
    assert (cut.shape, cut.chunk_shape) == ((4, 1), (2, 1))
    assert cut.inline == {(0, 0): b"one"}
    assert (cut.chunks.keys.tolist(), cut.chunks.offsets.tolist()) == ([[1, 0]], [300])
    assert part.times.tolist() == [2, 3, 4, 5]
