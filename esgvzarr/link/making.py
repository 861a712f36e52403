"""Move the reference files of a dataset to their places: those of an earlier run, or new ones."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from ..generate import add_page, place_staged
from ..indexes import Index
from ..model import DatasetRecord
from ..outcome import Verb, Written
from ..output.placing import remove_leftovers
from ..proof import read_artefact
from ..stage import Place, Staged, held, places_for
from ..transport import Transport
from .add import place
from .attempt import Attempt
from .decision import decide
from .means import Means
from .task import Task


class StagingArea:
    """Keeps the staged outputs of one dataset from their proof until they are placed. Outputs that
    were not placed are deleted at the end.

    Args:
        means: which outputs, and who stages them.
    """

    def __init__(self, means: Means) -> None:
        self.means = means
        self._held: dict[str, ExitStack] = {}
        self._staged: dict[str, tuple[Staged, Place]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Delete everything that was staged and not placed."""
        for path in tuple(self._held):
            self.release(path)

    def release(self, path: str) -> None:
        """Delete the staged output of a path, which is placed now, or will not be placed."""
        self._staged.pop(path, None)
        if path in self._held:
            self._held.pop(path).close()

    def staged(self, task: Task, transport: Transport) -> tuple[Staged, Place]:
        """Return the output of a task, staged and proved; stage with it the following outputs that
        are not staged yet.

        Raises:
            EsgvzarrError: the output cannot be made; the error says why.
        """
        if task.path not in self._staged:
            self._stage(task, transport)
        return self._staged[task.path]

    def _stage(self, task: Task, transport: Transport) -> None:
        means = self.means.for_outputs_from(task.path)
        directory = Path(task.path).parent
        places = []
        for place_of_one in places_for(task.record.id, directory, means.settings, href=task.href):
            self.release(place_of_one.path)
            stack = self._held[place_of_one.path] = ExitStack()
            places.append(stack.enter_context(held(place_of_one)))
        staged = means.staged(task.record, tuple(places), transport)
        for proved, one in zip(staged.outputs, places, strict=True):
            self._staged[one.path] = (replace(staged, outputs=(proved,)), one)


def make(attempt: Attempt, index: Index, transport: Transport, staging: StagingArea) -> Written:
    """Place the reference file of a task, and record this step in the ledger.

    Args:
        attempt: the task, and its steps in the ledger.
        index: asked whether an existing file in the place is linked.
        transport: reads the dataset's files.
        staging: where the file is staged.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    settings = staging.means.settings
    task = attempt.task
    if not task.path:
        place(task.record, settings)  # Raises the reason why there is no path.
        attempt.decide(decide(task.verb, task.record, task.index, settings, force=task.force))
        task = attempt.task
    remove_leftovers(task.path)
    earlier = attempt.reusable()
    if earlier is not None and _are_as_recorded(task.record, task.path, transport):
        found = Written(
            str(task.record.id),
            task.verb,
            earlier.path,
            earlier,
            files=len(task.record.files),
        )
        if settings.pages:
            add_page(found, settings, attempt.proof_of)
        attempt.written(found)
        return found
    force = task.force or _is_ours_alone(task, index)
    staged, at = staging.staged(task, transport)
    staging.means.progress(str(task.record.id), f"writing {Path(at.path).name}")
    made = place_staged(Verb.GENERATE, task.record.id, staged, (at,), force=force)
    staging.release(at.path)
    if settings.pages:
        add_page(made, settings)
    attempt.written(made)
    reference = replace(made.reference, written=made.reference.written or not task.before)
    return replace(made, verb=task.verb, reference=reference)


def _are_as_recorded(record: DatasetRecord, path: str, transport: Transport) -> bool:
    """Whether the served files are unchanged since the references in a place were made, as far as
    the server's headers show.
    """
    made_from = {
        file["url"]: file for file in read_artefact(path, transport).contents.provenance["files"]
    }
    urls = [file.url for file in record.files]
    transport.forget(urls)
    heads = transport.read_heads(urls, 8)
    for file, head in zip(record.files, heads, strict=True):
        before = made_from.get(file.url, {})
        now = {"size": head.size, "etag": head.etag, "last_modified": head.last_modified}
        if file.size not in (None, head.size):
            return False
        if any(before.get(name, said) != said for name, said in now.items()):
            return False
    return True


def _is_ours_alone(task: Task, index: Index) -> bool:
    """Whether an earlier run placed the file for this link, and no link points to it."""
    if task.before or not os.path.exists(task.path):
        return False
    return not any(link.href == task.href for link in index.links(task.record.id))
