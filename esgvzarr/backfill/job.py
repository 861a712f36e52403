"""What a backfill is to do, and how far it is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done. Equal jobs go on with each other's work."""

    sources: tuple[str, ...]
    """As `Survey` takes them; the index of ``config`` where there are none."""
    query: str = ""
    template: str = ""
    config: Path | None = None
    """esgcet's ``esg.yaml``, which names the index."""
    output_dir: Path | None = None
    """Only write references there; no link is made."""

    def __str__(self) -> str:
        places = [
            str(place.absolute()) if place else "" for place in (self.config, self.output_dir)
        ]
        return json.dumps([sorted(self.sources), self.query, self.template, *places])


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is."""

    counts: Counter[str]
    """Datasets of the plan by state; ``open`` are left."""
    finished: int
    """Of them, in this run; tried and left open ones too."""
    seconds: float
    """Since the run began."""
    listing: bool
    """Whether more datasets may still be found."""
    resting: tuple[str, ...]
    """Data nodes that give no answer."""


Watch = Callable[[Standing], None]


def sources_of(arguments: Sequence[str]) -> tuple[str, ...]:
    """Paths made absolute, so that the same sources are known again from wherever the command is
    run.
    """
    return tuple(str(Path(one).absolute()) if Path(one).exists() else one for one in arguments)
