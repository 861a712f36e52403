"""The forms in which items of the field show references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.errors import SourceError
from esgvzarr.indexes.item_references import references_at, references_of_item
from esgvzarr.testing import ThreddsServer
from esgvzarr.transport import Transport

HREF = "https://node.example/a.json"


def item_of(**assets: Any) -> dict[str, Any]:
    data = {"href": "https://node.example/a.nc", "type": "application/netcdf"}
    return {"type": "Feature", "id": "a", "assets": {"data0000": data, **assets}}


@pytest.mark.parametrize(
    "assets",
    [
        {"reference_file": {"href": HREF, "type": "application/vnd.zarr+kerchunk"}},
        {"reference_file": {"href": HREF, "type": "vnd.zarr+kerchunk"}},
        {"reference_file": {"href": HREF, "type": "kerchunk"}},
        {"reference_file": {"href": HREF, "type": "application/json"}},
        {"reference_file": HREF},
        {"icechunk": {"href": HREF, "type": "vnd.icechunk"}},
        {"icechunk": {"href": HREF, "type": "application/vnd.icechunk"}},
        {"zarr": {"href": HREF, "type": "vnd.icechunk"}},
        {"anything": {"href": HREF, "type": "application/vnd.zarr+kerchunk; profile=x"}},
    ],
    ids=["best practice", "353", "ORNL", "JSON", "esgcet", "353 icechunk", "ours", "zarr", "key"],
)
def test_each_form_is_read(assets: dict[str, Any]) -> None:
    assert references_of_item(item_of(**assets), "item") == [HREF]


def test_those_of_all_data_nodes_are_read() -> None:
    other = {"href": "https://other.example/a.json", "type": "kerchunk"}
    asset = {"href": HREF, "type": "kerchunk", "alternate": {"other.example": other}}
    item = item_of(reference_file=asset)
    assert references_of_item(item, "item") == [HREF, other["href"]]


def test_an_aggregation_is_said_not_to_be_read() -> None:
    asset = {"href": "https://node.example/a.nca", "type": "application/vnd.cfa"}
    with pytest.raises(SourceError, match="CFA aggregation") as caught:
        references_of_item(item_of(cfa=asset), "item")
    assert caught.value.code == "source-no-link"


def test_what_is_no_item_is_its_own_reference(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"version": 1, "refs": {}}))
    with Transport() as transport:
        assert references_at(str(path), transport) == [str(path)]


@pytest.mark.parametrize("name", ["/etc/a.json", "file:///etc/a.json", "local:///etc/a.json"])
def test_an_item_from_a_server_names_no_path_of_this_machine(name: str) -> None:
    item = item_of(reference_file={"href": name, "type": "kerchunk"})
    with pytest.raises(SourceError, match="which is not a URL") as caught:
        references_of_item(item, "https://node.example/items/a")
    assert caught.value.code == "source-url"


def test_relative_hrefs_are_beside_the_item() -> None:
    item = item_of(reference_file={"href": "../a.json", "type": "kerchunk"})
    assert references_of_item(item, "https://node.example/items/i.json") == [HREF]
    assert references_of_item(item, "s3://node.example/items/i.json") == [
        "s3://node.example/a.json"
    ]
    assert references_of_item(item, "/data/items/i.json") == ["/data/items/../a.json"]


def test_an_item_of_a_static_catalogue_is_known_by_its_content(tmp_path: Path) -> None:
    """Its URL has no ``/items/``. What is no item, or not there, stays what it is."""
    item = item_of(reference_file={"href": "../a.json", "type": "kerchunk"})
    path = tmp_path / "CMIP6" / "i" / "i.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(item, indent=2))
    document = tmp_path / "CMIP6" / "a.json"
    document.write_text(json.dumps({"version": 1, "refs": {}}))
    with ThreddsServer(tmp_path) as server, Transport() as transport:
        transport.allow(server.host, named=True)
        served = server.url_of(document)
        assert references_at(server.url_of(path), transport) == [served]
        assert references_at(served, transport) == [served]
        missing = f"{served}.missing.json"
        assert references_at(missing, transport) == [missing]
