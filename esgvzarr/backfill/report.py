"""Report the outcomes of a backfill: as lines, and as a self-contained HTML page with plots. No
input or output.
"""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Protocol

from ..errors import kind_of
from ..outcome import DONE

ERRORS_PAGE = "https://esgvzarr.readthedocs.io/reference/errors/"
LIMITS_S = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
BINS = 60
MOST_ROWS = 2000


class OutcomeStore(Protocol):
    """Keeps the outcomes of datasets: a `Plan`."""

    def counts(self) -> Counter[str]:
        """Return the number of datasets by state."""
        ...

    def counts_by_reason(self) -> list[tuple[str, str, int, str, str]]:
        """Return state, code, number, an example and its detail."""
        ...

    def counts_by_node(self) -> list[tuple[str, str, int]]:
        """Return data node, state, number."""
        ...

    def counts_by_time(self, bins: int) -> list[tuple[float, int]]:
        """Return the beginning of each span, in seconds since 1970-01-01, and the number."""
        ...

    def counts_by_seconds(self, limits: Sequence[float]) -> list[int]:
        """Return the numbers between the limits."""
        ...

    def problem_rows(self, most: int) -> list[tuple[str, str, str, str, str, str]]:
        """Return dataset id, data node, locator, state, code, detail."""
        ...

    def done_rows(self, most: int) -> list[tuple[str, str, str, str]]:
        """Return dataset id, URL or path of the reference file, state, detail."""
        ...

    def unread(self) -> list[tuple[str, str, str]]:
        """Return locator, code, detail of pages."""
        ...


@dataclass(frozen=True, slots=True)
class LastRun:
    """How the last run of a job ended."""

    finished: int
    """Number of datasets that it finished."""
    seconds: float
    """Duration of the run."""
    resting: tuple[str, ...] = ()
    """Data nodes that did not answer."""
    trouble: str = ""
    """Why the run ended early; empty if it did not."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcomes of all datasets of a job, in all runs so far."""

    job: str
    finished: int
    """Number of datasets that the last run finished."""
    seconds: float
    """Duration of the last run."""
    resting: tuple[str, ...]
    """Data nodes that did not answer."""
    trouble: str
    """Why the run ended early; empty if it did not."""
    counts: Mapping[str, int]
    reasons: tuple[tuple[str, str, int, str, str], ...]
    """State, code, number of datasets, one of them, its detail."""
    nodes: tuple[tuple[str, str, int], ...]
    """Data node, state, number of datasets."""
    times: tuple[tuple[float, int], ...]
    """Beginning of a span in seconds since 1970-01-01, datasets finished in it."""
    durations: tuple[int, ...]
    problems: tuple[tuple[str, str, str, str, str, str], ...]
    """Dataset id, data node, locator, state, code, detail."""
    unread: tuple[tuple[str, str, str], ...]
    """Locator, code, detail of sources that could not be listed."""
    done: tuple[tuple[str, str, str, str], ...] = ()
    """Dataset id, URL or path of the reference file, state, detail."""
    listed: tuple[tuple[str, str, str], ...] = ()
    """Dataset id, data node, state of all datasets, if they were only listed."""

    @classmethod
    def of(cls, kept: OutcomeStore, job: str, last: LastRun) -> Summary:
        """Make the summary of a job, from its outcomes and its last run."""
        return cls(
            job,
            last.finished,
            last.seconds,
            last.resting,
            last.trouble,
            dict(kept.counts()),
            tuple(kept.counts_by_reason()),
            tuple(kept.counts_by_node()),
            tuple(kept.counts_by_time(BINS)),
            tuple(kept.counts_by_seconds(LIMITS_S)),
            tuple(kept.problem_rows(MOST_ROWS)),
            tuple(kept.unread()),
            tuple(kept.done_rows(MOST_ROWS)),
        )

    @property
    def is_done(self) -> bool:
        """Whether every dataset is linked or written, and every source could be listed."""
        return not self.unread and all(
            state in DONE for state, number in self.counts.items() if number
        )


def lines(summary: Summary, most: int = 10) -> list[str]:
    """Return the summary for a terminal: the outcomes, the most frequent reasons, and the problems
    of the run.
    """
    counts = (
        ", ".join(f"{number} {state}" for state, number in sorted(summary.counts.items()) if number)
        or "no datasets"
    )
    said = [f"{counts}; {summary.finished} in this run, {rate_of(summary):.0f} per minute"]
    for state, code, number, name, detail in summary.reasons[:most]:
        example = detail if detail.startswith(name) else f"{name}: {detail}"
        said.append(f"{number} {state} [{code}], for example {shortened(example)}")
    said += [
        f"{node} gave no answer: its datasets are left for the next run" for node in summary.resting
    ]
    said += [
        f"could not be listed: [{code}] {shortened(detail)}"
        for _, code, detail in summary.unread[:most]
    ]
    if summary.trouble:
        said.append(f"ended early: {summary.trouble}")
    return said


def shortened(text: str, most: int = 400) -> str:
    """Return the beginning of a long text; the report and the ledger hold the whole."""
    return text if len(text) <= most else f"{text[:most]}..."


def explanation(code: str) -> str:
    """Return the meaning of a stable code, as in docs/reference/errors.md; for other codes, the
    description of their error class.
    """
    if code in described_codes():
        return described_codes()[code][1]
    first_line, _, _ = (inspect.getdoc(kind_of(code)) or "").partition("\n")
    return first_line


@cache
def described_codes() -> dict[str, tuple[str, str]]:
    """Code -> section of docs/reference/errors.md, and its description."""
    text = (files(__package__) / "codes.json").read_text(encoding="utf-8")
    return {code: (section, said) for code, (section, said) in json.loads(text).items()}


def rate_of(summary: Summary) -> float:
    """Return the datasets per minute in the last run."""
    return 60 * summary.finished / summary.seconds if summary.seconds else 0.0
