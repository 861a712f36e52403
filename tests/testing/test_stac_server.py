"""The STAC test server answers real clients as an ESGF index node does, and goes wrong as told."""

from collections.abc import Iterator
from typing import Any

import pystac_client
import pytest
import requests

from esgvzarr.testing import After, Fault, Problem, Reset, StacServer, Status, Truncated, make_item

DSID = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn.v20190406"
ASSET = {"href": "https://data.example/x.json", "type": "application/json", "roles": ["data"]}


@pytest.fixture
def server() -> Iterator[StacServer]:
    with StacServer() as running:
        yield running


@pytest.fixture
def items_url(server: StacServer) -> str:
    return f"{server.url}/collections/CMIP6/items"


def post(url: str, body: dict[str, Any]) -> requests.Response:
    return requests.post(url, json=body, timeout=5)


def patch(url: str, *operations: dict[str, Any]) -> requests.Response:
    return requests.patch(
        url, json=operations, headers={"Content-Type": "application/json-patch+json"}, timeout=5
    )


def add_asset(value: Any) -> dict[str, Any]:
    return {"op": "add", "path": "/assets/reference_file", "value": value}


def test_clients_that_take_https_for_granted() -> None:
    """Verified by its own authority, and by no other."""
    with StacServer(tls=True) as server:
        assert (
            requests.get(server.url, verify=server.ca_bundle, timeout=5)
            .json()["links"][0]["href"]
            .startswith(server.url)
        )
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.url, verify=True, timeout=5)


def test_an_item_is_created_once(items_url: str) -> None:
    assert post(items_url, make_item(DSID)).status_code == 201
    assert post(items_url, make_item(DSID)).status_code == 409
    assert requests.get(f"{items_url}/{DSID}", timeout=5).json()["properties"]["latest"] is True


def test_an_item_is_replaced_and_deleted(items_url: str) -> None:
    post(items_url, make_item(DSID))
    assert (
        requests.put(f"{items_url}/{DSID}", json=make_item(DSID, latest=False), timeout=5).json()[
            "properties"
        ]["latest"]
        is False
    )
    assert requests.delete(f"{items_url}/{DSID}", timeout=5).status_code == 200
    assert requests.get(f"{items_url}/{DSID}", timeout=5).status_code == 404


def test_what_is_not_there_is_404(server: StacServer, items_url: str) -> None:
    assert patch(f"{items_url}/nothing", add_asset(ASSET)).status_code == 404
    assert post(f"{server.url}/collections/CMIP5/items", make_item(DSID)).status_code == 404
    assert requests.get(f"{server.url}/collections/CMIP5", timeout=5).status_code == 404


def test_json_patch_adds_and_replaces_an_asset(server: StacServer, items_url: str) -> None:
    server.add_item(make_item(DSID))
    assert (
        patch(f"{items_url}/{DSID}", add_asset(ASSET)).json()["assets"]["reference_file"] == ASSET
    )
    changed = {**ASSET, "title": "again"}
    assert patch(f"{items_url}/{DSID}", add_asset(changed)).status_code == 200
    assert server.item("CMIP6", DSID)["assets"]["reference_file"] == changed


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "remove", "path": "/assets/data0000"}, 500),
        ({"op": "replace", "path": "/assets/nothing/href", "value": "x"}, 500),
    ],
)
def test_a_bad_patch_changes_nothing(
    server: StacServer, items_url: str, operation: dict[str, Any], status: int
) -> None:
    server.add_item(make_item(DSID))
    assert patch(f"{items_url}/{DSID}", operation).status_code == status
    assert server.item("CMIP6", DSID) == make_item(DSID)


def test_an_asset_that_is_a_string_is_refused_by_post_and_taken_by_patch(
    server: StacServer, items_url: str
) -> None:
    invalid = {**make_item(DSID), "assets": {"reference_file": ASSET["href"]}}
    assert post(items_url, invalid).status_code == 400
    server.add_item(make_item(DSID))
    assert patch(f"{items_url}/{DSID}", add_asset(ASSET["href"])).status_code == 200


def test_pystac_client_finds_items_by_id_collection_and_filter(server: StacServer) -> None:
    server.add_item(make_item(DSID, title="a"))
    server.add_item(make_item("CMIP6.other.v1", title="b", latest=False))
    client = pystac_client.Client.open(server.url)
    assert [found.id for found in client.search(ids=[DSID], collections=["CMIP6"]).items()] == [
        DSID
    ]
    filters = [
        {"op": "=", "args": [{"property": f"properties.{key}"}, value]}
        for key, value in (("title", "b"), ("latest", False))
    ]
    search = client.search(
        collections=["CMIP6"], filter={"op": "and", "args": filters}, max_items=1
    )
    assert search.matched() == 1
    assert [found.id for found in search.items()] == ["CMIP6.other.v1"]
    assert client.search(collections=["CMIP7"]).matched() == 0
    assert client.get_collection("CMIP6").title == "CMIP6"
    assert [found.id for found in client.get_collection("CMIP6").get_items()] == [
        DSID,
        "CMIP6.other.v1",
    ]
    assert next(client.search(ids=[DSID]).items()).get_collection().id == "CMIP6"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_searches_are_paged(server: StacServer, method: str) -> None:
    ids = [f"CMIP6.d{number}.v1" for number in range(7)]
    for item_id in ids:
        server.add_item(make_item(item_id))
    search = pystac_client.Client.open(server.url).search(
        method=method,
        collections=["CMIP6"],
        limit=3,
        filter="latest = true" if method == "GET" else None,
    )
    assert [found.id for found in search.items()] == ids
    assert search.matched() == 7


def test_an_unknown_property_matches_nothing(server: StacServer) -> None:
    server.add_item(make_item(DSID))
    body = {
        "filter": {"op": "=", "args": [{"property": "properties.nothing"}, "x"]},
        "filter-lang": "cql2-json",
    }
    assert post(f"{server.url}/search", body).json()["numberMatched"] == 0


def test_scope_for_the_egi_client(server: StacServer) -> None:
    assert isinstance(requests.get(f"{server.url}/scope", timeout=5).json()["scope"], str)


def test_a_delay_queues_changes_and_tells_nothing_of_what_is_wrong() -> None:
    with StacServer(delay_s=60) as server:
        url = f"{server.url}/collections/CMIP6/items"
        answer = post(url, make_item(DSID))
        assert (answer.status_code, answer.text) == (202, "Item queued for publication")
        assert requests.get(f"{url}/{DSID}", timeout=5).status_code == 404
        assert patch(f"{url}/nothing", add_asset(ASSET)).status_code == 202
        server.settle()
        assert requests.get(f"{url}/{DSID}", timeout=5).status_code == 200
        assert [error.status for error in server.rejected] == [404]


def test_a_queue_that_loses_says_202_and_does_nothing(server: StacServer, items_url: str) -> None:
    server.queue_loses = True
    assert post(items_url, make_item(DSID)).status_code == 202
    assert requests.get(f"{items_url}/{DSID}", timeout=5).status_code == 404


def test_down_until_healed(server: StacServer) -> None:
    server.fault(Status(503))
    assert requests.get(server.url, timeout=5).status_code == 503
    server.heal()
    assert requests.get(server.url, timeout=5).status_code == 200


@pytest.mark.parametrize("fault", [Reset(), Truncated()])
def test_answers_that_do_not_come_whole(server: StacServer, fault: Fault) -> None:
    server.fault(fault)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        requests.get(server.url, timeout=5)
    assert (
        requests.get(server.url, timeout=5).status_code == 200 if isinstance(fault, Reset) else True
    )


def test_a_change_that_is_made_and_answered_with_an_error(
    server: StacServer, items_url: str
) -> None:
    server.fault(After(Status(500)), methods=("POST",))
    assert post(items_url, make_item(DSID)).status_code == 500
    assert requests.get(f"{items_url}/{DSID}", timeout=5).status_code == 200


def test_a_problem_is_for_its_methods_only(server: StacServer, items_url: str) -> None:
    server.add_item(make_item(DSID))
    server.fault(Problem(), "/collections/*", methods=("PATCH",))
    answer = patch(f"{items_url}/{DSID}", add_asset(ASSET))
    assert answer.status_code == 403
    assert answer.json().keys() == {"status_code", "type", "title", "detail", "instance"}
    assert requests.get(f"{items_url}/{DSID}", timeout=5).status_code == 200


def test_the_log_has_bodies(server: StacServer, items_url: str) -> None:
    server.add_item(make_item(DSID))
    patch(f"{items_url}/{DSID}", add_asset(ASSET))
    (logged,) = server.requests
    assert (logged.method, logged.path, logged.status) == (
        "PATCH",
        f"/collections/CMIP6/items/{DSID}",
        200,
    )
    assert b"reference_file" in logged.body
    assert logged.headers["Content-Type"] == "application/json-patch+json"
