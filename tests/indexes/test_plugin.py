"""A fifth index, installed from outside the package, goes through the whole life of a link."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from outside import write_distribution

from esgvzarr.audit import audit, find_targets
from esgvzarr.audit.judgement import State as Condition
from esgvzarr.backfill import Job, backfill
from esgvzarr.doctor import examine
from esgvzarr.errors import SettingsError
from esgvzarr.generate import make_transport
from esgvzarr.indexes import connect, kinds
from esgvzarr.link.lifecycle import LinkRequest, link_source
from esgvzarr.link.remove import unpublish
from esgvzarr.link.with_esgcet import publish_with_esgcet
from esgvzarr.model import DatasetId
from esgvzarr.outcome import State
from esgvzarr.settings import Settings, read_settings
from esgvzarr.sources import read_source
from esgvzarr.testing import DATASET_ID, StacServer, write_monthly
from esgvzarr.testing.conformance import DATASET, OTHER_NODES, RECORD, IndexTests
from esgvzarr.testing.node import DataNode, schema_versions

OTHER = f"{DATASET_ID.rpartition('.v')[0]}.v20200101"
_MODULE = '''
from esgvzarr.indexes import IndexAddress, Login
from esgvzarr.indexes.catalog import CatalogIndex

class ShelfIndex(CatalogIndex):
    """A directory that esg.yaml names as its shelf."""

    @classmethod
    def configured(cls, config, index_node):
        shelf = config.get("shelf")
        return IndexAddress("shelf", shelf) if shelf else None

    @classmethod
    def location_at(cls, url, content):
        return url if url.endswith(".shelf") else ""

    def check_login(self):
        return Login("the key of the shelf")
'''


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the index keeps its records; its distribution is installed."""
    site = tmp_path / "site"
    registered = "[esgvzarr.indexes]\nshelf = shelf_index:ShelfIndex\n"
    write_distribution(site, "shelf_index", registered, _MODULE)
    monkeypatch.syspath_prepend(str(site))
    return tmp_path / "all.shelf"


NEEDS_SERVER = pytest.mark.skipif(
    find_spec("uvicorn") is None, reason="the STAC server is in the extra `demo`"
)


class TestShelf(IndexTests):
    @pytest.fixture
    def index(self, shelf: Path) -> Any:
        index: Any = connect("shelf", directory=shelf)
        index.add_dataset(RECORD)
        path = shelf / "CMIP6" / str(DATASET) / f"{DATASET}.json"
        document = json.loads(path.read_text())
        replica = {OTHER_NODES.data_node: {"href": "https://replica.example.org/x.nc"}}
        for asset in document["assets"].values():
            asset["alternate"] = replica
        path.write_text(json.dumps(document))
        return index

    def test_is_known_by_its_name(self, index: Any) -> None:
        assert "shelf" in kinds()
        assert str(index.find(DATASET)["id"]) == str(DATASET)


def test_an_index_that_is_not_installed_is_named() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'stac'") as caught:
        connect("stack")
    assert caught.value.code == "settings-index"


@pytest.fixture
def configured(tmp_path: Path, shelf: Path, stac_server: StacServer) -> Iterator[DataNode]:
    """A data node whose esg.yaml names the shelf, besides the STAC API that esgcet registers in."""
    with DataNode(tmp_path / "node", stac_server.url, poll_timeout_s=2, retries=0) as node:
        prefix = node.thredds.url_of(node.data).rstrip("/.")
        esgcet = {"data_node": node.thredds.host, "shelf": str(shelf)}
        node.write_config(esgcet=esgcet, data_paths={str(node.data): prefix})
        yield node


def put_on(shelf: Path, mapfile: Path, settings: Settings) -> None:
    """Register the dataset of a mapfile in the shelf."""
    index: Any = connect("shelf", directory=shelf)
    with make_transport(settings) as transport:
        index.add_dataset(read_source([str(mapfile)], None, transport, settings.data_paths))


def hrefs(shelf: Path, dataset: str) -> list[str]:
    index = connect("shelf", directory=shelf)
    return [link.href for link in index.links(DatasetId.parse(dataset))]


@NEEDS_SERVER
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # esgcet's own
@pytest.mark.filterwarnings("ignore:BBOX crossing")  # of the grid of the small files
def test_goes_through_the_life_of_a_link(
    configured: DataNode, shelf: Path, tmp_path: Path, stac_server: StacServer
) -> None:
    pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")
    node = configured
    settings = read_settings(node.config)
    files = write_monthly(tmp_path / "files")
    mapfile = node.add_dataset(DATASET_ID, files)
    put_on(shelf, mapfile, settings)

    planned = link_source(LinkRequest([str(mapfile)], node.config), settings, dry_run=True)
    assert planned.state is State.PLANNED
    assert f"{shelf}: would change" in planned.detail
    assert node.url_of(DATASET_ID) in planned.detail
    assert hrefs(shelf, DATASET_ID) == []

    with schema_versions():
        arguments = ["--map", str(mapfile), "--config", str(node.config)]
        status, (outcome,) = publish_with_esgcet(arguments, settings)
    assert (status, outcome.state) == (0, State.LINKED), outcome
    assert hrefs(shelf, DATASET_ID) == [node.url_of(DATASET_ID)]
    assert "reference_file" not in stac_server.item("CMIP6", DATASET_ID)["assets"]

    other = node.add_dataset(OTHER, files)
    put_on(shelf, other, settings)
    summary = backfill(Job((), config=node.config), settings, jobs=1)
    assert summary.counts == {State.LINKED: 2}, summary
    assert hrefs(shelf, OTHER) == [node.url_of(OTHER)]

    found = {one.name: one.state for one in audit(find_targets([], settings), settings)}
    assert found == {DATASET_ID: Condition.FINE, OTHER: Condition.FINE}

    taken_back = unpublish(DatasetId.parse(DATASET_ID), node.config, settings)
    assert taken_back.state is State.WITHDRAWN
    assert hrefs(shelf, DATASET_ID) == []


@NEEDS_SERVER
def test_is_diagnosed_in_its_own_words(configured: DataNode) -> None:
    pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")
    rows = examine(configured.config, read_settings(configured.config))
    said = {row.check: row.found for row in rows if row.check in ("index", "login")}
    assert said["index"].startswith("shelf: ")
    assert said["login"] == "the key of the shelf is valid"
