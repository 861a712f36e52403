"""The static catalogue."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pystac
import pytest

from esgvzarr.errors import LinkError
from esgvzarr.indexes import LinkState
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.testing.conformance import DATASET, LINK, OTHER_NODES, RECORD, IndexTests

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def catalog_at(directory: Path) -> CatalogIndex:
    return CatalogIndex(directory, now=lambda: NOW)


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.json")
    }


class TestConformance(IndexTests):
    @pytest.fixture
    def index(self, tmp_path: Path) -> CatalogIndex:
        index = catalog_at(tmp_path)
        index.add_dataset(RECORD)
        item = tmp_path / "CMIP6" / str(DATASET) / f"{DATASET}.json"
        document = json.loads(item.read_text())
        for asset in document["assets"].values():
            asset["alternate"] = {
                OTHER_NODES.data_node: {"href": "https://replica.example.org/x.nc"}
            }
        item.write_text(json.dumps(document))
        return index


def test_pystac_opens_the_catalogue(tmp_path: Path) -> None:
    """pystac walks from catalog.json to the asset, and finds nothing missing, though the catalogue
    was moved.
    """
    index = catalog_at(tmp_path / "before")
    index.add_dataset(RECORD, time_range=("1850-01-01T00:00:00Z", "2015-01-01T00:00:00Z"))
    index.add_link(DATASET, LINK)
    (tmp_path / "before").rename(tmp_path / "after")

    catalog = pystac.Catalog.from_file(str(tmp_path / "after" / "catalog.json"))
    (item,) = catalog.get_items(recursive=True)
    assert item.id == str(DATASET)
    assert item.get_collection().id == "CMIP6"
    assert item.get_root() is catalog
    assert item.properties["start_datetime"] == "1850-01-01T00:00:00Z"
    assert item.assets["reference_file"].href == LINK.href
    assert item.assets["reference_file"].extra_fields["xarray:open_kwargs"] == LINK.open_kwargs
    assert [asset.href for key, asset in item.assets.items() if key != "reference_file"] == [
        file.url for file in RECORD.files
    ]


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    """Two catalogues made of the same at the same time are the same, byte for byte."""
    for name in ("one", "two"):
        index = catalog_at(tmp_path / name)
        index.add_dataset(RECORD)
        index.add_link(DATASET, LINK)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_a_dataset_is_added_once(tmp_path: Path) -> None:
    """Adding a dataset again leaves its item, with its link, as it is."""
    index = catalog_at(tmp_path)
    assert index.add_dataset(RECORD)
    index.add_link(DATASET, LINK)
    before = tree(tmp_path)
    assert not index.add_dataset(RECORD)
    assert tree(tmp_path) == before


def left_by_a_killed_writer(path: Path) -> Path:
    """The hidden directory of a process that was killed when it wrote half of a document."""
    before = set(path.parent.iterdir())
    code = (
        "import os, sys; from esgvzarr.output.placing import staging\n"
        "with staging(sys.argv[1]) as staged:\n"
        " staged.write_text('{'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    (left,) = set(path.parent.iterdir()) - before
    return left


def test_what_a_killed_writer_left_goes_where_nothing_is_to_be_changed(tmp_path: Path) -> None:
    """It was killed before the item was in its place, and the item is as it shall be."""
    index = catalog_at(tmp_path)
    index.add_dataset(RECORD)
    index.add_link(DATASET, LINK)
    left = left_by_a_killed_writer(tmp_path / "CMIP6" / str(DATASET) / f"{DATASET}.json")
    assert index.add_link(DATASET, LINK) is LinkState.UNCHANGED
    assert not left.exists()


def test_files_are_named_as_esgf_names_them(tmp_path: Path) -> None:
    """A file's asset has the fields of ESGF's own items; equal names in two directories are both
    kept.
    """
    index = catalog_at(tmp_path)
    index.add_dataset(
        replace(
            RECORD,
            files=(
                RECORD.files[0],
                replace(RECORD.files[0], url="https://data-node.example.org/other/x.nc"),
            ),
        )
    )
    assets = index.find(DATASET)["assets"]
    assert list(assets) == ["siconc_185001-185912.nc", "siconc_185001-185912.nc.2"]
    assert assets["siconc_185001-185912.nc"] == {
        "href": RECORD.files[0].url,
        "type": "application/netcdf",
        "description": "HTTPServer Link",
        "roles": ["data"],
        "alternate:name": RECORD.data_node,
        "file:size": 83268,
        "file:checksum": "1220" + "ab" * 32,
        "cmip6:tracking_id": RECORD.files[0].tracking_id,
        "created": "2026-11-20T00:00:00.000000Z",
        "updated": "2026-11-20T00:00:00.000000Z",
        "protocol": "https",
        "file:local_path": f"{str(DATASET).replace('.', '/')}/siconc_185001-185912.nc",
    }


def test_files_that_are_not_served(tmp_path: Path) -> None:
    """Local files have no data node, and neither has the link to their reference."""
    record = DatasetRecord(DATASET, "", (FileRecord("a.nc", "/data/a.nc", 10),))
    local = replace(LINK, href="/data/x.json", data_node="", local_path=None)
    index = catalog_at(tmp_path)
    index.add_dataset(record)
    assert index.add_link(DATASET, local) is LinkState.ADDED
    assert index.links(DATASET) == (local,)
    assert "alternate:name" not in index.find(DATASET)["assets"]["reference_file"]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    """A collection lists the items of all writers."""
    ids = [DatasetId(DATASET.master_id, str(20200101 + number)) for number in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda dataset_id: catalog_at(tmp_path).add_dataset(replace(RECORD, id=dataset_id)),
                ids,
            )
        )
    catalog = pystac.Catalog.from_file(str(tmp_path / "catalog.json"))
    assert sorted(item.id for item in catalog.get_items(recursive=True)) == sorted(map(str, ids))


@pytest.mark.parametrize("verb", ["add_dataset", "add_link", "remove_link"])
def test_a_run_that_was_killed_half_way_is_made_good(verb: str, tmp_path: Path) -> None:
    """The item was written, and not listed; beside it lies what was being written."""
    catalog_at(tmp_path).add_dataset(RECORD)
    arguments: tuple[Any, ...] = (RECORD,)
    if verb != "add_dataset":
        arguments = (RECORD.id, LINK)
    if verb == "add_link":
        catalog_at(tmp_path).add_link(RECORD.id, LINK)
    before = tree(tmp_path)
    for listing in ("catalog.json", "CMIP6/collection.json"):
        (tmp_path / listing).unlink()
    left_by_a_killed_writer(tmp_path / "CMIP6" / "collection.json")
    assert getattr(catalog_at(tmp_path), verb)(*arguments) in (False, LinkState.UNCHANGED)
    assert tree(tmp_path) == before
    assert {path.name for path in tmp_path.rglob(".*")} == {".lock"}


def test_a_directory_that_cannot_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("")
    with pytest.raises(LinkError, match="cannot be written") as stop:
        catalog_at(tmp_path / "occupied").add_dataset(RECORD)
    assert stop.value.code == "index-write-failed"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A place that is no directory is an error that names it, and leaves nothing behind."""
    (tmp_path / "CMIP6").write_text("in the way")
    with pytest.raises(LinkError, match="CMIP6"):
        catalog_at(tmp_path).add_dataset(RECORD)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "CMIP6"]


def test_an_item_that_cannot_be_listed_is_not_left(tmp_path: Path) -> None:
    """No reader would find it, and no verb would ask for it."""
    collection = tmp_path / "CMIP6" / "collection.json"
    collection.mkdir(parents=True)
    with pytest.raises(LinkError, match="collection"):
        catalog_at(tmp_path).add_dataset(RECORD)
    assert [path for path in tmp_path.rglob("*.json") if path.is_file()] == []


def test_a_broken_item_is_said(tmp_path: Path) -> None:
    """A file that is no JSON is an error that names it, not an absent dataset."""
    index = catalog_at(tmp_path)
    index.add_dataset(RECORD)
    (tmp_path / "CMIP6" / str(DATASET) / f"{DATASET}.json").write_text("{")
    with pytest.raises(LinkError) as caught:
        index.find(DATASET)
    assert caught.value.code == "index-item-invalid"


@pytest.mark.parametrize(
    ("place", "document"),
    [
        ("catalog.json", {"type": "Catalog", "links": None}),
        ("CMIP6/collection.json", {"type": "Collection"}),
        (f"CMIP6/{DATASET}/{DATASET}.json", {"assets": []}),
        (f"CMIP6/{DATASET}/{DATASET}.json", {"assets": {}, "properties": None}),
    ],
)
def test_a_document_that_is_not_as_stac_has_it_is_named(
    place: str, document: dict[str, object], tmp_path: Path
) -> None:
    index = catalog_at(tmp_path)
    index.add_dataset(RECORD)
    (tmp_path / place).write_text(json.dumps(document))
    with pytest.raises(LinkError) as caught:
        index.add_link(DATASET, LINK)
    assert caught.value.code == "index-item-invalid"
    assert caught.value.subject == str(tmp_path / place)
