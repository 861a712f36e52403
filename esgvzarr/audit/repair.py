"""Remove links that give wrong data, and let ``resume`` make them again from the current records in
the index.
"""

from __future__ import annotations

from dataclasses import replace

from ..generate import Progress
from ..link.attempt import Attempt
from ..link.dry_run import preview
from ..link.ledger import Ledger
from ..link.means import Means, tell_no_one
from ..link.remove import withdraw
from ..link.states import Verb
from ..outcome import Outcome, Skipped
from ..settings import Settings
from . import AuditResult
from .judgement import State

REPAIRED = frozenset(
    (State.MISSING, State.STALE, State.UNREADABLE, State.CHANGED, State.DEAD, State.DANGLING)
)
"""The states that are repaired. A server that is down may come back; files that have moved are
right; files that are not proved may be right.
"""


def repair(
    found: AuditResult,
    settings: Settings,
    *,
    dry_run: bool = False,
    progress: Progress = tell_no_one,
) -> Outcome | None:
    """Unlink a dataset that gives wrong data, move its reference file out of the served directory,
    and queue it to be linked again.

    Args:
        found: the findings of `audit`.
        settings: settings, which name the ledger.
        dry_run: only say what would be done.
        progress: is told of each step.

    Returns:
        ``queued``, or the reason why it is not; None if nothing needs repair.
    """
    target = found.target
    if found.state not in REPAIRED:
        return None
    if target.task is None:
        return Skipped(
            found.name,
            Verb.AUDIT,
            "is in no index that the ledger knows: there is no link to remove",
            found.code,
        )
    if dry_run:
        taken_back = replace(target.task, verb=Verb.UNPUBLISH, delete=False)
        return preview(taken_back, Means(settings, progress))
    ledger = Ledger(settings.ledger)
    with ledger.claimed(target.dataset_id):
        last = ledger.last(target.dataset_id)
        if last is not None and last.number != target.step:
            return Skipped(
                found.name,
                Verb.RELINK,
                "another process worked on it since it was audited; audit it again",
                "store-busy",
            )
        task = replace(target.task, verb=Verb.RELINK, force=False, delete=False)
        attempt = Attempt(task, ledger)
        attempt.decide()
        return withdraw(attempt, settings, progress)
