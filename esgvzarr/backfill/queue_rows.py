"""Rows of the plan of a backfill."""

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
    """One dataset that will be linked or written."""

    dataset_id: str
    data_node: str
    """The host of its files, as far as it is known before the record is read."""
    locator: str
    """The place of its description, as in `Page`."""


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a dataset."""

    state: State
    """``open`` if the next run will try it again."""
    code: str
    detail: str
    href: str
    seconds: float
    """Duration of the work on it."""


@dataclass(frozen=True, slots=True)
class EarlierOutcome:
    """What the ledger states about a dataset that an earlier run or another command has done."""

    state: State
    detail: str
    href: str
    code: str = ""
    retryable: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in DONE
