"""One run of one tool, as it is measured and kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One process."""

    data: str
    where: str
    tool: str
    seconds: float
    peak_mib: float
    status: int
    requests: int = 0
    sent: int = 0
    cpu_s: float = 0.0
    """Of the process and its children, user and system."""
