"""One run of a backfill over its plan."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..errors import EsgvzarrError, SettingsError, StoreError, WorkerError, kind_of, traits_of
from ..generate import generate
from ..indexes import Index
from ..link.address import open_index
from ..link.attempt import Attempt, keep_made
from ..link.decision import decide
from ..link.ledger import Ledger
from ..link.lifecycle import carry_on
from ..link.means import Means
from ..link.states import DONE, MAKING, State, Verb
from ..link.task import IndexAddress
from ..model import DatasetId, DatasetRecord
from ..outcome import Outcome, failure
from ..settings import Settings
from ..stage import Staged, Stager, Work, stage
from ..stage.sending import receive, stage_and_send
from ..transport import Transport
from .job import Job, RunProgress, Watch
from .listing import SourceReader, locator_of
from .node_schedule import NodeSchedule
from .queue import EarlierOutcome, Plan, Planned, Result
from .report import LastRun, Summary
from .workers import Workers

_log = logging.getLogger(__name__)
MOST_BYTES = 256 * 2**20
"""The most bytes of references of one dataset that are sent between processes."""


STOP_AFTER = 5
"""After this many consecutive datasets failed for a reason that concerns all (the index, the login,
the disk), the run ends. These datasets stay open. An error of class ``settings`` ends it at once.
"""
_TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with."""

    plan: Plan
    source_reader: SourceReader
    transport: Transport
    address: IndexAddress | None
    """The index that gets the links; None if no links are made."""
    workers: Workers | None
    """None if datasets are only listed."""
    per_node: int
    """Datasets that are read from one data node at the same time."""


class Run:
    """One run over one plan."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        tools: Tools,
        stop: threading.Event,
        watch: Watch,
    ) -> None:
        self._job = job
        self._settings = settings
        self._plan = tools.plan
        self._source_reader = tools.source_reader
        self._transport = tools.transport
        self._address = tools.address
        self._workers = tools.workers
        self._stop = stop
        self._watch = watch
        self._ledger = Ledger(settings.ledger)
        shares = {
            "connections": max(1, settings.connections // tools.per_node),
            "connections_at_first": max(1, settings.connections_at_first // tools.per_node),
        }
        self._of_workers = settings.model_copy(update=shares)
        self._schedule = NodeSchedule(tools.plan, tools.per_node)
        self._jobs_at_once = _jobs_at_once(tools.workers) if tools.workers else 1
        self._slots = threading.BoundedSemaphore(self._jobs_at_once)
        self._changed = threading.Condition()
        self._own = threading.local()
        self._in_flight = self._finished = self._troubled = 0
        self._listing = True
        self._began = time.monotonic()
        self._told = 0.0
        self._trouble = ""
        self._counts: Counter[str] = Counter()
        self._fatal: BaseException | None = None

    def work(self) -> None:
        """List and process datasets until nothing is left, or the run must end."""
        most = 0
        if self._workers:
            # Some threads compute while others wait for the index.
            most = self._jobs_at_once + self._workers.count + 8
        with (
            self._ledger.kept_open(),
            ThreadPoolExecutor(1) as lister,
            ThreadPoolExecutor(most or 1) as threads,
        ):
            self._counts = self._plan.counts()
            listed = lister.submit(self._list)
            listed.add_done_callback(self._end_of_list)
            while not self._stop.is_set() and self._fatal is None:
                with self._changed:
                    listing = self._listing
                    planned = self._schedule.take() if self._in_flight < most else None
                    if planned is None:
                        if not self._in_flight and not listing:
                            break
                        self._changed.wait(_TICK_S)
                    else:
                        self._in_flight += 1
                if planned is not None:
                    ended = partial(self._end, planned, time.monotonic())
                    threads.submit(self._do, planned).add_done_callback(ended)
                self._tell_progress()
            self._stop.set()
        self._watch(self._progress())
        if self._fatal is not None:
            raise self._fatal

    def summary(self) -> Summary:
        """Return the outcomes of all datasets, from the plan."""
        seconds = time.monotonic() - self._began
        last = LastRun(self._finished, seconds, self._schedule.resting, self._trouble)
        return Summary.of(self._plan, str(self._job), last)

    def _tell_progress(self) -> None:
        """Tell of the progress, about twice a second."""
        now = time.monotonic()
        if now >= self._told + _TICK_S:
            self._told = now
            self._watch(self._progress())

    def _progress(self) -> RunProgress:
        with self._changed:
            seconds = time.monotonic() - self._began
            return RunProgress(
                Counter(self._counts),
                self._finished,
                seconds,
                self._listing,
                self._schedule.resting,
            )

    # ---- in the thread that lists

    def _list(self) -> None:
        while not self._stop.is_set() and (page := self._plan.next_page()):
            try:
                listing = self._source_reader.read(page)
            except EsgvzarrError as error:
                self._plan.keep_unread(page, error.code, str(error))
                continue
            new = self._plan.keep_page(page, listing.datasets, listing.pages)
            with self._changed:
                self._counts[State.OPEN] += new
                self._schedule.listed()
                self._changed.notify_all()

    def _end_of_list(self, listed: Future[None]) -> None:
        with self._changed:
            self._listing = False
            self._fatal = self._fatal or listed.exception()
            self._changed.notify_all()

    # ---- in the thread of one dataset

    def _do(self, planned: Planned) -> Outcome | EarlierOutcome | None:
        """Process a dataset, and return its outcome; None if the run was stopped before."""
        if self._stop.is_set():
            return None
        name = str(DatasetId.parse(planned.dataset_id))
        job = self._job
        with self._ledger.claimed(name, wait=False):
            before = self._done_before(name)
            if before is not None:
                return before
            described = self._source_reader.describe(planned)
            stager = self._stager(planned)
            if job.output_dir is not None:
                return self._generate(described.record, job.output_dir, stager)
            assert self._address is not None  # noqa: S101  (no job without a place for its links)
            task = decide(Verb.LINK, described.record, self._address, self._settings)
            attempt = Attempt(task, self._ledger, resumed=True)
            attempt.decide()
            of_link = (locator_of(self._address), task.record.data_node)
            means = Means(
                self._settings,
                stager=stager,
                open_index=partial(self._index_of_thread, self._address),
                lender=self._transport,
                record=described.shown if of_link == (planned.locator, planned.data_node) else None,
            )
            return carry_on(attempt, means)

    def _index_of_thread(self, address: IndexAddress) -> Index:
        """Return the index that gets the links. Each thread opens it once: an index is made for one
        thread, and its login and connections serve many datasets.
        """
        if not hasattr(self._own, "index"):
            self._own.index = open_index(address, self._transport, self._settings)
        index: Index = self._own.index
        return index

    def _generate(self, record: DatasetRecord, directory: Path, stager: Stager) -> Outcome:
        outcome: Outcome
        try:
            outcome = generate(record, directory, self._transport, self._settings, stager=stager)
        except EsgvzarrError as error:
            outcome = failure(str(record.id), Verb.GENERATE, error)
        keep_made(outcome, self._ledger)
        return outcome

    def _done_before(self, name: str) -> EarlierOutcome | None:
        """Return what an earlier run, or another command, did for the dataset, if nothing is left
        to do.
        """
        directory = self._job.output_dir
        steps = [
            step
            for step in self._ledger.entries(name)
            if (step.verb in MAKING) == (directory is not None)
        ]
        if not steps or steps[-1].state not in DONE:
            return None
        last = steps[-1]
        if directory is not None and (
            Path(last.path).parent != directory or not Path(last.path).exists()
        ):
            return None
        return EarlierOutcome(last.state, f"since {last.created}: {last.detail}", last.href)

    def _stager(self, planned: Planned) -> Stager:
        def stager(work: Work) -> Staged:
            assert self._workers is not None  # noqa: S101
            try:
                with self._slots:
                    if self._stop.is_set():
                        todo = "Run the same command again."
                        raise WorkerError(
                            str(work.record.id),
                            "the run was stopped",
                            todo=todo,
                            code="worker-stopped",
                            retryable=True,
                        )
                    return _staged_by(self._workers, replace(work, settings=self._of_workers))
            finally:
                self._free(planned)

        return stager

    def _free(self, planned: Planned) -> None:
        with self._changed:
            self._schedule.read(planned)
            self._changed.notify_all()

    def _end(
        self, planned: Planned, started: float, future: Future[Outcome | EarlierOutcome | None]
    ) -> None:
        error = future.exception()
        outcome: Outcome | EarlierOutcome | None
        if error is None:
            outcome = future.result()
            if outcome is None:
                self._leave(planned)
                return
        elif isinstance(error, EsgvzarrError):
            outcome = failure(planned.dataset_id, Verb.BACKFILL, error)
        else:
            _log.error("%s: please report this as a bug", planned.dataset_id, exc_info=error)
            fault = WorkerError(
                planned.dataset_id,
                f"{type(error).__name__}: {error}",
                todo="Please report this as a bug.",
            )
            outcome = failure(planned.dataset_id, Verb.BACKFILL, fault)
        self._keep(planned, outcome, time.monotonic() - started)

    def _leave(self, planned: Planned) -> None:
        with self._changed:
            self._in_flight -= 1
            self._schedule.read(planned)
            self._changed.notify_all()

    def _keep(self, planned: Planned, outcome: Outcome | EarlierOutcome, seconds: float) -> None:
        blocks_all = not outcome.done and traits_of(outcome.code).blocks_all
        settled = outcome.done or not (outcome.retryable or blocks_all)
        result = Result(
            outcome.state if settled else State.OPEN,
            outcome.code,
            outcome.detail,
            outcome.href,
            seconds,
        )
        try:
            self._plan.finish(planned, result)
        except StoreError as error:
            self._fatal = error
        with self._changed:
            self._in_flight -= 1
            self._finished += 1
            self._counts[State.OPEN] -= 1
            self._counts[result.state] += 1
            self._schedule.read(planned)
            self._schedule.judge(planned.data_node, outcome)
            self._troubled = self._troubled + 1 if blocks_all else 0
            at_once = issubclass(kind_of(outcome.code), SettingsError)
            if at_once or self._troubled >= STOP_AFTER:
                self._trouble = outcome.detail
                self._stop.set()
            self._changed.notify_all()


def _jobs_at_once(workers: Workers) -> int:
    """Return how many jobs the workers have at once. Each worker of a cluster gets its next job
    while it does one: otherwise it would be idle until the result has arrived here, and the next
    job there.
    """
    return workers.count if workers.shares_disk else 2 * workers.count


def _staged_by(workers: Workers, work: Work) -> Staged:
    """Return what a worker staged: on a disk shared with this process, or sent from another
    machine.
    """
    if workers.shares_disk:
        return workers.run(stage, work)
    return receive(workers.run(stage_and_send, work, MOST_BYTES), work.places)
