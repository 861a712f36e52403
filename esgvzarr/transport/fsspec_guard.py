"""Stock readers, fsspec and aiohttp, kept to the hosts that the transport may fetch from:
references can name any.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import TransportError
from . import Transport
from .public_addresses import check_address, check_name
from .urls import parse_url

if TYPE_CHECKING:
    import aiohttp

_RANGE = re.compile(r"bytes=(\d+)-(\d+)\Z")
_CLOSING_S = 10.0
_LARGEST = 4 * 2**30
"""Bytes of an answer to a request for a whole file."""


@contextmanager
def remote_options(transport: Transport) -> Iterator[dict[str, Any]]:
    """``remote_options`` of fsspec's reference file system: its requests, and where redirects lead,
    as far as the transport allows.

    An answer may be as large as was asked for, decoded. Connections are closed in the end; fsspec
    leaves them to the collector.
    """
    opened: list[tuple[asyncio.AbstractEventLoop, aiohttp.ClientSession]] = []

    async def get_client(**options: Any) -> aiohttp.ClientSession:
        session = _client(transport, **options)
        opened.append((asyncio.get_running_loop(), session))
        return session

    try:
        yield {"get_client": get_client, "skip_instance_cache": True}
    finally:
        for loop, session in opened:
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(_CLOSING_S)


def _client(transport: Transport, **options: Any) -> aiohttp.ClientSession:
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        """Checks each request before it is sent, those that follow a redirect too."""

        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
            url = str(req.url)
            transport.check_allowed(url)
            if parse_url(url).host.strip("[]") != str(req.url.host).lower():
                raise TransportError(
                    url, f"leads to {req.url.host}", expected="its host", code="transport-bad-url"
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
        """Reads no more than was asked for."""

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
                        raise aiohttp.ClientPayloadError("more bytes than were asked for")
                self._body = b"".join(parts)
            return self._body

    return aiohttp.ClientSession(connector=Connector(), response_class=Response, **options)
