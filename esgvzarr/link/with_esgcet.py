"""Publish with esgcet: run the real esgpublish, and link each dataset that it registers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from .. import esgpublish
from ..errors import EsgvzarrError
from ..generate import Progress, make_transport
from ..indexes import record_in
from ..model import ReferenceFile
from ..outcome import Absent, Failed, Linked, Outcome, Skipped, failure, unexpected
from ..settings import Settings
from ..sources import of_own_version
from ..sources.records import from_records
from ..transport.hosts import allow_hosts
from .address import address_of_registration, open_index
from .attempt import Attempt
from .decision import decide
from .dry_run import preview
from .ledger import Ledger
from .lifecycle import carry_on, carry_out
from .means import Means, tell_no_one
from .remove import links_of
from .states import Verb
from .task import Task

_log = logging.getLogger(__name__)


def publish_with_esgcet(
    arguments: Sequence[str],
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = tell_no_one,
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
    run = _Run(config, Means(settings, progress), force=force)
    status = esgpublish.run_esgpublish(arguments, run.registered, run.registering, run.unregistered)
    run.close()
    return status, run.outcomes


class _Run:
    """The outcomes of the datasets of one run of esgpublish."""

    def __init__(self, config: Path, means: Means, *, force: bool) -> None:
        self._config = config
        self._means = means
        self._settings = means.settings
        self._force = force
        self._announced: tuple[Attempt, ExitStack] | None = None
        """The attempt of the dataset that esgcet is registering, and the claim of the dataset."""
        self.outcomes: list[Outcome] = []

    def registering(self, registration: esgpublish.Registration) -> None:
        """Keep what is needed to continue if this process ends while the index registers the
        dataset.
        """
        self.close()
        claim = ExitStack()
        try:
            ledger = Ledger(self._settings.ledger)
            claim.enter_context(ledger.claimed(registration.instance_id))
            attempt = Attempt(self._task(registration), ledger)
            attempt.announce()
        except EsgvzarrError as error:  # `registered` raises it again and reports it.
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
                outcome = preview(self._task(registration), self._means, registered=False)
            else:
                outcome = self._carry_out(registration)
        except EsgvzarrError as error:
            outcome = failure(name, Verb.PUBLISH, error)
        except Exception as error:  # noqa: BLE001  (a wall around each dataset)
            outcome = unexpected(name, Verb.PUBLISH, error)
        self.outcomes.append(outcome)

    def _carry_out(self, registration: esgpublish.Registration) -> Outcome:
        task = self._task(registration)
        means = replace(self._means, registration=registration)
        if self._announced is None:
            return carry_out(task, means)
        attempt, claim = self._announced
        self._announced = None
        with claim:
            attempt.decide(task)
            return carry_on(attempt, means)

    def close(self) -> None:
        """Keep the outcome of a dataset that was announced and, as far as esgcet tells, not
        registered.
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
        """Name a map whose dataset esgcet did not register, unless it was named already."""
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
    """The outcome of a dataset that esgpublish says it did not register. The index is asked, since
    it may have registered the dataset all the same, or before.
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
            detail = f"{live.href} is shown by the index; esgpublish registered nothing new"
            return Linked(name, task.verb, detail, reference)
    if shown:
        detail = (
            "esgpublish did not register it, and the index shows it with a link: "
            f"{', '.join(sorted(shown))}. Nothing was changed; `esgvzarr link` makes the link again"
        )
        return Skipped(name, task.verb, detail, "publisher-not-registered")
    detail = "esgpublish did not register it, but the index shows it; esgvzarr resume links it"
    return Skipped(name, task.verb, detail, "publisher-not-registered", retryable=True)
