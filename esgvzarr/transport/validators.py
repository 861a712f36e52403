"""States of a file, which show whether it changed between the first answer and the last."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import TransportError


@dataclass(frozen=True, slots=True)
class State:
    """What a server or this machine states about the whole file from which bytes were read."""

    size: int
    etag: str | None = None
    last_modified: str | None = None
    """Last-Modified, as the server states it."""
    mtime_ns: int = 0
    """Nanoseconds since 1970-01-01; 0 over HTTP."""
    inode: int = 0
    """Inode; 0 over HTTP."""

    @classmethod
    def of_answer(cls, size: int, headers: Mapping[str, str]) -> State:
        """Return the state that the headers of an answer describe. TDS sends no ETag."""
        return cls(size, headers.get("ETag"), headers.get("Last-Modified"))

    @classmethod
    def of_path(cls, found: os.stat_result) -> State:
        """Return the state of a local file."""
        return cls(found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)

    def contradicts(self, other: State) -> bool:
        """Whether the two states cannot describe the same bytes. Values that one of them lacks are
        ignored.
        """
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
        """Keep the state of a file that is seen for the first time; else compare it with the first
        state.

        Raises:
            TransportError: ``transport-changed``; the file changed.
        """
        with self._lock:
            first = self._first.setdefault(location, found)
        if found.contradicts(first):
            raise TransportError(
                location,
                f"was replaced while it was read: {first} became {found}",
                expected="the same state in all answers",
                todo=(
                    "Try again when the file no longer changes. If it was not replaced, "
                    "several servers answer under one name with different states: "
                    "configure them to agree."
                ),
                code="transport-changed",
                retryable=True,
            )

    def first_of(self, location: str) -> State | None:
        """Return the state in which a file was first seen; None if it was not seen."""
        with self._lock:
            return self._first.get(location)

    def forget(self, locations: Iterable[str]) -> None:
        """Forget the state of these files: they may have been replaced since they were last
        read.
        """
        with self._lock:
            for location in locations:
                self._first.pop(location, None)


def _states_of(first: dict[str, State]) -> States:
    again = States()
    again._first = first
    return again
