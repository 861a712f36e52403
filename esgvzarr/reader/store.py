"""References as a store of zarr-python: metadata from the document, chunks from the NetCDF files.

fsspec's reference file system lacks three things: this store notices a server that answers a range
with other bytes, never reads a local file for a document from elsewhere, and, if a host is down,
reads from another host that has the same file.
"""

from __future__ import annotations

import asyncio
import base64
import random
import warnings
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)

from ..errors import TransportError
from ..output.side_file import GOES_ALONG, SUFFIX

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

TRIES = 3
"""Tries per host, for one range of bytes."""
TIMEOUT_S = 120.0
"""Seconds for one range of bytes."""
_FIRST_WAIT_S = 0.2


class ReferenceStore(Store):
    """Zarr keys -> values inside the document, or ranges of bytes of other files. Read-only."""

    supports_writes = False
    supports_deletes = False
    supports_partial_writes = False
    supports_listing = True

    def __init__(
        self,
        refs: Mapping[str, Any],
        href: str,
        remote_options: Mapping[str, Any] | None = None,
        listed: Iterable[str] | None = None,
        mirrors: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Make a store.

        Args:
            refs: key -> text, bytes, or ``[url, offset, size]``.
            href: URL or path of the document.
            remote_options: options of the file system that fetches the chunks.
            listed: the keys to list, if ``refs`` cannot list its own.
            mirrors: URL -> URLs of the same bytes on other hosts.
        """
        super().__init__(read_only=True)
        self._refs = refs
        self._href = href
        self._options = {
            name: value
            for name, value in dict(remote_options or {}).items()
            if name != "asynchronous"
        }
        self._listed = refs if listed is None else listed
        self._mirrors = mirrors or {}
        self._down: set[str] = set()
        self._below: dict[str, list[str]] | None = None

    @property
    def references(self) -> Mapping[str, Any]:
        """All keys and values."""
        return self._refs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReferenceStore) and self._refs is other._refs

    def __hash__(self) -> int:
        return id(self._refs)

    def __str__(self) -> str:
        return self._href

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return the value of a key; None if the references have none, which means in Zarr that a
        chunk was never written.

        Raises:
            TransportError: a file cannot be read now.
        """
        try:
            value = self._refs[key]
        except KeyError:
            return None
        if isinstance(value, (str, bytes)):
            data = _inside(value)
        elif len(value) == 1:
            data = await self._fetch(value[0], None, None)
        else:
            data = await self._fetch(*value)
        return prototype.buffer.from_bytes(_part(data, byte_range))

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Return several values, read at once."""
        wanted = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*wanted))

    async def exists(self, key: str) -> bool:
        """Whether the references have a key."""
        return key in self._refs

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse: readers cannot change published references."""
        raise PermissionError(f"{self._href} is read only")

    async def delete(self, key: str) -> None:
        """Refuse, as `set` does."""
        raise PermissionError(f"{self._href} is read only")

    async def set_partial_values(self, key_start_values: Iterable[tuple[str, int, bytes]]) -> None:
        """Refuse, as `set` does. zarr-python before 3.1 requires this method."""
        raise PermissionError(f"{self._href} is read only")

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in self._listed:
            if not key.startswith("//"):
                yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with a prefix."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a group or array."""
        if self._below is None:
            self._below = _tree(self._listed)
        for name in self._below.get(prefix.strip("/"), ()):
            yield name

    async def _fetch(self, url: str, offset: int | None, size: int | None) -> bytes:
        """Return a range of bytes of a file.

        Raises:
            TransportError: it cannot be read.
        """
        if "://" not in url or url.startswith("file://"):
            return await asyncio.to_thread(self._read_local, url, offset, size)
        places = sorted((url, *self._mirrors.get(url, ())), key=self._is_down)
        failure: TransportError | None = None
        for number, place in enumerate(places):
            try:
                return await self._fetch_from(place, offset, size)
            except TransportError as error:
                failure = failure or error
                if error.retryable and number + 1 < len(places):
                    self._turn_away(place, places[number + 1], error)
        raise failure or _unreadable(url, "is nowhere")

    def _is_down(self, url: str) -> bool:
        return urlsplit(url).netloc in self._down

    def _turn_away(self, place: str, other: str, error: TransportError) -> None:
        """Read from another host from now on, and warn once for each host."""
        if self._is_down(place):
            return
        self._down.add(urlsplit(place).netloc)
        warnings.warn(
            f"{urlsplit(place).netloc} cannot be read ({error.found}). esgvzarr reads the "
            f"same files, by size and checksum, from {urlsplit(other).netloc}.",
            stacklevel=2,
        )

    def _read_local(self, url: str, offset: int | None, size: int | None) -> bytes:
        if "://" in self._href and not self._href.startswith("file://"):
            raise TransportError(
                url,
                f"is a local file, named by {self._href}",
                expected="URLs only, in a document from another machine",
                todo="Do not use this document; report it to its data node.",
                code="transport-host-refused",
            )
        try:
            with open(url.removeprefix("file://"), "rb") as file:
                file.seek(offset or 0)
                data = file.read(-1 if size is None else size)
        except OSError as error:
            raise _unreadable(url, str(error), retryable=False) from error
        return _whole(url, data, size)

    async def _fetch_from(self, url: str, offset: int | None, size: int | None) -> bytes:
        """Read from one host, with retries if they may help."""
        wait_s = _FIRST_WAIT_S
        errors = _passing_errors()
        for attempt in range(1, TRIES + 1):
            try:
                data = await self._ask(url, offset, size)
            except FileNotFoundError as error:  # fsspec raises this for 404.
                raise _unreadable(url, f"does not exist ({error})", retryable=False) from error
            except errors as error:
                if attempt == TRIES:
                    raise _unreadable(url, str(error) or type(error).__name__) from error
                await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))  # noqa: S311
                wait_s *= 4
            else:
                return _whole(url, data, size)
        raise AssertionError("unreachable")

    async def _ask(self, url: str, offset: int | None, size: int | None) -> bytes:
        import fsspec
        from fsspec.asyn import AsyncFileSystem

        files = fsspec.filesystem(urlsplit(url).scheme, **self._options)
        end = None if size is None else (offset or 0) + size
        if not isinstance(files, AsyncFileSystem):
            return bytes(await asyncio.to_thread(files.cat_file, url, offset, end))
        # fsspec's own loop, because zarr or the user's program may run in another one.
        asked = asyncio.run_coroutine_threadsafe(
            files._cat_file(url, start=offset, end=end), files.loop
        )
        return bytes(await asyncio.wait_for(asyncio.wrap_future(asked), TIMEOUT_S))


def _inside(value: str | bytes) -> bytes:
    """Return the bytes of a value that is in the document itself."""
    if isinstance(value, bytes):
        return value
    if value.startswith("base64:"):
        return base64.b64decode(value[len("base64:") :])
    return value.encode()


def _part(data: bytes, byte_range: ByteRequest | None) -> bytes:
    if byte_range is None:
        return data
    if isinstance(byte_range, RangeByteRequest):
        return data[byte_range.start : byte_range.end]
    if isinstance(byte_range, OffsetByteRequest):
        return data[byte_range.offset :]
    if isinstance(byte_range, SuffixByteRequest):
        return data[-byte_range.suffix :]
    raise TypeError(f"{byte_range!r} is not a range of bytes")


def _whole(url: str, data: bytes, size: int | None) -> bytes:
    if size is not None and len(data) != size:
        raise _unreadable(url, f"answered {len(data)} bytes for a range of {size}")
    return data


def _unreadable(url: str, found: str, *, retryable: bool = True) -> TransportError:
    return TransportError(
        url,
        found,
        expected="the bytes that the references name",
        todo=_todo(url),
        code="transport-failed",
        retryable=retryable,
    )


def _todo(url: str) -> str:
    """Return what to do about a file that cannot be read."""
    if url.endswith(SUFFIX):
        return GOES_ALONG
    if "://" not in url or url.startswith("file://"):
        return "Restore the file, or make the references again from its new place."
    return "Try again later; if the error stays, report it to the data node."


def _passing_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of fsspec for a server that does not answer correctly."""
    import aiohttp

    return (OSError, TimeoutError, aiohttp.ClientError)


def _tree(keys: Iterable[str]) -> dict[str, list[str]]:
    """Path -> the names directly below it."""
    below: dict[str, dict[str, None]] = {}
    for key in keys:
        if key.startswith("//"):  # For readers that list in another way.
            continue
        path = key
        while path:
            parent, _, name = path.rpartition("/")
            names = below.setdefault(parent, {})
            if name in names:
                break
            names[name] = None
            path = parent
    return {path: list(names) for path, names in below.items()}
