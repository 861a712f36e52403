"""The real esgpublish in its Solr and Globus modes, with unmodified esgcet, on real CMIP6 files."""

from __future__ import annotations

import contextlib
import io
import os
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xarray

from esgvzarr import cli
from esgvzarr.testing import GlobusServer, SolrServer, Status
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response, text_response
from esgvzarr.testing.node import DataNode, schema_versions
from esgvzarr.testing.samples import sample_datasets

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # esgcet's own

FIRST = "CMIP6.CMIP.BCC.BCC-CSM2-MR.historical.r1i1p1f1.Amon.ta.gn.v20181126"
SECOND = "CMIP6.CMIP.CAS.FGOALS-g3.historical.r1i1p1f1.day.ta.gn.v20190826"


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


def publish(*arguments: object) -> tuple[int, str]:
    """The same of ``esgvzarr publish``."""
    return run("publish", *arguments)


def replica_of(dataset_id: str) -> dict[str, Any]:
    """The Dataset document of another data node, link and all."""
    node = "replica.example.org"
    return {
        "id": f"{dataset_id}|{node}",
        "instance_id": dataset_id,
        "type": "Dataset",
        "data_node": node,
        "replica": True,
        "latest": True,
        "access": ["HTTPServer", "VirtualZarr"],
        "url": [f"https://{node}/{dataset_id}.json|application/vnd.zarr+kerchunk|VirtualZarr"],
    }


def check_linked(document: dict[str, Any], node: DataNode) -> None:
    """The Dataset document leads to what the NetCDF files hold."""
    dataset_id = document["instance_id"]
    href = node.url_of(dataset_id)
    assert document["access"] == ["HTTPServer", "VirtualZarr"]
    assert document["url"] == [f"{href}|application/vnd.zarr+kerchunk|VirtualZarr"]
    assert document["xlink"][-1] == f"{href}|Virtual Zarr (kerchunk) reference|supdata"
    url = document["url"][0].split("|")[0]
    with (
        xarray.open_dataset(url, engine="kerchunk") as opened,
        xarray.open_mfdataset(
            str(node.directory_of(dataset_id) / "*.nc"),
            data_vars="minimal",
            coords="minimal",
            compat="override",
        ) as truth,
    ):
        xarray.testing.assert_equal(opened.ta.load(), truth.ta.load())


def check_found(dataset_id: str, solr: SolrServer, node: DataNode) -> None:
    """esgf-pyclient leads to the references, and to the same files as ever."""
    from pyesgf.search import SearchConnection

    connection = SearchConnection(
        f"{solr.url}/esg-search", distrib=False, verify=str(solr.ca_bundle)
    )
    (found,) = connection.new_context(instance_id=dataset_id, facets="project").search()
    assert found.urls["VirtualZarr"] == [(node.url_of(dataset_id), "application/vnd.zarr+kerchunk")]
    files = {file.download_url for file in found.file_context().search(ignore_facet_check=True)}
    assert files == {
        node.thredds.url_of(path) for path in node.directory_of(dataset_id).glob("*.nc")
    }


@pytest.fixture
def two(sample_root: Path) -> dict[str, list[Path]]:
    files = sample_datasets(sample_root)
    return {name: files[name] for name in (FIRST, SECOND)}


class OnlyWithCertificate:
    """401 to a client that shows none."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        return answer(asked) if asked.client else text_response(401)


class TestSolr:
    @pytest.fixture
    def solr(self, solr_server: SolrServer) -> SolrServer:
        """Searches follow changes after a moment."""
        solr_server.delay_s = 0.1
        return solr_server

    @pytest.fixture
    def node(self, solr: SolrServer, tmp_path: Path) -> Iterator[DataNode]:
        """What an operator sets for esgcet, and the private authority of the index's
        certificate.
        """
        with DataNode(
            tmp_path / "node", "", poll_timeout_s=5, ca_bundle=str(solr.ca_bundle)
        ) as node:
            node.write_config(
                esgcet={"stac_config": {}, "index_node": solr.host, "cert": "./cert.pem"}
            )
            yield node

    def test_links_dataset_documents_and_leaves_file_documents(
        self, solr: SolrServer, node: DataNode, two: dict[str, list[Path]]
    ) -> None:
        """Both datasets are linked; what the index was sent besides is what esgcet sends."""
        maps = [node.add_dataset(name, files) for name, files in two.items()]
        status, said = publish("--map", *maps, "--config", node.config)
        assert status == 0, said
        assert said.count(": linked: ") == 2, said
        for document in solr.documents():
            check_linked(document, node)
            check_found(document["instance_id"], solr, node)
        files = solr.documents("File")
        assert len(files) == sum(map(len, two.values()))
        assert not any("VirtualZarr" in str(document) for document in files)
        updates = [
            ElementTree.fromstring(r.body)  # noqa: S314  (our own)
            for r in solr.requests
            if r.path.endswith("/ws/update")
        ]
        assert [update.attrib["core"] for update in updates] == ["datasets"] * 2

    def test_links_again_what_esgcet_wrote_anew(
        self, solr: SolrServer, node: DataNode, two: dict[str, list[Path]]
    ) -> None:
        """Publishing the same version again replaces the document, link and all: the link comes
        back.
        """
        mapfile = node.add_dataset(FIRST, two[FIRST])
        for _ in range(2):
            status, said = publish("--map", mapfile, "--config", node.config)
            assert status == 0, said
            assert ": linked: " in said, said
        check_linked(solr.document(f"{FIRST}|{node.thredds.host}"), node)

    def test_a_new_version_and_the_retraction_of_the_older(
        self, solr: SolrServer, node: DataNode, two: dict[str, list[Path]]
    ) -> None:
        """esgcet says of the older version that it is not the latest; its data stay, and so does
        its link, until it is retracted. The link of a replica on another data node stays in any
        case.
        """
        newer = FIRST.replace("v20181126", "v20200101")
        solr.add_document(replica_of(FIRST))
        theirs = solr.document(replica_of(FIRST)["id"])
        esgcet = {"stac_config": {}, "index_node": solr.host, "data_node": "data-node.example.org"}
        node.write_config(esgcet=esgcet, allowed_hosts=[node.thredds.host])
        for name in (FIRST, newer):
            status, said = publish(
                "--map", node.add_dataset(name, two[FIRST]), "--config", node.config
            )
            assert (status, ": linked: " in said) == (0, True), said
            time.sleep(0.2)  # or esgcet does not find the older version
        documents = [document for document in solr.documents() if document != theirs]
        assert {document["instance_id"]: document["latest"] for document in documents} == {
            FIRST: False,
            newer: True,
        }
        for document in documents:
            check_linked(document, node)
        assert run("unpublish", FIRST, "--config", node.config)[0] == 0
        older, latest = (solr.document(f"{name}|data-node.example.org") for name in (FIRST, newer))
        assert (older["access"], "url" in older) == (["HTTPServer"], False)
        check_linked(latest, node)
        assert not list(node.directory_of(FIRST).glob("*.json"))
        assert solr.document(theirs["id"]) == theirs

    def test_shows_the_certificate_that_esgcet_is_given(
        self, solr: SolrServer, node: DataNode, two: dict[str, list[Path]]
    ) -> None:
        """`cert` in esg.yaml is enough: esgcet 5.5.3 itself reads it, and shows none."""
        mapfile = node.add_dataset(FIRST, two[FIRST])
        solr.fault(Status(503), "/esg-search/ws/update")
        node.write_config(
            esgcet={
                "stac_config": {},
                "index_node": solr.host,
                "cert": str(solr.client_certificate),
            },
            retries=0,
        )
        status, said = publish("--map", mapfile, "--config", node.config)
        assert (status, "index-http-503" in said) == (0, True), said
        solr.heal()
        solr.fault(OnlyWithCertificate(), "/esg-search/ws/update")
        status, said = publish("--map", mapfile, "--config", node.config)
        assert ": linked: " in said, said

    def test_a_dry_run_changes_nothing_of_ours(
        self, solr: SolrServer, node: DataNode, two: dict[str, list[Path]]
    ) -> None:
        """esgcet's Solr writer registers all the same; nothing is written and linked by us."""
        mapfile = node.add_dataset(FIRST, two[FIRST])
        status, said = publish("--dry-run", "--map", mapfile, "--config", node.config)
        assert status == 0, said
        assert not any(request.path.endswith("/ws/update") for request in solr.requests)
        assert not list(node.data.glob("**/*.json"))


class TestGlobus:
    @pytest.fixture
    def globus(
        self, globus_server: GlobusServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> GlobusServer:
        """The real ``globus`` program is found, and led to the same index as globus-sdk."""
        monkeypatch.setenv(
            "PATH", f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
        )
        monkeypatch.chdir(tmp_path)  # esgcet keeps what it sends in the working directory
        globus_server.delay_s = 0.1
        return globus_server

    def test_links_dataset_documents_and_leaves_file_documents(
        self, globus: GlobusServer, two: dict[str, list[Path]], tmp_path: Path
    ) -> None:
        """No setting is needed: the index and the login are esgcet's. A second version and a
        replica leave the first's link.
        """
        newer = FIRST.replace("v20181126", "v20200101")
        globus.add_entry(replica_of(FIRST))
        theirs = globus.content(replica_of(FIRST)["id"])
        with DataNode(tmp_path / "node", "", poll_timeout_s=5) as node:
            node.write_config(
                esgcet={"stac_config": {}, "globus_index": True, "index_UUID": globus.index_uuid}
            )
            for name in (FIRST, newer):
                status, said = publish(
                    "--map", node.add_dataset(name, two[FIRST]), "--config", node.config
                )
                assert status == 0, said
                assert ": linked: " in said, said
            older, latest = (
                globus.content(f"{name}|{node.thredds.host}") for name in (FIRST, newer)
            )
            check_linked(older, node)
            check_linked(latest, node)
            assert run("unpublish", FIRST, "--config", node.config)[0] == 0
            assert globus.content(older["id"])["access"] == ["HTTPServer"]
            assert globus.content(latest["id"]) == latest
            assert not list(node.directory_of(FIRST).glob("*.json"))
        assert globus.content(theirs["id"]) == theirs
        files = globus.contents("file")
        assert len(files) == 2 * len(two[FIRST])
        assert not any("VirtualZarr" in str(file) for file in files)
        ours = [request.body for request in globus.requests if b"VirtualZarr" in request.body]
        assert len(ours) == 2
        assert not any(b'"file"' in body for body in ours)
