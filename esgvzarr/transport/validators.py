"""How one state of a file is told from another, from the first answer to the last."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import TransportError


@dataclass(frozen=True, slots=True)
class State:
    """What an answer, or this machine, says of the whole file that its bytes are from."""

    size: int
    etag: str | None = None
    last_modified: str | None = None
    """As a server states it."""
    mtime_ns: int = 0
    """Nanoseconds since 1970; 0 over HTTP."""
    inode: int = 0
    """0 over HTTP."""

    @classmethod
    def of_answer(cls, size: int, headers: Mapping[str, str]) -> State:
        """What the headers of an answer say. TDS gives no ETag."""
        return cls(size, headers.get("ETag"), headers.get("Last-Modified"))

    @classmethod
    def of_path(cls, found: os.stat_result) -> State:
        """What this machine says of a file."""
        return cls(found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)

    def contradicts(self, other: State) -> bool:
        """Whether the two cannot be of the same bytes. What one of them does not say counts not."""
        pairs = ((self.etag, other.etag), (self.last_modified, other.last_modified))
        unequal = any(a is not None and b is not None and a != b for a, b in pairs)
        here = (self.size, self.mtime_ns, self.inode)
        return unequal or here != (other.size, other.mtime_ns, other.inode)

    def __str__(self) -> str:
        said = [f"{self.size} bytes"]
        said += [f"ETag {self.etag}"] if self.etag else []
        said += [f"Last-Modified {self.last_modified}"] if self.last_modified else []
        said += [f"mtime {self.mtime_ns} ns, inode {self.inode}"] if self.inode else []
        return ", ".join(said)


class States:
    """The state in which each file was first seen. Threads may share it."""

    def __init__(self) -> None:
        self._first: dict[str, State] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        with self._lock:
            return _states_of, (dict(self._first),)

    def compare(self, location: str, found: State) -> None:
        """Keep the state of a file that is seen for the first time; else compare it with the first.

        Raises:
            TransportError: ``transport-changed``, where the file is another one now.
        """
        with self._lock:
            first = self._first.setdefault(location, found)
        if found.contradicts(first):
            raise TransportError(
                location,
                f"was replaced while it was read: {first} became {found}",
                expected="one state from the first answer to the last",
                todo=(
                    "Try again when the file is settled. Where nothing was replaced, several "
                    "servers answer under one name, and do not agree: let them."
                ),
                code="transport-changed",
                retryable=True,
            )

    def first_of(self, location: str) -> State | None:
        """The state in which a file was first seen; None where it was not."""
        with self._lock:
            return self._first.get(location)

    def forget(self, locations: Iterable[str]) -> None:
        """Begin anew with these files: they may have been replaced since they were last read."""
        with self._lock:
            for location in locations:
                self._first.pop(location, None)


def _states_of(first: dict[str, State]) -> States:
    again = States()
    again._first = first
    return again
