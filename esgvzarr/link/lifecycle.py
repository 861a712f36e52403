"""The life of a link: a decision is stored in the ledger, then carried out step by step. The next
run continues a run that ended at any point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EsgvzarrError
from ..generate import Progress, make_transport
from ..indexes import Index
from ..model import DatasetId
from ..outcome import Linked, Outcome, Pending, failure, unexpected
from ..output import of_place
from ..settings import Settings
from ..sources import read_source
from ..transport import Transport, host_of, is_url
from .add import discard, show
from .address import address_of_config, open_index
from .attempt import Attempt
from .decision import decide
from .dry_run import preview
from .ledger import Ledger
from .making import StagingArea, make
from .means import Means, tell_no_one
from .planning import plan_link
from .states import Change, Verb
from .task import Task


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """A request to link a dataset."""

    sources: Sequence[str]
    """The sources of the dataset, as for ``read_source``."""
    config: Path
    """esgcet's ``esg.yaml``, which names the index and holds the login."""
    dataset_id: DatasetId | None = None
    """Required for plain files; otherwise it selects one dataset of the source."""
    force: bool = False
    """Replace a reference file that holds other bytes."""


def link_source(
    request: LinkRequest,
    settings: Settings,
    *,
    dry_run: bool = False,
    progress: Progress = tell_no_one,
) -> Outcome:
    """Publish the references of a dataset that is registered already.

    Args:
        request: which dataset, and in which index.
        settings: settings from the ``esg.yaml`` of the request.
        dry_run: only say what would be done.
        progress: is told of each step.

    Raises:
        SourceError, TransportError, SettingsError: the dataset, or its index, could not be
            determined. Nothing was done, or stored.
    """
    address = address_of_config(request.config)
    named = (*settings.allowed_hosts, *map(host_of, filter(is_url, request.sources)))
    settings = settings.model_copy(update={"allowed_hosts": named})
    with make_transport(settings) as transport:
        record = read_source(request.sources, request.dataset_id, transport, settings.data_paths)
    task = decide(Verb.LINK, record, address, settings, force=request.force)
    means = Means(settings, progress)
    return preview(task, means) if dry_run else carry_out(task, means)


def carry_out(task: Task, means: Means) -> Outcome:
    """Generate, write and link as decided. The ledger stores each step and the outcome before the
    next action.
    """
    ledger = Ledger(means.settings.ledger)
    with ledger.claimed(str(task.record.id)):
        attempt = Attempt(task, ledger)
        attempt.decide()
        return carry_on(attempt, means)


def carry_on(attempt: Attempt, means: Means) -> Outcome:
    """Carry out the decision, then the same for the further outputs that the settings name, and
    store each outcome. The dataset must be claimed.

    Returns:
        The outcome of the last output, or of the first one that is not done: the outputs after it
            wait for ``resume``.
    """
    task = attempt.task
    settings = means.settings
    own = of_place(task.path).name if task.path else settings.all_outputs[0]
    with StagingArea(means) as staging:
        names = settings.outputs_from(own)
        outcome = _carry_on(attempt, staging, is_last=len(names) == 1, record=means.record)
        for name in names[1:]:
            if not outcome.done:
                break
            following = decide(
                task.verb, task.record, task.index, settings.with_outputs((name,)), force=task.force
            )
            attempt = attempt.of_another(following)
            attempt.decide()
            outcome = _carry_on(attempt, staging, is_last=name == names[-1])
    return outcome


def _carry_on(
    attempt: Attempt,
    staging: StagingArea,
    *,
    is_last: bool,
    record: Mapping[str, Any] | None = None,
) -> Outcome:
    """Carry out the decision for one output."""
    task = attempt.task
    means = staging.means
    name = str(task.record.id)
    outcome: Outcome
    try:
        with make_transport(means.settings) as transport:
            if means.lender is not None:
                transport.borrow_connections(means.lender)
            # When publishing, the record is esgcet's own, so the operator named the data node.
            transport.allow(task.record.data_node, named=task.verb is Verb.PUBLISH)
            index = _index_of(task, transport, means)
            is_registered = means.registration is None
            plan = plan_link(
                attempt, index, means.settings, registered=is_registered, record=record
            )
            if plan.hindrance is not None:
                outcome = plan.hindrance
            else:
                outcome = _make_and_show(attempt, index, transport, staging)
    except EsgvzarrError as error:
        outcome = failure(name, task.verb, error)
    except Exception as error:  # noqa: BLE001  (a wall around each dataset)
        outcome = unexpected(name, task.verb, error)
    if isinstance(outcome, Linked) and not is_last:
        return attempt.shown(outcome)
    staging.close()  # delete staged outputs before the ledger says "done"
    return attempt.finish(outcome)


def _index_of(task: Task, transport: Transport, means: Means) -> Index:
    if means.open_index is not None:
        return means.open_index()
    return open_index(task.index, transport, means.settings, means.registration)


def _make_and_show(
    attempt: Attempt, index: Index, transport: Transport, staging: StagingArea
) -> Linked | Pending:
    settings = staging.means.settings
    try:
        made = make(attempt, index, transport, staging)
        staging.means.progress(made.dataset_id, "linking")
        return show(made, attempt.task.record, index, transport, settings)
    except EsgvzarrError as error:
        task = attempt.task
        linking = attempt.may_come(Change.LINK, settings.poll_timeout_s)
        # Only this task made the file, and no index will show a link to it.
        if not (error.retryable or task.before or task.force or linking):
            discard(task.path, task.href, task.record, index)
        raise
