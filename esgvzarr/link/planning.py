"""Plan the link of a dataset from what the index and the ledger show, or find the reason against
it. A dry run shows the plan, and the action follows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import LinkError, SourceError
from ..esg_yaml import read_config
from ..indexes import Index, is_retracted, record_in
from ..model import AccessLink
from ..outcome import Absent, Outcome
from ..output import of_place
from ..settings import Settings
from ..transport import host_of, is_url
from .attempt import Attempt
from .remove import links_of, may_come
from .schema import takes_the_place_of
from .states import Change, Verb
from .task import Task


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for one dataset."""

    record: Mapping[str, Any] | None
    """The index's record that the link is added to; None for a dataset that will be registered."""
    hindrance: Outcome | None = None
    """The outcome that prevents the link now; None if the link may be added."""


def plan_link(
    attempt: Attempt,
    index: Index,
    settings: Settings,
    *,
    registered: bool,
    record: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide whether a dataset may be linked. Only requests that read are sent.

    Args:
        attempt: the attempt to add the link.
        index: the index that gets the link.
        settings: how long to wait for a change that was sent.
        registered: False for a dataset that esgcet registers just now: the index may not show it
            yet.
        record: the index's record of a registered dataset, if it was read since the dataset was
            claimed; None reads it.

    Raises:
        SourceError: the index states that the dataset is retracted (``source-retracted``).
        LinkError: the link would replace another link, or a live link elsewhere would be lost; or
            the index cannot be asked.
    """
    task = attempt.task
    if registered and record is None:
        record = record_in(index, task.record)
    if registered and record is None:
        return Plan(None, _absent(task))
    if record is not None and is_retracted(record):
        raise SourceError(
            str(task.record.id),
            f"{task.index.location} states that it is retracted",
            todo="esgvzarr does not link retracted data.",
            code="source-retracted",
        )
    shown = links_of(index, task, record)
    _check_live(attempt)
    _check_shown(attempt, shown)
    until = attempt.may_come(Change.UNLINK, settings.poll_timeout_s)
    if until and shown:
        return Plan(record, may_come(task, "the removal of the link", until))
    return Plan(record)


def _absent(task: Task) -> Absent:
    detail = (
        f"{task.index.location} does not show the dataset. Nothing was linked: register "
        "it, or wait until its registration is processed"
    )
    return Absent(str(task.record.id), task.verb, detail)


def _check_live(attempt: Attempt) -> None:
    """Check that no live link in another index, or for another data node, would be lost.

    Raises:
        LinkError: ``index-live-elsewhere``.
    """
    task = attempt.task
    if task.force:
        return
    for live in attempt.live():
        if live.task is None:
            continue
        before = (live.task.index.location, live.task.record.data_node)
        if before != (task.index.location, task.record.data_node):
            raise LinkError(
                str(task.record.id),
                f"is linked in {before[0]} for {before[1]}: {live.href}",
                expected=f"no link, or one in {task.index.location} for {task.record.data_node}",
                todo="To remove that link, run esgvzarr unpublish; --force ignores it.",
                code="index-live-elsewhere",
            )


def _check_shown(attempt: Attempt, shown: Sequence[AccessLink]) -> None:
    """Check that no link of other origin would be replaced. The link of another data node is never
    replaced.

    Args:
        attempt: the attempt to add the link.
        shown: the links that the index shows on the dataset for the data node of its record.

    Raises:
        LinkError: ``index-link-foreign``.
    """
    task = attempt.task
    foreign = [other for other in shown if not is_from_here(attempt, other.href)]
    if not foreign:
        return
    other = foreign[0]
    own_node = _own_node(task)
    if own_node != task.record.data_node:
        todo = (
            f"It is the link of another data node: data_node of esg.yaml is {own_node!r}. Link the "
            "files of this data node, from their mapfile."
        )
    elif task.force:
        return
    else:
        todo = (
            "Check that the record describes the files of this data node, and link the "
            "dataset from its mapfile; --force replaces the link."
        )
    raise LinkError(
        str(task.record.id),
        f"{task.index.location} shows another link of {other.data_node}: {other.href}",
        expected=f"no link, or {task.href}",
        todo=todo,
        code="index-link-foreign",
    )


def _own_node(task: Task) -> str:
    """Return the data node of the operator: that of ``esg.yaml``, or the one for which esgcet
    registers.
    """
    if task.verb is Verb.PUBLISH or not task.index.config:
        return task.record.data_node
    return str(read_config(task.index.config).get("data_node") or "")


def is_from_here(attempt: Attempt, href: str) -> bool:
    """Whether the ledger has a link, or it lies on the host of the new one, or the new one does not
    replace it.
    """
    task = attempt.task
    if href == task.href or attempt.knows(href):
        return True
    if not takes_the_place_of(of_place(task.href).name, of_place(href).name):
        return True
    return not task.href or (
        is_url(href) and is_url(task.href) and host_of(href) == host_of(task.href)
    )
