"""Stage a dataset in processes of its own.

A small dataset has one process. A large dataset has several, because Python uses one core in each
process. One process scans, while another imports the readers' stack, which takes as long as many a
scan. Then the second process proves what the first has made. If there is much to compare, the proof
is shared by more processes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..formats import location_of
from ..model import FileRecord, Report
from ..proof import fetch_beside_data
from ..proof.share import Share
from ..transport import Transport, is_url
from ..worker_process import is_a_worker
from ..workers import Limits, Worker
from . import compare_outputs, limits_of, make, stage_with, staged_of
from .telling import DetailedProgress, Progress, StepProgress, in_a_told_worker, run_told
from .work import Made, Staged, Work

if TYPE_CHECKING:
    from ..settings import Settings  # Importing pydantic takes a quarter of a second.

LARGE = 32 * 2**20
"""A dataset whose files have more bytes than this is staged by several processes."""
MUCH = 256 * 2**20
"""Decoded bytes that one process compares in two seconds: larger proofs are shared."""
MOST_PROVERS = 4
"""The most processes that share a proof. Each takes some 300 MiB of memory."""
MOST_SENT = 10**6
"""The most chunks whose references are sent between processes. References with more chunks stay in
the process that made them.
"""
MOST_BYTES_SENT = 128 * 2**20
"""Fetched bytes that are sent from one process to another, which takes several copies of them."""
_CORNERS = 8
"""Approximate number of chunks of a variable of one file that are always compared."""


def staged_apart(
    work: Work, transport: Transport, *, progress: Progress = lambda *_: None
) -> Staged:
    """Do the work of ``stage_with`` in processes of its own, each within the limits that the
    settings name.

    Raises:
        EsgvzarrError: the references cannot be made; the error says why.
        WorkerError: a process died, reached a limit of time or memory, or has a fault.
    """
    limits = limits_of(work.settings)
    if is_a_worker() or not _is_large(work.record.files):
        return in_a_told_worker(stage_with, work, transport, limits=limits, progress=progress)
    return _staged_by_several(work, transport, limits, progress)


def _is_large(files: Sequence[FileRecord]) -> bool:
    """Return whether to start several processes. A file of unknown size may be large."""
    total = 0
    for file in files:
        size = file.size
        if size is None and os.path.isfile(file.url):
            size = os.path.getsize(file.url)
        if size is None:
            return True
        total += size
    return total >= LARGE


def _staged_by_several(
    work: Work, transport: Transport, limits: Limits, progress: Progress
) -> Staged:
    with ExitStack() as stack:
        with Worker(limits) as scanner:
            # The server forks the scanner first, then imports the readers' stack for the provers.
            provers = [stack.enter_context(Worker(limits))]
            made = run_told(scanner, scan_for_provers, work, transport, progress=progress)
        if isinstance(made, Staged):
            return made
        count = _count_provers(made, work.settings.proof_samples)
        made = replace(made, transport=made.transport.for_one_of(count))
        provers += [stack.enter_context(Worker(limits)) for _ in range(count - 1)]
        reports = compare_together(provers, made, work.settings, progress)
    if count > 1:
        _look_again(made, work.settings.read)
    with made.transport.for_one_of(1) as own_transport:
        return staged_of(replace(made, transport=own_transport), reports, work.settings)


def compare_together(
    provers: Sequence[Worker], made: Made, settings: Settings, progress: Progress
) -> list[list[Report]]:
    """Compare the outputs with their files in several processes, each with its share of the files.
    If one process fails, the others are stopped.

    Args:
        provers: the processes.
        made: the outputs.
        settings: how they are proved.
        progress: is told of each step.

    Returns:
        The reports of each share, passed or not.

    Raises:
        EsgvzarrError: the error of the process that failed first.
    """
    shared = _SharedProgress(progress, len(provers))
    errors: list[Exception] = []

    def compare(number: int, told: Progress) -> list[Report]:
        share = partial(compare_outputs, share=Share(number, len(provers)))
        try:
            return run_told(provers[number], share, made, settings, progress=told)
        except Exception as error:
            errors.append(error)  # before the others, which end now
            _stop_all(provers)
            raise

    with ThreadPoolExecutor(len(provers)) as threads, ExitStack() as stack:
        stack.callback(_stop_all, provers)  # This comes first: the threads wait for the processes.
        others = [
            threads.submit(compare, number, shared.of_another(number))
            for number in range(1, len(provers))
        ]
        try:
            first = compare(0, shared.of_first())
            reports = [first, *(other.result() for other in others)]
        except Exception:  # noqa: BLE001  (the error of the process that failed first is raised)
            first_error = errors[0]
            raise first_error from first_error.__cause__
    shared.end()
    return reports


def _stop_all(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.stop()


def _look_again(made: Made, read: str) -> None:
    """Check that no file was replaced while another process still compared its share.

    Each process has looked at the files of its own share only, when it was done.

    Raises:
        TransportError: a file was replaced, or cannot be read any more.
    """
    places = [location_of(file, read) for file in made.files]
    with made.transport.for_one_of(1) as transport:
        transport.read_heads([place for place in places if is_url(place)], 1)
        transport.look_at_paths(place for place in places if not is_url(place))


def scan_for_provers(work: Work, transport: Transport, *, progress: Progress) -> Made | Staged:
    """Scan and write, and fetch once what each of the provers reads of every file.

    Returns:
        The outputs, for other processes to prove; or the proved result, if there are too many
            references or bytes to send.
    """
    made = make(work, transport, progress=progress)
    fetch_beside_data(made.scanned, transport)
    held = sum(known.content.held for known in made.scanned.values())
    if made.references.chunk_count > MOST_SENT or held > MOST_BYTES_SENT:
        settings = work.settings
        return staged_of(made, [compare_outputs(made, settings, progress=progress)], settings)
    return made


def _count_provers(made: Made, samples: int) -> int:
    """Return how many processes share the proof: one for each core, if there are enough bytes to
    compare, enough files, and enough requests that may be in flight.
    """
    files = made.references.files
    compared = 0
    for file in files:
        for variable in file.variables.values():
            count = min(len(variable.chunks), samples + _CORNERS)
            compared += count * math.prod(variable.chunk_shape) * variable.dtype.itemsize
    cores = len(os.sched_getaffinity(0))
    most = min(cores, MOST_PROVERS, len(files), made.transport.connections)
    return max(1, min(most, compared // MUCH))


class _SharedProgress:
    """Reports the progress of a step that several processes share: each report of the first process
    is passed on, with the sums over all processes.

    Args:
        progress: receives the progress.
        count: number of processes.
    """

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._steps: list[StepProgress | None] = [None] * count
        self._whole: StepProgress | None = None
        self._name = ""

    def of_first(self) -> Progress:
        """Return the callback of the first process. It is called in the thread of the caller."""

        def tell(name: str, step: str) -> None:
            self._name = name
            if isinstance(step, StepProgress):
                self._steps[0] = step
                step = self._sum(step)
            self._progress(name, step)

        return self._like_progress(tell)

    def of_another(self, number: int) -> Progress:
        """Return the callback of another process. It only stores what it receives."""

        def note(_: str, step: str) -> None:
            if isinstance(step, StepProgress):
                self._steps[number] = step

        return self._like_progress(note)

    def end(self) -> None:
        """Report that all processes are done."""
        last = self._steps[0]
        if last is not None:
            whole = self._sum(last)
            self._progress(self._name, StepProgress(str(whole), whole.total, whole.total))

    def _like_progress(self, tell: Progress) -> Progress:
        """Return a callback that receives as many details as the caller's own."""
        return DetailedProgress(tell) if isinstance(self._progress, DetailedProgress) else tell

    def _sum(self, first: StepProgress) -> StepProgress:
        """Sum the numbers of all processes. A process that has not begun the step counts with the
        total of the first one. If it has more to do, the fraction waits: it never falls.
        """
        done = 0
        total = 0
        for one in self._steps:
            if one is not None and str(one) == str(first):
                done += one.done
                total += one.total
            else:
                total += first.total
        before = self._whole
        if before is not None and str(before) == str(first):
            done = max(done, -(-before.done * total // before.total))
        self._whole = StepProgress(str(first), done, total)
        return self._whole
