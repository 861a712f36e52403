"""Back catalogues: listed from any kind of list, done once, also if processes are killed. Real
processes, files and servers.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.backfill import Job, backfill, plan_path
from esgvzarr.backfill.listing import SourceReader, names_in_query
from esgvzarr.backfill.node_schedule import REST_AFTER, NodeSchedule
from esgvzarr.backfill.queue import Page, Plan, Planned, Result
from esgvzarr.backfill.report import ERRORS_PAGE, LastRun, Summary, explanation
from esgvzarr.backfill.report_page import html
from esgvzarr.backfill.run import Run, Tools
from esgvzarr.backfill.workers import LocalWorkers, Workers, connect_workers
from esgvzarr.errors import EsgvzarrError, SettingsError, SourceError, StoreError, WorkerError
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.task import IndexAddress
from esgvzarr.outcome import Absent, Failed, State, Verb
from esgvzarr.settings import Settings, read_settings
from esgvzarr.stage import make_transport
from esgvzarr.testing import (
    DATASET_ID,
    GlobusServer,
    SolrServer,
    StacServer,
    Status,
    ThreddsServer,
    make_item,
)
from esgvzarr.testing.archive import register, write_archive
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response
from esgvzarr.testing.node import DataNode, command, map_line
from esgvzarr.transport import Transport
from esgvzarr.workers import Limits

NAMES = [DATASET_ID.replace("r1i", f"r{number}i") for number in range(1, 6)]
HOST = "data.example.org"
MOST_REQUESTS = 15
"""To the data node, for a dataset of two files."""
READS_OF_THE_INDEX = 3
"""Of the item of a dataset: to describe it, before the change, and after it."""
MOST_OF_THE_LEDGER = 3000
"""Bytes of a proof; what else the ledger keeps of a dataset has less than 1,000."""


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    plan = Plan(tmp_path / "plan.sqlite", "job")
    yield plan
    plan.close()


def listed(plan: Plan, source_reader: SourceReader, *roots: str) -> dict[str, tuple[str, str]]:
    """Dataset id -> data node and locator, of all that the roots list."""
    plan.begin(roots)
    while page := plan.next_page():
        found = source_reader.read(page)
        plan.keep_page(page, found.datasets, found.pages)
    rows = [one for node in plan.open_nodes() for _, one in plan.open_datasets(node, 0, 10**6)]
    return {one.dataset_id: (one.data_node, one.locator) for one in rows}


# ---- what lists datasets


class TestSourceReader:
    def test_of_a_stac_api_with_a_filter(self, stac_server: StacServer, plan: Plan) -> None:
        """All pages of the search, whatever else the index has; retracted datasets are not asked
        for.
        """
        many = [DATASET_ID.replace("r1i", f"r{number}i") for number in range(1, 231)]
        for number, name in enumerate(many):
            stac_server.add_item(make_item(name, data_node=HOST, parity=number % 2))
        stac_server.add_item(
            make_item(DATASET_ID.replace("r1i", "r999i"), data_node=HOST, parity=0, retracted=True)
        )
        settings = Settings(allowed_hosts=(stac_server.host,))
        with Transport(allowed_hosts=[stac_server.host]) as transport:
            found = listed(
                plan, SourceReader(settings, transport, query="parity = 0"), stac_server.url
            )
            assert sorted(found) == sorted(many[::2])
            assert set(found.values()) == {(HOST, f"stac:{stac_server.url}")}
            searches = [
                request for request in stac_server.requests if request.path.startswith("/search")
            ]
            assert len(searches) == 2
            planned = Planned(many[0], *found[many[0]])
            record = SourceReader(settings, transport).describe(planned).record
            assert record.data_node == HOST

    def test_of_a_real_stac_api(self, pgstac_server: Any, plan: Plan) -> None:
        """stac-fastapi-pgstac takes CQL2 as text, and its pages are followed."""
        requests = pytest.importorskip("requests")
        names = [DATASET_ID.replace("historical", f"back{number}") for number in range(105)]
        for name in names:
            item = make_item(name, data_node=HOST, source="backfill")
            requests.post(
                f"{pgstac_server.url}/collections/CMIP6/items", json=item, timeout=30
            ).raise_for_status()
        with Transport(allowed_hosts=[pgstac_server.host]) as transport:
            source_reader = SourceReader(Settings(), transport, query="source = 'backfill'")
            assert sorted(listed(plan, source_reader, pgstac_server.url)) == sorted(names)

    def test_of_an_index_node(self, solr_server: SolrServer, plan: Plan) -> None:
        """By facets; files are no datasets, and what is retracted is left out."""
        for number, name in enumerate(NAMES):
            common = {
                "instance_id": name,
                "data_node": HOST,
                "experiment_id": ["historical"],
                "retracted": number == 4,
            }
            solr_server.add_document({**common, "id": f"{name}|{HOST}", "type": "Dataset"})
            solr_server.add_document(
                {
                    **common,
                    "id": f"{name}.nc|{HOST}",
                    "type": "File",
                    "dataset_id": f"{name}|{HOST}",
                }
            )
        with Transport(
            allowed_hosts=[solr_server.host], ca_bundle=solr_server.ca_bundle
        ) as transport:
            url = f"https://{solr_server.host}/esg-search/search"
            found = listed(
                plan, SourceReader(Settings(), transport, query="experiment_id=historical"), url
            )
            assert found == dict.fromkeys(NAMES[:4], (HOST, f"solr:{solr_server.host}"))
            with pytest.raises(SettingsError, match="facet=value"):
                SourceReader(Settings(), transport, query="historical").read(
                    Page(f"solr:{solr_server.host}")
                )

    def test_of_globus_search(self, globus_server: GlobusServer, plan: Plan) -> None:
        """Page by page, as far as it scrolls."""
        pytest.importorskip("globus_sdk", reason="globus-sdk is in the extra `publisher`")
        many = [DATASET_ID.replace("r1i", f"r{number}i") for number in range(1, 1101)]
        for name in many:
            globus_server.add_entry(
                {"id": f"{name}|{HOST}", "instance_id": name, "data_node": HOST, "type": "Dataset"}
            )
        with Transport() as transport:
            found = listed(
                plan, SourceReader(Settings(), transport), f"globus:{globus_server.index_uuid}"
            )
        assert sorted(found) == sorted(many)

    def test_of_a_tree_of_catalogues(self, tmp_path: Path, plan: Plan) -> None:
        """Scanned folders by their paths below the project, pages of the publisher by their names,
        without reading them.
        """
        archive = write_archive(tmp_path, 4)
        with ThreddsServer(tmp_path) as server, Transport(allowed_hosts=[server.host]) as transport:
            page = server.add_dataset(NAMES[4], archive[NAMES[3]])
            found = listed(plan, SourceReader(Settings(), transport), server.catalog_url)
            assert set(found) == set(NAMES)
            assert found[NAMES[4]] == (server.host, page)
            assert page not in {server.url + request.path for request in server.requests}
            assert all(node == server.host for node, _ in found.values())
            planned = Planned(NAMES[0], *found[NAMES[0]])
            record = SourceReader(Settings(), transport).describe(planned).record
            assert len(record.files) == 2

    def test_follows_no_catalogue_to_an_unnamed_host(self, tmp_path: Path) -> None:
        """Not by its name either: it is tried, refused, and said."""
        ref = f'<catalogRef xlink:href="http://10.0.0.1/{DATASET_ID}.xml"/>'
        (tmp_path / "catalog.xml").write_text(
            f'<catalog xmlns:xlink="http://www.w3.org/1999/xlink">{ref}</catalog>'
        )
        with Transport() as transport:
            found = SourceReader(Settings(), transport).read(Page(str(tmp_path / "catalog.xml")))
            assert found.datasets == ()
            with pytest.raises(EsgvzarrError) as caught:
                SourceReader(Settings(), transport).read(found.pages[0])
            assert caught.value.code == "transport-host-refused"

    def test_of_mapfiles_and_lists(self, tmp_path: Path, plan: Plan) -> None:
        """A directory of mapfiles, of several datasets too; ids with a template, and ids that an
        index is asked for.
        """
        maps = tmp_path / "maps"
        file = tmp_path / "x.nc"
        (maps / "deeper").mkdir(parents=True)
        file.write_bytes(b"x")
        (maps / "a.map").write_text(
            map_line(NAMES[0], file) + map_line(NAMES[1], file) + map_line(NAMES[0], file)
        )
        (maps / "deeper" / "b.map").write_text(map_line(NAMES[2], file))
        (maps / "README").write_text("not a map")
        (tmp_path / "ids").write_text(f"{NAMES[3]}\n\n{NAMES[4].replace('.v', '#')}\n")
        settings = Settings(data_paths={str(tmp_path): f"https://{HOST}/data"})
        with Transport() as transport:
            source_reader = SourceReader(
                settings, transport, template="https://x.org/{path}/{dataset_id}.xml"
            )
            found = listed(plan, source_reader, str(maps), str(tmp_path / "ids"))
            assert set(found) == set(NAMES)
            assert found[NAMES[0]] == (HOST, str(maps / "a.map"))
            assert found[NAMES[4]] == (
                "x.org",
                f"https://x.org/{NAMES[4].replace('.', '/')}/{NAMES[4]}.xml",
            )
            by_index = SourceReader(
                settings, transport, address=IndexAddress("stac", "https://stac.example.org")
            )
            assert by_index.read(Page(str(tmp_path / "ids"))).datasets[0] == Planned(
                NAMES[3], "", "stac:https://stac.example.org"
            )
            with pytest.raises(SourceError, match="--template"):
                SourceReader(settings, transport).read(Page(str(tmp_path / "ids")))

    def test_says_what_is_no_source(self, tmp_path: Path) -> None:
        (tmp_path / "text").write_text("neither ids\nnor a mapfile")
        with Transport() as transport, pytest.raises(SourceError) as caught:
            SourceReader(Settings(), transport).read(Page(str(tmp_path / "text")))
        assert caught.value.code == "source-unrecognised"


# ---- the plan


class TestPlan:
    def test_goes_on_listing_where_it_was(self, tmp_path: Path) -> None:
        """Of a page, all is kept or nothing; what is listed again is not there twice."""
        page = Page("root")
        first = Plan(tmp_path / "plan.sqlite", "job")
        first.begin(["root"])
        assert first.keep_page(page, [Planned("a", "n", "root")], [Page("root", "2")]) == 1
        first.close()
        again = Plan(tmp_path / "plan.sqlite", "job")
        again.begin(["root"])
        assert again.next_page() == Page("root", "2")
        assert (
            again.keep_page(Page("root", "2"), [Planned("a", "n", "x"), Planned("b", "n", "x")], [])
            == 1
        )
        assert again.next_page() is None
        assert again.counts() == {"open": 2}
        again.close()
        other = Plan(tmp_path / "plan.sqlite", "another job")
        assert other.counts() == {}
        other.close()

    def test_looks_for_new_datasets_when_nothing_is_left(self, plan: Plan) -> None:
        plan.begin(["root"])
        plan.keep_page(Page("root"), [Planned("a", "n", "root")], [])
        plan.begin(["root"])
        assert plan.next_page() is None, "there is still something to do"
        plan.finish(Planned("a", "n", "root"), Result("linked", "", "", "", 1.0))
        plan.begin(["root"])
        assert plan.next_page() == Page("root")
        assert plan.counts() == {"linked": 1}

    def test_tries_again_what_could_not_be_listed(self, plan: Plan) -> None:
        plan.begin(["root"])
        plan.keep_unread(Page("root"), "transport-unreachable", "no answer")
        assert plan.unread() == [("root", "transport-unreachable", "no answer")]
        assert plan.next_page() is None
        plan.begin(["root"])
        assert plan.next_page() == Page("root")

    def test_of_a_file_that_is_none_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "plan.sqlite").write_text(
            "no database, but long enough to be looked at by SQLite as if it were one" * 10
        )
        with pytest.raises(StoreError) as caught:
            Plan(tmp_path / "plan.sqlite", "job")
        assert caught.value.code == "store-plan"


class TestNodeSchedule:
    def planned(self, plan: Plan, **counts: int) -> NodeSchedule:
        plan.begin(["root"])
        rows = [
            Planned(f"{node}.{number}", node, "root")
            for node, count in counts.items()
            for number in range(count)
        ]
        plan.keep_page(Page("root"), rows, [])
        return NodeSchedule(plan, per_node=2)

    def test_are_fair_and_bounded(self, plan: Plan) -> None:
        """A node with few datasets does not wait until one with many is through; none has more than
        two at once.
        """
        schedule = self.planned(plan, a=1000, b=3)
        first = [schedule.take() for _ in range(5)]
        assert [one and one.data_node for one in first] == ["a", "b", "a", "b", None]
        assert first[0]
        schedule.read(first[0])
        schedule.read(first[0])
        assert [one and one.dataset_id for one in (schedule.take(), schedule.take())] == [
            "a.2",
            None,
        ]

    def test_look_into_the_plan_again_when_more_is_listed(self, plan: Plan) -> None:
        """Of a node that had no more, and of a new one."""
        schedule = self.planned(plan, a=1)
        assert [one and one.dataset_id for one in (schedule.take(), schedule.take())] == [
            "a.0",
            None,
        ]
        more = [Planned("a.1", "a", "here"), Planned("b.0", "b", "here")]
        plan.keep_page(Page("more"), more, [])
        schedule.listed()
        assert {one and one.dataset_id for one in (schedule.take(), schedule.take())} == {
            "a.1",
            "b.0",
        }
        assert schedule.take() is None

    def test_a_silent_node_rests_and_one_answer_wakes_it(self, plan: Plan) -> None:
        schedule = self.planned(plan, dead=10, fine=10)
        silent = Failed("x", Verb.LINK, "no answer", "transport-unreachable", retryable=True)
        for _ in range(REST_AFTER):
            schedule.judge("dead", silent)
        assert schedule.resting == ("dead",)
        assert [
            one and one.data_node for one in (schedule.take(), schedule.take(), schedule.take())
        ] == [
            "fine",
            "fine",
            None,
        ]
        schedule.judge("dead", Absent("x", Verb.LINK, ""))
        assert schedule.resting == ()
        taken = schedule.take()
        assert taken
        assert taken.data_node == "dead"


# ---- workers


def double(number: int) -> int:
    return 2 * number


def die_once(marker: Path) -> str:
    if not marker.exists():
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def die(signal_number: signal.Signals, marker: Path) -> None:
    with marker.open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal_number)


def stumble() -> None:
    raise ZeroDivisionError("a fault")


def refuse() -> None:
    raise SourceError("x", "is none", code="source-none")


def _work_until_lost(workers: Workers, codes: list[str]) -> None:
    """Send one job after another: some are on their way when the connection breaks off."""
    while True:
        try:
            workers.run(abs, -2)
        except WorkerError as error:
            if error.code != "worker-died":  # the result was lost with its worker
                codes.append(error.code)
                return


class TestWorkers:
    def test_one_that_dies_is_replaced_and_the_work_done(self, tmp_path: Path) -> None:
        """Killed, its work is done once more; killed again, it is left for another run. A crash is
        the file's, and is not tried again. Other work is not lost.
        """
        workers = LocalWorkers(2, Limits())
        try:
            assert workers.run(die_once, tmp_path / "marker") == "alive"
            for number, tries in ((signal.SIGKILL, 2), (signal.SIGSEGV, 1)):
                marker = tmp_path / number.name
                with pytest.raises(WorkerError) as caught:
                    workers.run(die, number, marker)
                retryable = number is signal.SIGKILL
                assert (caught.value.code, caught.value.retryable) == ("worker-died", retryable)
                assert len(marker.read_text()) == tries
            with pytest.raises(SourceError) as refused:
                workers.run(refuse)
            assert refused.value.code == "source-none"
            with pytest.raises(WorkerError, match="ZeroDivisionError: a fault"):
                workers.run(stumble)
            assert [workers.run(double, number) for number in range(4)] == [0, 2, 4, 6]
        finally:
            workers.close()

    def test_of_a_cluster_that_is_not_there(self) -> None:
        with pytest.raises(SettingsError) as caught:
            connect_workers("tcp://127.0.0.1:9", 0, Limits())
        assert caught.value.code == "settings-scheduler"

    def test_of_a_cluster_outlive_a_job_that_is_killed_and_say_when_the_cluster_is_gone(
        self,
    ) -> None:
        pytest.importorskip("distributed", reason="distributed is in the extra `dask`")
        from esgvzarr.testing.cluster import dask_cluster

        with dask_cluster(1) as scheduler:
            workers = connect_workers(scheduler, 0, Limits())
            for number in (signal.SIGKILL, signal.SIGSEGV):
                with pytest.raises(WorkerError) as caught:
                    workers.run(signal.raise_signal, number)
                retryable = number is signal.SIGKILL
                assert (caught.value.code, caught.value.retryable) == ("worker-died", retryable)
            assert workers.run(abs, -2) == 2
            imported = workers._client.run(lambda: set(sys.modules))  # type: ignore[attr-defined]
            for modules in imported.values():
                assert "esgvzarr.workers" in modules
                assert not {"esgvzarr.backfill", "esgvzarr.stage", "pydantic"} & modules
            codes: list[str] = []
            threads = [
                threading.Thread(target=_work_until_lost, args=(workers, codes), daemon=True)
                for _ in range(40)
            ]
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join(60)
        assert codes == ["worker-cluster-lost"] * 40
        with pytest.raises(WorkerError) as gone:
            workers.run(abs, -2)
        assert gone.value.code == "worker-cluster-lost"
        workers.close()


@dataclass(frozen=True)
class Stops:
    """Sets an event when the first request comes, a second later."""

    event: threading.Event

    def apply(self, asked: Asked, answer: Answer) -> Response:
        if not self.event.is_set():
            time.sleep(1)  # the other datasets have come as far as the queue for a worker
            self.event.set()
        return answer(asked)


def test_what_waits_for_a_worker_when_the_run_is_stopped_stays_open(tmp_path: Path) -> None:
    stop = threading.Event()
    with ThreddsServer(tmp_path / "data") as server:
        for name, files in write_archive(tmp_path / "data", 3).items():
            server.add_dataset(name, files)
        settings = Settings(ledger=tmp_path / "ledger.sqlite", allowed_hosts=(server.host,))
        server.fault(Stops(stop), "*.nc")
        job = Job((server.catalog_url,), output_dir=tmp_path / "out")
        summary = backfill(job, settings, jobs=1, stop=stop)
        plan = Plan(plan_path(settings), str(job))
        assert summary.counts["open"] >= 1
        assert {(row[0], row[1]) for row in plan.counts_by_reason()} == {("open", "worker-stopped")}
        plan.close()


class Meeting:
    """A cluster of one worker, whose jobs end when two are there."""

    count = 1
    shares_disk = False

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        self._barrier.wait(30)
        raise WorkerError("the worker process", "has met another one", code="worker-died")

    def close(self) -> None:
        """Nothing is open."""


def test_a_worker_of_a_cluster_has_its_next_dataset_before_it_is_done(
    tmp_path: Path, plan: Plan
) -> None:
    with ThreddsServer(tmp_path / "data") as server:
        for name, files in write_archive(tmp_path / "data", 2).items():
            server.add_dataset(name, files)
        settings = Settings(ledger=tmp_path / "ledger.sqlite", allowed_hosts=(server.host,))
        job = Job((server.catalog_url,), output_dir=tmp_path / "out")
        plan.begin(job.sources)
        with make_transport(settings) as transport:
            lister = SourceReader(settings, transport)
            tools = Tools(plan, lister, transport, None, Meeting(), per_node=4)
            Run(job, settings, tools, threading.Event(), lambda _: None).work()
    assert [row[:3] for row in plan.counts_by_reason()] == [("failed", "worker-died", 2)]


def soon(done: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it comes about in that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.05)
    return False


# ---- all of it


def children(pid: int, word: str = "spawn_main") -> list[int]:
    """The processes of a process that have a word in their command lines; those of a coordinator
    are its workers.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            line = path.with_name("cmdline").read_text()
        except OSError:
            continue
        if int(fields[1]) == pid and word in line and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


class Back:
    """A data node with an archive, registered in an index; of its datasets the first four are
    refused.
    """

    def __init__(self, directory: Path, index: StacServer, count: int) -> None:
        self.index = index
        self.node = DataNode(directory / "node", index.url, poll_timeout_s=5, retries=0)
        self.count = count
        self.refused = 4

    def __enter__(self) -> Back:
        self.node.__enter__()
        self.archive = write_archive(self.node.data, self.count, refused=self.refused)
        register(self.archive, self.index, self.node.thredds)
        prefix = f"{self.node.thredds.url}/thredds/fileServer/esg_dataroot"
        self.node.write_config(data_paths={str(self.node.data): prefix})
        return self

    def __exit__(self, *_: Any) -> None:
        self.node.__exit__(None, None, None)

    def start(self, *more: object) -> subprocess.Popen[str]:
        arguments = command("backfill", "--config", self.node.config, *more)
        return subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *more: object) -> tuple[int, str]:
        with self.start(*more) as process:
            said = process.communicate(timeout=120)[0]
        return process.returncode, said

    def linked(self) -> int:
        return sum(path.exists() for path in map(self.reference, self.archive))

    def reference(self, name: str) -> Path:
        return self.node.directory_of(name) / f"{name}.json"

    def reads_of_the_index(self) -> int:
        """How often the item of a linked dataset is read, if its link was made in one run."""
        read = Counter(request.path for request in self.index.requests if request.method == "GET")
        names = list(self.archive)[self.refused :]
        return min(read[f"/collections/CMIP6/items/{name}"] for name in names)

    def check_all_are_right(self) -> None:
        """Files, index and ledger agree; nothing was sent twice; the refused have neither file nor
        link.
        """
        names = list(self.archive)
        last = {
            step.dataset_id: step
            for step in Ledger(self.node.directory / "esgvzarr.sqlite").latest()
        }
        patched = Counter(
            request.path
            for request in self.index.requests
            if request.method == "PATCH" and request.status in (200, 202)
        )
        assert patched == {f"/collections/CMIP6/items/{name}": 1 for name in names[self.refused :]}
        for name in names[self.refused :]:
            asset = self.index.item("CMIP6", name)["assets"]["reference_file"]
            assert asset["file:checksum"] == f"1220{last[name].sha256}"
            assert asset["file:size"] == self.reference(name).stat().st_size
            assert last[name].state == "linked"
        for name in names[: self.refused]:
            assert "reference_file" not in self.index.item("CMIP6", name)["assets"]
            assert not self.reference(name).exists()
            assert (last[name].state, last[name].code) == ("refused", "time-overlap")
        left = [path.name for path in self.node.data.rglob(".*")]
        assert left == []


class TestBackfill:
    """Of an index whose datasets are linked by worker processes."""

    @pytest.fixture
    def back(self, stac_server: StacServer, tmp_path: Path) -> Iterator[Back]:
        pytest.importorskip("esgcet", reason="esgcet's client is in the extra `publisher`")
        with Back(tmp_path, stac_server, 20) as back:
            yield back

    def test_survives_kills_of_workers_and_of_the_coordinator(
        self, back: Back, tmp_path: Path
    ) -> None:
        """A worker by kill -9, then the coordinator; the next run does what is left, and no
        more.
        """
        with back.start("--jobs", 2) as first:
            assert soon(lambda: back.linked() >= 3, 60)
            (server,) = children(first.pid, "fork_server")
            assert soon(lambda: bool(children(server, "fork_server")))
            os.kill(children(server, "fork_server")[0], signal.SIGKILL)
            assert soon(lambda: back.linked() >= 7, 60)
            first.kill()
        before = back.linked()
        assert before < back.count - back.refused
        status, said = back.run("--jobs", 2, "--report", tmp_path / "report.html")
        assert status == 1, said  # some are refused
        assert "4 refused [time-overlap]" in said
        back.check_all_are_right()
        _, said = back.run("--jobs", 2)
        assert "16 linked, 4 refused; 0 in this run" in said
        back.check_all_are_right()
        check_stands_alone((tmp_path / "report.html").read_text())

    def test_is_stopped_by_a_signal_and_goes_on(self, back: Back) -> None:
        """What was begun is finished; nothing is half done."""
        with back.start("--jobs", 1) as first:
            assert soon(lambda: back.linked() >= 2, 60)
            first.send_signal(signal.SIGTERM)
            said = first.communicate(timeout=60)[0]
        assert first.returncode == 1, said
        assert "finishing the datasets in progress" in said
        assert back.linked() < back.count - back.refused
        assert list(back.node.data.rglob(".*")) == []
        _, said = back.run("--jobs", 2)
        assert "16 linked, 4 refused" in said
        back.check_all_are_right()
        assert back.reads_of_the_index() == READS_OF_THE_INDEX


def test_on_a_cluster_of_which_a_worker_is_killed(stac_server: StacServer, tmp_path: Path) -> None:
    """Dask tries elsewhere what it was at; workers write nothing."""
    pytest.importorskip("distributed", reason="distributed is in the extra `dask`")
    pytest.importorskip("esgcet", reason="esgcet's client is in the extra `publisher`")
    from esgvzarr.testing.cluster import dask_cluster

    with dask_cluster(2) as scheduler, Back(tmp_path, stac_server, 10) as back:
        with back.start("--scheduler", scheduler) as first:
            assert soon(lambda: back.linked() >= 2, 60)
            (nanny,) = children(os.getpid(), "dask_worker")
            os.kill(children(nanny)[0], signal.SIGKILL)
            said = first.communicate(timeout=120)[0]
        assert "6 linked, 4 refused" in said
        back.check_all_are_right()


def check_stands_alone(page: str) -> None:
    """No script, no style, image or font from elsewhere, and tags that close."""
    seen: Counter[str] = Counter()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen[tag] += 1
            assert tag not in ("script", "link", "img", "iframe")
            assert not [
                value
                for name, value in attrs
                if name in ("src", "srcset") or (name == "style" and "url(" in str(value))
            ]

    Reader().feed(page)
    assert seen["svg"] >= 3
    assert "@import" not in page


def test_a_dead_node_does_not_delay_the_other_nodes(tmp_path: Path) -> None:
    """Its datasets are left for the next run, its name is said; those of others are done."""
    archive = write_archive(tmp_path / "data", 12)
    with ThreddsServer(tmp_path / "data") as fine, ThreddsServer(tmp_path / "data") as silent:
        for number, (name, files) in enumerate(archive.items()):
            (fine if number < 6 else silent).add_dataset(name, files)
        silent.fault(Status(503), "*.nc")
        settings = Settings(ledger=tmp_path / "ledger.sqlite", retries=0, timeout_s=5)
        sources = tuple(
            f"{server.url}/thredds/catalog/esgcet/catalog.xml" for server in (fine, silent)
        )
        job = Job(sources, output_dir=tmp_path / "out")
        summary = backfill(job, settings, jobs=1, per_node=1)
        assert summary.counts["written"] == 6
        assert summary.counts["open"] == 6
        assert summary.resting == (silent.host,)
        assert not summary.is_done
        reads = [request for request in silent.requests if request.path.endswith(".nc")]
        assert len({request.path for request in reads}) <= 2 * (REST_AFTER + 1), (
            "two files each: it was left in peace"
        )
        silent.heal()
        summary = backfill(job, settings, jobs=1)
        assert (summary.counts, summary.is_done) == ({"written": 12}, True)
        assert summary.finished == 6


def test_two_runs_do_not_do_a_dataset_twice(tmp_path: Path) -> None:
    """At the same time, over the same plan: each is written once, as the ledger says."""
    archive = write_archive(tmp_path / "data", 10)
    with ThreddsServer(tmp_path / "data") as server:
        settings = Settings(ledger=tmp_path / "ledger.sqlite", allowed_hosts=(server.host,))
        job = Job((server.catalog_url,), output_dir=tmp_path / "out")
        runs = [
            threading.Thread(target=backfill, args=(job, settings), kwargs={"jobs": 1})
            for _ in range(2)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
        steps = Counter(step.dataset_id for step in Ledger(settings.ledger).entries())
        assert steps == dict.fromkeys(archive, 1)
        summary = backfill(job, settings, jobs=1)
        assert (summary.counts["written"], summary.finished) == (10, 0)


def test_a_served_directory_gets_pages_and_an_index_of_them(tmp_path: Path) -> None:
    """Served by what the settings say of the directory; what is not served gets none."""
    archive = write_archive(tmp_path / "data", 2)
    out = tmp_path / "out"
    with ThreddsServer(tmp_path / "data") as server:
        settings = Settings(
            ledger=tmp_path / "ledger.sqlite", data_paths={str(out): "https://node.example/zarr"}
        )
        backfill(Job((server.catalog_url,), output_dir=out), settings, jobs=1)
        unserved = Job((server.catalog_url,), output_dir=tmp_path / "unserved")
        backfill(unserved, settings, jobs=1)
    index = (out / "index.html").read_text()
    for name in archive:
        assert f"{name}.html" in index
        page = (out / f"{name}.html").read_text()
        assert f"https://node.example/zarr/{name}.json" in page
        assert "checks, all passed" in page
    assert {path.suffix for path in (tmp_path / "unserved").iterdir()} == {".json"}


def test_a_small_dataset_takes_few_requests_and_little_of_the_ledger(tmp_path: Path) -> None:
    """There may be millions of them."""
    archive = write_archive(tmp_path / "data", 3)
    with ThreddsServer(tmp_path / "data") as server:
        settings = Settings(
            ledger=tmp_path / "ledger.sqlite", allowed_hosts=(server.host,), read="http"
        )
        job = Job((server.catalog_url,), output_dir=tmp_path / "out")
        summary = backfill(job, settings, jobs=1)
        reads = [request for request in server.requests if request.path.endswith(".nc")]
    assert summary.counts["written"] == len(archive)
    assert len(reads) <= MOST_REQUESTS * len(archive)
    ledger = sqlite3.connect(settings.ledger)
    (bytes_of_proofs,) = ledger.execute("SELECT SUM(LENGTH(report)) FROM proof").fetchone()
    ledger.close()
    assert 0 < bytes_of_proofs <= MOST_OF_THE_LEDGER * len(archive)


def test_a_plan_alone_reads_no_data(tmp_path: Path) -> None:
    write_archive(tmp_path / "data", 3)
    with ThreddsServer(tmp_path / "data") as server:
        settings = Settings(ledger=tmp_path / "ledger.sqlite")
        summary = backfill(
            Job((server.catalog_url,), output_dir=tmp_path / "out"), settings, plan_only=True
        )
        assert summary.counts == {"open": 3}
        assert [state for _, _, state in summary.listed] == ["open"] * 3
        assert not [request for request in server.requests if request.path.endswith(".nc")]
    assert plan_path(settings).exists()


def test_an_index_that_does_not_answer_ends_the_run(
    stac_server: StacServer, tmp_path: Path
) -> None:
    """A million datasets are not each tried in vain, and none of them is held to have failed."""
    pytest.importorskip("esgcet", reason="esgcet's client is in the extra `publisher`")
    with Back(tmp_path, stac_server, 14) as back:
        stac_server.fault(Status(500), "/collections/*")
        status, said = back.run("--jobs", 1)
        assert status == 1
        assert "ended early" in said
        stac_server.heal()
        _, said = back.run("--jobs", 2)
        assert "10 linked, 4 refused" in said
        back.check_all_are_right()


def test_a_setting_that_is_wrong_ends_the_run_and_is_held_against_no_dataset(
    stac_server: StacServer, tmp_path: Path
) -> None:
    """At the first dataset; corrected, the same command links all of them."""
    pytest.importorskip("esgcet", reason="esgcet's client is in the extra `publisher`")
    with Back(tmp_path, stac_server, 16) as back:
        right = back.node.config.read_text()
        elsewhere = {str(tmp_path / "elsewhere"): "another_root"}
        back.node.write_config(esgcet={"data_roots": elsewhere}, data_paths={})
        job = Job((), config=back.node.config)
        summary = backfill(job, read_settings(back.node.config), jobs=1)
        assert summary.counts["open"] == 16
        assert summary.finished < 14, "only those that were begun before the first had ended"
        assert "reference_dir" in summary.trouble
        back.node.config.write_text(right)
        summary = backfill(job, read_settings(back.node.config), jobs=2)
        assert (summary.counts["linked"], summary.counts["refused"]) == (12, 4)


def test_retry_does_again_what_failed_and_nothing_else(tmp_path: Path) -> None:
    """By its code, or all of it; what is done stays done."""
    archive = write_archive(tmp_path / "data", 4, refused=2)
    with ThreddsServer(tmp_path / "data") as server:
        settings = Settings(ledger=tmp_path / "ledger.sqlite", allowed_hosts=(server.host,))
        job = Job((server.catalog_url,), output_dir=tmp_path / "out")
        assert backfill(job, settings, jobs=1).counts == {"written": 2, "refused": 2}
        assert backfill(job, settings, jobs=1).finished == 0
        assert backfill(job, settings, jobs=1, retry="file-not-netcdf").finished == 0
        assert backfill(job, settings, jobs=1, retry="time-overlap").finished == 2
        first = next(iter(archive))
        for file in archive[first][1:]:  # the files that overlap are one now
            file.unlink()
        summary = backfill(job, settings, jobs=1, retry="")
        assert (summary.finished, summary.counts) == (2, {"written": 3, "refused": 1})


def test_without_a_ledger_nothing_is_done(tmp_path: Path) -> None:
    write_archive(tmp_path / "data", 2)
    (tmp_path / "ledger.sqlite").write_bytes(b"no database, but as long as one" * 200)
    with ThreddsServer(tmp_path / "data") as server:
        settings = Settings(ledger=tmp_path / "ledger.sqlite", allowed_hosts=(server.host,))
        with pytest.raises(StoreError) as caught:
            backfill(Job((server.catalog_url,), output_dir=tmp_path / "out"), settings, jobs=1)
        assert caught.value.code == "store-ledger"
        assert not (tmp_path / "out").exists()
        assert not list(server.requests)


def test_a_job_without_an_index_or_a_place_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--output-dir"):
        backfill(Job(("x",)), Settings(ledger=tmp_path / "ledger.sqlite"))


def test_the_report_escapes_html_in_what_it_shows(tmp_path: Path, plan: Plan) -> None:
    """Names, details and addresses come from strangers."""
    evil = "<script>alert(1)</script>"
    plan.begin(["root"])
    rows = [
        Planned(evil, evil, "javascript:alert(1)"),
        Planned("b", "n", 'https://x.org/"><script>'),
    ]
    plan.keep_page(Page("root"), rows, [])
    for row in rows:
        plan.finish(row, Result("refused", "time-overlap", evil, "", 1.0))
    page = html(Summary.of(plan, "job", LastRun(2, 1.0)))
    check_stands_alone(page)
    links = [link for link in re.findall(r'href="([^"]*)', page) if ERRORS_PAGE not in link]
    assert links == ["https://x.org/&quot;&gt;&lt;script&gt;"]
    assert f'href="{ERRORS_PAGE}#refused"' in page
    assert explanation("time-overlap").startswith("two files state the same time with")
    assert explanation("transport-of-tomorrow").startswith("Bytes of a URL or path")


def test_a_filter_that_matches_nothing_is_no_success(
    tmp_path: Path, stac_server: StacServer
) -> None:
    """It names the property that was meant."""
    item = make_item(DATASET_ID, data_node=HOST)
    item["properties"]["cmip6:experiment_id"] = "historical"
    stac_server.add_item(item)
    settings = Settings(ledger=tmp_path / "ledger.sqlite", allowed_hosts=(stac_server.host,))
    job = Job((stac_server.url,), "experiment_id = 'historical'", output_dir=tmp_path / "out")
    with pytest.raises(SourceError, match="Did you mean 'cmip6:experiment_id'") as caught:
        backfill(job, settings, plan_only=True)
    assert caught.value.code == "source-none"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("\"cmip6:experiment_id\" = 'a and b' AND year > 3", ["cmip6:experiment_id", "year"]),
        ("experiment_id=historical&project=CMIP6", ["experiment_id", "project"]),
        ("project=CMIP6", ["project"]),
    ],
)
def test_names_in_a_query(query: str, names: list[str]) -> None:
    assert names_in_query(query) == names


def test_a_link_that_was_taken_back_is_not_counted_as_linked(plan: Plan) -> None:
    plan.keep_page(Page("here"), [Planned(DATASET_ID, HOST, "here")], ())
    linked = Result(State.LINKED, "", "is shown", "https://node/a.json", 1.0)
    plan.finish(Planned(DATASET_ID, HOST, "here"), linked)
    plan.follow(DATASET_ID, "withdrawn", "moved")
    assert plan.counts() == {"withdrawn": 1}
    assert plan.withdrawn() == {DATASET_ID}
