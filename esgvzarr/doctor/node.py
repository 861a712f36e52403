"""The data node that is checked, and the result of a check."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..errors import EsgvzarrError, SourceError
from ..esg_yaml import read_config
from ..link.ledger import Ledger
from ..model import FileRecord
from ..settings import Settings
from ..transport import Answer, Transport, host_of, is_url

_MOST_DIRECTORIES = 5000
"""The most directories that are searched for a NetCDF file."""
_HEADS = 5
_FEW_DAYS = 14
Health = Literal["good", "note", "bad"]
"""``note``: it works, but could be improved or is unknown. ``bad``: it prevents publishing or
reading.
"""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check."""

    check: str
    health: Health
    found: str
    todo: str = ""


class Node:
    """The data node that is checked.

    Args:
        config: esgcet's ``esg.yaml``; None if there is none.
        settings: settings from the same file.
        transport: the hosts of all checked servers are allowed on it, at any address, because they
            are the operator's.
        url: a published NetCDF file; if empty, one is searched for.
    """

    def __init__(
        self, config: Path | None, settings: Settings, transport: Transport, url: str = ""
    ) -> None:
        self.config = config
        self.settings = settings
        self.transport = transport
        self._url = url
        self.document: Mapping[str, Any] = read_config(config) if config else {}
        self._unlisted: list[OSError] = []

    @cached_property
    def file(self) -> FileRecord:
        """Return a published NetCDF file of this node.

        Raises:
            SourceError: none was found.
        """
        found = self._named() if self._url else self._in_ledger() or self._on_disk()
        if found is None:
            unlisted = ""
            if self._unlisted:
                first = self._unlisted[0]
                unlisted = f"; {first.filename} cannot be listed: {first.strerror}"
            raise SourceError(
                "a published file",
                f"none was found in the ledger, data_paths or data_roots{unlisted}",
                expected="one to try",
                todo="Give its URL: esgvzarr doctor URL",
                code="source-no-file",
            )
        self.transport.allow(host_of(found.url), named=True)
        return found

    @cached_property
    def answers(self) -> list[Answer]:
        """Return the server's answers to HEAD requests for the file, sent one after the other on
        one connection.
        """
        return [self.transport.ask(self.file.url, method="HEAD") for _ in range(_HEADS)]

    def _named(self) -> FileRecord:
        name = self._url.rsplit("/", 1)[-1]
        for directory, prefix in self._roots():
            if self._url.startswith(prefix) and os.path.isfile(
                path := directory + self._url.removeprefix(prefix)
            ):
                return FileRecord(name, self._url, path=path)
        return FileRecord(name, self._url)

    def _in_ledger(self) -> FileRecord | None:
        ledger = Ledger(self.settings.ledger)
        with suppress(EsgvzarrError):  # The ledger's own row reports it.
            for last in reversed(ledger.latest()):
                task = ledger.task(last.dataset_id)
                if task and task.record.files and is_url(task.record.files[0].url):
                    return task.record.files[0]
        return None

    def _on_disk(self) -> FileRecord | None:
        for directory, prefix in self._roots():
            walk = os.walk(directory, onerror=self._unlisted.append)
            for number, (folder, _, names) in enumerate(walk):
                if number > _MOST_DIRECTORIES:
                    break
                for name in names:
                    if name.endswith(".nc") and not name.startswith("."):
                        path = os.path.join(folder, name)
                        return FileRecord(name, prefix + path.removeprefix(directory), path=path)
        return None

    def _roots(self) -> Iterator[tuple[str, str]]:
        """Return (directory, URL prefix), both without a ``/`` at the end."""
        for directory, prefix in self.settings.data_paths.items():
            yield directory.rstrip("/"), prefix.rstrip("/")


Check = Callable[[Node], Iterator[Diagnosis]]
"""Yields its findings about a node."""


def as_diagnosis(check: str, error: EsgvzarrError) -> Diagnosis:
    """Return an error as a row."""
    expected = f" (expected {error.expected})" if error.expected else ""
    return Diagnosis(check, "bad", f"{error.subject}: {error.found}{expected}", error.todo)


def days_left(check: str, subject: str, ends: float, todo: str = "Renew it.") -> Diagnosis:
    """Return how many days a certificate or a login is still valid.

    Args:
        check: the row's name.
        subject: what expires.
        ends: seconds since 1970-01-01.
        todo: what to do if it expires soon.
    """
    days = int((ends - time.time()) // 86400)
    if days < 0:
        return Diagnosis(check, "bad", f"{subject} ended {-days} days ago", todo)
    return Diagnosis(
        check,
        "note" if days < _FEW_DAYS else "good",
        f"{subject} is good for {days} days",
        todo if days < _FEW_DAYS else "",
    )
