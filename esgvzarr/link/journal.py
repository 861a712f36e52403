"""The steps of one task, kept in the ledger as they are done. A ledger that cannot be used stands
in nobody's way.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from ..errors import EsgvzarrError, StoreError, traits_of
from ..model import ReferenceFile
from ..outcome import Linked, Outcome, Pending, Written
from ..output.placing import measure
from ..settings import Settings
from .ledger import Ledger, fingerprint
from .states import DONE, MAKING, Change, State, Step, change_of, may_be_sent_after
from .task import Entry, Task

_log = logging.getLogger(__name__)
_FIRST = (Step.ANNOUNCED, Step.DECIDED, Step.RESUMED)
"""Steps with which a run begins."""
_ENDED = (*DONE, State.QUEUED)
"""Outcomes after which the index shows what it was told. What was queued has no link, and no
reference file in its place.
"""
_PATIENCE = 60
"""So many times ``poll_timeout_s`` after an index was sent a change, it has lost it: an hour, where
nothing is set.
"""


class Journal:
    """Says what is done for a task before the next thing is done.

    Args:
        task: what was decided.
        ledger: keeps it.
        resumed: it was decided in an earlier run, whose reference file will do if nothing has
            changed.
    """

    def __init__(self, task: Task, ledger: Ledger, *, resumed: bool = False) -> None:
        self.task = task
        self._ledger = ledger
        self._resumed = resumed
        self._name = str(task.record.id)
        self._fingerprint = fingerprint(task.record)
        self._report = ""
        self._sent = _sent(self._earlier())

    def announce(self) -> None:
        """The dataset is about to be registered."""
        self.task = replace(self.task, before=self._before())
        self._add(
            self._entry(Step.ANNOUNCED, f"to be registered in {self.task.index.location}"),
            self.task,
        )

    def decide(self) -> None:
        """The work begins; keep also what lay there before, so that nobody takes it for ours."""
        self.task = replace(self.task, before=self._before())
        self._add(self._entry(Step.DECIDED, f"{self.task.verb} {self.task.href}"), self.task)

    def resume(self) -> None:
        """An earlier run is gone on with."""
        self._add(self._entry(Step.RESUMED, f"{self.task.verb} {self.task.href}"))

    def may_come(self, change: Change, poll_timeout_s: float) -> datetime | None:
        """Until when a change that an earlier run sent may still be made;
        None if none may.
        """
        until = (
            self._sent[change] + timedelta(seconds=_PATIENCE * poll_timeout_s)
            if change in self._sent
            else None
        )
        return until if until and until > datetime.now(UTC) else None

    def written(self, made: Written) -> None:
        """The reference file is in its place, and was proved."""
        kept = entry_of(made)
        self._report = kept.report
        self._add(
            replace(
                self._entry(Step.WRITTEN, made.detail),
                path=kept.path,
                sha256=kept.sha256,
                report=kept.report,
            )
        )

    def reusable(self) -> ReferenceFile | None:
        """The reference file that was written for equal inputs, if it is still in its place."""
        for step in reversed(self._earlier() if self._resumed else []):
            if (step.step, step.path, step.fingerprint) == (
                Step.WRITTEN,
                self.task.path,
                self._fingerprint,
            ):
                size, sha256 = _read_sha256(self.task.path)
                if sha256 != step.sha256:
                    return None
                self._report = step.report
                return ReferenceFile(
                    self.task.path, self.task.href, size, sha256, written=not self.task.before
                )
        return None

    def unlinked(self) -> None:
        """The index no longer shows the link."""
        self._add(
            self._entry(Step.UNLINKED, f"{self.task.index.location} does not show {self.task.href}")
        )

    def finish(self, outcome: Outcome) -> None:
        """What became of it."""
        last = entry_of(outcome)
        last = replace(
            last,
            href=last.href or self.task.href,
            path=last.path or self.task.path,
            report=last.report or self._report,
        )
        self._add(replace(last, fingerprint=self._fingerprint))

    def _before(self) -> str:
        """SHA-256 of what lies in the place; if an earlier run was not through with it, of what lay
        there before that.
        """
        try:
            earlier = self._ledger.task(self._name)
            steps = self._earlier()
        except StoreError:  # said when the step is kept
            earlier = None
            steps = []
        if (
            earlier
            and steps
            and earlier.path == self.task.path
            and steps[-1].retryable
            and steps[-1].state not in _ENDED
        ):
            return earlier.before
        return _read_sha256(self.task.path)[1]

    def _earlier(self) -> list[Entry]:
        try:
            return self._ledger.entries(self._name)
        except StoreError:  # said when a step is kept
            return []

    def _entry(self, step: Step, detail: str) -> Entry:
        return Entry(
            self._name,
            self.task.verb,
            State.OPEN,
            "",
            detail,
            self.task.href,
            "",
            datetime.now(UTC).isoformat(timespec="seconds"),
            step=step,
            retryable=True,
            path=self.task.path,
            fingerprint=self._fingerprint,
        )

    def _add(self, step: Entry, task: Task | None = None) -> None:
        try:
            self._ledger.add(step, task)
        except StoreError as error:
            _log.warning("%s", error)


def _sent(steps: Sequence[Entry]) -> dict[Change, datetime]:
    """Change -> when the index was last sent it, if it has not shown it
    since, and did not refuse it.

    It may have taken it all the same: it did not answer, or with an error of its own, or the run
        ended where it was sent.
    """
    steps = [step for step in steps if step.verb not in MAKING]
    last_done = max(
        (number for number, step in enumerate(steps) if step.state in _ENDED), default=-1
    )
    sent = {}
    for step, later in pairwise([*steps[last_done + 1 :], None]):
        if step is None:
            continue
        change = change_of(step.verb)
        ended = later is None or later.step in _FIRST
        if traits_of(step.code).may_be_applied or (ended and may_be_sent_after(step.step, change)):
            sent[change] = datetime.fromisoformat(step.created)
    return sent


def _read_sha256(path: str) -> tuple[int, str]:
    """Size and SHA-256 of what is there. What cannot be read has a hash like no other."""
    try:
        return measure(path) if path else (0, "")
    except StoreError:
        return 0, "unreadable"


@contextmanager
def claimed(ledger: Ledger, dataset_id: str) -> Iterator[None]:
    """Wait until no other process is at work on the dataset; without a ledger that can be used, do
    not.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(ledger.claimed(dataset_id))
        except StoreError as error:
            _log.warning("%s", error)
        yield


def entry_of(outcome: Outcome) -> Entry:
    """The outcome as the ledger keeps it."""
    report = sha256 = path = ""
    if isinstance(outcome, Written) and outcome.report is not None:
        report = json.dumps(asdict(outcome.report), sort_keys=True)
    if isinstance(outcome, Written | Linked | Pending) and outcome.reference is not None:
        path = outcome.reference.path
        sha256 = outcome.reference.sha256
    return Entry(
        outcome.dataset_id,
        outcome.verb,
        outcome.state,
        outcome.code,
        outcome.detail,
        outcome.href,
        report,
        datetime.now(UTC).isoformat(timespec="seconds"),
        step=Step.DONE,
        retryable=outcome.retryable,
        path=path,
        sha256=sha256,
    )


def keep(outcome: Outcome, settings: Settings) -> None:
    """Write the outcome into the ledger; a ledger that cannot be written stands in nobody's way."""
    try:
        Ledger(settings.ledger).add(entry_of(outcome))
    except EsgvzarrError as error:
        _log.warning("%s", error)
