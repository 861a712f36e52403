"""The back catalogue: link all datasets that the sources have, or only write their references. Run
again, it goes on where it was.

Workers scan, check, combine and prove; this process alone writes files, index and ledger, through
the same steps as ``link``. A plan says what is left; the ledger, what was done. Each dataset is
claimed in the ledger, so two runs never do one twice.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..errors import (
    EsgvzarrError,
    Fault,
    SettingsError,
    StoreError,
    WorkerError,
    kind_of,
    traits_of,
)
from ..generate import generate, index_pages, limits_of, make_transport
from ..link.address import address_of_config
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
from ..stage import Staged, Stager, Work, receive, stage, stage_and_send
from ..transport import Transport, host_of, is_url
from .listing import Survey
from .queue import Known, Plan, Planned, Result
from .report import Summary
from .workers import Workers, connect_workers

_log = logging.getLogger(__name__)
PER_NODE = 4
"""Datasets that are read from one data node at once."""
MOST_BYTES = 256 * 2**20
"""Of the references of one dataset: more is not sent from process to process."""
REST_AFTER = 3
"""Datasets in a row for which a data node gave no answer, after which it is left in peace."""
REST_S = 600.0
STOP_AFTER = 5
"""Datasets in a row that failed for what stands in the way of all of them (the index, the login,
the disk), after which the run ends. It is held against none of them. A setting ends it at once.
"""
_BUFFER = 100
_TICK_S = 0.5


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


def backfill(
    job: Job,
    settings: Settings,
    *,
    scheduler: str = "",
    jobs: int = 0,
    per_node: int = PER_NODE,
    plan_only: bool = False,
    retry: str | None = None,
    stop: threading.Event | None = None,
    watch: Watch = lambda _: None,
) -> Summary:
    """List the datasets of the sources, and do those that are not done.

    Args:
        job: what.
        settings: as for ``link``, or for ``generate``.
        scheduler: of a Dask cluster whose workers compute; else processes on this machine do.
        jobs: how many processes; 0: one for each CPU.
        per_node: datasets that are read from one data node at once.
        plan_only: only list them.
        retry: also do again what was refused or failed, with this code; with any code if empty.
        stop: set it to end the run: what is being computed is finished first.
        watch: told how far it is, about twice a second.

    Returns:
        What became of all datasets of the job, in earlier runs too.

    Raises:
        SettingsError: no index, or no workers.
        StoreError: the ledger or the plan cannot be used.
    """
    address = _address_of(job)
    named = (
        *settings.allowed_hosts,
        *(host_of(place) for place in (*job.sources, job.template) if is_url(place)),
    )
    settings = settings.model_copy(update={"allowed_hosts": named})
    if not plan_only:
        Ledger(settings.ledger).check()
    plan = Plan(plan_path(settings), str(job))
    try:
        if retry is not None:
            plan.reopen(retry)
        plan.begin(job.sources or ([f"{address.kind}:{address.location}"] if address else []))
        with make_transport(settings) as transport:
            survey = Survey(
                settings, transport, query=job.query, template=job.template, address=address
            )
            workers = None if plan_only else connect_workers(scheduler, jobs, limits_of(settings))
            run = _Run(
                job,
                settings,
                plan,
                survey,
                transport,
                address,
                workers,
                per_node,
                stop or threading.Event(),
                watch,
            )
            try:
                run.work()
            finally:
                if workers is not None:
                    workers.close()
        if job.query and not any(plan.counts().values()) and not plan.unread():
            survey.refuse_query()
        _follow_ledger(job, plan, Ledger(settings.ledger))
        directory = job.output_dir or settings.reference_dir
        if directory is not None and not plan_only:
            index_pages(directory.expanduser(), settings)
        summary = run.summary()
        return replace(summary, listed=tuple(plan.listed())) if plan_only else summary
    finally:
        plan.close()


def _follow_ledger(job: Job, plan: Plan, ledger: Ledger) -> None:
    """Let the plan say what other commands did since: a dataset that was unpublished is not linked
    any more.
    """
    if job.output_dir is not None:
        return
    before = plan.withdrawn()
    for last in ledger.latest():
        is_withdrawn = last.state in (State.WITHDRAWN, State.DELETED)
        is_back = last.dataset_id in before and last.state is State.LINKED
        if is_withdrawn or is_back:
            plan.follow(last.dataset_id, last.state, last.detail)


def _address_of(job: Job) -> IndexAddress | None:
    """The index in which to link, or in which datasets are looked up; None where neither is
    needed.
    """
    needed = job.output_dir is None or not job.sources
    if job.config is None:
        if needed:
            raise SettingsError(
                "esgvzarr backfill",
                "names no index",
                expected="--config, or --output-dir and a source",
                code="settings-index",
            )
        return None
    try:
        return address_of_config(job.config)
    except SettingsError:
        if needed:
            raise
        return None


def plan_path(settings: Settings) -> Path:
    """Where plans are kept: beside the ledger."""
    ledger = settings.ledger.expanduser()
    return ledger.with_name(f"{ledger.stem}-plan{ledger.suffix}")


def _staged_by(workers: Workers, work: Work) -> Staged:
    """What one of the workers staged: on the disk that it shares with this process, or sent from
    another machine.
    """
    if workers.shares_disk:
        return workers.run(stage, work)
    return receive(workers.run(stage_and_send, work, MOST_BYTES), work.places)


@dataclass
class Turns:
    """Whose turn it is: fair between data nodes, bounded for each, and without those that give no
    answer.
    """

    plan: Plan
    per_node: int
    _reading: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _silent: Counter[str] = field(default_factory=Counter)
    _rests_until: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, deque[tuple[int, Planned]]] = field(default_factory=dict)
    _last: dict[str, int] = field(default_factory=dict)
    """Number of the dataset that was read last from the plan: one that stays open has its next turn
    in the next run.
    """
    _order: deque[str] = field(default_factory=deque)

    def take(self) -> Planned | None:
        """The next dataset; None if there is none now."""
        return self._next() or (self._next() if self._look_again() else None)

    def read(self, planned: Planned) -> None:
        """A dataset has been read: the node's next may be."""
        self._reading[planned.data_node].discard(planned.dataset_id)

    def judge(self, data_node: str, outcome: Outcome | Known) -> None:
        """Let a node rest that does not answer; one that answers rests no longer."""
        fault = traits_of(outcome.code).fault
        if fault is Fault.DATA_NODE and outcome.retryable:
            self._silent[data_node] += 1
            if self._silent[data_node] >= REST_AFTER:
                self._rests_until[data_node] = time.monotonic() + REST_S
        elif fault not in (Fault.MACHINE, Fault.OURS):
            self._silent[data_node] = 0
            self._rests_until.pop(data_node, None)

    @property
    def resting(self) -> tuple[str, ...]:
        """Nodes that give no answer."""
        return tuple(sorted(self._rests_until))

    def _next(self) -> Planned | None:
        for _ in range(len(self._order)):
            node = self._order[0]
            self._order.rotate(-1)
            if (
                len(self._reading[node]) >= self.per_node
                or self._rests_until.get(node, 0.0) > time.monotonic()
            ):
                continue
            if not self._waiting.get(node):
                self._waiting[node] = deque(
                    self.plan.open_datasets(node, self._last.get(node, 0), _BUFFER)
                )
            if self._waiting[node]:
                self._last[node], planned = self._waiting[node].popleft()
                self._reading[node].add(planned.dataset_id)
                return planned
        return None

    def _look_again(self) -> bool:
        new = [node for node in self.plan.open_nodes() if node not in self._order]
        self._order.extend(new)
        return bool(new)


class _Run:
    """One run over one plan."""

    def __init__(
        self,
        job: Job,
        settings: Settings,
        plan: Plan,
        survey: Survey,
        transport: Transport,
        address: IndexAddress | None,
        workers: Workers | None,
        per_node: int,
        stop: threading.Event,
        watch: Watch,
    ) -> None:
        self._job = job
        self._settings = settings
        self._plan = plan
        self._survey = survey
        self._transport = transport
        self._address = address
        self._workers = workers
        self._stop = stop
        self._watch = watch
        self._ledger = Ledger(settings.ledger)
        shares = {
            "connections": max(1, settings.connections // per_node),
            "connections_at_first": max(1, settings.connections_at_first // per_node),
        }
        self._of_workers = settings.model_copy(update=shares)
        self._turns = Turns(plan, per_node)
        self._slots = threading.BoundedSemaphore(workers.count if workers else 1)
        self._changed = threading.Condition()
        self._in_flight = self._finished = self._troubled = 0
        self._listing = True
        self._began = time.monotonic()
        self._trouble = ""
        self._counts: Counter[str] = Counter()
        self._fatal: BaseException | None = None

    def work(self) -> None:
        """List, and do, until nothing is left, or the run is to end."""
        most = (
            2 * self._workers.count + 8 if self._workers else 0
        )  # some compute, some wait for the index
        with ThreadPoolExecutor(1) as lister, ThreadPoolExecutor(most or 1) as threads:
            self._counts = self._plan.counts()
            listed = lister.submit(self._list)
            listed.add_done_callback(self._end_of_list)
            while not self._stop.is_set() and self._fatal is None:
                with self._changed:
                    listing = self._listing
                    planned = self._turns.take() if self._in_flight < most else None
                    if planned is None:
                        if not self._in_flight and not listing:
                            break
                        self._changed.wait(_TICK_S)
                    else:
                        self._in_flight += 1
                if planned is not None:
                    started = time.monotonic()
                    threads.submit(self._do, planned).add_done_callback(
                        partial(self._end, planned, started)
                    )
                self._watch(self._standing())
            self._stop.set()
        self._watch(self._standing())
        if self._fatal is not None:
            raise self._fatal

    def summary(self) -> Summary:
        """What became of all, by the plan."""
        seconds = time.monotonic() - self._began
        return Summary.of(
            self._plan, str(self._job), self._finished, seconds, self._turns.resting, self._trouble
        )

    def _standing(self) -> Standing:
        with self._changed:
            seconds = time.monotonic() - self._began
            return Standing(
                Counter(self._counts), self._finished, seconds, self._listing, self._turns.resting
            )

    # ---- in the thread that lists

    def _list(self) -> None:
        while not self._stop.is_set() and (page := self._plan.next_page()):
            try:
                listing = self._survey.read(page)
            except EsgvzarrError as error:
                self._plan.keep_unread(page, error.code, str(error))
                continue
            new = self._plan.keep_page(page, listing.datasets, listing.pages)
            with self._changed:
                self._counts[State.OPEN] += new
                self._changed.notify_all()

    def _end_of_list(self, listed: Future[None]) -> None:
        with self._changed:
            self._listing = False
            self._fatal = self._fatal or listed.exception()
            self._changed.notify_all()

    # ---- in the thread of one dataset

    def _do(self, planned: Planned) -> Outcome | Known | None:
        """What became of a dataset; None where the run was stopped before it was begun."""
        if self._stop.is_set():
            return None
        name = str(DatasetId.parse(planned.dataset_id))
        job = self._job
        with self._ledger.claimed(name, wait=False):
            before = self._done_before(name)
            if before is not None:
                return before
            record = self._survey.record(planned)
            stager = self._stager(planned)
            if job.output_dir is not None:
                return self._generate(record, job.output_dir, stager)
            assert self._address is not None  # noqa: S101  (no job without a place for its links)
            task = decide(Verb.LINK, record, self._address, self._settings)
            attempt = Attempt(task, self._ledger, resumed=True)
            attempt.decide()
            return carry_on(attempt, Means(self._settings, stager=stager))

    def _generate(self, record: DatasetRecord, directory: Path, stager: Stager) -> Outcome:
        outcome: Outcome
        try:
            outcome = generate(record, directory, self._transport, self._settings, stager=stager)
        except EsgvzarrError as error:
            outcome = failure(str(record.id), Verb.GENERATE, error)
        keep_made(outcome, self._ledger)
        return outcome

    def _done_before(self, name: str) -> Known | None:
        """What an earlier run, or another command, did for the dataset, if that is all."""
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
        return Known(last.state, f"since {last.created}: {last.detail}", last.href)

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
            self._turns.read(planned)
            self._changed.notify_all()

    def _end(
        self, planned: Planned, started: float, future: Future[Outcome | Known | None]
    ) -> None:
        error = future.exception()
        outcome: Outcome | Known | None
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
            self._turns.read(planned)
            self._changed.notify_all()

    def _keep(self, planned: Planned, outcome: Outcome | Known, seconds: float) -> None:
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
            self._turns.read(planned)
            self._turns.judge(planned.data_node, outcome)
            self._troubled = self._troubled + 1 if blocks_all else 0
            at_once = issubclass(kind_of(outcome.code), SettingsError)
            if at_once or self._troubled >= STOP_AFTER:
                self._trouble = outcome.detail
                self._stop.set()
            self._changed.notify_all()


def sources_of(arguments: Sequence[str]) -> tuple[str, ...]:
    """Paths made absolute, so that the same sources are known again from wherever the command is
    run.
    """
    return tuple(str(Path(one).absolute()) if Path(one).exists() else one for one in arguments)
