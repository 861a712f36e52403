"""What is live is kept apart from what was last tried; without a ledger nothing is changed; and a
decision can be made anew.
"""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.audit import audit, find_targets
from esgvzarr.audit.judgement import State as AuditState
from esgvzarr.errors import StoreError
from esgvzarr.generate import generate, make_transport
from esgvzarr.link import ledger_file
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.lifecycle import LinkRequest, link_source
from esgvzarr.link.remove import unpublish
from esgvzarr.link.resume import Selection, resume
from esgvzarr.link.states import State, Step
from esgvzarr.link.with_esgcet import publish_with_esgcet
from esgvzarr.model import DatasetId, DatasetRecord
from esgvzarr.outcome import Outcome
from esgvzarr.settings import Settings, read_settings
from esgvzarr.sources import read_source
from esgvzarr.testing import (
    DATASET_ID,
    HtmlPage,
    StacServer,
    Status,
    WrongLength,
    make_item,
    write_monthly,
)
from esgvzarr.testing.node import DataNode, command, schema_versions
from esgvzarr.testing.oddities import forget_member

pytest.importorskip("esgcet", reason="esgcet's STAC client is in the extra `publisher`")

ID = DatasetId.parse(DATASET_ID)
OTHER = DATASET_ID.replace("r1i1p1f2", "r2i1p1f2")
NAME = f"{DATASET_ID}.json"
MADE = {NAME, f"{DATASET_ID}.html"}


def settings_of(node: DataNode) -> Settings:
    return read_settings(node.config)


def ledger_of(node: DataNode) -> Ledger:
    return Ledger(settings_of(node).ledger)


def use_paths(node: DataNode, **settings: Any) -> None:
    """Let esg.yaml say where the node's files are served."""
    prefix = f"{node.thredds.url}/thredds/fileServer/esg_dataroot"
    own = {"data_paths": {str(node.data): prefix}, "allowed_hosts": [node.thredds.host]}
    node.write_config(**{**own, **settings})


def register(node: DataNode, server: StacServer, dataset_id: str = DATASET_ID) -> None:
    files = sorted(node.directory_of(dataset_id).glob("*.nc"))
    hrefs = {file.name: node.thredds.url_of(file) for file in files}
    server.add_item(make_item(dataset_id, hrefs, data_node=node.thredds.host))


def link(node: DataNode, dataset_id: str = DATASET_ID, **options: Any) -> Outcome:
    mapfile = str(node.maps / f"{dataset_id}.map")
    force = bool(options.pop("force", False))
    request = LinkRequest([mapfile], node.config, force=force)
    return link_source(request, settings_of(node), **options)


def read_record(node: DataNode) -> DatasetRecord:
    """As `link` reads it from the mapfile."""
    settings = settings_of(node)
    mapfile = str(node.maps / f"{DATASET_ID}.map")
    with make_transport(settings) as transport:
        return read_source([mapfile], None, transport, settings.data_paths)


def beside(node: DataNode) -> set[str]:
    """What lies beside the NetCDF files, hidden files too."""
    return {path.name for path in node.directory_of(DATASET_ID).iterdir() if path.suffix != ".nc"}


def reference(node: DataNode, dataset_id: str = DATASET_ID) -> Path:
    return node.directory_of(dataset_id) / f"{dataset_id}.json"


def audited(node: DataNode) -> dict[str, AuditState]:
    """What an audit of the whole ledger finds."""
    found = audit(find_targets([], settings_of(node)), settings_of(node), keep=False)
    return {one.name: one.state for one in found}


def shown(server: StacServer, dataset_id: str = DATASET_ID) -> dict[str, str]:
    """Data node -> the link that the item shows for it."""
    asset = server.item("CMIP6", dataset_id)["assets"].get("reference_file", {})
    links = {asset.get("alternate:name"): asset, **asset.get("alternate", {})}
    return {str(name): link["href"] for name, link in links.items() if "href" in link}


@pytest.fixture
def linked(node: DataNode, stac_server: StacServer) -> DataNode:
    """A data node whose one dataset is linked."""
    use_paths(node)
    register(node, stac_server)
    assert link(node).state is State.LINKED
    return node


class TestLink:
    def test_sends_nothing_where_the_link_is_shown(
        self, linked: DataNode, stac_server: StacServer
    ) -> None:
        stac_server.clear()
        again = link(linked)
        assert again.state is State.LINKED
        assert not again.references[0].written
        assert {request.method for request in stac_server.requests} == {"GET"}

    @pytest.mark.parametrize(
        ("status", "left"), [(403, set()), (503, MADE)], ids=["definite", "may pass"]
    )
    def test_keeps_what_it_wrote_only_where_trying_again_can_help(
        self, node: DataNode, stac_server: StacServer, status: int, left: set[str]
    ) -> None:
        use_paths(node)
        register(node, stac_server)
        stac_server.fault(Status(status), methods=("PATCH",))
        failed = link(node)
        assert (failed.state, failed.code) == (State.FAILED, f"index-http-{status}")
        assert beside(node) == left
        assert shown(stac_server) == {}

    def test_leaves_a_file_that_an_earlier_run_of_generate_wrote(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        use_paths(node)
        register(node, stac_server)
        record = read_record(node)
        with make_transport(settings_of(node)) as transport:
            generate(record, node.directory_of(DATASET_ID), transport, settings_of(node))
        stac_server.fault(Status(403), methods=("PATCH",))
        assert link(node).code == "index-http-403"
        assert beside(node) == MADE

    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            (WrongLength(1), "transport-not-served"),
            (HtmlPage(), "transport-html"),
            (Status(404), "transport-http-404"),
        ],
        ids=["other bytes", "HTML", "not served"],
    )
    def test_adds_no_link_to_a_url_that_serves_something_else(
        self, node: DataNode, stac_server: StacServer, fault: Any, code: str
    ) -> None:
        use_paths(node)
        register(node, stac_server)
        node.thredds.fault(fault, "*.json")
        failed = link(node)
        assert (failed.state, failed.code) == (State.FAILED, code)
        assert beside(node) == set()
        assert {request.method for request in stac_server.requests} == {"GET"}


class TestWhatIsLive:
    @pytest.mark.filterwarnings("ignore:BBOX crossing")  # esgcet's own box
    def test_survives_a_second_publish_that_the_index_refuses(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """409 says that the item is there already: the ledger goes on saying ``linked``, and an
        audit finds that the reference file is gone.
        """
        words = ["--map", str(node.maps / NAME.replace(".json", ".map")), "--config"]
        words.append(str(node.config))
        with schema_versions():
            assert publish_with_esgcet(words, settings_of(node))[1][0].state is State.LINKED
            stac_server.fault(Status(409), methods=("POST",))
            publish_with_esgcet(words, settings_of(node))
        (last,) = ledger_of(node).latest()
        assert (last.state, last.code) == (State.LINKED, "")
        reference(node).unlink()
        assert audited(node) == {DATASET_ID: AuditState.DANGLING}

    @pytest.mark.parametrize("code", [403, 409, 500])
    def test_survives_an_attempt_that_fails(
        self, linked: DataNode, stac_server: StacServer, tmp_path: Path, code: int
    ) -> None:
        """The audit goes on looking at it, and ``unpublish`` takes it back."""
        (before,) = ledger_of(linked).live()
        linked.add_dataset(DATASET_ID, write_monthly(tmp_path / "other", seed=1))
        stac_server.fault(Status(code), methods=("PATCH",))
        assert link(linked, force=True).state is State.FAILED
        assert ledger_of(linked).live() == [before]
        assert set(audited(linked)) == {DATASET_ID}
        stac_server.heal()
        outcome = unpublish(ID, linked.config, settings_of(linked))
        assert outcome.state is State.WITHDRAWN
        assert (ledger_of(linked).live(), shown(stac_server)) == ([], {})

    def test_is_what_unpublish_takes_back_whatever_was_tried_since(
        self, tmp_path: Path, stac_server: StacServer
    ) -> None:
        """A replica node links its copy, and tries in vain to link the item of the original, whose
        files it does not have. Each node takes back its own link, and no link leads to nothing.
        """
        with two_nodes(tmp_path, stac_server) as (original, replica):
            assert link(replica).state is State.LINKED
            failed = link_item(replica, stac_server)
            assert failed.code == "index-live-elsewhere"
            assert set(shown(stac_server)) == {original.thredds.host, replica.thredds.host}
            outcome = unpublish(ID, replica.config, settings_of(replica))
            assert outcome.state is State.WITHDRAWN
            assert shown(stac_server) == {original.thredds.host: original.url_of(DATASET_ID)}
            assert not reference(replica).exists()

    def test_of_another_node_is_never_replaced(
        self, tmp_path: Path, stac_server: StacServer
    ) -> None:
        """Nor taken back by who never linked."""
        with two_nodes(tmp_path, stac_server) as (original, replica):
            place = {
                "reference_dir": str(replica.data / "zarr"),
                "reference_url": f"{replica.thredds.url}{replica.thredds.prefix}/zarr",
            }
            hosts = [original.thredds.host, replica.thredds.host]
            use_paths(replica, allowed_hosts=hosts, **place)
            refused = link_item(replica, stac_server)
            assert (refused.state, refused.code) == (State.FAILED, "index-link-foreign")
            unpublish(ID, replica.config, settings_of(replica))
            assert shown(stac_server) == {original.thredds.host: original.url_of(DATASET_ID)}


@contextmanager
def two_nodes(directory: Path, server: StacServer) -> Iterator[tuple[DataNode, DataNode]]:
    """An original that has linked its dataset, and a replica that has registered its copies."""
    made = write_monthly(directory / "made")
    own = {"poll_timeout_s": 3, "retries": 0}
    with (
        DataNode(directory / "original", server.url, **own) as original,
        DataNode(directory / "replica", server.url, **own) as replica,
    ):
        for node in (original, replica):
            node.add_dataset(DATASET_ID, made)
            use_paths(node)
        register(original, server)
        assert link(original).state is State.LINKED
        item = server.item("CMIP6", DATASET_ID)
        for name, asset in item["assets"].items():
            if asset.get("type") == "application/netcdf":
                copy = replica.thredds.url_of(replica.directory_of(DATASET_ID) / name)
                host = replica.thredds.host
                asset["alternate"] = {host: {"href": copy, "alternate:name": host}}
        server._store.replace("CMIP6", DATASET_ID, item)
        yield original, replica


def link_item(node: DataNode, server: StacServer, *, force: bool = False) -> Outcome:
    url = f"{server.url}/collections/CMIP6/items/{DATASET_ID}"
    return link_source(LinkRequest([url], node.config, force=force), settings_of(node))


class TestWithoutALedger:
    @pytest.mark.parametrize("limit", [1, 4096, 20_000, 40_000, 60_000])
    def test_that_can_grow_no_link_is_made_that_it_does_not_know(
        self, linked: DataNode, stac_server: StacServer, limit: int
    ) -> None:
        """Linked and unpublished, then linked again by a process whose files may not grow: at
        whatever step the ledger fails, the exit status is 1, and what the ledger says is so.
        """
        unpublish(ID, linked.config, settings_of(linked), delete=True)
        words = ["link", linked.maps / f"{DATASET_ID}.map", "--config", linked.config]
        # Python would leave compiled modules cut short where other processes look for them
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command(*words),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        (last,) = ledger_of(linked).latest()
        if done.returncode == 0:
            assert (last.state, len(shown(stac_server))) == (State.LINKED, 1)
            return
        assert done.returncode == 1, done.stderr
        assert "[store-" in done.stderr
        if shown(stac_server):
            assert (last.state, last.retryable) == (State.OPEN, True)

    @pytest.mark.parametrize("moment", ["scanning", "writing", "linking"])
    def test_that_fails_meanwhile_the_ledger_says_that_work_is_left(
        self,
        linked: DataNode,
        stac_server: StacServer,
        moment: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It is locked from some moment on: nothing is linked that it could not keep, and
        ``resume`` finishes.
        """
        unpublish(ID, linked.config, settings_of(linked), delete=True)
        monkeypatch.setattr(ledger_file, "_BUSY_S", 0.05)
        with locking(ledger_of(linked), moment) as progress:
            outcome = link(linked, progress=progress)
        assert (outcome.state, outcome.code) == (State.FAILED, "store-ledger")
        (last,) = ledger_of(linked).latest()
        assert (last.state, last.retryable) == (State.OPEN, True)
        if moment != "linking":
            assert shown(stac_server) == {}
        (resumed,) = resume(Selection(), settings_of(linked))
        assert resumed.state is State.LINKED
        assert len(ledger_of(linked).live()) == 1

    def test_that_can_be_used_nothing_is_done(
        self, linked: DataNode, stac_server: StacServer
    ) -> None:
        """Neither linked, nor unpublished, nor resumed."""
        settings = settings_of(linked)
        for left in settings.ledger.parent.glob("*.sqlite*"):
            left.unlink()
        settings.ledger.write_bytes(b"not a database, but as long as one" * 200)
        before = shown(stac_server)
        stac_server.clear()
        for verb in (
            lambda: link(linked),
            lambda: unpublish(ID, linked.config, settings),
            lambda: resume(Selection(), settings),
        ):
            with pytest.raises(StoreError) as caught:
                verb()
            assert caught.value.code == "store-ledger"
        assert {request.method for request in stac_server.requests} <= {"GET"}
        assert (shown(stac_server), reference(linked).exists()) == (before, True)


@contextmanager
def locking(ledger: Ledger, moment: str) -> Iterator[Callable[[str, str], None]]:
    """A progress function that locks the ledger when it hears of the moment."""
    connection = sqlite3.connect(ledger.path, isolation_level=None)

    def progress(_: str, doing: str) -> None:
        if doing.startswith(moment):
            connection.execute("BEGIN IMMEDIATE")

    yield progress
    connection.close()


class TestResume:
    def test_of_a_named_dataset_goes_by_the_settings_of_today(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """The URL of the references was misspelt. Without a name, what was decided stays."""
        register(node, stac_server)
        place = str(node.data / "zarr")
        base = f"{node.thredds.url}{node.thredds.prefix}"
        use_paths(node, reference_dir=place, reference_url=f"{base}/misspelt")
        assert link(node).code == "transport-http-404"
        use_paths(node, reference_dir=place, reference_url=f"{base}/zarr")
        assert resume(Selection(), settings_of(node)) == []
        assert resume(Selection(every=True, code="index-pending"), settings_of(node)) == []
        (outcome,) = resume(Selection([DATASET_ID]), settings_of(node))
        assert outcome.state is State.LINKED, outcome
        assert shown(stac_server) == {node.thredds.host: f"{base}/zarr/{NAME}"}

    def test_of_all_takes_what_failed_for_good_too(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        register(node, stac_server)
        stac_server.fault(Status(403), methods=("PATCH",))
        use_paths(node)
        assert link(node).code == "index-http-403"
        stac_server.heal()
        assert resume(Selection(), settings_of(node)) == []
        (outcome,) = resume(Selection(every=True, code="index-http-403"), settings_of(node))
        assert outcome.state is State.LINKED

    def test_is_not_starved_by_a_dataset_that_ends_in_a_fault_each_time(
        self, node: DataNode, stac_server: StacServer, tmp_path: Path
    ) -> None:
        """A fault of ours ends as an outcome with a code, and the next dataset is linked."""
        node.add_dataset(OTHER, write_monthly(tmp_path / "other", seed=1, extra=(forget_member,)))
        use_paths(node)
        for name in (DATASET_ID, OTHER):
            assert link(node, name).state is State.ABSENT
            register(node, stac_server, name)
        told: list[str] = []

        def progress(name: str, doing: str) -> None:
            told.append(name)
            if name == DATASET_ID:
                raise AttributeError("a fault of ours")

        first, second = resume(Selection(), settings_of(node), progress=progress)
        assert (first.dataset_id, first.state, first.code) == (
            DATASET_ID,
            State.FAILED,
            "worker-failed",
        )
        assert (second.dataset_id, second.state) == (OTHER, State.LINKED)
        kept = {last.dataset_id: (last.state, last.step) for last in ledger_of(node).latest()}
        assert kept[DATASET_ID] == (State.FAILED, Step.DONE)

    def test_takes_first_what_was_tried_longest_ago(self, node: DataNode) -> None:
        """A dataset that ends the process each time is last the next time."""
        from esgvzarr.link.attempt import Attempt
        from esgvzarr.link.decision import decide
        from esgvzarr.link.resume import unfinished
        from esgvzarr.link.states import Verb
        from esgvzarr.link.task import IndexAddress
        from esgvzarr.model import DatasetRecord

        ledger = ledger_of(node)
        for name in (DATASET_ID, OTHER):
            record = DatasetRecord(DatasetId.parse(name), "node", ())
            task = decide(Verb.LINK, record, IndexAddress("stac", "https://i"), settings_of(node))
            Attempt(task, ledger).decide()
        task = ledger.task(DATASET_ID)
        assert task is not None
        Attempt(task, ledger, resumed=True).resume()
        assert [last.dataset_id for last in unfinished(ledger)] == [OTHER, DATASET_ID]
