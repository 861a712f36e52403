"""Local files for stock readers, read directly in the event loop.

fsspec's own local file system passes each read to a thread and waits for it, which takes several
times as long as the read itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem


def local_files() -> AsyncFileSystem:
    """Make a file system of fsspec for references to local files only."""
    from fsspec.asyn import AsyncFileSystem
    from fsspec.implementations.local import LocalFileSystem

    class LocalFiles(AsyncFileSystem):  # type: ignore[misc]
        """Reads parts of files by path."""

        protocol = ("file", "local")
        cachable = False

        @classmethod
        def _strip_protocol(cls, path: Any) -> str:
            return str(LocalFileSystem._strip_protocol(path))

        async def _cat_file(
            self, path: str, start: int | None = None, end: int | None = None, **_: Any
        ) -> bytes:
            """Return the bytes from ``start`` to ``end``; fewer if the file ends before."""
            with open(self._strip_protocol(path), "rb", buffering=0) as file:
                if end is None:
                    file.seek(start or 0)
                    return file.read()
                return _read(file.fileno(), start or 0, end)

    return LocalFiles(asynchronous=True)


def _read(handle: int, start: int, stop: int) -> bytes:
    parts = []
    while start < stop:
        part = os.pread(handle, stop - start, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
