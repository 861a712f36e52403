"""A file of which only parts were fetched, as memory that netCDF-C reads.

The kernel gives a page of anonymous memory only when it is first touched. Pages that were fetched
whole are written, all others are left untouched. Whatever netCDF-C then reads of the others, the
kernel has given, and ``mincore`` says so. So a hole is never taken for data: what was worked out
while a hole was read is thrown away, whatever it looks like.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Iterator

import numpy as np

from ..errors import ProofError
from ..formats.content import PAGE, SparseContent

_NO_RESERVE = 0x4000
"""MAP_NORESERVE of Linux: the kernel does not set memory aside for pages that are never touched."""
_RESIDENT = 1


class Image:
    """The known pages of a file at their places in memory. Close it after use.

    Args:
        content: what was fetched of the file.
        subject: the file's URL, for messages.

    Raises:
        ProofError: ``proof-unguarded``, where this machine cannot say which pages were read.
    """

    def __init__(self, content: SparseContent, subject: str) -> None:
        self._size = content.size
        self._pages = -(-content.size // PAGE)
        self._subject = subject
        try:
            self._known = np.zeros(self._pages, bool)
            self.memory = mmap.mmap(
                -1,
                max(self._pages, 1) * PAGE,
                flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE,
            )
        except (OSError, ValueError, OverflowError, MemoryError) as error:
            raise _unguarded(subject, f"no {content.size} bytes of addresses: {error}") from error
        self.buffer = memoryview(self.memory)[: self._size]
        """The bytes of the file, no more and no fewer."""
        with contextlib.suppress(OSError):  # a kernel without huge pages needs not be told
            self.memory.madvise(mmap.MADV_NOHUGEPAGE)
        for start, data in content.whole_pages():
            self.memory[start : start + len(data)] = data
            self._known[start // PAGE : -(-(start + len(data)) // PAGE)] = True
        if next(self.missed(), None) is not None:
            self.close()
            raise _unguarded(subject, "it calls memory resident that was never touched")

    def missed(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of what was read so far and is not known, in whole pages."""
        unknown = (self._resident() & ~self._known).nonzero()[0]
        breaks = (np.diff(unknown) > 1).nonzero()[0] + 1
        for run in np.split(unknown, breaks):
            if len(run):
                yield int(run[0]) * PAGE, min((int(run[-1]) + 1) * PAGE, self._size)

    def _resident(self) -> np.ndarray:
        """(page,) bool: whether the kernel has given it."""
        per_page = PAGE // mmap.PAGESIZE
        states = np.zeros(self._pages * per_page, np.uint8)
        start = ctypes.c_char.from_buffer(self.memory)
        try:
            failed = _mincore()(ctypes.addressof(start), self._pages * PAGE, states.ctypes.data)
        finally:
            del start
        if failed:
            raise _unguarded(self._subject, f"mincore fails: errno {ctypes.get_errno()}")
        resident: np.ndarray = np.bitwise_or.reduce(states.reshape(-1, per_page), axis=1)
        return resident & _RESIDENT > 0

    def close(self) -> None:
        """Give the memory back. Addresses that are still held stay valid, and read as zeros:
        netCDF4 never lets go of the buffer of a file that it could not open.
        """
        try:
            self.buffer.release()
            self.memory.close()
        except BufferError:
            self.memory.madvise(mmap.MADV_DONTNEED)


def _mincore() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).mincore
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    return function


def _unguarded(subject: str, reason: str) -> ProofError:
    return ProofError(
        subject,
        f"cannot be proved over HTTP on this machine: {reason}",
        expected="Linux, where mincore tells the pages that were read",
        todo="Give the proof a local copy of the files, or run it on another machine.",
        code="proof-unguarded",
    )
