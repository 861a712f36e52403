"""A file as if it had only some of its steps."""

from __future__ import annotations

import numpy as np
import pytest

from esgvzarr.combine import overlaps
from esgvzarr.combine.cutting import Part, steps_of
from esgvzarr.model import ChunkTable, FileRecord, FileReferences, Variable

STEPS = np.arange(8)


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


def test_all_of_the_steps_are_the_file_itself() -> None:
    part = Part(FileReferences(FileRecord("a.nc", "/a.nc"), "hdf5", {"time": 8}, {}, {}, 1), STEPS)
    assert steps_of(part, "time", 0, 8) is part
    for start, stop in ((1, 8), (0, 7), (3, 3)):
        cut = steps_of(part, "time", start, stop)
        assert cut.times.tolist() == list(range(start, stop))
        assert cut.file.dimensions == {"time": stop - start}
        assert cut.file.repeated == 8 - (stop - start)


def test_parts_that_overlap_meet() -> None:
    def part(first: int, last: int) -> Part:
        return Part(FileReferences(FileRecord("a", "a"), "hdf5", {}, {}, {}, 1), STEPS[first:last])

    assert part(0, 4).meets(part(3, 8))
    assert part(3, 8).meets(part(0, 4))
    assert part(0, 8).meets(part(3, 4))
    assert not part(0, 4).meets(part(4, 8))
    assert not part(4, 8).meets(part(0, 4))
    assert part(0, 8).between(2, 5) == slice(2, 6)
    assert part(2, 8).between(0, 99) == slice(0, 6)


def compressed(first: int, last: int, chunk: int) -> Part:
    """A file of some steps, in chunks that cannot be cut."""
    steps = last - first
    rows = -(-steps // chunk)
    chunks = ChunkTable(np.arange(rows)[:, None], np.arange(rows) * 10, np.full(rows, 10))
    tas = Variable(
        "tas",
        ("time",),
        (steps,),
        np.dtype("f4"),
        {},
        None,
        (chunk,),
        ({"id": "zlib", "level": 1},),
        chunks,
    )
    facts = FileReferences(FileRecord("a", "a"), "hdf5", {"time": steps}, {}, {"tas": tas}, 1)
    return Part(facts, np.arange(first, last))


@pytest.mark.parametrize(
    ("last", "chunk", "shown"),
    [
        (6, 2, [(0, 4), (4, 12)]),  # where the first file ends with a whole chunk
        (8, 2, [(0, 8), (8, 12)]),
        (6, 5, [(0, 2), (2, 12)]),  # where a chunk of the second begins
        (12, 2, [(0, 12)]),  # the second adds nothing
    ],
)
def test_a_file_that_repeats_steps_takes_over_where_chunks_begin(
    last: int, chunk: int, shown: list[tuple[int, int]]
) -> None:
    kept = overlaps._join([compressed(0, last, 4)], compressed(2, 12, chunk), "time")
    assert [(part.times[0], part.times[-1] + 1) for part in kept] == shown
    assert all(part.file.dimensions["time"] == len(part.times) for part in kept)
