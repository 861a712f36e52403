"""Take a dataset's link back: first the index no longer shows it, then the reference file goes.

Links of other data nodes, and everything else that the index shows of the dataset, stay.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

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
    """Unlink a dataset, then move its reference file out of what is served, or delete it. It may be
    run twice.

    Args:
        dataset_id: which dataset.
        config: esgcet's ``esg.yaml``: which index and data node, where the ledger does not know,
            and how to log in.
        settings: from the same file.
        delete: keep no copy of the reference file.
        progress: told of each step.

    Raises:
        SettingsError: neither ledger nor settings name the index. Nothing was done, or kept.
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
    """Decide what to take back: the link that is live by the ledger; else the last one that may
    have been sent; else the one that ``esg.yaml`` and the settings give.

    A decision that never came as far as a link says nothing of what is to be taken back.

    Args:
        dataset_id: the dataset.
        config: esgpublish's ``esg.yaml``, read where the ledger does not know the dataset.
        settings: the ledger, and where reference files go.
        delete: remove the dataset's record from the index as well.
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
    """Unlink, then remove the file, and keep each step. A dataset that is to be linked again ends
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
    except Exception as error:  # noqa: BLE001  (a wall around each dataset)
        outcome = unexpected(str(task.record.id), task.verb, error)
    return attempt.finish(outcome)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """What is to be taken back."""

    links: Sequence[AccessLink]
    """The data node's own links that the index shows."""
    paths: Sequence[str]
    """The files on this machine that are removed."""
    hindrance: Outcome | None = None
    """Why nothing is done now; None if the link may be removed."""


def plan_withdrawal(attempt: Attempt, index: Index, settings: Settings) -> Withdrawal:
    """Decide what is to be unlinked and removed. Only requests that read are sent.

    Raises:
        SettingsError: the index leads to a file for which no local path is known.
        LinkError: it leads to what is no reference file of the dataset, or cannot be asked.
    """
    task = attempt.task
    own = links_of(index, task)
    paths = reference_paths(own, task, settings)
    until = attempt.may_come(Change.LINK, settings.poll_timeout_s) if not own else None
    hindrance = may_come(task, "the link", until) if until else None
    return Withdrawal(own, paths, hindrance)


def may_come(task: Task, change: str, until: datetime) -> Pending:
    """The outcome if an earlier run sent the index the opposite change, which it may still make:
    nothing is done before that.
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


def links_of(index: Index, task: Task) -> list[AccessLink]:
    """The data node's own links to the dataset."""
    return [link for link in index.links(task.record.id) if link.data_node == task.record.data_node]


def reference_paths(links: list[AccessLink], task: Task, settings: Settings) -> list[str]:
    """The files on this machine that are removed.

    Raises:
        SettingsError: the index leads to a file for which no local path is known.
        LinkError: it leads to what is no reference file of the dataset. An index can be made to say
            anything.
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
