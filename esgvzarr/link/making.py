"""The reference files of a dataset in their places: those of an earlier run, or new ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..generate import Progress, Stager, generate
from ..indexes import Index
from ..model import DatasetRecord
from ..outcome import Written
from ..output.placing import remove_leftovers
from ..proof import read_artefact
from ..settings import Settings
from ..transport import Head, Transport
from .add import place
from .attempt import Attempt
from .decision import decide
from .task import Task


def make(
    attempt: Attempt,
    index: Index,
    transport: Transport,
    settings: Settings,
    progress: Progress,
    stager: Stager | None,
) -> Written:
    """The reference file in its place: the one of an earlier run, or a new one."""
    task = attempt.task
    if not task.path:
        place(task.record, settings)  # says why there is none
        attempt.decide(decide(task.verb, task.record, task.index, settings, force=task.force))
        task = attempt.task
    remove_leftovers(task.path)
    several = len(settings.all_outputs) > 1  # each is made again: only one is known to be there
    earlier = None if several else attempt.reusable()
    if earlier is not None and _are_as_recorded(task.record, task.path, transport):
        found = Written(
            str(task.record.id),
            task.verb,
            earlier.path,
            earlier,
            files=len(task.record.files),
        )
        attempt.written(found)
        return found
    force = task.force or _is_ours_alone(task, index)
    made = generate(
        task.record,
        Path(task.path).parent,
        transport,
        settings,
        href=task.href,
        force=force,
        progress=progress,
        stager=stager,
    )
    attempt.written(made)
    reference = replace(made.reference, written=made.reference.written or not task.before)
    return replace(made, verb=task.verb, reference=reference)


def _are_as_recorded(record: DatasetRecord, path: str, transport: Transport) -> bool:
    """Whether the files that are served are still those for which the references in a place were
    made, as far as a server says.
    """
    made_from = {
        file["url"]: file for file in read_artefact(path, transport).contents.provenance["files"]
    }
    urls = [file.url for file in record.files]
    transport.forget(urls)
    heads = transport.read_heads(urls, 8)
    return all(
        file.size in (None, head.size)
        and all(made_from.get(file.url, {}).get(name, said) == said for name, said in _said(head))
        for file, head in zip(record.files, heads, strict=True)
    )


def _said(head: Head) -> tuple[tuple[str, object], ...]:
    return ("size", head.size), ("etag", head.etag), ("last_modified", head.last_modified)


def _is_ours_alone(task: Task, index: Index) -> bool:
    """Whether what lies in the place was put there by earlier runs for this link, and nobody is led
    to it.
    """
    if task.before or not os.path.exists(task.path):
        return False
    return not any(link.href == task.href for link in index.links(task.record.id))
