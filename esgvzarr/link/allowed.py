"""Which links of a dataset may be replaced."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import LinkError
from ..model import AccessLink
from ..output import of_place
from ..transport import host_of, is_url
from .attempt import Attempt
from .schema import takes_the_place_of


def check_links(attempt: Attempt, shown: Sequence[AccessLink]) -> None:
    """Make sure that no link is replaced or forgotten that this task is not about.

    Args:
        attempt: whose link is to be added.
        shown: what the index shows of the dataset for its data node.

    Raises:
        LinkError: a link is live in another index or for another data node
            (``index-live-elsewhere``); or the index shows one that is not from here
            (``index-link-foreign``).
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
                todo="esgvzarr unpublish takes that link back; --force forgets it.",
                code="index-live-elsewhere",
            )
    for other in shown:
        if is_from_here(attempt, other.href):
            continue
        raise LinkError(
            str(task.record.id),
            f"{task.index.location} shows another link of {other.data_node}: {other.href}",
            expected=f"no link, or {task.href}",
            todo=(
                "Does the record describe the files of this data node? Link the dataset from its "
                "mapfile; --force replaces the link."
            ),
            code="index-link-foreign",
        )


def is_from_here(attempt: Attempt, href: str) -> bool:
    """Whether a link is one that this ledger knows, lies on the host of the new one, or is none
    that the new one replaces.
    """
    task = attempt.task
    if href == task.href or attempt.knows(href):
        return True
    if not takes_the_place_of(of_place(task.href).name, of_place(href).name):
        return True
    return not task.href or (
        is_url(href) and is_url(task.href) and host_of(href) == host_of(task.href)
    )
