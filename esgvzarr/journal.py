"""The steps of one task, kept in the ledger as they are done. A ledger that cannot be used stands in nobody's way."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from .errors import StoreError
from .generate import Outcome, entry
from .ledger import DONE, OPEN, Ledger, fingerprint
from .model import Entry, ReferenceFile, Task
from .store import measure

_log = logging.getLogger(__name__)
_FIRST = ("announced", "decided")
"""Steps with which a run begins."""


class Journal:
    """Says what is done for a task before the next thing is done.

    Args:
        task: what was decided.
        ledger: keeps it.
        resumed: it was decided in an earlier run, whose reference file will do if nothing has changed.
    """

    def __init__(self, task: Task, ledger: Ledger, *, resumed: bool = False) -> None:
        self.task, self._ledger, self._resumed = task, ledger, resumed
        self._name, self._fingerprint, self._report = str(task.record.id), fingerprint(task.record), ""
        self.may_be_queued = _may_be_queued(self._earlier())
        """Whether a change that an earlier run sent may still be made: then the file must be there."""

    def announce(self) -> None:
        """The dataset is about to be registered."""
        self.task = replace(self.task, before=self._before())
        self._add(self._entry("announced", f"to be registered in {self.task.index.location}"), self.task)

    def decide(self) -> None:
        """The work begins; keep also what lay there before, so that nobody takes it for ours."""
        self.task = replace(self.task, before=self._before())
        self._add(self._entry("decided", f"{self.task.verb} {self.task.href}"), self.task)

    def written(self, made: Outcome) -> None:
        """The reference file is in its place, and was proved."""
        kept = entry(made)
        self._report = kept.report
        self._add(replace(self._entry("written", made.detail), path=kept.path, sha256=kept.sha256, report=kept.report))

    def reusable(self) -> ReferenceFile | None:
        """The reference file that was written for equal inputs, if it is still in its place."""
        for step in reversed(self._earlier() if self._resumed else []):
            if (step.step, step.path, step.fingerprint) == ("written", self.task.path, self._fingerprint):
                size, sha256 = _read_sha256(self.task.path)
                if sha256 != step.sha256:
                    return None
                self._report = step.report
                return ReferenceFile(self.task.path, self.task.href, size, sha256, written=not self.task.before)
        return None

    def unlinked(self) -> None:
        """The index no longer shows the link."""
        self._add(self._entry("unlinked", f"{self.task.index.location} does not show {self.task.href}"))

    def finish(self, outcome: Outcome) -> None:
        """What became of it."""
        last = entry(outcome)
        last = replace(last, href=last.href or self.task.href, path=last.path or self.task.path, report=last.report or self._report)
        self._add(replace(last, fingerprint=self._fingerprint))

    def _before(self) -> str:
        """SHA-256 of what lies in the place; if an earlier run was not through with it, of what lay there before that."""
        try:
            earlier, steps = self._ledger.task(self._name), self._earlier()
        except StoreError:  # said when the step is kept
            earlier, steps = None, []
        if earlier and steps and earlier.path == self.task.path and steps[-1].retryable and steps[-1].outcome not in DONE:
            return earlier.before
        return _read_sha256(self.task.path)[1]

    def _earlier(self) -> list[Entry]:
        try:
            return self._ledger.entries(self._name)
        except StoreError:  # said when a step is kept
            return []

    def _entry(self, step: str, detail: str) -> Entry:
        return Entry(
            self._name, self.task.verb, OPEN, "", detail, self.task.href, "", datetime.now(UTC).isoformat(timespec="seconds"),
            step=step, retryable=True, path=self.task.path, fingerprint=self._fingerprint,
        )  # fmt: skip

    def _add(self, step: Entry, task: Task | None = None) -> None:
        try:
            self._ledger.add(step, task)
        except StoreError as error:
            _log.warning("%s", error)


def _may_be_queued(steps: Sequence[Entry]) -> bool:
    """Whether the index took a change that it has not shown, or may have: it did not answer, or the run ended where it was sent."""
    last_done = max((number for number, step in enumerate(steps) if step.outcome in DONE), default=-1)
    open_steps = steps[last_done + 1 :]
    ended_at = [step for step, later in pairwise([*open_steps, None]) if step and (later is None or later.step in _FIRST)]
    return any(step.outcome == "pending" or step.code == "index-unreachable" for step in open_steps) or any(
        step.step == "written" for step in ended_at
    )


def _read_sha256(path: str) -> tuple[int, str]:
    """Size and SHA-256 of what is there. What cannot be read has a hash like no other."""
    try:
        return measure(path) if path else (0, "")
    except StoreError:
        return 0, "unreadable"


@contextmanager
def claimed(ledger: Ledger, dataset_id: str) -> Iterator[None]:
    """Wait until no other process is at work on the dataset; without a ledger that can be used, do not."""
    with ExitStack() as stack:
        try:
            stack.enter_context(ledger.claimed(dataset_id))
        except StoreError as error:
            _log.warning("%s", error)
        yield
