"""Keep stock readers, fsspec and aiohttp, within the rules of the transport.

References can name any host, and servers can answer slowly, reset connections, and replace files.
"""

from __future__ import annotations

import asyncio
import errno
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import TransportError
from . import Transport
from .answers import SLOWEST, encoded_error, files_limit_error, status_error
from .in_flight import LONGEST_PAUSE_S
from .public_addresses import check_address, check_name
from .urls import parse_url
from .validators import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

_RANGE = re.compile(r"bytes=(\d+)-(\d+)\Z")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")
_CLOSING_S = 10.0
_LARGEST = 4 * 2**30
"""The most bytes of an answer to a request for a whole file."""
_AT_ONCE = 32
"""Requests of stock clients that are in flight."""


class KnownBytes(Protocol):
    """Parts of a file that were fetched."""

    def has(self, start: int, stop: int) -> bool:
        """Whether all bytes from ``start`` to ``stop`` are known."""
        ...

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to ``stop``, which must be known."""
        ...


class StockClients:
    """The HTTP clients of fsspec's file systems.

    A known range is returned without a request: it was fetched from the same URL, and each byte is
    requested once. Any other request goes to the server, by aiohttp as stock readers send it: to
    allowed hosts only, with the retries and timeouts of the transport. Its answer must come from
    the file that the transport has seen.

    ``known`` is URL -> fetched bytes; ``looks`` is URL -> (start, bytes) that `look_again`
    requests.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.known: Mapping[str, KnownBytes] = {}
        self.looks: dict[str, tuple[int, bytes]] = {}
        self._spelled: dict[str, str] = {}
        self._opened: list[tuple[asyncio.AbstractEventLoop, _Session]] = []

    @property
    def options(self) -> dict[str, Any]:
        """Return the ``remote_options`` of fsspec's reference file system."""
        return {"get_client": self._get_client, "skip_instance_cache": True}

    async def _get_client(self, **options: Any) -> _Session:
        session = _Session(_client(self.transport, **options), self)
        self._opened.append((asyncio.get_running_loop(), session))
        return session

    def known_part(self, url: Any, start: int, stop: int) -> bytes | None:
        """Return the bytes of a range if they are known. ``url`` is the URL as fsspec spells it."""
        text = str(url)
        if text not in self._spelled:
            spelled = {str(type(url)(known)): known for known in self.known}
            self._spelled.update(spelled)
        content = self.known.get(self._spelled.get(text, text))
        if content is None or not content.has(start, stop):
            return None
        return content.read(start, stop)

    def look_again(self, options: Mapping[str, Any]) -> None:
        """Request some bytes of each file again, as stock readers do: they must equal those that
        were proved, and the file must be unchanged.

        Args:
            options: further ``remote_options``, such as ``ssl``.

        Raises:
            TransportError: a file was replaced, or the server gives stock readers other bytes.
        """
        if not self.looks:
            return
        self.transport.rounds += 1
        # In a thread, because the caller may be in an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, self._look_at_all(options)).result()

    async def _look_at_all(self, options: Mapping[str, Any]) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)
        async with _client(self.transport) as stock:
            session = _Session(stock, self)

            async def look(url: str, start: int, expected: bytes) -> None:
                stop = start + len(expected)
                headers = {"Range": f"bytes={start}-{stop - 1}"}
                async with gate:
                    given = await session.fetch(url, start, stop, {"headers": headers, **options})
                if given != expected:
                    raise TransportError(
                        url,
                        f"gives stock readers other bytes at {start} to {stop} than it gave before",
                        expected="the same bytes for every client",
                        todo="Check whether the data node's answers depend on User-Agent or "
                        "Accept-Encoding.",
                        code="transport-bytes-differ",
                    )

            tasks = [
                asyncio.ensure_future(look(url, start, expected))
                for url, (start, expected) in self.looks.items()
            ]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()

    def close(self) -> None:
        """Close the connections; fsspec leaves them to the garbage collector."""
        for loop, session in self._opened:
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(_CLOSING_S)
        self._opened.clear()


@contextmanager
def stock_clients(transport: Transport) -> Iterator[StockClients]:
    """Give clients for stock readers, and close their connections at the end."""
    clients = StockClients(transport)
    try:
        yield clients
    finally:
        clients.close()


@contextmanager
def remote_options(transport: Transport) -> Iterator[dict[str, Any]]:
    """Give the ``remote_options`` of fsspec's reference file system, whose requests follow the
    rules of the transport.
    """
    with stock_clients(transport) as clients:
        yield clients.options


def raise_transport_error(error: BaseException) -> None:
    """Raise the TransportError that caused a reader's error, if there is one: then the data node is
    the cause, and not the references.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, TransportError):
            raise cause
        cause = cause.__cause__ or cause.__context__


@dataclass(frozen=True, slots=True)
class _Given:
    """An answer in the form that fsspec expects."""

    body: bytes
    status: int = 206

    async def read(self) -> bytes:
        """Return the body."""
        return self.body

    def raise_for_status(self) -> None:
        """Do nothing: errors were raised before."""


class _Session:
    """A client session of aiohttp, whose ranges are known, or are fetched by the rules of the
    transport.
    """

    def __init__(self, stock: aiohttp.ClientSession, clients: StockClients) -> None:
        self._stock = stock
        self._clients = clients

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stock, name)

    async def close(self) -> None:
        """Close the connections."""
        await self._stock.close()

    def get(self, url: Any, **options: Any) -> Any:
        """Return what ``aiohttp.ClientSession.get`` returns, for use in ``async with``."""
        asked = _RANGE.match((options.get("headers") or {}).get("Range", ""))
        if asked is None:
            return self._stock.get(url, **options)
        return self._part(url, int(asked[1]), int(asked[2]) + 1, options)

    @asynccontextmanager
    async def _part(
        self, url: Any, start: int, stop: int, options: Mapping[str, Any]
    ) -> AsyncIterator[_Given]:
        known = self._clients.known_part(url, start, stop)
        if known is None:
            known = await self.fetch(url, start, stop, options)
        yield _Given(known)

    async def fetch(self, url: Any, start: int, stop: int, options: Mapping[str, Any]) -> bytes:
        """Fetch the bytes of a range from the server.

        Raises:
            TransportError: they cannot be fetched, or come from another file than earlier bytes.
        """
        body, state = await self._retried(url, start, stop, options)
        self._clients.transport.compare(str(url), state)
        return body

    async def _retried(
        self, url: Any, start: int, stop: int, options: Mapping[str, Any]
    ) -> tuple[bytes, State]:
        for tried in range(self._clients.transport.retries):
            try:
                return await self._try(url, start, stop, options)
            except TransportError as error:
                if not error.retryable:
                    raise
                pause_s = error.retry_after_s or 0.2 * 2**tried
                await asyncio.sleep(min(pause_s, LONGEST_PAUSE_S))
        return await self._try(url, start, stop, options)

    async def _try(
        self, url: Any, start: int, stop: int, options: Mapping[str, Any]
    ) -> tuple[bytes, State]:
        import aiohttp

        text = str(url)
        patience_s = self._clients.transport.timeout_s + (stop - start) / SLOWEST
        try:
            async with asyncio.timeout(patience_s), self._stock.get(url, **options) as response:
                state = _state_of(text, start, stop, response)
                body = await response.read()
        except TimeoutError as error:
            raise TransportError(
                text,
                f"is too slow for stock readers: {stop - start} bytes did not arrive in "
                f"{patience_s:.0f} s",
                todo="Try again later, with fewer `connections` or a longer `timeout_s`.",
                code="transport-slow",
            ) from error
        except aiohttp.ClientPayloadError as error:
            raise _truncated(text, f"ended early: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise _unanswered(text, error) from error
        if len(body) != stop - start:
            raise _truncated(text, f"sent {len(body)} bytes for bytes {start}-{stop - 1}")
        return body, state


def _state_of(url: str, start: int, stop: int, response: aiohttp.ClientResponse) -> State:
    """Return what an answer states about the whole file, after checking that it is the requested
    range.
    """
    if response.status != 206:
        raise status_error(url, response.status, response.headers)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise encoded_error(url, encoding)
    said = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if said is None or (int(said[1]), int(said[2]) + 1) != (start, stop):
        raise TransportError(
            url,
            f"answered Content-Range {response.headers.get('Content-Range')!r} to bytes "
            f"{start}-{stop - 1}",
            expected="the range that was requested",
            code="transport-range-wrong",
        )
    return State.of_answer(int(said[3]), response.headers)


def _truncated(url: str, found: str) -> TransportError:
    return TransportError(
        url,
        found,
        expected="the bytes that were requested",
        todo="The answer was cut short: try again; if it happens again, check the data node.",
        code="transport-truncated",
        retryable=True,
    )


def _unanswered(url: str, error: Exception) -> TransportError:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return files_limit_error(url)
    return TransportError(
        url,
        f"no answer for stock readers: {type(error).__name__}: {error}",
        todo="Check that the server runs, and that this machine can reach it.",
        code="transport-unreachable",
    )


def _client(transport: Transport, **options: Any) -> aiohttp.ClientSession:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """Checks each request before it is sent, also those that follow a redirect."""

        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
            url = str(req.url)
            transport.check_allowed(url)
            if parse_url(url).host.strip("[]") != str(req.url.host).lower():
                raise TransportError(
                    url, f"refers to {req.url.host}", expected="its host", code="transport-bad-url"
                )
            if transport.is_named(url):
                return await super().connect(req, traces, timeout)
            await asyncio.get_running_loop().run_in_executor(
                None, check_name, req.url.host, req.url.port
            )
            connection = await super().connect(req, traces, timeout)
            try:
                if connection.transport is not None:
                    check_address(connection.transport.get_extra_info("peername")[0], req.url.host)
            except TransportError:
                connection.close()
                raise
            return connection

    class Response(aiohttp.ClientResponse):
        """Reads no more bytes than were requested."""

        async def read(self) -> bytes:
            if self._body is None:
                asked = _RANGE.match(self.request_info.headers.get("Range", ""))
                left = int(asked[2]) - int(asked[1]) + 1 if asked else _LARGEST
                parts = []
                async for part in self.content.iter_any():
                    parts.append(part)
                    left -= len(part)
                    if left < 0:
                        self.close()
                        raise aiohttp.ClientPayloadError("more bytes than were requested")
                self._body = b"".join(parts)
            return self._body

    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=transport.timeout_s, sock_read=transport.timeout_s
    )
    return aiohttp.ClientSession(
        connector=Connector(limit=min(_AT_ONCE, transport.connections)),
        response_class=Response,
        **{"timeout": timeout, **options},
    )
