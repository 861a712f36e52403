"""``engine="esgf"``: a dataset by its id, through real indexes, and from another host where one is
down.
"""

from __future__ import annotations

import json
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from trust import oracle

from esgvzarr.errors import SourceError, TransportError
from esgvzarr.reader import indexes, open_named
from esgvzarr.testing import (
    DATASET_ID,
    FileSpec,
    GlobusServer,
    SolrServer,
    StacServer,
    ThreddsServer,
    Unavailable,
    make_item,
    write_files,
)

MASTER = DATASET_ID.rpartition(".v")[0]
CHECKSUM = "1220" + "ab" * 32


@dataclass
class Published:
    """A dataset on two hosts, with references to the first."""

    first: ThreddsServer
    second: ThreddsServer
    paths: list[Path]
    href: str

    def item(self, dataset_id: str = DATASET_ID, **other: Any) -> dict[str, Any]:
        """Its STAC item; ``other`` is said of the files of the second host."""
        item = make_item(dataset_id)
        for path in self.paths:
            facts = {"file:size": path.stat().st_size, "file:checksum": CHECKSUM}
            there = {"href": self.second.url_of(path), **facts, **other}
            item["assets"][path.name] = {
                "href": self.first.url_of(path),
                "roles": ["data"],
                **facts,
                "alternate": {"second": there},
            }
        item["assets"]["reference_file"] = {"href": self.href, "roles": ["references"]}
        return item


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    paths = write_files(tmp_path, [FileSpec(start=12 * n) for n in range(2)])
    document = oracle.make(paths)[1].decode()
    with ThreddsServer(tmp_path) as first, ThreddsServer(tmp_path) as second:
        for path in paths:
            document = document.replace(str(path), first.url_of(path))
        (tmp_path / "references.json").write_text(document)
        yield Published(first, second, paths, second.url_of(tmp_path / "references.json"))


def opened(place: Any, **options: Any) -> xarray.Dataset:
    return xarray.open_dataset(place, engine="esgf", **options)


def is_whole(dataset: xarray.Dataset, paths: list[Path]) -> bool:
    with xarray.open_mfdataset(
        sorted(paths), data_vars="minimal", coords="minimal", compat="override"
    ) as files:
        return np.array_equal(dataset["tas"].values, files["tas"].values, equal_nan=True)


def test_an_id_opens_without_naming_an_engine(
    published: Published, stac_server: StacServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stac_server.add_item(published.item())
    monkeypatch.setenv("ESGF_INDEXES", stac_server.url)
    assert is_whole(xarray.open_dataset(DATASET_ID), published.paths)


def test_the_address_of_a_file_is_no_id(published: Published) -> None:
    """Though it ends as an id does; it opens as the file that it is."""
    from esgvzarr.reader.backends import EsgfBackend

    named = f"https://data.example.org/zarr/{DATASET_ID}"
    for place in (named, f"{named}.json", f"{DATASET_ID}.json", f"missing/{DATASET_ID}.nc"):
        assert not EsgfBackend().guess_can_open(place), place
    assert EsgfBackend().guess_can_open(f"esgf://{DATASET_ID}")
    reference = published.paths[0].with_name(f"{DATASET_ID}.json")
    (reference.parent / "references.json").rename(reference)
    opened_from = open_named(published.second.url_of(reference)).href
    assert opened_from == published.second.url_of(reference)


def test_an_id_without_a_version_is_the_newest_one(
    published: Published, stac_server: StacServer
) -> None:
    older = make_item(f"{MASTER}.v20010101")
    stac_server.add_item(older)
    stac_server.add_item(published.item())
    assert is_whole(opened(MASTER, indexes=stac_server.url), published.paths)
    with pytest.raises(SourceError) as raised:
        opened(older["id"], indexes=stac_server.url)
    assert raised.value.code == "source-no-link"


def test_items_and_their_addresses_open_too(
    published: Published, stac_server: StacServer, tmp_path: Path
) -> None:
    import pystac

    item = published.item()
    stac_server.add_item(item)
    (tmp_path / "item.json").write_text(json.dumps(item))
    places: list[Any] = [
        item,
        pystac.Item.from_dict(item),
        f"{stac_server.url}/collections/CMIP6/items/{DATASET_ID}",
        str(tmp_path / "item.json"),
    ]
    for place in places:
        assert opened(place).sizes["time"] == 24


def test_trees_chunks_and_several_ids_at_once(
    published: Published, stac_server: StacServer
) -> None:
    stac_server.add_item(published.item())
    tree = xarray.open_datatree(DATASET_ID, engine="esgf", indexes=stac_server.url)
    assert tree["tas"].sizes["time"] == 24
    many = xarray.open_mfdataset(
        [DATASET_ID, f"esgf://{DATASET_ID}"],
        engine="esgf",
        indexes=stac_server.url,
        combine="nested",
        concat_dim="copy",
        data_vars="all",
        coords="minimal",
        compat="override",
    )
    assert many["tas"].sizes["copy"] == 2
    assert many["tas"].chunks is not None


def document(href: str) -> dict[str, Any]:
    """The Dataset document of a legacy index."""
    return {
        "id": f"{DATASET_ID}|data.example",
        "type": "Dataset",
        "instance_id": DATASET_ID,
        "master_id": MASTER,
        "url": ["https://data.example/catalog.xml|text/xml|THREDDS", f"{href}|x/y|VirtualZarr"],
    }


@pytest.mark.parametrize("name", [DATASET_ID, MASTER])
def test_legacy_indexes_are_asked_too(
    published: Published, globus_server: GlobusServer, name: str
) -> None:
    shown = document(published.href)
    with SolrServer(tls=False) as solr:
        solr.add_document(shown)
        assert opened(name, indexes=f"{solr.url}/esg-search").sizes["time"] == 24
    globus_server.add_entry(shown)
    assert opened(name, indexes=f"globus:{globus_server.index_uuid}").sizes["time"] == 24


def test_a_static_catalogue_on_disk_and_by_url_is_an_index(
    published: Published, tmp_path: Path
) -> None:
    directory = tmp_path / "catalogue" / "CMIP6" / DATASET_ID
    directory.mkdir(parents=True)
    (directory / f"{DATASET_ID}.json").write_text(json.dumps(published.item()))
    link = {"rel": "item", "href": f"./{DATASET_ID}/{DATASET_ID}.json"}
    (directory.parent / "collection.json").write_text(json.dumps({"links": [link]}))
    root = tmp_path / "catalogue"
    for name in (DATASET_ID, MASTER):
        assert opened(name, indexes=str(root)).sizes["time"] == 24
        by_url = published.first.url_of(root / "catalog.json")
        assert opened(name, indexes=by_url).sizes["time"] == 24


def test_an_index_that_is_down_does_not_hide_what_others_show(
    published: Published, stac_server: StacServer
) -> None:
    stac_server.add_item(published.item())
    down = "http://127.0.0.1:9"
    assert opened(DATASET_ID, indexes=[down, stac_server.url]).sizes["time"] == 24
    with pytest.raises(SourceError, match=r"no index answers: http://127\.0\.0\.1:9") as raised:
        opened(DATASET_ID, indexes=down)
    assert (raised.value.code, raised.value.retryable) == ("source-index-down", True)


def test_an_index_that_never_answers_is_waited_for_no_longer_than_the_limit(
    published: Published, stac_server: StacServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections and says nothing. All indexes are asked at the same time."""
    monkeypatch.setattr(indexes, "TIMEOUT_S", 0.5)
    stac_server.add_item(published.item())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert opened(DATASET_ID, indexes=[address, stac_server.url]).sizes["time"] == 24
        with pytest.raises(SourceError, match=address) as raised:
            opened(DATASET_ID, indexes=[address] * 3)
    assert raised.value.code == "source-index-down"


def test_an_unknown_id_names_the_indexes_and_what_to_do(stac_server: StacServer) -> None:
    with pytest.raises(SourceError, match="Check the spelling") as raised:
        opened(DATASET_ID, indexes=stac_server.url)
    assert raised.value.code == "source-not-found"
    with pytest.raises(SourceError) as raised:
        opened("no id", indexes=stac_server.url)
    assert raised.value.code == "source-dataset-id"


def test_indexes_are_those_of_argument_environment_file_or_intake_esgf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from esgvzarr.reader.indexes import DEFAULTS, chosen_indexes

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("ESGF_INDEXES", raising=False)
    assert chosen_indexes(None) == DEFAULTS
    (tmp_path / "esgvzarr").mkdir()
    (tmp_path / "esgvzarr" / "indexes").write_text("# ours\nhttps://a.example.org  # STAC\n\n")
    assert chosen_indexes(None) == ("https://a.example.org",)
    monkeypatch.setenv("ESGF_INDEXES", "globus:b https://c.example.org")
    assert chosen_indexes(None) == ("globus:b", "https://c.example.org")
    assert chosen_indexes("d") == ("d",)


def test_a_node_that_dies_in_the_middle_is_replaced_once_and_with_a_warning(
    published: Published,
) -> None:
    dataset = opened(published.item(), chunks={})
    half = dataset["tas"].isel(time=slice(0, 10)).compute(scheduler="threads")
    assert published.first.requests
    published.first.__exit__(None, None, None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rest = dataset["tas"].isel(time=slice(10, None)).compute(scheduler="threads")
    said = [str(one.message) for one in caught if "cannot be read (" in str(one.message)]
    assert len(said) == 1
    assert published.second.host in said[0]
    assert is_whole(xarray.concat([half, rest], "time").to_dataset(), published.paths)


@pytest.mark.parametrize("other", [{"file:size": 7}, {"file:checksum": "1220" + "cd" * 32}])
def test_a_host_with_other_bytes_is_never_turned_to(
    published: Published, other: dict[str, Any]
) -> None:
    dataset = opened(published.item(**other))
    published.first.fault(Unavailable(times=99), "*.nc")
    with pytest.raises(TransportError):
        dataset["tas"].load()
    assert not [request for request in published.second.requests if ".nc" in request.path]


def test_references_that_cannot_be_read_are_looked_for_on_the_next_host(
    published: Published,
) -> None:
    item = published.item()
    asset = item["assets"]["reference_file"]
    asset["alternate"] = {"second": {"href": asset["href"]}}
    asset["href"] = "http://127.0.0.1:9/references.json"
    with pytest.warns(UserWarning, match="The next link of the dataset is tried"):
        assert opened(item).sizes["time"] == 24


def test_an_item_from_a_server_never_opens_a_file_of_the_reader(
    published: Published, stac_server: StacServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its relative href is beside the item; a document of that name lies in the directory, too."""
    here = tmp_path / "here"
    there = tmp_path / "there"
    here.mkdir()
    there.mkdir()
    (tmp_path / "references.json").rename(here / "references.json")
    monkeypatch.chdir(here)
    secret = str(here / "references.json")
    names = ["references.json", secret, f"file://{secret}", f"local://{secret}"]
    item = published.item()
    item["links"] = []
    for name in [*names, f"simplecache::file://{secret}", f"http://a.example/::file://{secret}"]:
        item["assets"]["reference_file"]["href"] = name
        (there / "item.json").write_text(json.dumps(item))
        with pytest.raises(SourceError):
            open_named(published.first.url_of(there / "item.json"))
        with pytest.raises(SourceError):
            opened(item)
    item["assets"]["reference_file"]["href"] = secret
    stac_server.add_item(item)
    with pytest.raises(SourceError, match="which is not a URL"):
        opened(DATASET_ID, indexes=stac_server.url)


def test_a_relative_href_is_beside_its_item(published: Published, tmp_path: Path) -> None:
    item = published.item()
    item["assets"]["reference_file"]["href"] = "../references.json"
    (tmp_path / "items").mkdir()
    path = tmp_path / "items" / "item.json"
    path.write_text(json.dumps(item))
    url = published.first.url_of(path)
    for place in (url, str(path), {**item, "links": [{"rel": "self", "href": url}]}):
        assert opened(place).sizes["time"] == 24
    item["assets"]["reference_file"]["href"] = (tmp_path / "references.json").as_uri()
    path.write_text(json.dumps(item))
    assert open_named(str(path)).href == str(tmp_path / "references.json")
