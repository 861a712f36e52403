"""The life of a link by the ledger: published with esgcet or by itself, and finished later where it
was not at once.

What is to be done is decided and kept, then done step by step. Whoever comes after an end at any
point goes on from there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from .. import esgpublish
from ..errors import BusyError, EsgvzarrError, LinkError, SettingsError, SourceError
from ..generate import (
    Progress,
    Stager,
    generate,
    make_transport,
    reference_name,
)
from ..indexes import Index, LinkState, record_in
from ..model import AccessLink, DatasetId, DatasetRecord, Finding, ReferenceFile
from ..outcome import (
    Absent,
    Failed,
    Linked,
    Outcome,
    Pending,
    Skipped,
    Written,
    failure,
    unexpected,
)
from ..output import of_place
from ..output.placing import remove_leftovers
from ..proof import read_artefact
from ..settings import Settings
from ..sources import from_index, of_own_version, read_source, with_local_paths
from ..sources.records import from_records
from ..transport import Head, Transport, host_of, is_url
from ..transport.checksums import can_be_checked, check_checksum
from ..transport.hosts import allow_hosts
from .add import discard, link, place, show
from .address import address_of_config, address_of_registration, open_index
from .attempt import Attempt
from .dry_run import preview
from .ledger import Ledger
from .remove import WITHDRAWN, links_of, may_come, withdraw
from .schema import takes_the_place_of
from .states import DONE, MAKING, REMOVING, Change, State, Verb
from .task import Entry, IndexAddress, Task

_log = logging.getLogger(__name__)


def decide(
    verb: Verb,
    record: DatasetRecord,
    index: IndexAddress,
    settings: Settings,
    *,
    force: bool = False,
) -> Task:
    """What is to be done to link a dataset. Where its reference file has no place, whoever does it
    says why.
    """
    try:
        directory, href = place(record, settings)
    except SettingsError:
        return Task(verb, record, "", "", index, force)
    return Task(
        verb, record, str(directory / reference_name(record.id, settings)), href, index, force
    )


def publish_with_esgcet(
    arguments: Sequence[str],
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> tuple[int, list[Outcome]]:
    """Run the real esgpublish, and publish the references of each dataset that it registers.

    Args:
        arguments: of esgpublish, without the program's name.
        settings: from the same esg.yaml.
        force: replace reference files that hold other bytes.
        progress: told of each step.

    Returns:
        esgpublish's own exit status, and what became of each dataset.

    Raises:
        PublisherError, SettingsError: before esgpublish began.
    """
    config = esgpublish.config_path(arguments)
    esgpublish.check_config(config)
    run = _Run(config, settings, force, progress)
    status = esgpublish.run_esgpublish(arguments, run.registered, run.registering, run.unregistered)
    run.close()
    return status, run.outcomes


class _Run:
    """What becomes of the datasets of one run of esgpublish."""

    def __init__(self, config: Path, settings: Settings, force: bool, progress: Progress) -> None:
        self._config = config
        self._settings = settings
        self._force = force
        self._progress = progress
        self._announced: tuple[Attempt, ExitStack] | None = None
        """The attempt of the dataset that esgcet is at, and the claim of the dataset."""
        self.outcomes: list[Outcome] = []

    def registering(self, registration: esgpublish.Registration) -> None:
        """Keep what is needed to go on, in case that this process ends while the index registers
        the dataset.
        """
        self.close()
        claim = ExitStack()
        try:
            ledger = Ledger(self._settings.ledger)
            claim.enter_context(ledger.claimed(registration.instance_id))
            attempt = Attempt(self._task(registration), ledger)
            attempt.announce()
        except EsgvzarrError as error:  # `registered` fails on it again, and reports it then
            _log.warning("%s: not announced: %s", registration.instance_id, error)
            claim.close()
            return
        self._announced = (attempt, claim)

    def registered(self, registration: esgpublish.Registration) -> None:
        """Generate, write and link."""
        name = registration.instance_id
        outcome: Outcome
        try:
            if registration.dry_run:
                outcome = preview(
                    self._task(registration),
                    self._settings,
                    registered=False,
                    progress=self._progress,
                )
            else:
                outcome = self._carry_out(registration)
        except EsgvzarrError as error:
            outcome = failure(name, Verb.PUBLISH, error)
        except Exception as error:  # noqa: BLE001  (a wall around each dataset)
            outcome = unexpected(name, Verb.PUBLISH, error)
        self.outcomes.append(outcome)

    def _carry_out(self, registration: esgpublish.Registration) -> Outcome:
        task = self._task(registration)
        if self._announced is None:
            return carry_out(task, self._settings, registration, progress=self._progress)
        attempt, claim = self._announced
        self._announced = None
        with claim:
            attempt.decide(task)
            return carry_on(attempt, self._settings, registration, self._progress)

    def close(self) -> None:
        """Say what became of a dataset that was announced and that esgcet did not register, as far
        as it knows.
        """
        if self._announced is None:
            return
        attempt, claim = self._announced
        self._announced = None
        with claim:
            outcome = _unregistered(attempt, self._settings)
            attempt.finish(outcome)
        self.outcomes.append(outcome)

    def unregistered(self, left: esgpublish.Unregistered) -> None:
        """Name a map whose dataset esgcet did not register, unless that is said already."""
        self.close()
        if left.dataset_id in {outcome.dataset_id for outcome in self.outcomes}:
            return
        name = left.dataset_id or left.path
        outcome: Outcome
        if left.tried:
            said = "esgpublish did not register it; its own messages say why"
            outcome = Failed(name, Verb.PUBLISH, said, "publisher-not-registered")
        else:
            said = "esgpublish ended before it came to this map; give it to esgpublish again"
            outcome = Skipped(name, Verb.PUBLISH, said, "publisher-not-tried", retryable=True)
        self.outcomes.append(outcome)

    def _task(self, registration: esgpublish.Registration) -> Task:
        record = from_records(registration.records, paths=registration.paths)
        with make_transport(self._settings) as transport:
            allow_hosts(transport, record, named=True)
            record = of_own_version(record, transport)
        return decide(
            Verb.PUBLISH,
            record,
            address_of_registration(registration, self._config),
            self._settings,
            force=self._force,
        )


def _unregistered(attempt: Attempt, settings: Settings) -> Outcome:
    """What became of a dataset of which esgpublish says that it did not register it. The index is
    asked: it may have registered the dataset all the same, or before.
    """
    task = attempt.task
    name = str(task.record.id)
    try:
        with make_transport(settings) as transport:
            index = open_index(task.index, transport, settings)
            if record_in(index, task.record) is None:
                detail = "esgpublish did not register it, and the index does not show it"
                return Absent(name, task.verb, detail)
            shown = {link.href for link in links_of(index, task)}
    except EsgvzarrError as error:
        return failure(name, task.verb, error)
    for live in attempt.live():
        if live.href in shown and attempt.is_about(live):
            reference = ReferenceFile(live.path, live.href, 0, live.sha256, written=False)
            detail = f"{live.href} is shown by the index; esgpublish registered nothing anew"
            return Linked(name, task.verb, detail, reference)
    if shown:
        detail = (
            "esgpublish did not register it, and the index shows it with a link: "
            f"{', '.join(sorted(shown))}. Nothing was changed; esgvzarr link links it anew"
        )
        return Skipped(name, task.verb, detail, "publisher-not-registered")
    detail = "esgpublish did not register it, but the index shows it; esgvzarr resume links it"
    return Skipped(name, task.verb, detail, "publisher-not-registered", retryable=True)


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


def resume(
    dataset_ids: Sequence[str],
    settings: Settings,
    *,
    every: bool = False,
    code: str = "",
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
) -> list[Outcome]:
    """Finish what was interrupted, is pending, or failed in a way that may have passed.

    Args:
        dataset_ids: which datasets, whatever they failed for; all that may be finished if empty.
            Where a named dataset's reference file goes is decided again, by these settings.
        settings: with the ledger.
        every: all that is not finished, whatever it failed for, decided again.
        code: only what ended with this code.
        dry_run: only say what would be done.
        progress: told of each step.

    Returns:
        What became of each; datasets on which another process is at work are skipped.

    Raises:
        SourceError: the ledger does not know a dataset that was named.
        StoreError: the ledger cannot be read or written. Nothing was done.
    """
    ledger = Ledger(settings.ledger)
    anew = every or bool(dataset_ids)
    taken = [
        last for last in unfinished(ledger, dataset_ids, every=every) if code in ("", last.code)
    ]
    if dry_run:
        return [_preview(last, ledger, settings, anew, progress) for last in taken]
    if taken:
        ledger.check()
    return [_resume_one(last, ledger, settings, anew, progress) for last in taken]


def unfinished(
    ledger: Ledger, dataset_ids: Sequence[str] = (), *, every: bool = False
) -> list[Entry]:
    """The last steps of the datasets that ``resume`` takes. What was tried longest ago comes first,
    so that a dataset that ends the process each time holds up no other.

    Raises:
        SourceError: the ledger does not know a dataset that was named.
    """
    latest = {last.dataset_id: last for last in ledger.latest()}
    if not dataset_ids:
        left = [
            last
            for last in latest.values()
            if last.state not in DONE and (last.retryable or every) and last.verb not in MAKING
        ]
        return sorted(left, key=lambda last: last.number)
    names = [str(DatasetId.parse(dataset_id)) for dataset_id in dataset_ids]
    for name in names:
        if name not in latest:
            raise SourceError(
                name,
                f"is not in the ledger {ledger.path}",
                expected="a dataset that was published or linked from here",
                todo="esgvzarr link links a registered dataset.",
                code="source-not-in-ledger",
            )
    return [latest[name] for name in names if latest[name].state not in DONE]


def _resume_one(
    last: Entry, ledger: Ledger, settings: Settings, anew: bool, progress: Progress
) -> Outcome:
    name = last.dataset_id
    try:
        with ledger.claimed(name, wait=False):
            now = ledger.last(name)
            if now is not None and now.state in DONE:  # since we looked
                return Skipped(name, now.verb, f"another process finished it: {now.detail}")
            return _go_on(_kept_task(ledger, name), ledger, settings, anew, progress)
    except BusyError as error:
        return Skipped(name, last.verb, str(error), error.code, error.retryable)
    except EsgvzarrError as error:
        return failure(name, last.verb, error)
    except Exception as error:  # noqa: BLE001  (a wall around each dataset)
        return unexpected(name, last.verb, error)


def _go_on(
    task: Task, ledger: Ledger, settings: Settings, anew: bool, progress: Progress
) -> Outcome:
    attempt = Attempt(task, ledger, resumed=True)
    if task.verb in REMOVING:
        attempt.resume()
        taken_back = withdraw(attempt, settings, progress)
        if taken_back.state is not State.QUEUED:
            return taken_back
        return _link_anew(task, ledger, settings, progress)
    fresh = decide_again(task, settings) if anew else task
    if fresh == task:
        attempt.resume()
    else:
        attempt.decide(fresh)
    return carry_on(attempt, settings, None, progress)


def _kept_task(ledger: Ledger, name: str) -> Task:
    task = ledger.task(name)
    if task is None:
        raise SourceError(
            name,
            "the ledger does not say how it was to be linked",
            expected="a dataset of publish or link",
            todo="Run esgvzarr link on its files, records or catalogue.",
            code="source-not-in-ledger",
        )
    return task


def decide_again(task: Task, settings: Settings) -> Task:
    """The same task, its reference file where these settings put it. What was decided stays where
    they give no place.
    """
    record = with_local_paths(task.record, settings.data_paths)
    fresh = decide(task.verb, record, task.index, settings, force=task.force)
    if not fresh.path:
        return replace(task, record=record)
    if fresh.path == task.path:
        return replace(fresh, before=task.before)
    return fresh


def _preview(
    last: Entry, ledger: Ledger, settings: Settings, anew: bool, progress: Progress
) -> Outcome:
    try:
        task = _kept_task(ledger, last.dataset_id)
        if task.verb is Verb.RELINK:
            task = _decide_anew(task, settings)
        elif anew and task.verb not in REMOVING:
            task = decide_again(task, settings)
    except EsgvzarrError as error:
        return failure(last.dataset_id, last.verb, error)
    return preview(task, settings, progress=progress)


def _link_anew(task: Task, ledger: Ledger, settings: Settings, progress: Progress) -> Outcome:
    """Link what was taken back, as the index describes it now. Its files must have the checksums
    that the index says.
    """
    name = str(task.record.id)
    try:
        fresh = _decide_anew(task, settings)
        progress(name, "reading its files whole")
        _check_bytes(fresh, settings)
    except EsgvzarrError as error:
        attempt = Attempt(task, ledger)
        attempt.resume()
        return attempt.finish(failure(name, Verb.RELINK, error))
    served = next(
        (
            step.sha256
            for step in reversed(ledger.entries(name))
            if step.sha256 and step.href == fresh.href
        ),
        "",
    )
    attempt = Attempt(fresh, ledger)
    attempt.decide()
    outcome = carry_on(attempt, settings, None, progress)
    if not isinstance(outcome, Linked | Pending):
        return outcome
    made = outcome.reference
    if made is None or not served or made.sha256 == served or _reads_as_before(made, settings):
        return outcome
    replaced = Finding(
        "store-replaced",
        0,
        fresh.href,
        "what was served before",
        "other references",
        "Caches may hold the old file for years.",
        refuse=False,
    )
    return replace(outcome, warnings=(*outcome.warnings, replaced))


def _reads_as_before(made: ReferenceFile, settings: Settings) -> bool:
    """Whether readers see the same in the reference file that was taken away."""
    path = Path(made.path)
    before = settings.ledger.expanduser().parent / WITHDRAWN / path.name
    return before.exists() and of_place(path.name).same(before, path)


def _decide_anew(task: Task, settings: Settings) -> Task:
    """What is to be done to link a dataset as the index describes it now.

    Raises:
        LinkError: the index cannot be asked, or does not show the dataset.
        SourceError: it shows not the whole of it, or it is retracted.
    """
    with make_transport(settings) as transport:
        index = open_index(task.index, transport, settings)
        documents = index.documents(task.record.id, task.record.data_node)
    if not documents:
        raise LinkError(
            str(task.record.id),
            f"is not in {task.index.location}",
            expected="a registered dataset",
            todo="Register it again, then esgvzarr resume.",
            code="index-item-missing",
            retryable=True,
        )
    record = from_index(documents, task.record.id)
    if (
        record.data_node != task.record.data_node
    ):  # the item of a replica's original: it does not describe our files
        record = task.record
    with make_transport(settings) as transport:
        record = of_own_version(record, transport)
    paths = {file.url: file.path for file in task.record.files}
    known = replace(
        record, files=tuple(replace(file, path=paths.get(file.url)) for file in record.files)
    )
    fresh = decide(Verb.LINK, with_local_paths(known, settings.data_paths), task.index, settings)
    return fresh if fresh.path else replace(fresh, path=task.path, href=task.href)


def _check_bytes(task: Task, settings: Settings) -> None:
    """Compare each file with its record's checksum: a file may have other bytes, and the size of
    then.

    Raises:
        TransportError: it has; or it cannot be read.
    """
    with make_transport(settings) as transport:
        allow_hosts(transport, task.record, named=task.verb is Verb.PUBLISH)
        for file in filter(can_be_checked, task.record.files):
            here = (
                file.path
                if file.path and settings.read != "http" and os.path.isfile(file.path)
                else None
            )
            check_checksum(file, here or file.url, transport)


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
        made = _make(attempt, index, transport, settings, progress, stager)
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


def _make(
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
