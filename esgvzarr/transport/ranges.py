"""Ranges of bytes, and which of them are fetched together. No input or output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

COALESCE_GAP = 32 * 1024
"""Two ranges with fewer bytes between them are fetched as one: these bytes cost less than a
request.
"""
COALESCE_LIMIT = 8 * 2**20
"""The most bytes of a merged range."""


class Range(NamedTuple):
    """Bytes ``start`` (included) to ``stop`` (excluded) of the file at a URL or path."""

    location: str
    start: int
    stop: int


@dataclass(slots=True)
class Span:
    """One range that is fetched, and the requested ranges in it."""

    location: str
    start: int
    stop: int
    members: list[int] = field(default_factory=list)
    """Positions of the requested ranges in their original order."""

    def takes(self, wanted: Range) -> bool:
        """Whether a range that begins no earlier is near enough to be fetched with this span."""
        return (
            self.location == wanted.location
            and wanted.start - self.stop <= COALESCE_GAP
            and max(self.stop, wanted.stop) - self.start <= COALESCE_LIMIT
        )

    def add(self, position: int, wanted: Range) -> None:
        """Add a requested range."""
        self.stop = max(self.stop, wanted.stop)
        self.members.append(position)


def coalesce(ranges: Sequence[Range]) -> list[Span]:
    """Merge near ranges of the same file. Takes time in proportion to their number."""
    spans: list[Span] = []
    for position in sorted(range(len(ranges)), key=ranges.__getitem__):
        wanted = ranges[position]
        if not spans or not spans[-1].takes(wanted):
            spans.append(Span(*wanted))
        spans[-1].add(position, wanted)
    return spans
