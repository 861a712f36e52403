"""Share a proof between several processes: each makes the checks of all files, and compares the
chosen chunks of its own share of the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..model import Check, FileRecord, Report


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
    once. Between two of these stand, sorted by file, those that only some of them made, or that had
    another result.

    Args:
        reports: the reports of all shares, that of share 0 first.
    """
    first, *others = reports
    in_all = set(first.checks).intersection(*(report.checks for report in others))
    common = [check for check in dict.fromkeys(first.checks) if check in in_all]
    place = {check: number for number, check in enumerate(common, 1)}
    after: list[dict[Check, None]] = [{} for _ in range(len(common) + 1)]
    for report in reports:
        at = 0
        for check in report.checks:
            at = place.get(check, at)
            if check not in in_all:
                after[at][check] = None
    checks = sorted(after[0], key=_file_of)
    for check, number in place.items():
        checks += [check, *sorted(after[number], key=_file_of)]
    return replace(first, checks=tuple(checks))


def _file_of(check: Check) -> str:
    """Return the name of the file that a check is about; its subject, if that names none."""
    return check.subject.rpartition(" in ")[2]
