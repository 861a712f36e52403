"""What a verb would do, without doing it: only requests that read are sent, and nothing is written,
not even the ledger.

The plan is the one that the act follows. What would be written is staged and proved elsewhere.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import EsgvzarrError
from ..generate import make_transport, plan_staged
from ..indexes import Index, record_in
from ..model import DatasetRecord, ReferenceFile
from ..outcome import Outcome, Planned, Verb, failure
from ..output import Reading
from ..stage import staging_places
from ..transport import Transport
from .add import access_link, place
from .address import open_index
from .attempt import Attempt
from .ledger import Ledger
from .means import Means
from .planning import Plan, plan_link
from .remove import plan_withdrawal
from .states import REMOVING
from .task import Task

Record = Mapping[str, Any]
_SAID = "dry run: nothing was sent or written"


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A reference file that would be written, or that exists already."""

    reference: ReferenceFile
    reading: Reading
    """Advice for readers of it."""

    def __str__(self) -> str:
        written = self.reference.written
        verb = "would be written" if written else "is there already, with equal bytes"
        return f"{self.reference.path}: {self.reference.size} bytes {verb}"


@dataclass(frozen=True, slots=True)
class Target:
    """The directory to which references would be written."""

    directory: Path
    href: str = ""
    """Public URL of the first output, if it has one."""
    force: bool = False
    """Whether other bytes under the same name may be replaced."""


def preview(task: Task, means: Means, *, registered: bool = True) -> Outcome:
    """Scan and prove as usual, and show what would be written and linked, or unlinked and removed.

    Args:
        task: the decision for the dataset.
        means: as for carrying it out.
        registered: False for a dataset that would only be registered: the index need not show it.

    Returns:
        ``planned`` with the plan as its detail, or the outcome that the action would have.
    """
    name = str(task.record.id)
    try:
        with make_transport(means.settings) as transport:
            # When publishing, the record is esgcet's own, so the operator named the data node.
            transport.allow(task.record.data_node, named=task.verb is Verb.PUBLISH)
            index = open_index(task.index, transport, means.settings)
            attempt = Attempt(task, Ledger(means.settings.ledger), resumed=True)
            if task.verb in REMOVING:
                return _preview_withdrawal(attempt, index, means)
            plan = plan_link(attempt, index, means.settings, registered=registered)
            if plan.hindrance is not None:
                return replace(plan.hindrance, detail=f"{_SAID}\n{plan.hindrance.detail}")
            lines = _link_lines(task, plan, index, transport, means)
    except EsgvzarrError as error:
        return failure(name, task.verb, error)
    return Planned(name, task.verb, "\n".join([_SAID, *lines]))


def plan_files(
    record: DatasetRecord, target: Target, transport: Transport, means: Means
) -> tuple[PlannedFile, ...]:
    """Return what ``generate`` would leave in a directory.

    Args:
        record: the dataset.
        target: the directory, and the public URL of the reference file.
        transport: reads the dataset's files.
        means: settings, and the receiver of progress.

    Raises:
        EsgvzarrError: it would write nothing; the error says why.
    """
    with staging_places(
        record.id, target.directory, means.settings, href=target.href, aside=True
    ) as places:
        staged = means.staged(record, places, transport)
        references = plan_staged(staged, places, force=target.force)
    readings = [proved.reading for proved in staged.outputs]
    return tuple(map(PlannedFile, references, readings))


def _link_lines(
    task: Task, plan: Plan, index: Index, transport: Transport, means: Means
) -> list[str]:
    """Describe what would be written, and how the index would change.

    Raises:
        EsgvzarrError: the action would fail too.
    """
    settings = means.settings
    if not task.path:
        place(task.record, settings)  # Raises the reason why there is no path.
    means = means.for_outputs_from(task.path)
    target = Target(Path(task.path).parent, task.href, task.force)
    files = plan_files(task.record, target, transport, means)
    before: Record = plan.record or index.to_be(task.record)
    after = before
    for file in files:
        link = access_link(task.record, file.reference, settings, file.reading)
        after = index.with_link(after, link) or after
    when = "" if plan.record else ", once the dataset is registered"
    change = "the link is there already" if after == before else "would change"
    said = f"{task.index.location}{when}: {change}"
    return [*map(str, files), said, *diff(before, after)]


def _preview_withdrawal(attempt: Attempt, index: Index, means: Means) -> Outcome:
    task = attempt.task
    name = str(task.record.id)
    plan = plan_withdrawal(attempt, index, means.settings)
    if plan.hindrance is not None:
        return replace(plan.hindrance, detail=f"{_SAID}\n{plan.hindrance.detail}")
    before: Record = record_in(index, task.record) or {}
    after = before
    for link in plan.links:
        after = index.without_link(after, link)
    said = "would change" if plan.links else "shows no link by esgvzarr"
    verb = "would be deleted" if task.delete else "would be moved away"
    files = [f"{path}: {verb if Path(path).exists() else 'is not there'}" for path in plan.paths]
    lines = [_SAID, f"{task.index.location}: {said}", *diff(before, after), *files]
    return Planned(name, task.verb, "\n".join(lines))


def diff(before: Record, after: Record) -> list[str]:
    """Return the value as JSON, line by line."""
    now, then = (
        json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).split("\n")
        for record in (before, after)
    )
    return list(difflib.unified_diff(now, then, "now", "then", n=1, lineterm=""))
