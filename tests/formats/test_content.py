"""Bytes that were fetched are found again, and what is missing is known exactly."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esgvzarr.formats.content import SparseContent, SparseFile, check_heaps, fetch, together

DATA = bytes(range(256)) * 8
places = st.tuples(st.integers(0, len(DATA)), st.integers(0, 300)).map(
    lambda p: (p[0], min(p[0] + p[1], len(DATA)))
)


@given(st.lists(places, max_size=30), places)
def test_known_bytes_and_gaps_make_up_every_range(
    added: list[tuple[int, int]], asked: tuple[int, int]
) -> None:
    content = SparseContent(len(DATA))
    for start, stop in added:
        content.add(start, DATA[start:stop])
    known = {n for start, stop in added for n in range(start, stop)}
    gaps = list(content.gaps(*asked))
    assert {n for start, stop in gaps for n in range(start, stop)} == set(range(*asked)) - known
    for gap in gaps:
        content.add(gap[0], DATA[gap[0] : gap[1]])
    assert content.has(*asked)
    assert content.read(*asked) == DATA[slice(*asked)]


def test_a_read_that_cannot_be_served_fails_and_is_noted() -> None:
    content = SparseContent(len(DATA), DATA[:100])
    file = SparseFile(content)
    assert file.read(100) == DATA[:100]
    with pytest.raises(OSError, match="100 to 120"):
        file.read(20)
    assert content.missed == [(100, 120)]
    assert content.take_missed() == [(100, len(DATA))]
    assert not content.missed


def test_reads_end_with_the_file() -> None:
    file = SparseFile(SparseContent(len(DATA), DATA))
    file.seek(-3, io.SEEK_END)
    assert file.read(10) == DATA[-3:]


def test_scans_in_step_share_rounds() -> None:
    content = SparseContent(len(DATA))

    def scan(places: list[tuple[int, int]]):  # type: ignore[no-untyped-def]
        for place in places:
            yield from fetch(content, [place])
        return len(places)

    rounds = together([scan([(0, 10), (500, 510)]), scan([(100, 110)]), scan([])])
    asked = []

    def drive():  # type: ignore[no-untyped-def]
        results = yield from rounds
        assert results == [2, 1, 0]

    for needs in drive():
        asked.append(needs)
        for start, stop in needs:
            content.add(start, DATA[start:stop])
    assert asked == [[(0, 10), (100, 110)], [(500, 510)]]


def heap(*objects: tuple[int, int]) -> bytes:
    """A global heap collection of 256 bytes with objects of these (number, size)."""
    data = b"GCOL\x01\0\0\0" + (256).to_bytes(8, "little")
    for number, size in objects:
        data += (
            number.to_bytes(2, "little")
            + bytes(6)
            + size.to_bytes(8, "little")
            + bytes(size + -size % 8 if number else 0)
        )
    return data.ljust(256, b"\0")[:256]


def test_a_whole_heap_is_read() -> None:
    check_heaps(b"before" + heap((1, 10), (2, 24), (0, 256 - 16 - 32 - 40)))


@pytest.mark.parametrize(
    ("number", "size"),
    [(0, 0), (0, 8), (0, 300), (0, 2**64 - 8), (1, 300), (1, 2**64 - 8)],
    ids=lambda value: f"{value:x}",
)
def test_a_heap_at_which_libhdf5_never_ends_is_refused(number: int, size: int) -> None:
    """Free space (0) of less than its own header, an object beyond the end, a size that wraps
    round.
    """
    data = bytearray(heap((1, 8)))
    data[40:42] = number.to_bytes(2, "little")
    data[48:56] = size.to_bytes(8, "little")
    with pytest.raises(OSError, match="global heap"):
        check_heaps(bytes(data))
