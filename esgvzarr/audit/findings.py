"""The findings of an audit, and their form in the ledger."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import StoreError
from ..link.ledger import Ledger
from ..link.task import AuditEntry
from ..settings import Settings
from .judgement import CODES, State, Verdict, worst
from .targets import Target

_log = logging.getLogger(__name__)
Proofs = dict[str, tuple[str | None, str | None, State]]
"""URL -> ETag and date with which the checksum of a file was compared, and the result. It need not
be compared again while the server states the same ETag and date.
"""


@dataclass(frozen=True, slots=True)
class AuditResult:
    """The findings of one dataset."""

    target: Target
    verdicts: tuple[Verdict, ...]
    sha256: str = ""
    """SHA-256 of the served reference file."""
    proofs: Proofs | None = None

    @property
    def name(self) -> str:
        """The dataset, or its reference file if the dataset is not known."""
        return self.target.dataset_id or self.target.location

    @property
    def state(self) -> State:
        """The most serious state that was found."""
        return worst(self.verdicts)

    @property
    def code(self) -> str:
        """Stable code; empty if all is fine."""
        return CODES[self.state]

    @property
    def problems(self) -> tuple[Verdict, ...]:
        """The verdicts other than fine, the most serious first."""
        found = [verdict for verdict in self.verdicts if verdict.state is not State.FINE]
        return tuple(sorted(found, key=lambda verdict: -list(State).index(verdict.state)))

    @property
    def detail(self) -> str:
        """Describe the most serious problem, and the number of others."""
        if not self.problems:
            return f"{len(self.verdicts)} checks"
        first, *others = self.problems
        told = f"{first.subject}: {first.detail}"
        if not others:
            return told
        is_same = all(other.detail == first.detail for other in others)
        return f"{told}; and {len(others)} more{' of the same kind' if is_same else ''}"


def keep_found(found: Sequence[AuditResult], settings: Settings) -> None:
    """Store the findings in the ledger. If the ledger cannot be written, a warning is logged."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entries = [_entry(one, now) for one in found if one.target.step]
    if not entries:
        return
    try:
        Ledger(settings.ledger).add_audits(entries)
    except StoreError as error:
        _log.warning("%s", error)


def _entry(found: AuditResult, now: str) -> AuditEntry:
    target = found.target
    return AuditEntry(
        target.dataset_id,
        str(found.state),
        found.code,
        found.detail,
        target.location,
        target.path,
        found.sha256,
        json.dumps(found.proofs or {}),
        now,
        retryable=found.state is State.UNREACHABLE,
    )


def proofs_before(target: Target, sha256: str) -> Proofs:
    """Return the proofs of the last audit, if the reference file is unchanged."""
    if target.earlier is None or target.earlier.sha256 != sha256 or not target.earlier.proofs:
        return {}
    return {
        url: (etag, date, State(state))
        for url, (etag, date, state) in json.loads(target.earlier.proofs).items()
    }
