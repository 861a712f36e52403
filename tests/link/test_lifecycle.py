"""The life of a link: registered, linked, interrupted, resumed, superseded, published again,
withdrawn. Real files and servers.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import netCDF4
import pytest

from esgvzarr import cli
from esgvzarr.link.ledger import Ledger
from esgvzarr.testing import (
    DATASET_ID,
    After,
    GlobusServer,
    LoggedRequest,
    Problem,
    SolrServer,
    StacServer,
    Status,
    make_item,
    write_monthly,
)
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response
from esgvzarr.testing.node import DataNode, command, schema_versions

from .killable import Forked

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # esgcet's own

NAME = f"{DATASET_ID}.json"
MADE = {NAME, f"{DATASET_ID}.html"}
"""What a linked dataset has beside its NetCDF files."""
OTHER_NODE = "replica.example.org"


def run(*arguments: object) -> tuple[int, str]:
    """Exit status of esgvzarr, and all that it printed."""
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        schema_versions(),
        pytest.raises(SystemExit) as stop,
    ):
        cli.main(list(map(str, arguments)))
    return int(stop.value.code or 0), said.getvalue()


def publish(node: DataNode, *arguments: object, dataset_id: str = DATASET_ID) -> tuple[int, str]:
    return run(
        "publish", *arguments, "--map", node.maps / f"{dataset_id}.map", "--config", node.config
    )


def source(node: DataNode, **settings: Any) -> list[object]:
    """The dataset for ``link``: its files, which `data_paths` gives their URLs; ``settings`` are
    more of ``write_config``.
    """
    prefix = f"{node.thredds.url}/thredds/fileServer/esg_dataroot"
    node.write_config(
        data_paths={str(node.data): prefix}, allowed_hosts=[node.thredds.host], **settings
    )
    return [node.directory_of(DATASET_ID), "--dataset-id", DATASET_ID, "--config", node.config]


def register(node: DataNode, server: StacServer, **properties: Any) -> None:
    """The dataset's item, as another publisher made it."""
    hrefs = {
        file.name: node.thredds.url_of(file)
        for file in sorted(node.directory_of(DATASET_ID).glob("*.nc"))
    }
    server.add_item(make_item(DATASET_ID, hrefs, data_node=node.thredds.host, **properties))


def assets(server: StacServer, dataset_id: str = DATASET_ID) -> dict[str, Any]:
    return dict(server.item("CMIP6", dataset_id)["assets"])


def beside(node: DataNode, dataset_id: str = DATASET_ID) -> set[str]:
    """What lies beside the NetCDF files, hidden files too."""
    return {path.name for path in node.directory_of(dataset_id).iterdir() if path.suffix != ".nc"}


def state(node: DataNode, server: StacServer) -> dict[str, Any]:
    """All that must be as after an undisturbed run, whatever happened: files, item, ledger. Times
    and ports left out.
    """
    item = assets(server)
    reference = item["reference_file"]
    size = (node.directory_of(DATASET_ID) / NAME).stat().st_size
    last = Ledger(node.directory / "esgvzarr.sqlite").latest()
    return {
        "beside": beside(node),
        "assets": set(item),
        "href": reference["href"] == node.url_of(DATASET_ID),
        "size": reference["file:size"] == size,
        "alternates": reference.get("alternate"),
        "ledger": [(step.dataset_id, step.state, step.code) for step in last],
    }


UNDISTURBED = {
    "beside": MADE,
    "alternates": None,
    "href": True,
    "size": True,
    "ledger": [(DATASET_ID, "linked", "")],
    "assets": {
        "reference_file",
        *(
            f"tas_Amon_MODEL_historical_r1i1p1f1_gn_{year}01-{year}12.nc"
            for year in (1850, 1851, 1852)
        ),
    },
}


def check_undisturbed(node: DataNode, server: StacServer) -> None:
    found = state(node, server)
    assert {**found, "assets": len(found["assets"])} == {**UNDISTURBED, "assets": 4}


# ---- kinds of indexes


class InStac:
    """A STAC API, as these tests use it."""

    Server: type[Any] = StacServer

    def settings(self, server: Any) -> dict[str, Any]:
        """For ``DataNode.write_config``."""
        return {}

    def register(self, node: DataNode, server: Any) -> None:
        register(node, server)

    def record(self, node: DataNode, server: Any) -> dict[str, Any]:
        return dict(server.item("CMIP6", DATASET_ID))

    def links(self, node: DataNode, server: Any) -> list[str]:
        return [
            asset["href"]
            for asset in self.record(node, server)["assets"].values()
            if asset["href"].endswith(".json")
        ]


class InSolr(InStac):
    """An index node with esg-search."""

    Server = SolrServer

    def settings(self, server: Any) -> dict[str, Any]:
        return {
            "esgcet": {"stac_config": {}, "index_node": server.host},
            "ca_bundle": str(server.ca_bundle),
        }

    def register(self, node: DataNode, server: Any) -> None:
        server.add_document(self.document(node))

    def document(self, node: DataNode) -> dict[str, Any]:
        host = node.thredds.host
        own = {
            "id": f"{DATASET_ID}|{host}",
            "instance_id": DATASET_ID,
            "type": "Dataset",
            "data_node": host,
        }
        return {**own, "access": ["HTTPServer"], "url": [f"https://{host}/x|text/html|OPENDAP"]}

    def record(self, node: DataNode, server: Any) -> dict[str, Any]:
        return dict(server.document(f"{DATASET_ID}|{node.thredds.host}"))

    def links(self, node: DataNode, server: Any) -> list[str]:
        return [
            url.split("|")[0]
            for url in self.record(node, server)["url"]
            if url.endswith("|VirtualZarr")
        ]


class InGlobus(InSolr):
    """An index of Globus Search."""

    Server = GlobusServer

    def settings(self, server: Any) -> dict[str, Any]:
        os.environ.update(server.environment)  # taken back after the test
        return {
            "esgcet": {"stac_config": {}, "globus_index": True, "index_UUID": server.index_uuid}
        }

    def register(self, node: DataNode, server: Any) -> None:
        server.add_entry(self.document(node))

    def record(self, node: DataNode, server: Any) -> dict[str, Any]:
        return dict(server.content(f"{DATASET_ID}|{node.thredds.host}"))


@pytest.fixture
def environment() -> Iterator[None]:
    """As it was, in the end."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@contextlib.contextmanager
def ready(kind: InStac, verb: str, directory: Path) -> Iterator[tuple[DataNode, Any, list[object]]]:
    """A data node and its index with what the verb needs, and the arguments of the verb."""
    with (
        kind.Server() as server,
        DataNode(directory, getattr(server, "url", ""), poll_timeout_s=3, retries=0) as node,
    ):
        node.add_dataset(DATASET_ID, write_monthly(directory / "made"))
        kind.register(node, server)
        arguments = source(node, **kind.settings(server))
        if verb == "unpublish":
            assert run("link", *arguments)[0] == 0
            arguments = [DATASET_ID, "--config", node.config]
        server.clear()
        node.thredds.clear()
        yield node, server, arguments


def check_as_undisturbed(
    verb: str, kind: InStac, node: DataNode, server: Any, before: dict[str, Any]
) -> None:
    """Link, file and ledger, and of the rest of the record nothing is lost."""
    (last,) = Ledger(node.directory / "esgvzarr.sqlite").latest()
    if verb == "link":
        assert (kind.links(node, server), beside(node), last.state) == (
            [node.url_of(DATASET_ID)],
            MADE,
            "linked",
        )
    else:
        assert (kind.links(node, server), beside(node), last.state) == ([], set(), "withdrawn")
    assert kind.record(node, server).keys() >= before.keys()


# ---- link


class TestLink:
    def test_links_what_is_registered_already(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """From its files alone; esgpublish is not run, the item is not registered again."""
        register(node, stac_server)
        status, said = run("link", *source(node))
        assert status == 0, said
        check_undisturbed(node, stac_server)
        assert {request.method for request in stac_server.requests} == {"GET", "PATCH"}

    def test_what_is_not_registered_gets_no_file(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """It is said, and kept for resume."""
        arguments = source(node)
        status, said = run("link", *arguments)
        assert (status, "absent [index-item-missing]" in said) == (1, True), said
        assert beside(node) == set()
        register(node, stac_server)
        status, said = run("resume", "--config", node.config)
        assert status == 0, said
        check_undisturbed(node, stac_server)

    @pytest.mark.usefixtures("environment")
    @pytest.mark.parametrize("kind", [InSolr(), InGlobus()], ids=["solr", "globus"])
    def test_in_a_legacy_index(self, kind: InStac, tmp_path: Path) -> None:
        """Which index, and how one logs in, is in esg.yaml and the environment. What else the
        document says stays.
        """
        with ready(kind, "link", tmp_path / "node") as (node, server, arguments):
            before = kind.record(node, server)
            assert run("link", *arguments)[0] == 0
            assert kind.record(node, server)["access"] == ["HTTPServer", "VirtualZarr"]
            assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
            assert kind.record(node, server) == before
            assert beside(node) == set()

    def test_a_document_of_another_data_node_is_not_ours(
        self, solr_server: SolrServer, tmp_path: Path
    ) -> None:
        """The original is registered and our replica is not: nothing is made, and a dry run says
        so.
        """
        with DataNode(tmp_path / "node", "", poll_timeout_s=3, retries=0) as node:
            node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
            arguments = source(node)
            prefix = f"{node.thredds.url}/thredds/fileServer/esg_dataroot"
            node.write_config(
                esgcet={"stac_config": {}, "index_node": solr_server.host},
                ca_bundle=str(solr_server.ca_bundle),
                data_paths={str(node.data): prefix},
                allowed_hosts=[node.thredds.host],
            )
            document = {
                "instance_id": DATASET_ID,
                "type": "Dataset",
                "data_node": OTHER_NODE,
                "id": f"{DATASET_ID}|{OTHER_NODE}",
            }
            solr_server.add_document({**document, "access": ["HTTPServer"]})
            for verb in (["link", *arguments], ["resume", "--config", node.config]):
                status, said = run(*verb)
                assert (status, "absent [index-item-missing]" in said) == (1, True), said
                assert beside(node) == set()
            planned = run("link", *arguments, "--dry-run")
            assert (planned[0], "absent [index-item-missing]" in planned[1]) == (1, True), planned
            assert solr_server.document(document["id"])["access"] == ["HTTPServer"]


class TestGenerate:
    def test_a_dataset_that_a_static_catalogue_shows_is_linked_in_the_ledger(
        self, node: DataNode, tmp_path: Path
    ) -> None:
        """Or it failed, with the catalogue's code."""
        arguments = ["generate", *source(node), "--output-dir", tmp_path / "zarr", "--catalog"]
        assert run(*arguments, tmp_path / "stac")[0] == 0
        assert run(*arguments, node.config)[0] == 1  # which is a file
        kept = Ledger(node.directory / "esgvzarr.sqlite").entries(DATASET_ID)
        assert [(step.verb, step.state, step.code) for step in kept] == [
            ("generate", "linked", ""),
            ("generate", "failed", "index-write-failed"),
        ]
        assert str(tmp_path / "stac" / "catalog.json") in kept[0].detail


# ---- resume


class TestResume:
    def test_a_file_that_was_replaced_after_an_interrupted_run(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """What the run wrote and never linked is of the old file, though the new one is of equal
        size: it is made again.
        """
        register(node, stac_server)
        run_killed(node, stac_server, ["link", *source(node)], "*", ("PATCH",), 1)
        made = (node.directory_of(DATASET_ID) / NAME).read_bytes()
        (file, *_) = sorted(node.directory_of(DATASET_ID).glob("*.nc"))
        with netCDF4.Dataset(file, "a") as opened:
            opened["time"][:] += 1
        status, said = run("resume", "--config", node.config)
        assert status == 0, said
        check_undisturbed(node, stac_server)
        assert (node.directory_of(DATASET_ID) / NAME).read_bytes() != made

    def test_a_file_that_changed_within_the_second_that_its_server_states(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """TDS states the second of the last change, and nothing else; the file lies here."""
        register(node, stac_server)
        run_killed(node, stac_server, ["link", *source(node)], "*", ("PATCH",), 1)
        made = (node.directory_of(DATASET_ID) / NAME).read_bytes()
        (file, *_) = sorted(node.directory_of(DATASET_ID).glob("*.nc"))
        before = file.stat()
        with netCDF4.Dataset(file, "a") as opened:
            opened["time"][:] += 1
        second, part = divmod(before.st_mtime_ns, 10**9)
        changed_ns = second * 10**9 + (part + 1) % 10**9
        os.utime(file, ns=(changed_ns, changed_ns))
        assert file.stat().st_size == before.st_size
        status, said = run("resume", "--config", node.config)
        assert status == 0, said
        check_undisturbed(node, stac_server)
        assert (node.directory_of(DATASET_ID) / NAME).read_bytes() != made

    def test_a_file_that_was_replaced_is_no_reason_to_replace_what_people_were_led_to(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """Killed after the index took the link."""
        register(node, stac_server)
        run_killed(node, stac_server, ["link", *source(node)], "*", ("PATCH",), 1, first_act=True)
        made = (node.directory_of(DATASET_ID) / NAME).read_bytes()
        (file, *_) = sorted(node.directory_of(DATASET_ID).glob("*.nc"))
        with netCDF4.Dataset(file, "a") as opened:
            opened["time"][:] += 1
        status, said = run("resume", "--config", node.config)
        assert (status, "store-bytes-differ" in said) == (1, True), said
        assert (node.directory_of(DATASET_ID) / NAME).read_bytes() == made

    def test_finishes_where_publishing_again_cannot(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """The API answers 409 to a second registration; resume needs none, and makes nothing
        twice.
        """
        stac_server.fault(Status(503), methods=("PATCH",))
        assert "failed [index-http-503]" in publish(node)[1]
        made = (node.directory_of(DATASET_ID) / NAME).stat()
        stac_server.heal()
        status, said = publish(node)
        assert status == 1, said
        assert [request.status for request in stac_server.requests if request.method == "POST"][
            -1
        ] == 409
        assert "reference_file" not in assets(stac_server)
        status, said = run("resume", "--config", node.config)
        assert status == 0, said
        check_undisturbed(node, stac_server)
        assert (node.directory_of(DATASET_ID) / NAME).stat().st_ino == made.st_ino
        stac_server.clear()
        status, said = run("resume", "--config", node.config)
        assert (status, "nothing to resume" in said, len(stac_server.requests)) == (0, True, 0)

    def test_waits_for_a_queue(self, node: DataNode, stac_server: StacServer) -> None:
        """Taken and lost: pending, until it is sent again."""
        register(node, stac_server)
        arguments = source(node)
        stac_server.queue_loses = True
        assert "pending [index-pending]" in run("link", *arguments)[1]
        stac_server.heal()
        assert run("resume", "--config", node.config)[0] == 0
        check_undisturbed(node, stac_server)

    def test_definite_failures_are_for_the_operator(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """They are not tried again by themselves, and leave no file; named, they are, for the
        reason may be gone.
        """
        stac_server.fault(Problem(), "/collections/*/items/*", methods=("PATCH",))
        publish(node)
        assert beside(node) == set()
        stac_server.heal()
        assert "nothing to resume" in run("resume", "--config", node.config)[1]
        status, said = run("resume", DATASET_ID, "--config", node.config)
        assert status == 0, said
        check_undisturbed(node, stac_server)

    def test_files_that_changed_meanwhile_are_not_linked(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """What was written is for other files: it goes, for nothing leads there."""
        stac_server.fault(Status(503), methods=("PATCH",))
        publish(node)
        assert beside(node) == MADE
        stac_server.heal()
        (file, *_) = sorted(node.directory_of(DATASET_ID).glob("*.nc"))
        file.write_bytes(file.read_bytes()[:-100])
        status, said = run("resume", "--config", node.config)
        assert (status, "transport-size-differs" in said) == (1, True), said
        assert beside(node) == set()
        assert "reference_file" not in assets(stac_server)

    def test_a_reference_file_that_is_gone_is_made_again(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        stac_server.fault(Status(503), methods=("PATCH",))
        publish(node)
        (node.directory_of(DATASET_ID) / NAME).unlink()
        stac_server.heal()
        assert run("resume", "--config", node.config)[0] == 0
        check_undisturbed(node, stac_server)

    def test_a_file_of_others_is_never_removed(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """What lay there before, with equal bytes, stays when the link is refused in the end."""
        register(node, stac_server)
        arguments = source(node)
        run(
            "generate",
            *arguments[:1],
            "--dataset-id",
            DATASET_ID,
            "--output-dir",
            node.directory_of(DATASET_ID),
            *arguments[-2:],
        )
        assert beside(node) == MADE
        stac_server.fault(Status(503), methods=("PATCH",))
        run("link", *arguments)
        stac_server.heal()
        stac_server.fault(Status(403), methods=("PATCH",))
        status, said = run("resume", "--config", node.config)
        assert (status, "index-http-403" in said) == (1, True), said
        assert beside(node) == MADE

    def test_the_file_stays_while_a_queue_may_still_make_the_link(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """A definite refusal of the second request says nothing of the first."""
        register(node, stac_server)
        stac_server.queue_loses = True
        assert "pending [index-pending]" in run("link", *source(node))[1]
        stac_server.heal()
        stac_server.fault(Status(403), methods=("PATCH",))
        assert "index-http-403" in run("resume", "--config", node.config)[1]
        assert beside(node) == MADE

    def test_unknown_datasets_are_named(self, node: DataNode) -> None:
        status, said = run("resume", DATASET_ID, "--config", node.config)
        assert (status, "[source-not-in-ledger]" in said) == (1, True), said

    def test_no_secret_is_in_the_ledger(self, node: DataNode, stac_server: StacServer) -> None:
        """Neither the token nor the file that holds it."""
        (node.directory / "egi-token.json").write_text(
            (node.directory / "egi-token.json").read_text().replace('"x"', '"s3cr3t"')
        )
        publish(node)
        kept = b"".join(path.read_bytes() for path in node.directory.glob("esgvzarr.sqlite*"))
        assert DATASET_ID.encode() in kept
        assert b"s3cr3t" not in kept
        assert b"egi-token" not in kept


# ---- unpublish


def tree(*directories: Path) -> dict[str, tuple[int, int]]:
    """Every file with its size and time of change; a directory listing that notices all."""
    found = (path for directory in directories for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}


class TestUnpublish:
    @pytest.mark.parametrize("delete", [False, True], ids=["retract", "delete"])
    def test_the_link_goes_before_the_file(
        self, node: DataNode, stac_server: StacServer, delete: bool
    ) -> None:
        """When the index is told, the file is there; when it shows no link any more, it goes. Twice
        is once.
        """
        publish(node)
        path = node.directory_of(DATASET_ID) / NAME
        bytes_before = path.read_bytes()
        there = Seen(lambda: path.exists())
        stac_server.fault(there, methods=("PATCH",))
        stac_server.clear()
        options = ["--delete"] if delete else []
        status, said = run("unpublish", DATASET_ID, *options, "--config", node.config)
        assert status == 0, said
        assert there.answers == [True]
        (sent,) = [
            json.loads(request.body)
            for request in stac_server.requests
            if request.method == "PATCH"
        ]
        assert [(one["op"], one["path"]) for one in sent] == [("replace", "/assets")]
        assert "reference_file" not in assets(stac_server)
        assert len(assets(stac_server)) == 3
        assert beside(node) == set()
        kept = node.directory / "withdrawn" / NAME
        assert kept.exists() != delete
        assert delete or kept.read_bytes() == bytes_before
        stac_server.clear()
        assert run("unpublish", DATASET_ID, *options, "--config", node.config)[0] == 0
        assert {request.method for request in stac_server.requests} == {"GET"}

    def test_links_of_others_stay(self, node: DataNode, stac_server: StacServer) -> None:
        """The other data node's alternate takes the place of ours; foreign assets are not
        touched.
        """
        publish(node)
        item = stac_server.item("CMIP6", DATASET_ID)
        theirs = {
            **item["assets"]["reference_file"],
            "href": f"https://{OTHER_NODE}/{NAME}",
            "alternate:name": OTHER_NODE,
        }
        item["assets"]["reference_file"]["alternate"] = {OTHER_NODE: theirs}
        item["assets"]["quicklook"] = {"href": "https://example.org/a.png"}
        before = dict(item["assets"])
        stac_server._store.replace("CMIP6", DATASET_ID, item)
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
        assert assets(stac_server) == {**before, "reference_file": theirs}

    def test_without_a_ledger(self, node: DataNode, stac_server: StacServer) -> None:
        """The index says which link is ours, `data_paths` where its file is; without them nothing
        is done at all.
        """
        register(node, stac_server)
        arguments = source(node)
        assert run("link", *arguments)[0] == 0
        for left in node.directory.glob("esgvzarr.sqlite*"):
            left.unlink()
        node.write_config(esgcet={"data_roots": {}})  # `data_paths` follow from them
        status, said = run("unpublish", DATASET_ID, "--config", node.config)
        assert (status, "settings-reference-dir" in said) == (1, True), said
        assert beside(node) == MADE
        assert "reference_file" in assets(stac_server)
        source(node)
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
        assert beside(node) == set()
        assert "reference_file" not in assets(stac_server)

    def test_the_file_stays_while_the_index_may_show_the_link(
        self, node: DataNode, stac_server: StacServer
    ) -> None:
        """Unreachable, refused or queued: the file is there until the link is not. resume goes
        on.
        """
        publish(node)
        stac_server.fault(Status(503), methods=("PATCH",))
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 1
        assert beside(node) == MADE
        stac_server.heal()
        stac_server.queue_loses = True
        assert "pending [index-pending]" in run("resume", "--config", node.config)[1]
        assert beside(node) == MADE
        stac_server.heal()
        assert run("resume", "--config", node.config)[0] == 0
        assert beside(node) == set()
        assert "reference_file" not in assets(stac_server)

    def test_what_a_killed_run_left_hidden_goes_too(self, node: DataNode) -> None:
        """Beside the NetCDF files, and where retracted files are kept."""
        publish(node)
        for directory in (node.directory_of(DATASET_ID), node.directory / "withdrawn"):
            left = directory / f".{Path(NAME).stem[:100]}.{_hash(NAME)}.abcdefgh.tmp"
            left.mkdir(parents=True)
            (left / NAME).write_text("half")
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
        assert beside(node) == set()
        assert [path.name for path in (node.directory / "withdrawn").iterdir()] == [NAME]

    def test_what_esgcet_retracted_already(self, node: DataNode, stac_server: StacServer) -> None:
        """The item has no assets any more: only the file is to go."""
        publish(node)
        item = stac_server.item("CMIP6", DATASET_ID)
        stac_server._store.replace("CMIP6", DATASET_ID, {**item, "assets": {}})
        assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
        assert beside(node) == set()

    def test_can_be_linked_again(self, node: DataNode, stac_server: StacServer) -> None:
        publish(node)
        run("unpublish", DATASET_ID, "--config", node.config)
        status, said = run("link", *source(node))
        assert status == 0, said
        check_undisturbed(node, stac_server)


class TestChangesThatMayStillCome:
    """An index that queues may make a change long after it was sent. What undoes it waits, or it
    would be undone itself.
    """

    @pytest.fixture
    def arguments(self, node: DataNode, stac_server: StacServer) -> list[object]:
        register(node, stac_server)
        arguments = source(node)
        self.hurry(node)
        return arguments

    def hurry(self, node: DataNode) -> None:
        """Wait a quarter of a second for a change, and so fifteen until it is lost."""
        text = node.config.read_text()
        node.config.write_text(text.replace("poll_timeout_s: 3", "poll_timeout_s: 0.25"))

    def test_unpublish_waits_for_the_link(
        self, node: DataNode, stac_server: StacServer, arguments: list[object]
    ) -> None:
        """Else the link would come when its file is gone."""
        stac_server.delay_s = 60
        assert "pending [index-pending]" in run("link", *arguments)[1]
        assert (
            "pending [index-earlier-change]"
            in run("unpublish", DATASET_ID, "--config", node.config)[1]
        )
        assert beside(node) == MADE
        stac_server.delay_s = 0
        stac_server.settle()
        assert "reference_file" in assets(stac_server)
        assert run("resume", "--config", node.config)[0] == 0
        assert (beside(node), "reference_file" in assets(stac_server)) == (set(), False)

    def test_link_waits_for_the_removal(
        self, node: DataNode, stac_server: StacServer, arguments: list[object]
    ) -> None:
        """Else the ledger would say linked, and then the link go."""
        assert run("link", *arguments)[0] == 0
        stac_server.delay_s = 60
        assert "pending [index-pending]" in run("unpublish", DATASET_ID, "--config", node.config)[1]
        assert "pending [index-earlier-change]" in run("link", *arguments)[1]
        stac_server.delay_s = 0
        stac_server.settle()
        assert "reference_file" not in assets(stac_server)
        assert run("resume", "--config", node.config)[0] == 0
        check_undisturbed(node, stac_server)

    def test_what_is_lost_is_not_waited_for_for_ever(
        self, node: DataNode, stac_server: StacServer, arguments: list[object]
    ) -> None:
        """An index has lost what it has not made in sixty times as long as anybody waits for it."""
        stac_server.queue_loses = True
        assert "pending [index-pending]" in run("link", *arguments)[1]
        stac_server.heal()
        assert "index-earlier-change" in run("unpublish", DATASET_ID, "--config", node.config)[1]
        text = node.config.read_text()
        node.config.write_text(text.replace("poll_timeout_s: 0.25", "poll_timeout_s: 0.0001"))
        time.sleep(0.1)
        assert run("resume", "--config", node.config)[0] == 0
        assert beside(node) == set()

    def test_an_error_says_nothing_of_the_change(
        self, node: DataNode, stac_server: StacServer, arguments: list[object]
    ) -> None:
        """500, and the change is made a little later; a refusal of the same change meanwhile
        deletes no file.
        """
        stac_server.delay_s = 60
        stac_server.fault(After(Status(500)), methods=("PATCH",))
        assert "failed [index-http-500]" in run("link", *arguments)[1]
        stac_server.heal()
        stac_server.fault(Status(403), methods=("PATCH",))
        assert "failed [index-http-403]" in run("resume", "--config", node.config)[1]
        assert beside(node) == MADE
        stac_server.settle()
        assert "reference_file" in assets(stac_server)


@dataclass(frozen=True)
class Seen:
    """Looks at something when a request arrives, and lets it pass."""

    look: Callable[[], Any]
    answers: list[Any] = field(default_factory=list)

    def apply(self, asked: Asked, answer: Answer) -> Response:
        self.answers.append(self.look())
        return answer(asked)


# ---- dry runs


READS = {"GET", "HEAD"}


class TestDryRun:
    """Nothing is sent but what reads, and nothing is written: not a file, not a row. What would be
    done is shown as a diff.
    """

    @pytest.fixture
    def unchanged(self, node: DataNode, stac_server: StacServer) -> Iterator[None]:
        """To be asked for after whatever prepares the test."""
        before = tree(node.directory)
        stac_server.clear()
        node.thredds.clear()
        yield
        assert tree(node.directory) == before
        assert {request.method for request in stac_server.requests} <= READS
        assert {request.method for request in node.thredds.requests} <= READS

    @pytest.fixture
    def registered(self, node: DataNode, stac_server: StacServer) -> list[object]:
        register(node, stac_server)
        return source(node)

    @pytest.fixture
    def linked(self, node: DataNode, registered: list[object]) -> None:
        assert run("link", *registered)[0] == 0

    @pytest.mark.usefixtures("unchanged")
    def test_publish(self, node: DataNode, stac_server: StacServer) -> None:
        """esgcet makes its records, and is not let register, nor mark older versions, which its own
        dry run does.
        """
        older = f"{DATASET_ID.rpartition('.v')[0]}.v19990101"
        stac_server.add_item(make_item(older, title=DATASET_ID.rpartition(".v")[0]))
        status, said = publish(node, "--dry-run")
        assert status == 0, said
        assert f"{NAME}: " in said
        assert " bytes would be written" in said
        assert '+  "reference_file": {' in said
        assert f'+   "href": "{node.url_of(DATASET_ID)}"' in said

    def test_link(self, registered: list[object], unchanged: None, node: DataNode) -> None:
        status, said = run("link", *registered, "--dry-run")
        assert status == 0, said
        assert " bytes would be written" in said
        assert '+  "reference_file": {' in said
        assert f'"alternate:name": "{node.thredds.host}"' in said

    def test_link_of_what_is_linked(
        self, registered: list[object], linked: None, unchanged: None
    ) -> None:
        """No diff."""
        status, said = run("link", *registered, "--dry-run")
        assert (status, "the link is there already" in said, "+++" in said) == (0, True, False), (
            said
        )

    @pytest.mark.usefixtures("linked", "unchanged")
    @pytest.mark.parametrize(
        ("options", "what"), [((), "would be moved away"), (("--delete",), "would be deleted")]
    )
    def test_unpublish(self, node: DataNode, options: tuple[str, ...], what: str) -> None:
        status, said = run("unpublish", DATASET_ID, *options, "--dry-run", "--config", node.config)
        assert status == 0, said
        assert '-  "reference_file": {' in said
        assert f"{NAME}: {what}" in said

    @pytest.fixture
    def interrupted(
        self, node: DataNode, stac_server: StacServer, registered: list[object]
    ) -> None:
        stac_server.fault(Status(503), methods=("PATCH",))
        run("link", *registered)
        stac_server.heal()

    @pytest.mark.usefixtures("interrupted", "unchanged")
    def test_resume(self, node: DataNode) -> None:
        status, said = run("resume", "--dry-run", "--config", node.config)
        assert status == 0, said
        assert "is there already, with equal bytes" in said
        assert '+  "reference_file": {' in said

    def test_generate(self, registered: list[object], unchanged: None, node: DataNode) -> None:
        status, said = run(
            "generate", *registered, "--output-dir", node.directory / "out", "--dry-run"
        )
        assert (status, " bytes would be written" in said) == (0, True), said

    def test_refusals_are_those_of_the_real_run(
        self, node: DataNode, registered: list[object], unchanged: None
    ) -> None:
        """The files are scanned and proved: what would be refused is."""
        node.thredds.fault(Status(403), "*.nc")
        status, said = run("link", *registered, "--dry-run")
        assert (status, "failed [transport-http-403]" in said) == (1, True), said

    def test_solr(self, solr_server: SolrServer, tmp_path: Path) -> None:
        """esgcet's own dry run registers here for real; ours sends nothing."""
        with DataNode(tmp_path / "solr", "", poll_timeout_s=3, retries=0) as node:
            mapfile = node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
            node.write_config(
                esgcet={"stac_config": {}, "index_node": solr_server.host},
                ca_bundle=str(solr_server.ca_bundle),
            )
            before = tree(node.directory)
            status, said = run("publish", "--dry-run", "--map", mapfile, "--config", node.config)
            assert status == 0, said
            assert '+  "VirtualZarr"' in said
            assert tree(node.directory) == before
            assert [
                request.method for request in solr_server.requests if request.method not in READS
            ] == []


# ---- new versions, and the same again


def test_a_new_version_leaves_the_older_ones_link_and_file(
    node: DataNode, stac_server: StacServer, tmp_path: Path
) -> None:
    """Its data stay, and so does what leads there."""
    newer = f"{DATASET_ID.rpartition('.v')[0]}.v20990101"
    publish(node)
    before = assets(stac_server)
    node.add_dataset(newer, write_monthly(tmp_path / "newer", seed=1))
    publish(
        node, dataset_id=newer
    )  # on an API that changes at once, esgcet 5.5.3 fails while it marks the older one
    run("resume", "--config", node.config)
    assert assets(stac_server) == before
    assert beside(node) == MADE
    assert assets(stac_server, newer)["reference_file"]["href"] == node.url_of(newer)
    assert beside(node, newer) == {f"{newer}.json", f"{newer}.html"}


def test_a_page_lies_beside_and_the_asset_leads_to_it(
    node: DataNode, stac_server: StacServer
) -> None:
    """It says what was proved, and the asset how the dataset is opened in one line."""
    register(node, stac_server)
    assert run("link", *source(node))[0] == 0
    asset = assets(stac_server)["reference_file"]
    href = node.url_of(DATASET_ID)
    line = f'xarray.open_dataset("{href}", engine="kerchunk", chunks={{}})'
    assert line in asset["description"]
    assert asset["description"].endswith(href.replace(".json", ".html"))
    page = (node.directory_of(DATASET_ID) / f"{DATASET_ID}.html").read_text()
    assert "all passed" in page
    assert href in page


def test_a_file_that_an_earlier_run_proved_gets_a_page_that_says_so(
    node: DataNode, stac_server: StacServer
) -> None:
    """The run before wrote the file, and could not link it; its page was lost since."""
    register(node, stac_server)
    stac_server.fault(Status(503), methods=("PATCH",))
    assert run("link", *source(node))[0] != 0
    page = node.directory_of(DATASET_ID) / f"{DATASET_ID}.html"
    page.unlink()
    stac_server.heal()
    status, said = run("resume", "--config", node.config)
    assert status == 0, said
    assert "checks, all passed" in page.read_text()


def test_the_setting_pages_turns_pages_off(node: DataNode, stac_server: StacServer) -> None:
    register(node, stac_server)
    assert run("link", *source(node, pages=False))[0] == 0
    assert beside(node) == {NAME}
    assert "Look at it" not in assets(stac_server)["reference_file"]["description"]


def test_a_page_that_cannot_be_written_hinders_nothing(
    node: DataNode, stac_server: StacServer
) -> None:
    """What lies in its place stays, and goes with no link."""
    register(node, stac_server)
    in_the_way = node.directory_of(DATASET_ID) / f"{DATASET_ID}.html" / "in the way"
    in_the_way.mkdir(parents=True)
    status, said = run("link", *source(node))
    assert status == 0, said
    assert "Look at it" not in assets(stac_server)["reference_file"]["description"]
    assert run("unpublish", DATASET_ID, "--config", node.config)[0] == 0
    assert in_the_way.exists()


def test_the_same_version_again_changes_nothing(node: DataNode, stac_server: StacServer) -> None:
    """Equal bytes: the file is not touched, nothing is sent."""
    register(node, stac_server)
    arguments = source(node)
    run("link", *arguments)
    before = tree(node.data)
    stac_server.clear()
    status, said = run("link", *arguments)
    assert status == 0, said
    assert tree(node.data) == before
    assert {request.method for request in stac_server.requests} == {"GET"}


def test_other_bytes_under_the_same_name_need_force(
    node: DataNode, stac_server: StacServer
) -> None:
    """Refused without it, and nothing is lost; with it file and link change together."""
    register(node, stac_server)
    arguments = source(node)
    run("link", *arguments)
    before = tree(node.data)
    shown = assets(stac_server)
    for file in node.directory_of(DATASET_ID).glob("*185[12]*.nc"):
        file.unlink()
    status, said = run("link", *arguments)
    assert (status, "store-bytes-differ" in said) == (1, True), said
    assert {name: before[name] for name in before if name.endswith(".json")}.items() <= tree(
        node.data
    ).items()
    assert assets(stac_server) == shown
    status, said = run("link", *arguments, "--force")
    assert status == 0, said
    assert (
        assets(stac_server)["reference_file"]["file:checksum"]
        != shown["reference_file"]["file:checksum"]
    )


# ---- kill -9


@dataclass(frozen=True)
class Kill:
    """SIGKILL to a process at the n-th request that comes here, before it is answered, or after it
    was acted upon.
    """

    stop: threading.Event
    process: list[Killable]
    at: int
    first_act: bool = False
    seen: list[str] = field(default_factory=list)

    def apply(self, asked: Asked, answer: Answer) -> Response:
        self.seen.append(f"{asked.method} {asked.path}")
        if len(self.seen) != self.at:
            return answer(asked)
        response = answer(asked) if self.first_act else Response(0, reset=True)
        self.stop.set()
        self.process[0].kill()
        return response


class Program:
    """A process of ``esgvzarr publish``, with the schema versions that esgcet asks for."""

    def __init__(self, arguments: list[object], output: Path) -> None:
        with output.open("w") as said:
            self._process = subprocess.Popen(
                command(*arguments), stdout=said, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def join(self, timeout: float | None = None) -> None:
        self._process.wait(timeout)


Killable = Program | Forked


def start_command(arguments: list[object], output: Path) -> Killable:
    """A process of esgvzarr that can be killed."""
    return Program(arguments, output) if arguments[0] == "publish" else Forked(arguments, output)


def run_killed(
    node: DataNode,
    server: Any,
    arguments: list[object],
    paths: str,
    methods: tuple[str, ...],
    at: int,
    **kind: Any,
) -> None:
    """Run esgvzarr as a program, and kill it at a request."""
    processes: list[Killable] = []
    kill = Kill(threading.Event(), processes, at, **kind)
    server.fault(kill, paths, methods)
    output = node.directory / "said.txt"
    process = start_command(arguments, output)
    processes.append(process)
    process.join(120)
    server.heal()
    assert kill.stop.is_set(), output.read_text()
    assert process.exitcode == -signal.SIGKILL


PUBLISH_KILLS = [
    ("stac", "*", ("POST",), 1, "registering"),
    ("thredds", "*.nc", (), 1, "first look at a file"),
    ("thredds", "*.nc", (), 8, "scan or proof"),
    ("thredds", "*.json", (), 1, "written, before the look at what is served"),
    ("stac", "*", ("PATCH",), 1, "linking"),
]


@pytest.mark.parametrize(
    ("where", "paths", "methods", "at"),
    [kill[:4] for kill in PUBLISH_KILLS],
    ids=[k[4] for k in PUBLISH_KILLS],
)
def test_publish_killed_and_resumed_ends_as_undisturbed(
    node: DataNode,
    stac_server: StacServer,
    where: str,
    paths: str,
    methods: tuple[str, ...],
    at: int,
) -> None:
    """Where esgpublish was killed before the index had the dataset, resume leaves nothing behind,
    and publish can do it again.
    """
    server = stac_server if where == "stac" else node.thredds
    arguments: list[object] = [
        "publish",
        "--map",
        node.maps / f"{DATASET_ID}.map",
        "--config",
        node.config,
    ]
    run_killed(node, server, arguments, paths, methods, at)
    status, said = run("resume", "--config", node.config)
    if methods == ("POST",):
        assert (status, "absent" in said) == (1, True), said
        assert beside(node) == set()
        status, said = publish(node)
    assert status == 0, said
    check_undisturbed(node, stac_server)


def is_change(request: LoggedRequest) -> bool:
    return request.method == "PATCH" or request.path.endswith(("/ws/update", "/ingest"))


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("verb", ["link", "unpublish"])
@pytest.mark.parametrize("kind", [InStac(), InSolr(), InGlobus()], ids=["stac", "solr", "globus"])
def test_killed_at_each_request_to_the_index_and_resumed_ends_as_undisturbed(
    kind: InStac, verb: str, tmp_path: Path
) -> None:
    """Before a change is made and after, and before each request that reads. Between, no link leads
    to nothing.
    """
    with ready(kind, verb, tmp_path / "undisturbed") as (node, server, arguments):
        before = kind.record(node, server)
        assert run(verb, *arguments)[0] == 0
        check_as_undisturbed(
            verb, kind, node, server, {name: before[name] for name in before if name != "xlink"}
        )
        asked = list(server.requests)
    assert sum(map(is_change, asked)) == 1
    for at, first_act in [
        (at, act)
        for at, one in enumerate(asked, 1)
        for act in ((False, True) if is_change(one) else (False,))
    ]:
        with ready(kind, verb, tmp_path / f"{at}{first_act}") as (node, server, arguments):
            run_killed(node, server, [verb, *arguments], "*", (), at, first_act=first_act)
            assert not kind.links(node, server) or beside(node) >= {NAME}, "a dangling link"
            status, said = run("resume", "--config", node.config)
            assert status == 0, said
            check_as_undisturbed(
                verb, kind, node, server, {name: before[name] for name in before if name != "xlink"}
            )


def test_killed_at_requests_to_the_data_node_and_resumed_ends_as_undisturbed(
    tmp_path: Path,
) -> None:
    """At every sixth, the last included."""
    with ready(InStac(), "link", tmp_path / "undisturbed") as (node, server, arguments):
        assert run("link", *arguments)[0] == 0
        count = len(node.thredds.requests)
    for at in range(count, 0, -6):
        with ready(InStac(), "link", tmp_path / str(at)) as (node, server, arguments):
            run_killed(node, node.thredds, ["link", *arguments], "*", (), at)
            status, said = run("resume", "--config", node.config)
            assert status == 0, said
            check_undisturbed(node, server)


def test_killed_between_the_file_and_the_ledger(node: DataNode, stac_server: StacServer) -> None:
    """The file is in its place and the ledger does not know: it cannot be written, for somebody
    reads it exclusively.
    """
    register(node, stac_server)
    arguments = source(node)
    ledger = sqlite3.connect(
        node.directory / "esgvzarr.sqlite", isolation_level=None, check_same_thread=False
    )
    lock = Locked(ledger)
    node.thredds.fault(lock, "*.nc")
    process = Forked(["link", *arguments], node.directory / "said.txt")
    deadline = time.monotonic() + 60
    while NAME not in beside(node) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.join()
    node.thredds.heal()
    ledger.execute("ROLLBACK")
    ledger.close()
    assert NAME in beside(node)
    assert [step.step for step in Ledger(node.directory / "esgvzarr.sqlite").entries()] == [
        "decided"
    ]
    hidden = node.directory_of(DATASET_ID) / f".{Path(NAME).stem[:100]}.{_hash(NAME)}.abcdefgh.tmp"
    hidden.mkdir()
    (hidden / NAME).write_text("as a writer leaves it that is killed before it renames")
    stac_server.fault(Status(403), methods=("PATCH",))
    status, said = run("resume", "--config", node.config)
    assert (status, "index-http-403" in said) == (1, True), said
    assert beside(node) == set()
    stac_server.heal()
    assert run("resume", DATASET_ID, "--config", node.config)[0] == 0
    check_undisturbed(node, stac_server)


def _hash(name: str) -> str:
    import hashlib

    return hashlib.sha256(name.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Locked:
    """Takes the ledger's write lock at the first request."""

    ledger: sqlite3.Connection
    taken: list[bool] = field(default_factory=list)

    def apply(self, asked: Asked, answer: Answer) -> Response:
        if not self.taken:
            self.taken.append(True)
            self.ledger.execute("BEGIN IMMEDIATE")
        return answer(asked)
