"""Link datasets again whose links were removed, from their current records in the index."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ..errors import EsgvzarrError
from ..generate import make_transport
from ..model import Finding, ReferenceFile
from ..outcome import Linked, Outcome, Pending, failure
from ..output import of_place
from ..settings import Settings
from ..transport.checksums import can_be_checked, check_checksum
from ..transport.hosts import allow_hosts
from .attempt import Attempt
from .decision import decide_anew
from .ledger import Ledger
from .lifecycle import carry_on
from .means import Means
from .remove import WITHDRAWN
from .states import Verb
from .task import Task


def link_anew(task: Task, ledger: Ledger, means: Means) -> Outcome:
    """Link a dataset again as the index describes it now. Its files must have the checksums that
    the index states.
    """
    name = str(task.record.id)
    settings = means.settings
    try:
        fresh = decide_anew(task, settings)
        means.progress(name, "reading its files whole")
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
    outcome = carry_on(attempt, means)
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
        "Caches may serve the old file for years.",
        refuse=False,
    )
    return replace(outcome, warnings=(*outcome.warnings, replaced))


def _reads_as_before(made: ReferenceFile, settings: Settings) -> bool:
    """Whether readers get the same values as from the reference file that was removed."""
    path = Path(made.path)
    before = settings.ledger.expanduser().parent / WITHDRAWN / path.name
    return before.exists() and of_place(path.name).same(before, path)


def _check_bytes(task: Task, settings: Settings) -> None:
    """Compare each file with the checksum in its record: other bytes may have the same size.

    Raises:
        TransportError: the checksum differs, or the file cannot be read.
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
