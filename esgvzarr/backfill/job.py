"""The job of a backfill, and its progress."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..directories import exists


@dataclass(frozen=True, slots=True)
class Job:
    """The datasets to link or write. Equal jobs continue each other's work."""

    sources: tuple[str, ...]
    """Sources, as `SourceReader` takes them; the index of ``config`` if empty."""
    query: str = ""
    template: str = ""
    config: Path | None = None
    """esgcet's ``esg.yaml``, which names the index."""
    output_dir: Path | None = None
    """Directory to which references are written without making links."""

    def __str__(self) -> str:
        places = [
            str(place.absolute()) if place else "" for place in (self.config, self.output_dir)
        ]
        return json.dumps([sorted(self.sources), self.query, self.template, *places])


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run."""

    counts: Counter[str]
    """Number of datasets of the plan by state; ``open`` are left."""
    finished: int
    """Datasets that this run has finished, including those that it tried and left open."""
    seconds: float
    """Seconds since the run began."""
    listing: bool
    """Whether more datasets may still be found."""
    resting: tuple[str, ...]
    """Data nodes that do not answer."""


Watch = Callable[[RunProgress], None]


def sources_of(arguments: Sequence[str]) -> tuple[str, ...]:
    """Make paths absolute, so that the same sources are recognised from any working directory."""
    return tuple(str(Path(one).absolute()) if exists(one) else one for one in arguments)
