"""Decide how to link a dataset. The decision is made once, and again if settings or the index have
changed since.
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import LinkError, SettingsError, SourceError
from ..generate import make_transport, reference_name
from ..model import DatasetRecord
from ..settings import Settings
from ..sources import from_index, of_own_version, with_local_paths
from .add import place
from .address import open_index
from .ledger import Ledger
from .states import Verb
from .task import IndexAddress, Task


def decide(
    verb: Verb,
    record: DatasetRecord,
    index: IndexAddress,
    settings: Settings,
    *,
    force: bool = False,
) -> Task:
    """Decide how to link a dataset.

    If the reference file has no place, the path of the task is empty; `make` raises the reason.

    Args:
        verb: publish, link, or resume.
        record: the dataset.
        index: address of its index.
        settings: where reference files are written.
        force: replace an existing file in the place.
    """
    try:
        directory, href = place(record, settings)
    except SettingsError:
        return Task(verb, record, "", "", index, force)
    return Task(
        verb, record, str(directory / reference_name(record.id, settings)), href, index, force
    )


def decide_again(task: Task, settings: Settings) -> Task:
    """Return the same task, with its reference file at the place that these settings give; if they
    give none, at its earlier place.
    """
    record = with_local_paths(task.record, settings.data_paths)
    fresh = decide(task.verb, record, task.index, settings, force=task.force)
    if not fresh.path:
        return replace(task, record=record)
    if fresh.path == task.path:
        return replace(fresh, before=task.before)
    return fresh


def decide_anew(task: Task, settings: Settings) -> Task:
    """Decide how to link a dataset as the index describes it now.

    Raises:
        LinkError: the index cannot be asked, or does not show the dataset.
        SourceError: the index does not show the whole dataset, or it is retracted.
    """
    with make_transport(settings) as transport:
        index = open_index(task.index, transport, settings)
        documents = index.documents(task.record.id, task.record.data_node)
    if not documents:
        raise LinkError(
            str(task.record.id),
            f"is not in {task.index.location}",
            expected="a registered dataset",
            todo="Register it again, then run esgvzarr resume.",
            code="index-item-missing",
            retryable=True,
        )
    record = from_index(documents, task.record.id)
    if record.data_node != task.record.data_node:
        # The item describes the original, on another data node, and not the files of this replica.
        record = task.record
    with make_transport(settings) as transport:
        record = of_own_version(record, transport)
    paths = {file.url: file.path for file in task.record.files}
    known = replace(
        record, files=tuple(replace(file, path=paths.get(file.url)) for file in record.files)
    )
    fresh = decide(Verb.LINK, with_local_paths(known, settings.data_paths), task.index, settings)
    return fresh if fresh.path else replace(fresh, path=task.path, href=task.href)


def kept_task(ledger: Ledger, name: str) -> Task:
    """Return the last decision for a dataset from the ledger.

    Raises:
        SourceError: the ledger has no decision for the dataset.
    """
    task = ledger.task(name)
    if task is None:
        raise SourceError(
            name,
            "the ledger has no decision about its link",
            expected="a dataset that publish or link has processed",
            todo="Run esgvzarr link on its files, records or catalogue.",
            code="source-not-in-ledger",
        )
    return task
