"""With what a task is done: settings, and those who help or listen."""

from __future__ import annotations

from dataclasses import dataclass

from .. import esgpublish
from ..generate import Progress, Stager
from ..settings import Settings


def tell_no_one(dataset_id: str, step: str) -> None:
    """Take a report of progress, and do nothing with it."""


@dataclass(frozen=True, slots=True)
class Means:
    """With what a task is done."""

    settings: Settings
    progress: Progress = tell_no_one
    """Told of each step."""
    stager: Stager | None = None
    """Scans, stages and proves; None for a process of its own on this machine."""
    registration: esgpublish.Registration | None = None
    """That esgcet has made just now: the index need not show the dataset yet."""
