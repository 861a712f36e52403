"""The targets of an audit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..directories import exists, named_below
from ..errors import SourceError, TransportError
from ..generate import make_transport
from ..indexes.item_references import references_at, references_of_catalogue_file
from ..link.ledger import Ledger
from ..link.states import MAKING
from ..link.states import State as LinkState
from ..link.task import AuditEntry, Entry, LiveLink, Task
from ..model import DatasetId
from ..output import of_place, suffixes
from ..settings import Settings
from ..transport import host_of, is_url


@dataclass(frozen=True, slots=True)
class Target:
    """One reference file to check, or a directory that cannot be searched for them."""

    location: str
    """URL of the reference file, or its path if it is not served."""
    dataset_id: str = ""
    """The dataset id; empty for references that the ledger does not know."""
    path: str = ""
    """Local path of the reference file, from the ledger."""
    sha256: str = ""
    """SHA-256 of the reference file as it was linked or written, from the ledger."""
    step: int = 0
    """The last step of the dataset in the ledger; 0 for references that it does not know."""
    task: Task | None = None
    """The decision of its link, from the ledger; None if it is in no index."""
    earlier: AuditEntry | None = None
    """The findings of the last audit, if nothing was done since."""
    unlisted: TransportError | None = None
    """The error of a directory that cannot be listed: nothing below it is checked."""


def find_targets(named: Sequence[str], settings: Settings) -> list[Target]:
    """Return the targets for the operator's arguments.

    Args:
        named: dataset ids that the ledger knows, URLs and paths of reference files, directories of
            reference files; if empty, all datasets that were linked and not unpublished, whatever
            was tried since, and all that were only written.
        settings: settings, which name the ledger.

    Raises:
        SourceError: a dataset is not in the ledger, or is neither linked nor written; or a
            directory has no reference files.
    """
    ledger = Ledger(settings.ledger)
    places = [name for name in named if is_url(name) or exists(name)]
    targets: list[Target] = []
    for place in places:
        targets += _targets_at(place, settings)
    ids = [str(DatasetId.parse(name)) for name in named if name not in places]
    if ids or not named:
        known = _known_targets(ledger)
        for name in ids or known:
            if name not in known:
                raise SourceError(
                    name,
                    f"is neither linked nor written according to the ledger {ledger.path}",
                    expected="a dataset published from here",
                    todo="Give the URL of its reference file; esgvzarr status shows its state.",
                    code="source-not-in-ledger",
                )
            targets += known[name]
    return targets


def _targets_at(place: str, settings: Settings) -> list[Target]:
    if is_url(place) or not os.path.isdir(place):
        with make_transport(settings) as transport:
            if is_url(place):
                transport.allow(host_of(place), named=True)
            return [Target(shown) for shown in references_at(place, transport)]
    if of_place(place).directory:
        return [Target(place)]
    found = _targets_below(Path(place))
    if not found:
        expected = ", ".join(f"*{suffix}" for suffix in suffixes())
        raise SourceError(
            place, "has no reference files in it", expected=expected, code="source-none"
        )
    return found


def _targets_below(directory: Path) -> list[Target]:
    """Return outputs, recognised by their suffixes, and what the items of a static catalogue show,
    each once; and the directories that cannot be listed.
    """
    unlisted: list[TransportError] = []
    found: dict[str, str] = {}
    for path in sorted(named_below(directory, suffixes(), unlisted.append)):
        for location in _shown_by(str(path)):
            found.setdefault(location if is_url(location) else os.path.abspath(location), location)
    closed = [Target(error.subject, unlisted=error) for error in unlisted]
    return [*closed, *(Target(location) for location in found.values())]


def _shown_by(path: str) -> list[str]:
    """Return the references that a file of a catalogue shows, or the file itself."""
    try:
        shown = references_of_catalogue_file(path)
    except OSError:  # The audit of the file itself reports the error.
        return [path]
    return [path] if shown is None else shown


def _known_targets(ledger: Ledger) -> dict[str, list[Target]]:
    """Return each live link of each dataset; or its references, if they were only written."""
    latest = {last.dataset_id: last for last in ledger.latest()}
    earlier = ledger.audits()
    known: dict[str, list[Target]] = {}
    for live in ledger.live():
        name = live.dataset_id
        target = _target_of_link(live, latest[name], earlier.get(name))
        known.setdefault(name, []).append(target)
    for name, last in latest.items():
        only_written = last.verb in MAKING and last.state in (LinkState.LINKED, LinkState.WRITTEN)
        if only_written and name not in known:
            location = last.href or last.path
            known[name] = [
                Target(
                    location,
                    name,
                    last.path,
                    last.sha256,
                    last.number,
                    earlier=earlier.get(name),
                )
            ]
    return dict(sorted(known.items()))


def _target_of_link(live: LiveLink, last: Entry, earlier: AuditEntry | None) -> Target:
    return Target(
        live.href or live.path,
        live.dataset_id,
        live.path,
        live.sha256,
        last.number,
        live.task,
        earlier,
    )
