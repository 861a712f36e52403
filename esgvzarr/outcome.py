"""The outcome of work on one dataset: one type for each way in which the work can end.

::

    Outcome
    ├── Written      the reference file is in its place; no index was touched
    ├── Linked       the index shows the link
    ├── Withdrawn    the index does not show the link, and the reference file was moved away
    ├── Deleted      the index does not show the link, and the reference file was deleted
    ├── Planned      a dry run: nothing was done
    ├── Queued       the link was removed, and will be made again
    ├── Pending      a change was sent to the index, which does not show it yet
    ├── Absent       the index does not show the dataset
    ├── Refused      the data cannot be referenced without wrong values
    ├── Failed       an error ended the work
    └── Skipped      nothing was tried

After the first four, nothing is left to do.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import ClassVar

from .errors import EsgvzarrError, RefusedError, plain
from .model import Finding, ReferenceFile, Report

_log = logging.getLogger(__name__)


class Verb(StrEnum):
    """What a user asked for. Ledgers hold these values."""

    PUBLISH = "publish"
    LINK = "link"
    UNPUBLISH = "unpublish"
    RELINK = "relink"
    """Remove the link now, and link the dataset again later."""
    GENERATE = "generate"
    COMBINE = "combine"
    BACKFILL = "backfill"
    AUDIT = "audit"


class State(StrEnum):
    """The state of work on a dataset. Ledgers and plans hold these values."""

    OPEN = "open"
    """Work is in progress, or was interrupted."""
    WRITTEN = "written"
    LINKED = "linked"
    WITHDRAWN = "withdrawn"
    DELETED = "deleted"
    PLANNED = "planned"
    QUEUED = "queued"
    PENDING = "pending"
    ABSENT = "absent"
    REFUSED = "refused"
    FAILED = "failed"
    SKIPPED = "skipped"


DONE = frozenset((State.WRITTEN, State.LINKED, State.WITHDRAWN, State.DELETED))
"""States after which nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The base class of all outcomes; only its subclasses are instantiated."""

    state: ClassVar[State]
    dataset_id: str
    verb: Verb
    detail: str

    @property
    def code(self) -> str:
        """Stable error code; empty on success."""
        return ""

    @property
    def retryable(self) -> bool:
        """Whether a later attempt may succeed without any change."""
        return False

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that do not prevent the outcome, and that the user should know."""
        return ()

    @property
    def href(self) -> str:
        """Public URL, or path, of the reference file; empty if there is none."""
        return ""

    @property
    def references(self) -> tuple[ReferenceFile, ...]:
        """The reference files that were placed."""
        return ()

    @property
    def unsure(self) -> bool:
        """Whether an index may have made, or may still make, a change that it did not confirm."""
        return False

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in DONE


@dataclass(frozen=True, slots=True)
class Written(Outcome):
    """The reference file is in its place, and was proved. No index was touched."""

    state: ClassVar[State] = State.WRITTEN
    reference: ReferenceFile
    """The reference file of the first output."""
    report: Report | None = None
    """The proof of the first output; None for a file that an earlier run proved."""
    others: tuple[ReferenceFile, ...] = ()
    """The reference files of further outputs, in the order of the settings."""
    other_reports: tuple[Report, ...] = ()
    """The proofs of the further outputs, in the same order."""
    warnings: tuple[Finding, ...] = ()
    files: int = 0
    chunks: int = 0

    @property
    def href(self) -> str:
        """Public URL, or path, of the reference file."""
        return self.reference.href

    @property
    def references(self) -> tuple[ReferenceFile, ...]:
        """The reference files that were placed."""
        return (self.reference, *self.others)

    @property
    def proved(self) -> tuple[tuple[ReferenceFile, Report | None], ...]:
        """Each reference file with its proof; None for a file that an earlier run proved."""
        reports = (self.report, *self.other_reports)
        return tuple(zip_longest(self.references, reports))


@dataclass(frozen=True, slots=True)
class Linked(Outcome):
    """The index shows the link to the reference file."""

    state: ClassVar[State] = State.LINKED
    reference: ReferenceFile
    warnings: tuple[Finding, ...] = ()

    @property
    def href(self) -> str:
        """Public URL, or path, of the reference file."""
        return self.reference.href

    @property
    def references(self) -> tuple[ReferenceFile, ...]:
        """The reference files that were placed."""
        return (self.reference,)


@dataclass(frozen=True, slots=True)
class Withdrawn(Outcome):
    """The index does not show the link, and the reference file was moved away."""

    state: ClassVar[State] = State.WITHDRAWN


@dataclass(frozen=True, slots=True)
class Deleted(Outcome):
    """The index does not show the link, and the reference file was deleted."""

    state: ClassVar[State] = State.DELETED


@dataclass(frozen=True, slots=True)
class Planned(Outcome):
    """A dry run; the detail says what would be done."""

    state: ClassVar[State] = State.PLANNED
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class _Unfinished(Outcome):
    code: str = "error"
    """Stable error code."""
    retryable: bool = False
    """Whether a later attempt may succeed without any change."""
    unsure: bool = False
    """Whether an index may have made, or may still make, a change that it did not confirm."""


@dataclass(frozen=True, slots=True)
class Queued(_Unfinished):
    """The link was removed; ``resume`` makes it again."""

    state: ClassVar[State] = State.QUEUED
    code: str = "index-relink"
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Pending(_Unfinished):
    """A change was sent to the index, which does not show it yet."""

    state: ClassVar[State] = State.PENDING
    code: str = "index-pending"
    retryable: bool = True
    unsure: bool = True
    reference: ReferenceFile | None = None
    """The reference file, if the change is its link."""
    warnings: tuple[Finding, ...] = ()

    @property
    def href(self) -> str:
        """Public URL of the reference file, if the change is its link."""
        return self.reference.href if self.reference else ""


@dataclass(frozen=True, slots=True)
class Absent(_Unfinished):
    """The index answered, and does not show the dataset."""

    state: ClassVar[State] = State.ABSENT
    code: str = "index-item-missing"
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Refused(_Unfinished):
    """The files cannot be referenced without wrong values."""

    state: ClassVar[State] = State.REFUSED


@dataclass(frozen=True, slots=True)
class Failed(_Unfinished):
    """An error ended the work."""

    state: ClassVar[State] = State.FAILED


@dataclass(frozen=True, slots=True)
class Skipped(_Unfinished):
    """Nothing was tried."""

    state: ClassVar[State] = State.SKIPPED
    code: str = ""
    """Stable error code; empty if nothing is wrong."""


def failure(dataset_id: str, verb: Verb, error: EsgvzarrError) -> Refused | Failed:
    """Turn the error that ended work on a dataset into its outcome."""
    kind = Refused if isinstance(error, RefusedError) else Failed
    return kind(dataset_id, verb, str(error), error.code, error.retryable, error.may_be_applied)


def unexpected(dataset_id: str, verb: Verb, error: Exception) -> Failed:
    """Turn an exception that no room translated into an outcome, and log its traceback."""
    _log.error("%s: please report this as a bug", dataset_id, exc_info=error)
    detail = f"{type(error).__name__}: {plain(str(error))}. Please report this as a bug."
    return Failed(dataset_id, verb, detail, "worker-failed", unsure=True)
