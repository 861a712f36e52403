"""Take back links that give wrong data, and let ``resume`` make them anew from what the index says
then.
"""

from __future__ import annotations

from dataclasses import replace

from ..generate import Progress
from ..link.dry_run import preview
from ..link.journal import Journal, claimed
from ..link.ledger import Ledger
from ..link.remove import withdraw
from ..link.states import MAKING, Verb
from ..outcome import Outcome, Skipped
from ..settings import Settings
from . import Audited
from .judgement import State

REPAIRED = frozenset(
    (State.MISSING, State.STALE, State.UNREADABLE, State.CHANGED, State.DEAD, State.DANGLING)
)
"""What is repaired. A server that is down may come back, what has moved is right, and what is not
proved may be.
"""


def repair(
    found: Audited,
    settings: Settings,
    *,
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
) -> Outcome | None:
    """Unlink a dataset that gives wrong data, move its reference file out of what is served, and
    queue it to be linked anew.

    Args:
        found: of `audit`.
        settings: with the ledger.
        dry_run: only say what would be done.
        progress: told of each step.

    Returns:
        ``queued``, or why it is not; None where there is nothing to repair.
    """
    target = found.target
    if found.state not in REPAIRED:
        return None
    if target.task is None:
        return Skipped(
            found.name,
            Verb.AUDIT,
            "is in no index that the ledger knows: there is no link to take back",
            found.code,
        )
    if dry_run:
        return preview(
            replace(target.task, verb=Verb.UNPUBLISH, delete=False), settings, progress=progress
        )
    ledger = Ledger(settings.ledger)
    with claimed(ledger, target.dataset_id):
        steps = [step for step in ledger.entries(target.dataset_id) if step.verb not in MAKING]
        if target.last is not None and steps and steps[-1] != target.last:
            return Skipped(
                found.name,
                Verb.RELINK,
                "another process worked on it since it was audited; audit it again",
                "store-busy",
            )
        journal = Journal(replace(target.task, verb=Verb.RELINK, force=False, delete=False), ledger)
        journal.decide()
        return withdraw(journal, settings, progress)
