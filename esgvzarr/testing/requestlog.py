"""The requests that a test server received, and its answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import overload

NOTED = (
    "Accept-Encoding",
    "Authorization",
    "Connection",
    "Content-Type",
    "Cookie",
    "If-Range",
    "Origin",
    "User-Agent",
)
"""Request headers that the log keeps."""


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One request, logged before the first byte of its answer is sent: a client that has the answer
    finds it in the log.
    """

    method: str
    path: str
    """URL as sent, with the query."""
    status: int
    """Status of the answer; 0 if the connection was reset instead."""
    sent: int = 0
    """Number of bytes of the answer's body."""
    range: str | None = None
    """The ``Range`` header."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Headers among ``NOTED`` that were sent, spelled as there."""
    body: bytes = b""
    connection: int = 0
    """The client's port: equal for requests on one kept-alive connection."""


class RequestLog(Sequence[LoggedRequest]):
    """Requests in order of arrival; may be read while the server runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[LoggedRequest] = []

    def append(self, request: LoggedRequest) -> None:
        """Append a request."""
        with self._lock:
            self._requests.append(request)

    def clear(self) -> None:
        """Delete all requests."""
        with self._lock:
            self._requests.clear()

    def snapshot(self) -> tuple[LoggedRequest, ...]:
        """Return all requests so far."""
        with self._lock:
            return tuple(self._requests)

    def __len__(self) -> int:
        return len(self.snapshot())

    def __iter__(self) -> Iterator[LoggedRequest]:
        return iter(self.snapshot())

    @overload
    def __getitem__(self, index: int) -> LoggedRequest: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[LoggedRequest, ...]: ...
    def __getitem__(self, index: int | slice) -> LoggedRequest | tuple[LoggedRequest, ...]:
        return self.snapshot()[index]

    def __repr__(self) -> str:
        return f"RequestLog({list(self.snapshot())!r})"
