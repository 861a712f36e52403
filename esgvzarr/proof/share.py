"""A proof by several processes: all of them look at every file, and each compares the chosen chunks
of its own share of the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import FileRecord, Report


@dataclass(frozen=True, slots=True)
class Share:
    """The files whose chosen chunks one process compares.

    Every file belongs to the share of exactly one process, by its place in the list of files.
    """

    number: int = 0
    """Of the process, from 0."""
    of: int = 1
    """Processes in all."""

    def urls(self, files: Sequence[FileRecord]) -> frozenset[str]:
        """The URLs of its files."""
        return frozenset(file.url for file in files[self.number :: self.of])


WHOLE = Share()
"""One process compares the chosen chunks of all files."""


def united(reports: Sequence[Report]) -> Report:
    """One report of the processes that shared a proof. What all of them checked is in it once, and
    what any of them found to be different is in it, too.

    Args:
        reports: of all shares, that of share 0 first.
    """
    first, *others = reports
    checks = list(first.checks)
    known = set(checks)
    for report in others:
        checks += [check for check in report.checks if check not in known]
        known |= set(report.checks)
    return replace(first, checks=tuple(checks))
