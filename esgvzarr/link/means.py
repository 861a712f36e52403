"""The settings with which a task is done, and the functions that help with it or are told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .. import esgpublish
from ..generate import Progress, Stager
from ..indexes import Index
from ..model import DatasetRecord
from ..output import of_place
from ..settings import Settings
from ..stage import Place, Staged, Work
from ..stage.apart import staged_apart
from ..transport import Transport


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
    open_index: Callable[[], Index] | None = None
    """Gives the index of the task, which may have been opened for an earlier one; None opens it for
    this task.
    """
    lender: Transport | None = None
    """Lends its connections to the transport of the task; None gives each task its own."""
    record: Mapping[str, Any] | None = None
    """The index's record of the dataset, if it was read since the dataset was claimed."""

    def for_outputs_from(self, path: str) -> Means:
        """Return the same means, with the outputs from that of a path on."""
        outputs = self.settings.outputs_from(of_place(path).name)
        return replace(self, settings=self.settings.with_outputs(outputs))

    def staged(
        self, record: DatasetRecord, places: tuple[Place, ...], transport: Transport
    ) -> Staged:
        """Scan a dataset, and stage and prove its outputs.

        Args:
            record: the dataset.
            places: where each output is staged.
            transport: reads the dataset's files.

        Raises:
            EsgvzarrError: the outputs cannot be made; the error says why.
        """
        work = Work(record, places, self.settings)
        if self.stager is not None:
            return self.stager(work)
        return staged_apart(work, transport, progress=self.progress)
