"""The real index runs from nothing, answers as ``StacServer`` does."""

from collections.abc import Iterator
from typing import Any

import pystac_client
import pytest
import requests

from esgvzarr.testing import PgstacServer, make_item

DSID = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn.v20190406"
ASSET = {"href": "https://data.example/x.json", "type": "application/json", "roles": ["data"]}


def patch(url: str, operation: dict[str, Any]) -> requests.Response:
    return requests.patch(
        url, json=[operation], headers={"Content-Type": "application/json-patch+json"}, timeout=10
    )


def add_asset(value: Any) -> dict[str, Any]:
    return {"op": "add", "path": "/assets/reference_file", "value": value}


@pytest.fixture
def item_url(pgstac_server: PgstacServer) -> Iterator[str]:
    url = f"{pgstac_server.url}/collections/CMIP6/items"
    requests.post(url, json=make_item(DSID), timeout=10).raise_for_status()
    yield f"{url}/{DSID}"
    requests.delete(f"{url}/{DSID}", timeout=10)


def test_collections_have_titles(pgstac_server: PgstacServer) -> None:
    client = pystac_client.Client.open(pgstac_server.url)
    assert {found.id: found.title for found in client.get_collections()} == {
        name: name for name in ("CMIP6", "CMIP7", "input4MIPs")
    }


def test_an_item_is_created_once_found_and_patched(
    pgstac_server: PgstacServer, item_url: str
) -> None:
    assert (
        requests.post(item_url.rpartition("/")[0], json=make_item(DSID), timeout=10).status_code
        == 409
    )
    latest = {"op": "=", "args": [{"property": "properties.latest"}, True]}
    search = pystac_client.Client.open(pgstac_server.url).search(
        ids=[DSID], collections=["CMIP6"], filter=latest
    )
    assert search.matched() == 1
    assert patch(item_url, add_asset(ASSET)).status_code == 200
    assert (
        requests.get(item_url, timeout=10).json()["assets"]["reference_file"]["href"]
        == ASSET["href"]
    )


def test_an_asset_that_is_a_string_is_refused_by_post_and_taken_by_patch(item_url: str) -> None:
    invalid = {**make_item("CMIP6.other.v1"), "assets": {"reference_file": ASSET["href"]}}
    assert requests.post(item_url.rpartition("/")[0], json=invalid, timeout=10).status_code == 400
    assert patch(item_url, add_asset(ASSET["href"])).status_code == 200


def test_a_patch_that_fails_gives_500(item_url: str) -> None:
    assert (
        patch(item_url, {"op": "replace", "path": "/assets/nothing/href", "value": "x"}).status_code
        == 500
    )
