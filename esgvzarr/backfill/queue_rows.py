"""What goes into the plan of a backfill, and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..outcome import DONE, State


@dataclass(frozen=True, slots=True)
class Page:
    """Something that lists datasets: a catalogue, one page of a search, a mapfile."""

    locator: str
    """URL, path, or ``stac:URL``, ``solr:HOST``, ``globus:UUID``."""
    cursor: str = ""
    """Which page of a search."""
    depth: int = 0
    """Steps from what the operator named."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One dataset that is to be done."""

    dataset_id: str
    data_node: str
    """Where its files are, as far as is known before its record is read."""
    locator: str
    """What describes it, as in `Page`."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a dataset."""

    state: State
    """``open``: it is to be tried again in the next run."""
    code: str
    detail: str
    href: str
    seconds: float
    """From its turn to its end."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger says of a dataset that is done already: by an earlier run, or another
    command.
    """

    state: State
    detail: str
    href: str
    code: str = ""
    retryable: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in DONE
