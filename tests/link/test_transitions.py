"""kill -9 at every transition of the table: whatever was cut, and whatever is begun after that, no
link leads to nothing, and ``resume`` ends it as the ledger then says.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.link.attempt import Attempt
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.lifecycle import LinkRequest, link_source
from esgvzarr.link.remove import unpublish
from esgvzarr.link.resume import Selection, resume
from esgvzarr.link.states import (
    LINKING,
    MAKING,
    REMOVING,
    TRANSITIONS,
    State,
    Step,
    Transition,
    Verb,
)
from esgvzarr.link.task import Entry, Task
from esgvzarr.model import DatasetId
from esgvzarr.settings import read_settings
from esgvzarr.testing import DATASET_ID, StacServer, make_item, write_monthly
from esgvzarr.testing.node import DataNode
from esgvzarr.testing.oddities import forget_member

from .killable import PROCESSES

pytest.importorskip("esgcet", reason="esgcet's STAC client is in the extra `publisher`")

ANNOUNCE = "announce"
LINK = "link"
UNPUBLISH = "unpublish"
RELINK = "relink"
RESUME = "resume"


@dataclass(frozen=True)
class Run:
    """One process: what it does, and the step after which it is killed; none where it ends."""

    verb: str
    killed_at: Step | None


def runs_of(row: Transition) -> list[Run] | None:
    """Processes that make the transition, the last of which is killed at it. None for a transition
    that the two verbs of these tests do not make.
    """
    removes = row.verbs <= REMOVING
    verb = RELINK if row.verbs == {Verb.RELINK} else UNPUBLISH if removes else LINK
    if row.step is Step.ANNOUNCED:
        verb = ANNOUNCE
    if of_several(row):
        return None
    before = runs_before(row.before, removes)
    if row.step is Step.RESUMED:
        impossible = row.before is Step.DONE or before is None
        return None if impossible else [*before, Run(RESUME, Step.RESUMED)]
    if row.step in (Step.ANNOUNCED, Step.DECIDED):
        linked = [Run(LINK, None)] if removes and row.before is None else []
        return None if before is None else [*linked, *before, Run(verb, row.step)]
    if row.before is Step.RESUMED:
        return [*runs_before(Step.DECIDED, removes), Run(RESUME, row.step)]
    if row.before is Step.ANNOUNCED or row.states & {State.FAILED}:
        return None  # nothing is sent on the way: the tests of the verbs have them
    linked = [Run(LINK, None)] if removes else []
    return [*linked, Run(verb, row.step)]


def of_several(row: Transition) -> bool:
    """Whether only a dataset with several outputs makes the transition. Tests of the outputs' life
    kill at these.
    """
    return Step.SHOWN in (row.before, row.step)


def runs_before(step: Step | None, removes: bool) -> list[Run]:
    """Processes after which the dataset is at a step."""
    if step is None:
        return []
    if step is Step.ANNOUNCED:
        return [Run(ANNOUNCE, step)]
    if step is Step.UNLINKED:
        return [Run(LINK, None), Run(UNPUBLISH, step)]
    if step is Step.DONE:
        return [Run(LINK, None)]
    if step is Step.WRITTEN:
        return [Run(LINK, step)]
    first = (
        [Run(LINK, None), Run(UNPUBLISH, Step.DECIDED)] if removes else [Run(LINK, Step.DECIDED)]
    )
    return first if step is Step.DECIDED else [*first, Run(RESUME, Step.RESUMED)]


def scenarios() -> dict[str, list[Run]]:
    """Name -> processes, for each row of the table that makes or removes a link."""
    found = {}
    for row in TRANSITIONS:
        runs = runs_of(row) if not row.verbs <= MAKING else None
        if runs:
            verbs = "/".join(sorted(row.verbs))
            states = "/".join(sorted(row.states))
            found[f"{verbs}: {row.before} -> {row.step} ({states})"] = runs
    return found


SCENARIOS = scenarios()


@dataclass
class World:
    """A data node and its index."""

    node: DataNode
    index: StacServer
    count: int = 0

    def add(self, files: list[Path]) -> str:
        """A registered dataset that no scenario has had."""
        self.count += 1
        name = DATASET_ID.replace("r1i1p1f2", f"r{self.count}i1p1f2")
        self.node.add_dataset(name, files)
        held = sorted(self.node.directory_of(name).glob("*.nc"))
        hrefs = {file.name: self.node.thredds.url_of(file) for file in held}
        self.index.add_item(make_item(name, hrefs, data_node=self.node.thredds.host))
        return name

    def do(self, run: Run, name: str) -> int | None:
        """Let a process do it; minus the number of the signal that killed it."""
        mapfile = str(self.node.maps / f"{name}.map")
        process = PROCESSES.Process(target=_work, args=(run, name, mapfile, self.node.config))
        process.start()
        process.join(60)
        return process.exitcode

    def shows(self, name: str) -> bool:
        return "reference_file" in self.index.item("CMIP6", name)["assets"]

    def has_file(self, name: str) -> bool:
        return (self.node.directory_of(name) / f"{name}.json").exists()


def _work(run: Run, name: str, mapfile: str, config: Path) -> None:
    """In a process of its own, which kills itself as soon as the step is kept."""
    keep = Ledger.add

    def keep_and_die(ledger: Ledger, entry: Entry, *more: Any, **others: Any) -> None:
        keep(ledger, entry, *more, **others)
        if entry.step is run.killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Ledger.add = keep_and_die  # type: ignore[method-assign]
    settings = read_settings(config)
    if run.verb == LINK:
        link_source(LinkRequest([mapfile], config), settings)
    elif run.verb == UNPUBLISH:
        unpublish(DatasetId.parse(name), config, settings)
    elif run.verb == RESUME:
        resume(Selection([name]), settings)
    else:
        _begin(run.verb, name, mapfile, config)


def _begin(verb: str, name: str, mapfile: str, config: Path) -> None:
    """What ``publish`` does before esgcet registers, and ``audit --repair``."""
    from dataclasses import replace

    from esgvzarr.generate import make_transport
    from esgvzarr.link.address import address_of_config
    from esgvzarr.link.decision import decide
    from esgvzarr.link.remove import withdraw
    from esgvzarr.sources import read_source

    settings = read_settings(config)
    with make_transport(settings) as transport:
        record = read_source([mapfile], None, transport, settings.data_paths)
    ledger = Ledger(settings.ledger)
    task = decide(Verb.PUBLISH, record, address_of_config(config), settings)
    with ledger.claimed(name):
        if verb == ANNOUNCE:
            Attempt(task, ledger).announce()
        live: list[Task | None] = [one.task for one in ledger.live(name)]
        assert live[0] is not None
        attempt = Attempt(replace(live[0], verb=Verb.RELINK), ledger)
        attempt.decide()
        withdraw(attempt, settings, lambda *_: None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        index = stack.enter_context(StacServer())
        directory = tmp_path_factory.mktemp("node")
        own = {"poll_timeout_s": 0.05, "retries": 0}
        node = stack.enter_context(DataNode(directory, index.url, **own))
        prefix = f"{node.thredds.url}/thredds/fileServer/esg_dataroot"
        node.write_config(data_paths={str(node.data): prefix}, allowed_hosts=[node.thredds.host])
        yield World(node, index)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_monthly(
        tmp_path_factory.mktemp("made"),
        lengths=(3, 2),
        format="NETCDF3_CLASSIC",
        extra=(forget_member,),
    )


@pytest.mark.parametrize("runs", SCENARIOS.values(), ids=SCENARIOS)
def test_killed_and_resumed_the_ledger_the_index_and_the_disk_agree(
    world: World, files: list[Path], runs: list[Run]
) -> None:
    name = world.add(files)
    for run in runs:
        assert world.do(run, name) == (-signal.SIGKILL if run.killed_at else 0), run
        assert world.has_file(name) or not world.shows(name), "a link to nothing"
    settings = read_settings(world.node.config)
    ledger = Ledger(settings.ledger)
    deadline = time.monotonic() + 20
    last = ledger.last(name)
    while last is not None and last.state not in (State.LINKED, State.WITHDRAWN):
        assert time.monotonic() < deadline, last
        resume(Selection([name]), settings)
        time.sleep(0.1)  # a change that was sent is waited for, 60 poll timeouts long
        last = ledger.last(name)
    assert last is not None
    linked = last.state is State.LINKED
    assert (world.shows(name), world.has_file(name)) == (linked, linked)
    assert [live.href for live in ledger.live(name)] == [world.node.url_of(name)] * linked
    hidden = [path.name for path in world.node.directory_of(name).glob(".*")]
    assert hidden == []


def test_every_transition_that_an_attempt_makes_is_in_these_tests() -> None:
    """What is left out: an attempt that ends without a change, and one after a failure."""
    left_out = [row for row in TRANSITIONS if row.verbs <= LINKING | REMOVING and not runs_of(row)]
    for row in left_out:
        ended = row.step is Step.DONE and (
            row.states & {State.FAILED} or row.before is Step.ANNOUNCED
        )
        assert ended or of_several(row) or (row.before, row.step) == (Step.DONE, Step.RESUMED), row
