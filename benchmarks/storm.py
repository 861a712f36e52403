"""What goes wrong in ``benchmarks.faults``: faults of servers, told apart by the dataset that a
request is for, and of disks.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from esgvzarr.testing import After, Fault, HtmlPage, Latency, Reset, Status, Truncated
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response

TIMEOUT_S = 0.5
POLL_S = 0.1
"""What the datasets are published with: seconds to wait for a server, and for an index to show a
change.
"""
LATE_S = 5 * POLL_S
"""When an index makes a change late, later than anybody waits for."""
_CHANGES = re.compile(r"/ws/update$|/ingest$")
_NOTHING = Latency(0)
_NAME = re.compile(r"CMIP6[./][^ |]*?[./]v\d{8}")
_LOST = {
    "stac": {"queue_loses": True},
    "solr": {"updates_are_lost": True},
    "globus": {"delay_s": 1e9},
}
"""How each server takes a change that it never makes."""


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault that an operation meets: at which of its requests, and how often."""

    kind: str
    where: str = ""
    """``data``: to a NetCDF file, ``served``: to the reference file, ``reads`` and ``changes``: to
    the index.
    """
    first: int = 1
    times: int = 1
    number: float = 0.0
    """0 to 1: whatever else there is to be drawn."""


DEFINITE = {"HTTP 403": Status(403), "HTTP 409": Status(409)}
PASSING: Mapping[str, Fault] = {
    "HTTP 503": Status(503),
    "HTTP 500": Status(500),
    "reset": Reset(),
    "timeout": Latency(1.5 * TIMEOUT_S),
    "truncated answer": Truncated(),
    "HTML page": HtmlPage(),
}
QUEUES = ("error after the change", "202, made late", "202, never made")
KILLS = ("SIGKILL at a request", "SIGKILL at an instant")
DISKS = ("full disk", "read-only disk", "file size limit")
OTHERS = ("not registered yet", "ingest task fails")


@dataclass(slots=True)
class _Set:
    injection: Injection
    fault: Fault
    seen: int = 0

    def is_due(self) -> bool:
        self.seen += 1
        return self.injection.first <= self.seen < self.injection.first + self.injection.times


@dataclass
class Storm:
    """Stands before a data node and its index, and meets each dataset with the faults that are set
    for it.
    """

    kind: str
    server: Any
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _changing: threading.RLock = field(default_factory=threading.RLock)
    _set: dict[str, list[_Set]] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)
    """Dataset -> when the last of its changes is made."""
    met: list[str] = field(default_factory=list)
    """Kinds of faults that a request has met."""

    def set(
        self, dataset_id: str, injections: tuple[Injection, ...], kill: Callable[[], None]
    ) -> None:
        """From now on, requests for the dataset meet these faults."""
        made = [_Set(one, self._fault(one, kill)) for one in injections if one.where]
        with self._lock:
            self._set[dataset_id] = made

    def calm(self, dataset_id: str) -> None:
        """No more faults for the dataset."""
        with self._lock:
            self._set.pop(dataset_id, None)

    def _fault(self, injection: Injection, kill: Callable[[], None]) -> Fault:
        if injection.kind in PASSING or injection.kind in DEFINITE:
            return {**PASSING, **DEFINITE}[injection.kind]
        if injection.kind == "SIGKILL at a request":
            return _Kill(kill, after=injection.number < 0.5)
        if injection.kind == "error after the change":
            return After(
                (Status(500), Status(504), Reset(), Latency(1.5 * TIMEOUT_S))[
                    int(4 * injection.number)
                ]
            )
        if injection.kind == "202, made late":
            return _Meanwhile(self._changing, self.server, {"delay_s": LATE_S})
        if injection.kind == "202, never made":
            return _Meanwhile(self._changing, self.server, _LOST[self.kind])
        return _Meanwhile(self._changing, self.server, {"failure": "the index has no room"})

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """The usual answer, or a fault."""
        where = _where(asked)
        found = _NAME.search(f"{asked.path} {asked.query} {asked.body.decode(errors='replace')}")
        name = found[0].replace("/", ".") if found else ""
        with self._lock:
            due = [
                one
                for one in self._set.get(name, [])
                if one.injection.where == where and one.is_due()
            ]
            self.met.extend(one.injection.kind for one in due)
        fault = due[0].fault if due else _NOTHING
        if where != "changes":
            return fault.apply(replace(asked, earlier=0), answer)
        return fault.apply(
            replace(asked, earlier=0), lambda asked: self._change(name, asked, answer)
        )

    def _change(self, name: str, asked: Asked, answer: Answer) -> Response:
        """One change at a time, and those of one dataset in the order in which they came."""
        with self._changing:
            now = time.monotonic()
            due = max(now + self.server.delay_s, self._due.get(name, now))
            if due - now < 10 * LATE_S:
                self._due[name] = due
            return _Meanwhile(self._changing, self.server, {"delay_s": due - now}).apply(
                asked, answer
            )


def _where(asked: Asked) -> str:
    if asked.method == "PATCH" or _CHANGES.search(asked.path):
        return "changes"
    if asked.path.startswith("/thredds/"):
        return "served" if asked.path.endswith(".json") else "data"
    return "reads"


@dataclass(frozen=True, slots=True)
class _Meanwhile:
    """The server is set otherwise for this one request."""

    lock: Any
    server: Any
    values: Mapping[str, Any]

    def apply(self, asked: Asked, answer: Answer) -> Response:
        with self.lock:
            before = {name: getattr(self.server, name) for name in self.values}
            try:
                vars(self.server).update(self.values)
                return answer(asked)
            finally:
                vars(self.server).update(before)


@dataclass(frozen=True, slots=True)
class _Kill:
    """SIGKILL to the process that asks, before or after the server has acted."""

    kill: Callable[[], None]
    after: bool

    def apply(self, asked: Asked, answer: Answer) -> Response:
        response = answer(asked) if self.after else Response(0, reset=True)
        self.kill()
        return response


class SmallDisk:
    """A tmpfs of its own below a dataset's directory, which can be full or read-only. Only root may
    have one.
    """

    SIZE = 1 << 20

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "none", directory)
        self.directory = directory
        self._ballast = directory / ".ballast"

    def close(self) -> None:
        """Unmount."""
        _run("umount", "-l", self.directory)

    @contextmanager
    def full(self, pages_left: int) -> Iterator[None]:
        """Fill it up but for some pages of 4 KiB."""
        self._ballast.write_bytes(b"")
        free = os.statvfs(self.directory).f_bavail * 4096
        self._ballast.write_bytes(bytes(max(0, free - pages_left * 4096)))
        try:
            yield
        finally:
            self._ballast.unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Let no user write, not even root."""
        _run("mount", "-o", "remount,ro", self.directory)
        try:
            yield
        finally:
            _run("mount", "-o", "remount,rw", self.directory)


def _run(*words: object) -> None:
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
