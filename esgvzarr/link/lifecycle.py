"""The life of a link by the ledger: what was decided is kept, then done step by step. Whoever comes
after an end at any point goes on from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import esgpublish
from ..errors import EsgvzarrError
from ..generate import Progress, Stager, make_transport
from ..indexes import Index, LinkState, record_in
from ..model import DatasetId
from ..outcome import Absent, Linked, Outcome, Pending, failure, unexpected
from ..output import of_place
from ..settings import Settings
from ..sources import read_source
from ..transport import Transport, host_of, is_url
from .add import discard, link, show
from .address import address_of_config, open_index
from .allowed import check_links
from .attempt import Attempt
from .decision import decide
from .dry_run import preview
from .ledger import Ledger
from .making import make
from .remove import links_of, may_come
from .states import Change, Verb
from .task import Task


def link_source(
    sources: Sequence[str],
    dataset_id: DatasetId | None,
    config: Path,
    settings: Settings,
    *,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Publish the references of a dataset that is registered already.

    Args:
        sources: what describes the dataset, as for ``read_source``.
        dataset_id: needed for plain files; else which dataset of the source.
        config: esgcet's ``esg.yaml``, which names the index and says how to log in.
        settings: from the same file.
        force: replace a reference file that holds other bytes.
        dry_run: only say what would be done.
        progress: told of each step.

    Raises:
        SourceError, TransportError, SettingsError: it is not known what to link, or where. Nothing
            was done, or kept.
    """
    address = address_of_config(config)
    named = (*settings.allowed_hosts, *map(host_of, filter(is_url, sources)))
    settings = settings.model_copy(update={"allowed_hosts": named})
    with make_transport(settings) as transport:
        record = read_source(sources, dataset_id, transport, settings.data_paths)
    task = decide(Verb.LINK, record, address, settings, force=force)
    return (
        preview(task, settings, progress=progress)
        if dry_run
        else carry_out(task, settings, progress=progress)
    )


def carry_out(
    task: Task,
    settings: Settings,
    registration: esgpublish.Registration | None = None,
    *,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Generate, write and link as decided. Each step is in the ledger before the next, and so is
    what became of it.
    """
    ledger = Ledger(settings.ledger)
    with ledger.claimed(str(task.record.id)):
        attempt = Attempt(task, ledger)
        attempt.decide()
        return carry_on(attempt, settings, registration, progress)


def carry_on(
    attempt: Attempt,
    settings: Settings,
    registration: esgpublish.Registration | None,
    progress: Progress,
    stager: Stager | None = None,
) -> Outcome:
    """Do what was decided, and then the same for the outputs that the settings name after it. What
    became of each is kept. The dataset must be claimed.

    Returns:
        What became of the last output, or of the first that is not done: those after it wait for
        ``resume``.
    """
    task = attempt.task
    outputs = settings.all_outputs
    own = of_place(task.path).name if task.path else outputs[0]
    outcome = _carry_on(attempt, settings.with_output(own), registration, progress, stager)
    left = outputs[outputs.index(own) + 1 :] if own in outputs else ()
    for name in left:
        if not outcome.done:
            break
        alone = settings.with_output(name)
        following = decide(task.verb, task.record, task.index, alone, force=task.force)
        attempt = Attempt(following, Ledger(settings.ledger))
        attempt.decide()
        outcome = _carry_on(attempt, alone, registration, progress, stager)
    return outcome


def _carry_on(
    attempt: Attempt,
    settings: Settings,
    registration: esgpublish.Registration | None,
    progress: Progress,
    stager: Stager | None,
) -> Outcome:
    """Do what was decided for one output."""
    task = attempt.task
    name = str(task.record.id)
    outcome: Outcome
    try:
        with make_transport(settings) as transport:
            transport.allow(
                task.record.data_node, named=task.verb is Verb.PUBLISH
            )  # by esgcet, whose record it is then
            index = open_index(task.index, transport, settings, registration)
            if registration is None and record_in(index, task.record) is None:
                outcome = _absent(task)
            else:
                own = links_of(index, task)
                check_links(attempt, own)
                until = attempt.may_come(Change.UNLINK, settings.poll_timeout_s)
                if until and own:
                    outcome = may_come(task, "the removal of the link", until)
                else:
                    outcome = _make_and_show(attempt, index, transport, settings, progress, stager)
    except EsgvzarrError as error:
        outcome = failure(name, task.verb, error)
    except Exception as error:  # noqa: BLE001  (a wall around each dataset)
        outcome = unexpected(name, task.verb, error)
    return attempt.finish(outcome)


def _absent(task: Task) -> Absent:
    detail = (
        f"{task.index.location} does not show the dataset. Nothing was linked; register it, or "
        "wait until it is"
    )
    return Absent(str(task.record.id), task.verb, detail)


def _make_and_show(
    attempt: Attempt,
    index: Index,
    transport: Transport,
    settings: Settings,
    progress: Progress,
    stager: Stager | None,
) -> Linked | Pending:
    try:
        made = make(attempt, index, transport, settings, progress, stager)
        progress(made.dataset_id, "linking")
        record = attempt.task.record
        waiting = []
        for reference in made.others:
            if link(record, reference, index, transport, settings) is LinkState.PENDING:
                waiting.append(reference)
            else:
                attempt.shown(reference)
        outcome = show(made, record, index, transport, settings)
        if waiting and isinstance(outcome, Linked):
            detail = f"{waiting[0].href} was sent to the index"
            return Pending(made.dataset_id, made.verb, detail, reference=waiting[0])
        return outcome
    except EsgvzarrError as error:
        task = attempt.task
        linking = attempt.may_come(Change.LINK, settings.poll_timeout_s)
        if not (
            error.retryable or task.before or task.force or linking
        ):  # what lies there is of this task alone
            discard(task.path, task.href, task.record, index)
        raise
