"""Share a proof between several processes: each makes the checks of all files, and compares the
chosen chunks of its own share of the files.
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
    """Number of the process, from 0."""
    of: int = 1
    """Number of processes."""

    def urls(self, files: Sequence[FileRecord]) -> frozenset[str]:
        """Return the URLs of its files."""
        return frozenset(file.url for file in files[self.number :: self.of])


WHOLE = Share()
"""The share of a single process: the chosen chunks of all files."""


def united(reports: Sequence[Report]) -> Report:
    """Merge the reports of processes that shared a proof. A check that all of them made is kept
    once; a check that failed in any of them is kept too.

    Args:
        reports: the reports of all shares, that of share 0 first.
    """
    first, *others = reports
    checks = list(first.checks)
    known = set(checks)
    for report in others:
        checks += [check for check in report.checks if check not in known]
        known |= set(report.checks)
    return replace(first, checks=tuple(checks))
