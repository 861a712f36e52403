"""Finish datasets that were interrupted, are pending, or failed for a reason that may have
passed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import BusyError, EsgvzarrError, SourceError
from ..generate import Progress
from ..model import DatasetId
from ..outcome import Outcome, Skipped, failure, unexpected
from ..settings import Settings
from .attempt import Attempt
from .decision import decide_again, decide_anew, kept_task
from .dry_run import preview
from .ledger import Ledger
from .lifecycle import carry_on
from .means import Means, tell_no_one
from .relink import link_anew
from .remove import withdraw
from .states import DONE, MAKING, REMOVING, State, Verb
from .task import Entry, Task


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects unfinished datasets."""

    dataset_ids: Sequence[str] = ()
    """The datasets, whatever error they ended with; if empty, all that a new attempt may finish."""
    every: bool = False
    """Whether all unfinished datasets are selected, whatever error they ended with."""
    code: str = ""
    """Only datasets that ended with this code."""

    @property
    def anew(self) -> bool:
        """Whether the decision is made again, with today's settings."""
        return self.every or bool(self.dataset_ids)


def resume(
    selection: Selection,
    settings: Settings,
    *,
    dry_run: bool = False,
    progress: Progress = tell_no_one,
) -> list[Outcome]:
    """Finish datasets that were interrupted, are pending, or failed for a reason that may have
    passed.

    Args:
        selection: which datasets.
        settings: settings, which name the ledger.
        dry_run: only say what would be done.
        progress: is told of each step.

    Returns:
        The outcome of each; datasets on which another process works are skipped.

    Raises:
        SourceError: the ledger does not know a named dataset.
        StoreError: the ledger cannot be read or written. Nothing was done.
    """
    ledger = Ledger(settings.ledger)
    taken = []
    for last in unfinished(ledger, selection.dataset_ids, every=selection.every):
        if selection.code in ("", last.code):
            taken.append(last)
    means = Means(settings, progress)
    if dry_run:
        return [_preview(last, ledger, means, anew=selection.anew) for last in taken]
    if taken:
        ledger.check()
    return [_resume_one(last, ledger, means, anew=selection.anew) for last in taken]


def unfinished(
    ledger: Ledger, dataset_ids: Sequence[str] = (), *, every: bool = False
) -> list[Entry]:
    """Return the last steps of the datasets that ``resume`` takes, the one that was tried longest
    ago first, so that a dataset that kills the process each time does not prevent the others.

    Raises:
        SourceError: the ledger does not know a named dataset.
    """
    latest = {last.dataset_id: last for last in ledger.latest()}
    if not dataset_ids:
        left = [
            last
            for last in latest.values()
            if last.state not in DONE and (last.retryable or every) and last.verb not in MAKING
        ]
        return sorted(left, key=lambda last: last.number)
    names = [str(DatasetId.parse(dataset_id)) for dataset_id in dataset_ids]
    for name in names:
        if name not in latest:
            raise SourceError(
                name,
                f"is not in the ledger {ledger.path}",
                expected="a dataset that was published or linked from here",
                todo="To link a registered dataset, use esgvzarr link.",
                code="source-not-in-ledger",
            )
    return [latest[name] for name in names if latest[name].state not in DONE]


def _resume_one(last: Entry, ledger: Ledger, means: Means, *, anew: bool) -> Outcome:
    name = last.dataset_id
    try:
        with ledger.claimed(name, wait=False):
            now = ledger.last(name)
            if now is not None and now.state in DONE:  # It was finished after the list was read.
                return Skipped(name, now.verb, f"another process finished it: {now.detail}")
            return _go_on(kept_task(ledger, name), ledger, means, anew=anew)
    except BusyError as error:
        return Skipped(name, last.verb, str(error), error.code, error.retryable)
    except EsgvzarrError as error:
        return failure(name, last.verb, error)
    except Exception as error:  # noqa: BLE001  (an error must not stop the other datasets)
        return unexpected(name, last.verb, error)


def _go_on(task: Task, ledger: Ledger, means: Means, *, anew: bool) -> Outcome:
    attempt = Attempt(task, ledger, resumed=True)
    if task.verb in REMOVING:
        attempt.resume()
        taken_back = withdraw(attempt, means.settings, means.progress)
        if taken_back.state is not State.QUEUED:
            return taken_back
        return link_anew(task, ledger, means)
    fresh = decide_again(task, means.settings) if anew else task
    if fresh == task:
        attempt.resume()
    else:
        attempt.decide(fresh)
    return carry_on(attempt, means)


def _preview(last: Entry, ledger: Ledger, means: Means, *, anew: bool) -> Outcome:
    try:
        task = kept_task(ledger, last.dataset_id)
        if task.verb is Verb.RELINK:
            task = decide_anew(task, means.settings)
        elif anew and task.verb not in REMOVING:
            task = decide_again(task, means.settings)
    except EsgvzarrError as error:
        return failure(last.dataset_id, last.verb, error)
    return preview(task, means)
