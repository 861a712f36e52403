"""A large dataset is staged by several processes, with the result of one."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from proof.test_share import with_wrong_chunk

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Settings, Transport
from esgvzarr.errors import ProofError, TransportError, WorkerError
from esgvzarr.model import Report
from esgvzarr.stage import (
    DetailedProgress,
    Made,
    Progress,
    Staged,
    StepProgress,
    Work,
    apart,
    limits_of,
    stage_with,
    staged_of,
    telling,
)
from esgvzarr.stage import staging_places as places_in
from esgvzarr.testing import DATASET_ID, ThreddsServer, write_monthly
from esgvzarr.testing.faults import ReplacedAfter, SlowsDown, Status
from esgvzarr.workers import Worker

ID = DatasetId.parse(DATASET_ID)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Case:
    """A served dataset, and a way to stage it."""

    server: ThreddsServer
    paths: list[Path]
    directory: Path
    connections: int = 128
    is_local: bool = False

    def staged(self, stager: Callable[..., Staged], progress: Progress = lambda *_: None) -> Staged:
        files = []
        for path in self.paths:
            local = str(path) if self.is_local else None
            files.append(FileRecord(path.name, self.server.url_of(path), path=local))
        settings = Settings(ledger=self.directory / "ledger.sqlite", connections=self.connections)
        record = DatasetRecord(ID, self.server.host, tuple(files))
        with (
            Transport(allowed_hosts=[self.server.host], connections=self.connections) as transport,
            places_in(ID, self.directory / "out", settings) as places,
        ):
            return stager(Work(record, places, settings), transport, progress=progress)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """Its files are small, and count as large here."""
    monkeypatch.setattr(apart, "MUCH", 1)
    paths = write_monthly(tmp_path / "files", lengths=(12, 12, 12))
    with ThreddsServer(tmp_path / "files") as server:
        yield Case(server, paths, tmp_path)


def test_several_processes_stage_what_one_does(case: Case) -> None:
    alone = case.staged(stage_with)
    shared = case.staged(apart.staged_apart)
    assert (shared.warnings, shared.files, shared.chunks) == (
        alone.warnings,
        alone.files,
        alone.chunks,
    )
    for one, other in zip(shared.outputs, alone.outputs, strict=True):
        assert (one.output, one.size, one.sha256) == (other.output, other.size, other.sha256)
        assert sorted(map(repr, one.report.checks)) == sorted(map(repr, other.report.checks))


def test_very_many_references_are_proved_where_they_were_made(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of them would take the memory of several processes."""
    made = case.staged(apart.scan_for_provers)
    assert isinstance(made, Made)
    monkeypatch.setattr(apart, "MOST_SENT", made.references.chunk_count - 1)
    assert isinstance(case.staged(apart.scan_for_provers), Staged)


def test_many_fetched_bytes_are_compared_where_they_were_fetched(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coordinates of curvilinear grids are hundreds of MiB in the files of some datasets."""
    made = case.staged(apart.scan_for_provers)
    assert isinstance(made, Made)
    fetched = sum(known.content.held for known in made.scanned.values())
    assert fetched == sum(path.stat().st_size for path in case.paths)
    monkeypatch.setattr(apart, "MOST_BYTES_SENT", fetched - 1)
    assert isinstance(case.staged(apart.scan_for_provers), Staged)


def test_each_step_is_told_once_and_ends_whole(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "INTERVAL_S", 0)
    told: list[str] = []
    case.staged(apart.staged_apart, DetailedProgress(lambda _, step: told.append(step)))
    steps = [step for step in told if not isinstance(step, StepProgress)]
    assert len(steps) == len(set(steps)) == 2  # the scan and the proof
    last = told[-1]
    assert isinstance(last, StepProgress)
    assert (str(last), last.done) == (steps[-1], last.total)


def test_the_fraction_of_a_step_never_falls() -> None:
    """A process that begins later may have more to do than the first."""
    told: list[str] = []
    shared = apart._SharedProgress(DetailedProgress(lambda _, step: told.append(step)), 2)
    tell, note = shared.of_first(), shared.of_another(1)
    tell("tas", StepProgress("proving", 50, 100))
    note("tas", StepProgress("proving", 0, 200))
    tell("tas", StepProgress("proving", 60, 100))
    note("tas", StepProgress("proving", 150, 200))
    tell("tas", StepProgress("proving", 100, 100))
    assert [(step.done, step.total) for step in told if isinstance(step, StepProgress)] == [
        (50, 200),
        (75, 300),
        (250, 300),
    ]


def test_a_file_that_is_replaced_is_found_by_whichever_process_reads_it_next(case: Case) -> None:
    """The state in which the scan found each file travels with what was made."""
    case.staged(apart.staged_apart)
    answers = Counter(request.path for request in case.server.requests)
    for first in range(1, max(answers.values())):
        case.server.fault(ReplacedAfter(first))
        with pytest.raises(TransportError) as caught:
            case.staged(apart.staged_apart)
        assert caught.value.code == "transport-changed"
        assert not list((case.directory / "out").glob("*"))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="one core has one process")
def test_all_files_are_looked_at_when_the_last_process_is_done(case: Case) -> None:
    """Each process looks at its share only, and another may still compare for minutes."""
    case.staged(apart.staged_apart)
    last = case.server.requests[-len(case.paths) :]
    assert {request.path.rpartition("/")[2] for request in last} == {p.name for p in case.paths}
    assert {request.range for request in last} == {"bytes=0-0"}


@pytest.mark.parametrize("is_local", [False, True])
def test_a_file_that_was_replaced_by_then_is_found(case: Case, *, is_local: bool) -> None:
    case.server.fault(ReplacedAfter(1000))
    made = replace(case, is_local=is_local).staged(apart.scan_for_provers)
    assert isinstance(made, Made)
    apart._look_again(made, "auto")
    case.server.fault(ReplacedAfter(0))
    os.utime(case.paths[-1], (1, 1))
    with pytest.raises(TransportError) as caught:
        apart._look_again(made, "auto")
    assert caught.value.code == "transport-changed"


def test_all_processes_together_keep_to_the_number_of_connections(case: Case) -> None:
    """The chunks of these files are too many to come with the first bytes of each."""
    paths = write_monthly(case.directory / "files", lengths=(12,) * 4, grid=(64, 128))
    load = SlowsDown(0.2, at_once=1000)
    case.server.fault(load)
    replace(case, paths=paths, connections=2).staged(apart.staged_apart)
    assert max(load.peaks) == 2


def compare_spoilt(count: int) -> Callable[..., Staged]:
    """Stage references of which a chunk of the first file, and one of the second, are wrong, and
    prove them by a number of processes.
    """

    def stage(work: Work, transport: Transport, *, progress: Progress) -> Staged:
        made = apart.scan_for_provers(work, transport, progress=progress)
        assert isinstance(made, Made)
        staged = Path(made.outputs[0].place.staged)
        document = staged.read_bytes()
        for file in made.files[:2]:
            document = with_wrong_chunk(document, file.name)
        staged.write_bytes(document)
        return staged_of(made, compared_by(count, made, work.settings), work.settings)

    return stage


def compared_by(count: int, made: Made, settings: Settings) -> list[list[Report]]:
    with ExitStack() as stack:
        limits = limits_of(settings)
        provers = [stack.enter_context(Worker(limits)) for _ in range(count)]
        return apart.compare_together(provers, made, settings, lambda *_: None)


def test_an_error_counts_what_all_processes_found(case: Case) -> None:
    said = []
    for count in (1, 2):
        with pytest.raises(ProofError) as caught:
            case.staged(compare_spoilt(count))
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert ": 2 of 37 checks failed: " in said[0]


@dataclass
class Hold:
    """Answers wait until they are let go."""

    let_go: threading.Event = field(default_factory=threading.Event)
    was_let_go: bool = True

    def apply(self, asked: Any, answer: Any) -> Any:
        self.was_let_go = self.was_let_go and self.let_go.wait(20)
        return answer(asked)


def test_when_one_process_fails_the_others_are_stopped(case: Case) -> None:
    """One file is gone before the proof; the server does not answer about the other yet."""
    paths = write_monthly(case.directory / "files", lengths=(12, 12), grid=(64, 128))
    hold = Hold()

    def stage(work: Work, transport: Transport, *, progress: Progress) -> Staged:
        made = apart.scan_for_provers(work, transport, progress=progress)
        assert isinstance(made, Made)
        case.server.fault(hold, f"*{paths[0].name}")
        case.server.fault(Status(404), f"*{paths[1].name}")
        return staged_of(made, compared_by(2, made, work.settings), work.settings)

    try:
        with pytest.raises(TransportError) as caught:
            replace(case, paths=paths).staged(stage)
    finally:
        hold.let_go.set()
    assert caught.value.code == "transport-http-404"
    assert caught.value.__cause__ is not caught.value
    assert hold.was_let_go


@pytest.mark.parametrize("of", ["scanning", "proving"])
def test_a_process_that_is_killed_is_an_error_and_leaves_nothing(case: Case, of: str) -> None:
    def kill_all(_: str, step: str) -> None:
        if step.startswith(of):
            for server in children_of(os.getpid()):
                for worker in children_of(server):
                    os.kill(worker, signal.SIGKILL)

    with pytest.raises(WorkerError) as caught:
        case.staged(apart.staged_apart, kill_all)
    assert caught.value.code == "worker-died"
    assert not list((case.directory / "out").glob("*"))
    assert case.staged(apart.staged_apart).files == 3


def children_of(process: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == process:
                found.append(int(entry.name))
    return found
