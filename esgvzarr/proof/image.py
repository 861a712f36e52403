"""A partly fetched file, as memory that netCDF-C reads.

The kernel allocates a page of anonymous memory when it is first touched. Only pages that were
fetched whole are written. If netCDF-C reads another page, the kernel allocates it, and ``mincore``
reports it. A result that was computed from a missing page is therefore always detected and
discarded.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Iterator
from functools import cache

import numpy as np

from ..errors import ProofError
from ..formats.content import PAGE, SparseContent

_NO_RESERVE = 0x4000
"""MAP_NORESERVE of Linux: the kernel reserves no memory for pages that are never touched."""
_RESIDENT = 1


class Image:
    """The known pages of a file at their places in memory. Close it after use.

    Args:
        content: the bytes of the file that were fetched.
        subject: the file's URL, for messages.

    Raises:
        ProofError: ``proof-unguarded``, if this machine cannot report which pages were read.
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
            raise _unguarded(
                subject, f"cannot reserve {content.size} bytes of address space: {error}"
            ) from error
        self.buffer = memoryview(self.memory)[: self._size]
        """The bytes of the file, exactly."""
        # Fails on a kernel without huge pages, which needs no advice.
        with contextlib.suppress(OSError):
            self.memory.madvise(mmap.MADV_NOHUGEPAGE)
        self.add(content)
        if next(self.missed(), None) is not None:
            self.close()
            raise _unguarded(subject, "mincore reports untouched memory as resident")

    def add(self, content: SparseContent) -> None:
        """Write the whole pages of a file that were fetched."""
        for start, data in content.whole_pages():
            self.memory[start : start + len(data)] = data
            self._known[start // PAGE : -(-(start + len(data)) // PAGE)] = True

    def missed(self) -> Iterator[tuple[int, int]]:
        """Return the (start, stop) of what was read so far and is not known, in whole pages."""
        unknown = (self._resident() & ~self._known).nonzero()[0]
        breaks = (np.diff(unknown) > 1).nonzero()[0] + 1
        for run in np.split(unknown, breaks):
            if len(run):
                yield int(run[0]) * PAGE, min((int(run[-1]) + 1) * PAGE, self._size)

    def _resident(self) -> np.ndarray:
        """Return (page,) bool: whether the kernel has allocated the page."""
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
        """Release the memory. Addresses that are still held stay valid and read as zeros: netCDF4
        never releases the buffer of a file that it could not open.
        """
        try:
            self.buffer.release()
            self.memory.close()
        except BufferError:
            self.memory.madvise(mmap.MADV_DONTNEED)


@cache
def _mincore() -> ctypes._NamedFuncPointer:
    function = ctypes.CDLL(None, use_errno=True).mincore
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    return function


def _unguarded(subject: str, reason: str) -> ProofError:
    return ProofError(
        subject,
        f"cannot be proved over HTTP on this machine: {reason}",
        expected="Linux with mincore, which reports the pages that were read",
        todo="Run the proof on local copies of the files, or on another machine.",
        code="proof-unguarded",
    )
