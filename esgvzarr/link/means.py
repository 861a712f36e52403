"""The settings with which a task is done, and the functions that help with it or are told of it."""

from __future__ import annotations

from dataclasses import dataclass

from .. import esgpublish
from ..generate import Progress, Stager
from ..settings import Settings


def tell_no_one(dataset_id: str, step: str) -> None:
    """Take a report of progress, and do nothing with it."""


@dataclass(frozen=True, slots=True)
class Means:
    """The settings with which a task is done, and the functions that help with it or are told of
    it.
    """

    settings: Settings
    progress: Progress = tell_no_one
    """Is told of each step."""
    stager: Stager | None = None
    """Scans, stages and proves; None uses a process of its own on this machine."""
    registration: esgpublish.Registration | None = None
    """The dataset that esgcet has just registered: the index need not show it yet."""
