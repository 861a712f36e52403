"""What a verb would do, without doing it: nothing is sent but what reads, nothing is written, the
ledger included.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EsgvzarrError
from ..generate import Progress, make_transport, plan_staged
from ..indexes import Index, record_in
from ..model import AccessLink, DatasetRecord, ReferenceFile
from ..outcome import Outcome, Planned, Verb, failure
from ..output import Reading
from ..settings import Settings
from ..stage import Work, staged_apart, staging_places
from ..transport import Transport
from .add import access_link, place
from .address import open_index
from .remove import links_of, reference_paths
from .states import REMOVING
from .task import Task

Record = Mapping[str, Any]


def preview(
    task: Task, settings: Settings, *, registered: bool = True, progress: Progress = lambda *_: None
) -> Outcome:
    """Scan and prove as ever, and show what would be written and linked, or unlinked and removed.

    Args:
        task: what was decided.
        settings: as for doing it.
        registered: False for a dataset that would only be registered: the index is not asked.
        progress: told of each step.

    Returns:
        ``planned`` with the plan as its detail, or why nothing would come of it.
    """
    name = str(task.record.id)
    try:
        with make_transport(settings) as transport:
            transport.allow(
                task.record.data_node, named=task.verb is Verb.PUBLISH
            )  # by esgcet, whose record it is then
            index = open_index(task.index, transport, settings)
            if task.verb in REMOVING:
                lines = _plan_withdrawal(task, index, settings)
            else:
                if not task.path:
                    place(task.record, settings)  # says why there is none
                references, written, reading = plan_file(
                    task.record,
                    Path(task.path).parent,
                    transport,
                    settings,
                    href=task.href,
                    force=task.force,
                    progress=progress,
                )
                lines = [written]
                for reference in references:
                    lines += _plan_link(
                        task,
                        access_link(task.record, reference, settings, reading),
                        index,
                        registered=registered,
                    )
    except EsgvzarrError as error:
        return failure(name, task.verb, error)
    return Planned(name, task.verb, "\n".join(["dry run: nothing was sent or written", *lines]))


def plan_file(
    record: DatasetRecord,
    directory: Path,
    transport: Transport,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> tuple[tuple[ReferenceFile, ...], str, Reading]:
    """What ``generate`` would leave in the directory, that in words, and how it is best read.

    Raises:
        EsgvzarrError: it would write nothing; the error says why.
    """
    with staging_places(record.id, directory, settings, href=href, aside=True) as places:
        staged = staged_apart(Work(record, places, settings), transport, progress=progress)
        references = plan_staged(staged, places, force=force)
    said = []
    for reference in references:
        verb = "would be written" if reference.written else "is there already, with equal bytes"
        said.append(f"{reference.path}: {reference.size} bytes {verb}")
    return references, "\n".join(said), staged.outputs[0].reading


def _plan_link(task: Task, link: AccessLink, index: Index, *, registered: bool) -> list[str]:
    record = record_in(index, task.record) if registered else None
    if registered and record is None:
        return [f"{task.index.location} does not show the dataset: nothing would be linked"]
    before = record or index.to_be(task.record)
    after = index.with_link(before, link)
    when = "" if record else ", once the dataset is registered"
    change = "the link is there already" if after is None else "would change"
    return [f"{task.index.location}{when}: {change}", *diff(before, after or before)]


def _plan_withdrawal(task: Task, index: Index, settings: Settings) -> list[str]:
    own = links_of(index, task)
    paths = reference_paths(own, task, settings)
    before: Record = record_in(index, task.record) or {}
    after = before
    for link in own:
        after = index.without_link(after, link)
    said = "would change" if own else "shows no link of ours"
    verb = "would be deleted" if task.delete else "would be moved away"
    files = [f"{path}: {verb if Path(path).exists() else 'is not there'}" for path in paths]
    return [f"{task.index.location}: {said}", *diff(before, after), *files]


def diff(before: Record, after: Record) -> list[str]:
    """Line by line, as JSON."""
    now, then = (
        json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).split("\n")
        for record in (before, after)
    )
    return list(difflib.unified_diff(now, then, "now", "then", n=1, lineterm=""))
