"""Remove a dataset's link: first from the index, then move the reference file away.

Links of other data nodes, and everything else that the index shows of the dataset, stay.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import EsgvzarrError, LinkError, SettingsError
from ..esg_yaml import read_config
from ..generate import Progress, make_transport, reference_name
from ..indexes import Index, LinkState
from ..model import AccessLink, DatasetId, DatasetRecord, FileRecord
from ..outcome import Deleted, Outcome, Pending, Queued, Verb, Withdrawn, failure, unexpected
from ..output import suffixes
from ..output.placing import remove_leftovers, remove_reference, withdraw_reference
from ..pages import remove_page, renew_beside
from ..settings import Settings
from ..sources import with_local_paths
from .address import address_of_config, open_index
from .attempt import Attempt
from .ledger import Ledger
from .means import tell_no_one
from .states import Change, Step
from .task import Task

WITHDRAWN = "withdrawn"
"""Directory beside the ledger, which no server serves, for the reference files of retracted
datasets.
"""


def unpublish(
    dataset_id: DatasetId,
    config: Path,
    settings: Settings,
    *,
    delete: bool = False,
    progress: Progress = tell_no_one,
) -> Outcome:
    """Unlink a dataset, then move its reference file out of the served directory, or delete it. It
    may be called twice.

    Args:
        dataset_id: the dataset.
        config: esgcet's ``esg.yaml``: names index and data node if the ledger does not know them,
            and holds the login.
        settings: settings from the same file.
        delete: keep no copy of the reference file.
        progress: is told of each step.

    Raises:
        SettingsError: neither ledger nor settings name the index. Nothing was done, or stored.
        StoreError: the ledger cannot be used. Nothing was done.
    """
    ledger = Ledger(settings.ledger)
    with ledger.claimed(str(dataset_id)):
        task = decide_withdrawal(dataset_id, config, settings, delete=delete)
        attempt = Attempt(task, ledger)
        attempt.decide()
        return withdraw(attempt, settings, progress)


def decide_withdrawal(
    dataset_id: DatasetId, config: Path, settings: Settings, *, delete: bool = False
) -> Task:
    """Decide which link to remove: the live link in the ledger; else the last one that may have
    been sent; else the one that ``esg.yaml`` and the settings give.

    A decision that never sent a link does not count.

    Args:
        dataset_id: the dataset.
        config: esgpublish's ``esg.yaml``, read if the ledger does not know the dataset.
        settings: the ledger, and where reference files are written.
        delete: keep no copy of the reference file.
    """
    ledger = Ledger(settings.ledger)
    name = str(dataset_id)
    known = [live.task for live in ledger.live(name) if live.task is not None]
    earlier = known[0] if known else ledger.sent_task(name)
    if earlier is not None:
        return replace(earlier, verb=Verb.UNPUBLISH, force=False, delete=delete)
    data_node = str(read_config(config).get("data_node") or "")
    record = DatasetRecord(dataset_id, data_node, ())
    path = href = ""
    if settings.reference_dir is not None and settings.reference_url is not None:
        name = reference_name(dataset_id, settings)
        path = str(settings.reference_dir.expanduser() / name)
        href = f"{settings.reference_url.rstrip('/')}/{name}"
    return Task(Verb.UNPUBLISH, record, path, href, address_of_config(config), delete=delete)


def withdraw(attempt: Attempt, settings: Settings, progress: Progress) -> Outcome:
    """Unlink, then remove the file, and store each step. A dataset that will be linked again ends
    as ``queued``.
    """
    task = attempt.task
    outcome: Outcome
    try:
        with make_transport(settings) as transport:
            index = open_index(task.index, transport, settings)
            plan = plan_withdrawal(attempt, index, settings)
            progress(str(task.record.id), "unlinking")
            pending = [
                link.href
                for link in plan.links
                if index.remove_link(task.record.id, link) == LinkState.PENDING
            ]
        if plan.hindrance is not None:
            outcome = plan.hindrance
        elif pending:
            detail = (
                f"{task.index.location} accepted the removal of {', '.join(pending)}, but "
                "still shows it; the reference file stays until the index no longer does"
            )
            outcome = Pending(str(task.record.id), task.verb, detail)
        else:
            attempt.unlinked()
            outcome = _remove(task, plan.paths, settings)
            for path in plan.paths:
                renew_beside(path, attempt.proof_of)
            if task.verb is Verb.RELINK:
                detail = f"unlinked, {outcome.detail}; esgvzarr resume links it again"
                outcome = Queued(outcome.dataset_id, task.verb, detail)
    except EsgvzarrError as error:
        outcome = failure(str(task.record.id), task.verb, error)
    except Exception as error:  # noqa: BLE001  (an error must not stop the other datasets)
        outcome = unexpected(str(task.record.id), task.verb, error)
    return attempt.finish(outcome)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The links and files to remove."""

    links: Sequence[AccessLink]
    """The data node's own links that the index shows."""
    paths: Sequence[str]
    """The files on this machine that are removed."""
    hindrance: Outcome | None = None
    """The outcome that prevents the removal now; None if the link may be removed."""


def plan_withdrawal(attempt: Attempt, index: Index, settings: Settings) -> Withdrawal:
    """Decide which links and files to remove. Only requests that read are sent.

    Raises:
        SettingsError: the index refers to a file for which no local path is known.
        LinkError: the index refers to a file that is not a reference file of the dataset, or cannot
            be asked.
    """
    task = attempt.task
    own = links_of(index, task)
    paths = reference_paths(own, task, settings)
    until = attempt.may_come(Change.LINK, settings.poll_timeout_s) if not own else None
    hindrance = may_come(task, "the link", until) if until else None
    return Withdrawal(own, paths, hindrance)


def may_come(task: Task, change: str, until: datetime) -> Pending:
    """Make the outcome for a dataset to which the index may still apply an opposite change of an
    earlier run: nothing is done before that.
    """
    detail = (
        f"an earlier run sent {change} to {task.index.location}, which may make it until "
        f"{until:%Y-%m-%d %H:%M:%S} UTC"
    )
    return Pending(
        str(task.record.id),
        task.verb,
        f"{detail}. Run esgvzarr resume after that",
        "index-earlier-change",
        unsure=False,
    )


def links_of(index: Index, task: Task, record: Mapping[str, Any] | None = None) -> list[AccessLink]:
    """Return the data node's own links to the dataset.

    Args:
        index: the index that shows them.
        task: the dataset, and its data node.
        record: the index's record of the dataset, if it has just been read.
    """
    name = task.record.id
    shown = index.links(name) if record is None else index.links_beside(name, record)
    return [link for link in shown if link.data_node == task.record.data_node]


def reference_paths(links: list[AccessLink], task: Task, settings: Settings) -> list[str]:
    """Return the local files to remove.

    Raises:
        SettingsError: the index refers to a file for which no local path is known.
        LinkError: the index refers to a file that is not a reference file of the dataset: entries
            of an index are not trusted.
    """
    names = {f"{task.record.id}{suffix}" for suffix in suffixes()}
    written = [
        step.path
        for step in Ledger(settings.ledger).entries(str(task.record.id))
        if step.step is Step.WRITTEN
    ]
    paths = list(dict.fromkeys(filter(None, (task.path, *written))))
    for link in links:
        if link.href == task.href and task.path:
            continue
        file = FileRecord(link.href.rpartition("/")[2], link.href)
        (found,) = with_local_paths(replace(task.record, files=(file,)), settings.data_paths).files
        if not found.path:
            raise SettingsError(
                link.href,
                "no local path is known for this file",
                expected="a URL under one of `data_paths`",
                todo="Set `data_paths`, or `reference_dir` and `reference_url`.",
                code="settings-reference-dir",
            )
        if os.path.basename(found.path) not in names:
            raise LinkError(
                link.href,
                f"leads to {found.path}, which is not a reference file of the dataset",
                expected=" or ".join(sorted(names)),
                todo="Nothing was unlinked or removed. Find out which program added this link.",
                code="index-link-foreign",
            )
        paths.append(found.path)
    return paths


def _remove(task: Task, paths: Sequence[str], settings: Settings) -> Withdrawn | Deleted:
    name = str(task.record.id)
    away = settings.ledger.expanduser().parent / WITHDRAWN
    for path in paths:
        remove_leftovers(path)
        remove_page(path)
    if task.delete:
        removed = [path for path in paths if remove_reference(path)]
        detail = f"{', '.join(removed)} deleted" if removed else "no reference file was there"
        return Deleted(name, task.verb, detail)
    moved = [target for path in paths if (target := withdraw_reference(path, away))]
    detail = f"moved to {', '.join(map(str, moved))}" if moved else "no reference file was there"
    return Withdrawn(name, task.verb, detail)
