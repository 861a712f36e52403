"""What servers answered: the first bytes of a file, and answers of any status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of a file, and what its server states about the whole file."""

    data: bytes
    size: int
    """Size of the whole file, in bytes."""
    etag: str | None = None
    last_modified: str | None = None
    moved_to: str = ""
    """Target of a redirect, on the same host; empty without a redirect."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a server to one request, of any status."""

    status: int
    headers: Mapping[str, str]
    """Headers; names are case-insensitive."""
    data: bytes
    """The first bytes of the body, as they were sent."""
    seconds: float
    """Seconds until the headers arrived."""
    certificate: Mapping[str, Any]
    """The server's certificate, as from ``ssl.SSLSocket.getpeercert``; empty without TLS."""
