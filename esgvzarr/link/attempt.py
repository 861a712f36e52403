"""One attempt to carry out the decision for a dataset. The ledger stores each step before the next
action begins.

If a step cannot be stored, the attempt ends with an error, so that the ledger always knows what was
done.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from ..errors import StoreError, TransportError
from ..model import DatasetRecord, ReferenceFile, Report
from ..outcome import Failed, Linked, Outcome, Written
from ..output import of_place
from ..output.parts import measure
from ..transport import is_url
from ..transport.paths import state_of_path
from .ledger import Ledger, fingerprint
from .schema import ENDED, text_of
from .states import (
    BEGINNINGS,
    MAKING,
    Change,
    State,
    Step,
    change_of,
    may_be_sent_after,
)
from .task import Entry, LiveLink, Task

_PATIENCE = 60
"""After this many poll timeouts a change that was not confirmed is taken for lost: an hour, by
default.
"""


class Attempt:
    """Records the steps of one task. The dataset must be claimed (`Ledger.claimed`) meanwhile.

    Args:
        task: the decision for the dataset.
        ledger: stores the steps.
        resumed: whether the task was decided in an earlier run, whose reference file is reused if
            nothing has changed.

    Raises:
        StoreError: the ledger cannot be read.
    """

    def __init__(self, task: Task, ledger: Ledger, *, resumed: bool = False) -> None:
        self.task = task
        self._ledger = ledger
        self._resumed = resumed
        self._name = str(task.record.id)
        self._fingerprint = _fingerprint_now(task.record)
        self._earlier = [step for step in ledger.entries(self._name) if step.verb not in MAKING]
        self._sent = _sent(self._earlier)
        self._sha256 = ""

    def of_another(self, task: Task) -> Attempt:
        """Return the attempt of another task of the same dataset, in the same ledger."""
        return Attempt(task, self._ledger)

    def announce(self) -> None:
        """Record that the dataset is about to be registered."""
        self.task = replace(self.task, before=self._before())
        self._add(Step.ANNOUNCED, f"to be registered in {self.task.index.location}", self.task)

    def decide(self, task: Task | None = None) -> None:
        """Record that the work begins, with the hash of the file in the place, so that a later run
        can tell that file from a new one.

        Args:
            task: replaces the earlier decision.
        """
        if task is not None:
            self.task = task
            self._fingerprint = _fingerprint_now(task.record)
        self.task = replace(self.task, before=self._before())
        self._add(Step.DECIDED, "", self.task)

    def resume(self) -> None:
        """Record that an earlier decision is continued."""
        self._add(Step.RESUMED, "", self.task)

    def written(self, made: Written) -> None:
        """Record that the reference file is in its place, and was proved."""
        self._sha256 = made.reference.sha256
        step = replace(self._entry(Step.WRITTEN, made.detail), sha256=self._sha256)
        self._ledger.add(step, self.task, report_text(made.report))

    def shown(self, outcome: Linked) -> Outcome:
        """Record that the index shows the link, and that other outputs follow.

        Returns:
            As `finish`.
        """
        step = replace(self._entry(Step.SHOWN, outcome.detail), sha256=self._sha256)
        return self._keep_end(step, outcome)

    def unlinked(self) -> None:
        """Record that the index does not show the link."""
        self._add(Step.UNLINKED, f"{self.task.index.location} does not show {self.task.href}")

    def finish(self, outcome: Outcome) -> Outcome:
        """Record the outcome of the attempt.

        Returns:
            The outcome; if it cannot be stored, a failure that states both. The ledger then still
                states that the attempt is open, and ``resume`` continues it.
        """
        last = replace(
            self._entry(Step.DONE, outcome.detail),
            state=outcome.state,
            code=outcome.code,
            retryable=outcome.retryable,
            unsure=outcome.unsure,
            sha256=self._sha256,
        )
        return self._keep_end(last, outcome)

    def _keep_end(self, last: Entry, outcome: Outcome) -> Outcome:
        try:
            self._ledger.add(last, self.task)
        except StoreError as error:
            detail = (
                f"{outcome.state}: {outcome.detail}; the ledger could not store this outcome: "
                f"{error}"
            )
            return Failed(outcome.dataset_id, outcome.verb, detail, error.code, retryable=True)
        return outcome

    def may_come(self, change: Change, poll_timeout_s: float) -> datetime | None:
        """Return the time until which the index may still make a change that an earlier run sent;
        None if there is no such change.
        """
        if change not in self._sent:
            return None
        until = self._sent[change] + timedelta(seconds=_PATIENCE * poll_timeout_s)
        return until if until > datetime.now(UTC) else None

    def reusable(self) -> ReferenceFile | None:
        """Return the reference file that was written for equal inputs, if it is still in its
        place.
        """
        for step in reversed(self._earlier if self._resumed else []):
            known = (step.step, step.path, step.fingerprint)
            if known == (Step.WRITTEN, self.task.path, self._fingerprint):
                path = self.task.path
                size, sha256 = _read_sha256(path)
                if sha256 != step.sha256 or not of_place(path).is_whole(Path(path)):
                    return None
                written = not self.task.before
                return ReferenceFile(self.task.path, self.task.href, size, sha256, written)
        return None

    def proof_of(self, path: Path) -> Report | None:
        """Return the proof that an earlier run stored for the references at a path."""
        return kept_proof(path, self._ledger)

    def live(self) -> list[LiveLink]:
        """Return the dataset's live links."""
        return self._ledger.live(self._name)

    def is_about(self, live: LiveLink) -> bool:
        """Whether a live link is the one that this task makes, for the same files."""
        if live.task is None or live.href != self.task.href:
            return False
        return fingerprint(live.task.record) == fingerprint(self.task.record)

    def knows(self, href: str) -> bool:
        """Whether an earlier step of this dataset concerned a reference file with this URL."""
        return any(step.href == href for step in self._earlier)

    def _before(self) -> str:
        """Return the SHA-256 of the file in the place; if an earlier run was interrupted while it
        placed a file, that of the file before that run.
        """
        earlier = self._ledger.task(self._name)
        if earlier and self._earlier and earlier.path == self.task.path:
            last = self._earlier[-1]
            if last.retryable and last.state not in ENDED:
                return earlier.before
        return _read_sha256(self.task.path)[1]

    def _entry(self, step: Step, detail: str) -> Entry:
        return Entry(
            self._name,
            self.task.verb,
            State.OPEN,
            "",
            detail,
            self.task.href,
            _now(),
            step,
            retryable=True,
            path=self.task.path,
            fingerprint=self._fingerprint,
        )

    def _add(self, step: Step, detail: str, task: Task | None = None) -> None:
        self._ledger.add(self._entry(step, detail), task)


def _fingerprint_now(record: DatasetRecord) -> str:
    """Return the fingerprint of a dataset, with the state of those of its files that lie here.

    Not all servers state more about a file than its size, or the second of its last change.
    """
    paths = [file.path or file.url for file in record.files]
    states = []
    for path in sorted(path for path in paths if not is_url(path)):
        with suppress(TransportError):  # If the file is needed, its reader reports the error.
            states.append(f"{path}: {state_of_path(path)}")
    return fingerprint(record, states)


def _sent(steps: Sequence[Entry]) -> dict[Change, datetime]:
    """Return when the index was last sent each change that it neither showed nor refused since.

    The index may have made the change nevertheless: it did not answer, or answered with an error of
    its own, or the run ended after the change was sent.
    """
    last_done = max(
        (number for number, step in enumerate(steps) if step.state in ENDED), default=-1
    )
    sent = {}
    for step, later in pairwise([*steps[last_done + 1 :], None]):
        if step is None:
            continue
        change = change_of(step.verb)
        ended = later is None or later.step in BEGINNINGS
        if step.unsure or (ended and may_be_sent_after(step.step, change)):
            sent[change] = datetime.fromisoformat(step.created)
    return sent


def _read_sha256(path: str) -> tuple[int, str]:
    """Return size and SHA-256 of the file at a path. A file that cannot be read gets a hash that
    equals no other.
    """
    try:
        return measure(path) if path else (0, "")
    except (StoreError, TransportError):
        return 0, "unreadable"


def keep_made(outcome: Outcome, ledger: Ledger, made: Written | None = None) -> None:
    """Record the outcome of references for which ``generate`` or ``combine`` makes no link.

    Args:
        outcome: the outcome.
        ledger: stores it.
        made: the references with their proofs, if the outcome does not hold them.

    Raises:
        StoreError: the ledger cannot be written.
    """
    if made is None and isinstance(outcome, Written):
        made = outcome
    end = Entry(
        outcome.dataset_id,
        outcome.verb,
        outcome.state,
        outcome.code,
        outcome.detail,
        outcome.href,
        _now(),
        Step.DONE,
        retryable=outcome.retryable,
    )
    if made is None:
        ledger.add(end)
        return
    # The steps are stored in reverse, so that the ledger ends with that of the first output.
    for reference, report in reversed(made.proved):
        step = replace(end, href=reference.href, path=reference.path, sha256=reference.sha256)
        ledger.add(step, report=report_text(report))


def kept_proof(path: str | os.PathLike[str], ledger: Ledger) -> Report | None:
    """Return the proof of the references at a path, if the ledger has a proof of these bytes.

    Raises:
        StoreError: the ledger or the references cannot be read.
    """
    place = Path(path)
    proofs = ledger.proofs(place.name.removesuffix(of_place(place.name).suffix))
    if not proofs:
        return None
    return proofs.get(measure(place)[1])


def report_text(report: Report | None) -> str:
    """Return a proof in the form that the ledger stores."""
    return text_of(report) if report else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
