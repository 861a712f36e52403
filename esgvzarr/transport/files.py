"""File objects for libraries, over bytes that are fetched when they are needed."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Iterable

from . import Head, Range, Transport


class ReadOnlyFile(io.RawIOBase):
    """A seekable, read-only file of ``size`` bytes; subclasses say where its bytes come from."""

    size: int
    _position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position: bytes from the start of the file."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position without reading."""
        self._position = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        )
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill ``buffer``, or as much of it as the file has."""
        start = self._position
        stop = min(self._position + len(buffer), self.size)
        if stop <= start:
            return 0
        buffer[: stop - start] = self.bytes_between(start, stop)
        self._position = stop
        return stop - start

    @abstractmethod
    def bytes_between(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, which lie in the file; raise OSError if they
        cannot be read.
        """


class RangeFile(ReadOnlyFile):
    """A file over HTTP. Blocks are fetched when they are needed, and kept.

    Args:
        transport: fetches the bytes.
        url: URL of the file.
        head: its first bytes, if they were fetched before; they need not be fetched again.
    """

    BLOCK = 32 * 1024
    HEAD = 4 * BLOCK

    def __init__(self, transport: Transport, url: str, head: Head | None = None) -> None:
        self._transport = transport
        self._url = url
        head = head or transport.read_heads([url], self.HEAD)[0]
        self.size = head.size
        whole = (
            len(head.data)
            if len(head.data) == head.size
            else len(head.data) // self.BLOCK * self.BLOCK
        )
        self._blocks = {
            at // self.BLOCK: head.data[at : at + self.BLOCK] for at in range(0, whole, self.BLOCK)
        }

    def bytes_between(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``."""
        self.prefetch([(start, stop)])
        first = start // self.BLOCK
        data = b"".join(
            self._blocks[number] for number in range(first, (stop - 1) // self.BLOCK + 1)
        )
        return data[start - first * self.BLOCK : stop - first * self.BLOCK]

    def prefetch(self, places: Iterable[tuple[int, int]]) -> None:
        """Fetch the blocks that hold the bytes ``start`` to ``stop`` of each place, all at once."""
        numbers = set[int]()
        for start, stop in places:
            numbers |= set(range(start // self.BLOCK, -(-min(stop, self.size) // self.BLOCK)))
        wanted = sorted(numbers - self._blocks.keys())
        ranges = [
            Range(self._url, number * self.BLOCK, min((number + 1) * self.BLOCK, self.size))
            for number in wanted
        ]
        self._blocks.update(zip(wanted, self._transport.read_ranges(ranges), strict=True))
