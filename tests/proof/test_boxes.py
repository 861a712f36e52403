"""Which bytes are looked at again, and how boxes are taken together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from esgvzarr import FileRecord, Transport
from esgvzarr.formats.content import SparseContent
from esgvzarr.proof import boxes
from esgvzarr.proof.boxes import FETCHED_AGAIN, ComparisonProgress, sizes_of
from esgvzarr.proof.file_side import Source
from esgvzarr.proof.jobs import Job, Values
from esgvzarr.transport import Range
from esgvzarr.transport.fsspec_guard import StockClients

from .in_memory import FILE, dataset, group

OTHER = "https://node.example/other.nc"
SHOWN = group(dataset([1.0]))


def jobs(*sizes: int) -> list[Job]:
    box = (slice(0, 1), slice(0, 4))
    return [Job(FILE.url, "tas", box, SHOWN, box, size, Values("tas", 4)) for size in sizes]


def looks(*ranges: tuple[str, int, int]) -> dict[str, tuple[int, bytes]]:
    """What is looked at again, of a file of which the bytes from 100 on were fetched."""
    content = SparseContent(3 * FETCHED_AGAIN)
    content.add(100, b"a" * FETCHED_AGAIN + b"b" * FETCHED_AGAIN)
    with Transport() as transport:
        clients = StockClients(transport)
        boxes._remember([Range(*one) for one in ranges], {FILE.url: content}, clients)
    return clients.looks


def test_the_largest_part_that_was_read_is_looked_at_again() -> None:
    short = (FILE.url, 200, 210)
    long = (FILE.url, 300, 400)
    assert looks(short) == {FILE.url: (200, b"a" * 10)}
    assert looks(short, long) == looks(long, short) == {FILE.url: (300, b"a" * 100)}
    assert looks((FILE.url, 200, 210), (FILE.url, 500, 510)) == {FILE.url: (200, b"a" * 10)}


def test_no_more_than_a_part_is_looked_at() -> None:
    found = looks((FILE.url, 110, 110 + 2 * FETCHED_AGAIN - 20))
    assert found == {FILE.url: (110, b"a" * (FETCHED_AGAIN - 10) + b"b" * 10)}


def test_what_was_not_fetched_is_not_looked_at() -> None:
    assert looks((FILE.url, 0, 200), (OTHER, 100, 200)) == {}


def test_what_was_known_before_stays_where_it_is_larger() -> None:
    content = SparseContent(1000, b"x" * 1000)
    with Transport() as transport:
        clients = StockClients(transport)
        clients.looks = {FILE.url: (0, b"x" * 50)}
        for stop, expected in ((50, (0, b"x" * 50)), (51, (1, b"x" * 50)), (62, (1, b"x" * 61))):
            boxes._remember([Range(FILE.url, 1, stop)], {FILE.url: content}, clients)
            assert len(clients.looks[FILE.url][1]) == len(expected[1])


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([1, 1, 1], [3]),
        ([boxes.AT_ONCE - 1, 1, 1], [2, 1]),
        ([1, boxes.AT_ONCE, 1], [1, 1, 1]),
        ([boxes.AT_ONCE * 2, 1], [1, 1]),  # one box is taken, whatever its size
    ],
)
def test_as_many_boxes_as_fit_into_memory_are_taken_together(
    sizes: Sequence[int], expected: Sequence[int]
) -> None:
    some = jobs(*sizes)
    batches = list(boxes._batches(some))
    assert [len(batch) for batch in batches] == expected
    assert [job for batch in batches for job in batch] == some


def test_each_byte_counts_once_fetched_and_once_compared() -> None:
    told: list[tuple[int, int]] = []
    first, second = jobs(10, 30)
    progress = ComparisonProgress([first, second], lambda done, total: told.append((done, total)))
    progress.fetch([first], 1, 2)
    progress.add([first])
    progress.add([first])
    progress.fetch([second], 2, 2)
    progress.add([second])
    progress.add([second])
    assert told == [(5, 80), (10, 80), (20, 80), (50, 80), (50, 80), (80, 80)]


def test_the_size_of_a_file_is_what_was_fetched_or_what_its_record_says() -> None:
    fetched = FileRecord("a.nc", "https://node.example/a.nc", size=5)
    recorded = FileRecord("b.nc", "https://node.example/b.nc", size=7)
    unknown = FileRecord("c.nc", "https://node.example/c.nc")
    local = FileRecord("d.nc", "/data/d.nc", size=9)
    files = [fetched, recorded, unknown, local]
    sources = {file.url: Source(file.url) for file in files}
    sources[fetched.url] = Source(fetched.url, None, SparseContent(6))
    with Transport() as transport:
        assert sizes_of(files, sources, transport) == {fetched.url: 6, recorded.url: 7}
