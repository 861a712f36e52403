"""The bytes of a file that were fetched so far, as a file object that libhdf5 can read and that
reports missing bytes.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right, insort
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

from ..transport.files import ReadOnlyFile

Needs = list[tuple[int, int]]
"""(start, stop) of bytes that are needed next. A scan is a generator that yields its needs, and
continues when they were fetched.
"""
_T = TypeVar("_T")
_HEAP = b"GCOL\x01\0\0\0"
PAGE = max(4096, mmap.PAGESIZE)
"""Size of a page in bytes. Bytes over HTTP are fetched in whole pages, by which the proof
distinguishes fetched from missing bytes.
"""
READ_AHEAD = 8 * 1024
"""The least number of bytes fetched for a range that libhdf5 missed: its metadata lie close
together.
"""


class SparseContent:
    """Parts of a file in memory. ``missed`` collects the (start, stop) of reads outside these
    parts.
    """

    def __init__(self, size: int, head: bytes = b"") -> None:
        self.size = size
        self.missed: list[tuple[int, int]] = []
        self._starts: list[int] = []
        self._pieces: dict[int, bytes] = {}
        self.add(0, head)

    def add(self, start: int, data: bytes) -> None:
        """Keep ``data`` as the bytes from ``start``; bytes that are known already stay."""
        for first, last in list(self.gaps(start, start + len(data))):
            insort(self._starts, first)
            self._pieces[first] = data[first - start : last - start]

    @property
    def held(self) -> int:
        """Number of bytes that are kept."""
        return sum(map(len, self._pieces.values()))

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the parts of ``start`` to ``stop`` that are not known yet."""
        position = start
        index = max(bisect_right(self._starts, start) - 1, 0)
        for number in range(index, len(self._starts)):
            first = self._starts[number]
            if first >= stop:
                break
            if first > position:
                yield position, first
            position = max(position, first + len(self._pieces[first]))
        if position < stop:
            yield position, stop

    def page_gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Return the unknown parts of the pages that hold ``start`` to ``stop``."""
        if stop > start:
            yield from self.gaps(start // PAGE * PAGE, min(-(-stop // PAGE) * PAGE, self.size))

    def whole_pages(self) -> Iterator[tuple[int, bytes]]:
        """Return (start, bytes) of the known parts, cut to whole pages, as they are kept.

        The last page of the file may be short, and a page may be in several parts.
        """
        for start, stop in self._runs():
            first = -(-start // PAGE) * PAGE
            last = stop if stop == self.size else stop // PAGE * PAGE
            yield from self._parts(first, last)

    def _parts(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Return (start, bytes) of parts between ``start`` and ``stop``, which must be known."""
        index = bisect_right(self._starts, start) - 1
        while start < stop:
            first = self._starts[index]
            part = self._pieces[first][start - first : stop - first]
            yield start, part
            start += len(part)
            index += 1

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Return (start, stop) of the known parts, with adjacent parts joined."""
        begin = end = 0
        for start in self._starts:
            if start > end:
                yield begin, end
                begin = start
            end = start + len(self._pieces[start])
        yield begin, end

    def copy(self) -> SparseContent:
        """Return a copy, to which parts can be added without changing this object."""
        other = SparseContent(self.size)
        other._starts = list(self._starts)
        other._pieces = dict(self._pieces)
        return other

    def has(self, start: int, stop: int) -> bool:
        """Whether all bytes from ``start`` to ``stop`` are known."""
        return next(self.gaps(start, stop), None) is None

    def known(self, start: int, stop: int) -> bytes | None:
        """Return the bytes from ``start`` to ``stop``; None if some are not known."""
        index = bisect_right(self._starts, start) - 1
        if index < 0:
            return None
        first = self._starts[index]
        data = self._pieces[first][start - first : stop - first]
        if len(data) == stop - start:  # Almost always they are in one part.
            return data
        return self.read(start, stop) if self.has(start, stop) else None

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, which must be known."""
        parts = [part for _, part in self._parts(start, stop)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_missed(self) -> list[tuple[int, int]]:
        """Return the missed ranges, widened a little, and clear the list."""
        missed = [
            (start, min(max(stop, start + READ_AHEAD), self.size)) for start, stop in self.missed
        ]
        self.missed = []
        return missed


class SparseFile(ReadOnlyFile):
    """A file object over a SparseContent. Reading an unknown byte raises OSError and adds the range
    to ``missed``.
    """

    def __init__(self, content: SparseContent) -> None:
        self._content = content
        self.size = content.size

    def bytes_between(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``.

        Raises:
            OSError: bytes are not known yet; the range was added to ``missed``.
        """
        data = self._content.known(start, stop)
        if data is None:
            self._content.missed.append((start, stop))
            raise OSError(f"bytes {start} to {stop} are not known yet")
        check_heaps(data)
        return data


def check_heaps(data: bytes) -> None:
    """Check the HDF5 global heap collections in ``data`` for damage.

    libhdf5 (2.0 and before) loops without end if an object is stated to have size 0, or a size
    beyond the collection. Rule: HDF5 File Format Specification version 3.0, section III.E (global
    heap).

    Raises:
        OSError: a collection is damaged.
    """
    place = data.find(_HEAP)
    while place >= 0:
        at = place + 16
        end = place + int.from_bytes(data[place + 8 : place + 16], "little")
        while at + 16 <= min(end, len(data)):
            number = int.from_bytes(data[at : at + 2], "little")
            size = int.from_bytes(data[at + 8 : at + 16], "little")
            step = (
                16 + size + -size % 8 if number else size
            )  # Object 0 is the free space; its size includes its own header.
            if step < 16 or at + step > end:
                raise OSError(
                    f"a global heap object of {size} bytes in a collection of {end - place}"
                )
            at += step
        place = data.find(_HEAP, place + 16)


def fetch(content: SparseContent, wanted: Needs) -> Generator[Needs, None, None]:
    """Yield the parts of ``wanted`` that are not known yet."""
    needs: Needs = []
    for start, stop in wanted:
        needs += content.gaps(start, stop)
    if needs:
        yield needs


def together(scans: Sequence[Generator[Needs, None, _T]]) -> Generator[Needs, None, list[_T]]:
    """Run several scans of one file together, so that each round requests what all of them need."""
    results: dict[int, _T] = {}
    running = dict(enumerate(scans))
    while running:
        needs: Needs = []
        for number, scan in list(running.items()):
            try:
                needs += next(scan)
            except StopIteration as stop:
                results[number] = stop.value
                del running[number]
        if needs:
            yield needs
    return [results[number] for number in range(len(scans))]
