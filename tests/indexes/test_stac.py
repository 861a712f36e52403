"""A STAC API, changed through esgcet's own client."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.errors import LinkError, PublisherError, SettingsError
from esgvzarr.esgpublish import TransactionClient, item_schema
from esgvzarr.indexes import LinkState, connect
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.indexes.catalog_documents import make_item
from esgvzarr.indexes.stac import StacIndex
from esgvzarr.model import DatasetId
from esgvzarr.testing.conformance import CHANGED, DATASET, LINK, OTHER_NODES, RECORD, IndexTests
from esgvzarr.testing.faults import Answer, Problem, Status
from esgvzarr.testing.loopback import Asked, Response, text_response
from esgvzarr.testing.stac import StacServer
from esgvzarr.transport import Transport

pytest.importorskip("esgcet", reason="esgcet's client is in the extra `publisher`")

TOKEN = "token-that-stays-hidden"
THIRD = replace(LINK, href="https://third.example.org/x.json", data_node="third.example.org")


@pytest.fixture
def config(stac_server: StacServer, tmp_path: Path) -> dict[str, Any]:
    """esgcet's settings for its EGI client, with every endpoint on the loopback and a login that
    lasts.
    """
    token = tmp_path / "egi-token.json"
    forever = {"expires_at": 4102444800, "refresh_expires_at": 4102444800}
    token.write_text(json.dumps({"access_token": TOKEN, "refresh_token": "x", **forever}))
    nowhere = f"{stac_server.url}/none"
    api = {
        "base_url": stac_server.url,
        "scope_endpoint": f"{stac_server.url}/scope",
        "client_id": "loopback",
        "token_endpoint": nowhere,
        "device_endpoint": nowhere,
    }
    stac = {
        "stac_api": stac_server.url,
        "token_storage_file": str(token),
        "stac_client": {},
        "stac_transaction_api": api,
    }
    return {"stac_config": stac, "dry_run": False}


@pytest.fixture
def item(stac_server: StacServer) -> dict[str, Any]:
    """DATASET as registered, its files on all three data nodes."""
    item = make_item(RECORD, datetime(2026, 11, 20, tzinfo=UTC))
    item["properties"]["access"] = ["HTTPServer", "Globus"]
    for asset in item["assets"].values():
        asset["alternate"] = {
            node: {"href": f"https://{node}/x.nc"}
            for node in (OTHER_NODES.data_node, THIRD.data_node)
        }
    stac_server.add_item(item)
    return item


@pytest.fixture
def transport(stac_server: StacServer) -> Transport:
    return Transport(allowed_hosts=[stac_server.host], retries=0)


@pytest.fixture
def index(
    stac_server: StacServer, config: dict[str, Any], item: dict[str, Any], transport: Transport
) -> StacIndex:
    return StacIndex(stac_server.url, TransactionClient(config), transport, poll_timeout_s=2)


def patches(server: StacServer) -> list[Any]:
    return [json.loads(request.body) for request in server.requests if request.method == "PATCH"]


class _Impatient(IndexTests):
    @pytest.fixture
    def impatient_index(
        self, stac_server: StacServer, item: dict[str, Any], transport: Transport
    ) -> StacIndex:
        """It looks once, and has no login."""
        return StacIndex(stac_server.url, TransactionClient({}), transport, poll_timeout_s=0)


class TestConformance(_Impatient):
    """The API applies a change before it answers."""


class TestConformanceQueued(_Impatient):
    """The API answers 202 and applies a change later, as ESGF's does."""

    @pytest.fixture(autouse=True)
    def _queued(self, stac_server: StacServer) -> None:
        stac_server.delay_s = 0.05


def test_sends_one_operation_in_one_request(index: StacIndex, stac_server: StacServer) -> None:
    """The API takes one operation per request, in the media type of a JSON Patch, from a client
    that is logged in.
    """
    index.add_link(DATASET, LINK)
    (request,) = [request for request in stac_server.requests if request.method == "PATCH"]
    (operation,) = json.loads(request.body)
    assert (operation["op"], operation["path"]) == ("add", "/assets/reference_file")
    assert request.path == f"/collections/CMIP6/items/{DATASET}"
    assert request.headers["Content-Type"] == "application/json-patch+json"
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"


def test_sends_nothing_for_a_link_that_is_there(index: StacIndex, stac_server: StacServer) -> None:
    """The second run reads the item once, and that is all: no patch, and no login either."""
    index.add_link(DATASET, LINK)
    stac_server.clear()
    again = StacIndex(stac_server.url, TransactionClient({}), index._transport, poll_timeout_s=2)
    assert again.add_link(DATASET, LINK) is LinkState.UNCHANGED
    assert [request.method for request in stac_server.requests] == ["GET"]


class TestAccess:
    """``properties.access``, which old clients look at: kept only where the setting says so, and
    the item has it.
    """

    @pytest.fixture
    def listing(
        self, stac_server: StacServer, config: dict[str, Any], transport: Transport
    ) -> StacIndex:
        return StacIndex(
            stac_server.url,
            TransactionClient(config),
            transport,
            poll_timeout_s=2,
            list_access=True,
        )

    def access(self, index: StacIndex) -> list[str]:
        return list((index.find(DATASET) or {})["properties"]["access"])

    def test_follows_the_links(
        self, listing: StacIndex, item: dict[str, Any], stac_server: StacServer
    ) -> None:
        """A request of its own, after the link's; said as long as any node has a link."""
        listing.add_link(DATASET, LINK)
        assert [[operation["path"] for operation in patch] for patch in patches(stac_server)] == [
            ["/assets/reference_file"],
            ["/properties/access"],
        ]
        listing.add_link(DATASET, OTHER_NODES)
        assert self.access(listing) == ["HTTPServer", "Globus", "VirtualZarr"]
        listing.remove_link(DATASET, LINK)
        assert self.access(listing) == ["HTTPServer", "Globus", "VirtualZarr"]
        listing.remove_link(DATASET, OTHER_NODES)
        assert self.access(listing) == ["HTTPServer", "Globus"]
        assert len(patches(stac_server)) == 6

    def test_is_made_good_on_the_next_run(
        self, index: StacIndex, listing: StacIndex, item: dict[str, Any]
    ) -> None:
        """As after an end between the two requests."""
        index.add_link(DATASET, LINK)
        assert self.access(listing) == ["HTTPServer", "Globus"]
        assert listing.add_link(DATASET, LINK) is LinkState.UNCHANGED
        assert self.access(listing) == ["HTTPServer", "Globus", "VirtualZarr"]

    def test_that_is_refused_costs_no_link(
        self,
        listing: StacIndex,
        item: dict[str, Any],
        stac_server: StacServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        stac_server.fault(SecondRefused(), methods=["PATCH"])
        assert listing.add_link(DATASET, LINK) is LinkState.ADDED
        assert self.access(listing) == ["HTTPServer", "Globus"]
        assert "properties.access" in caplog.text

    def test_is_not_made_where_there_is_none(
        self, listing: StacIndex, item: dict[str, Any], stac_server: StacServer
    ) -> None:
        other = DatasetId.parse(str(DATASET).replace("siconc", "sithick"))
        del item["properties"]["access"]
        stac_server.add_item({**item, "id": str(other)})
        listing.add_link(other, LINK)
        assert "access" not in (listing.find(other) or {})["properties"]


class LaterLooksFail:
    """500 to all but the first."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        return text_response(500) if asked.earlier else answer(asked)


class SecondRefused:
    """400 to the second request, as under a schema that does not know the service."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        return text_response(400, "access") if asked.earlier == 1 else answer(asked)


def test_confirms_what_was_queued(index: StacIndex, stac_server: StacServer) -> None:
    """202 only says that the change was taken: the link counts as added once the index shows it."""
    stac_server.delay_s = 0.2
    assert index.add_link(DATASET, LINK) is LinkState.ADDED
    assert index.links(DATASET) == (LINK,)


def test_says_pending_when_a_queued_change_is_never_shown(
    index: StacIndex, stac_server: StacServer, config: dict[str, Any], transport: Transport
) -> None:
    """A change that the queue loses is neither a success nor forgotten; the next run adds it."""
    stac_server.queue_loses = True
    client = TransactionClient(config)
    impatient = StacIndex(stac_server.url, client, transport, poll_timeout_s=0.3)
    assert impatient.add_link(DATASET, LINK) is LinkState.PENDING
    stac_server.heal()
    assert index.add_link(DATASET, LINK) is LinkState.ADDED


def test_a_change_that_was_taken_stays_when_looks_at_it_fail(
    index: StacIndex, stac_server: StacServer, config: dict[str, Any], transport: Transport
) -> None:
    """Else its file would be deleted, and the link come later."""
    stac_server.fault(LaterLooksFail(), methods=("GET",))
    client = TransactionClient(config)
    impatient = StacIndex(stac_server.url, client, transport, poll_timeout_s=0.3)
    assert impatient.add_link(DATASET, LINK) is LinkState.PENDING
    stac_server.heal()
    assert index.links(DATASET) == (LINK,)


def test_waits_for_a_dataset_whose_registration_is_queued(
    stac_server: StacServer, config: dict[str, Any], transport: Transport
) -> None:
    """esgpublish is through when its item is queued; the link waits for the item."""

    class Late(Transport):
        """Puts the item in after the first look."""

        def read_document(self, location: str, *, limit: int = 2**20) -> bytes:
            try:
                return super().read_document(location, limit=limit)
            finally:
                if (
                    not any(request.method == "PATCH" for request in stac_server.requests)
                    and not added
                ):
                    added.append(
                        stac_server.add_item(make_item(RECORD, datetime(2026, 11, 20, tzinfo=UTC)))
                    )

    added: list[None] = []
    index = StacIndex(
        stac_server.url,
        TransactionClient(config),
        Late(allowed_hosts=[stac_server.host]),
        poll_timeout_s=2,
    )
    assert index.add_link(DATASET, LINK) is LinkState.ADDED


def test_shows_why_the_api_refuses(index: StacIndex, stac_server: StacServer) -> None:
    """esgcet drops the body of an error; title and detail are what the operator needs. A token that
    is sent back is not.
    """
    stac_server.fault(
        Problem(403, "Forbidden", f"No entitlement for data-node.example.org, {TOKEN}"),
        methods=("PATCH",),
    )
    with pytest.raises(LinkError, match="403: Forbidden: No entitlement for data-node") as caught:
        index.add_link(DATASET, LINK)
    assert caught.value.code == "index-http-403"
    assert not caught.value.retryable
    assert TOKEN not in str(caught.value)
    assert index.links(DATASET) == ()


def test_a_failing_api_may_be_tried_again(index: StacIndex, stac_server: StacServer) -> None:
    """5xx is the server's trouble, not ours."""
    stac_server.fault(Status(503), methods=("PATCH",))
    with pytest.raises(LinkError) as caught:
        index.add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == ("index-http-503", True)


def test_an_index_that_is_down_is_said(transport: Transport) -> None:
    """The URL is named, and that it may be tried again."""
    with StacServer() as gone:
        url = gone.url
        transport.allow(gone.host, named=True)
    with pytest.raises(LinkError, match=url) as caught:
        StacIndex(url, TransactionClient({}), transport, poll_timeout_s=0).add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == ("index-unreachable", True)


def test_a_transaction_api_that_is_down_is_said(index: StacIndex, config: dict[str, Any]) -> None:
    """The two APIs are two servers: one may be down while the other answers."""
    with StacServer() as gone:
        config["stac_config"]["stac_transaction_api"]["base_url"] = gone.url
    with pytest.raises(LinkError) as caught:
        index.add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == ("index-unreachable", True)


def test_a_broken_stac_config_is_said(index: StacIndex, config: dict[str, Any]) -> None:
    """A key that esgcet does not know is a TypeError in there, and a PublisherError out here."""
    config["stac_config"]["stac_transaction_api"]["scope_string"] = "x"
    with pytest.raises(PublisherError, match="stac_config") as caught:
        index.add_link(DATASET, LINK)
    assert caught.value.code == "publisher-stac-config"


def test_a_login_that_failed_is_said(
    index: StacIndex, stac_server: StacServer, config: dict[str, Any]
) -> None:
    """esgcet exits when its login fails; we go on and say so."""
    Path(config["stac_config"]["token_storage_file"]).write_text("{}")
    with pytest.raises(PublisherError, match="login") as caught:
        index.add_link(DATASET, LINK)
    assert caught.value.code == "publisher-login"
    assert patches(stac_server) == []


def test_after_a_login_that_failed_the_next_change_logs_in_again(
    index: StacIndex, config: dict[str, Any]
) -> None:
    token = Path(config["stac_config"]["token_storage_file"])
    kept = token.read_text()
    token.write_text("{}")
    with pytest.raises(PublisherError, match="login"):
        index.add_link(DATASET, LINK)
    token.write_text(kept)
    assert index.add_link(DATASET, LINK) is LinkState.ADDED


def test_one_login_serves_several_changes(index: StacIndex, stac_server: StacServer) -> None:
    index.add_link(DATASET, LINK)
    index.remove_link(DATASET, LINK)
    assert len(patches(stac_server)) == 2
    assert sum(request.path == "/scope" for request in stac_server.requests) == 1


def test_a_login_that_ends_soon_is_read_again(
    index: StacIndex, stac_server: StacServer, config: dict[str, Any]
) -> None:
    """Another process may have renewed it: the renewal token of before may be void."""
    token = Path(config["stac_config"]["token_storage_file"])
    kept = json.loads(token.read_text())
    token.write_text(json.dumps({**kept, "expires_at": time.time() + 30}))
    index.add_link(DATASET, LINK)
    token.write_text(json.dumps({**kept, "access_token": "renewed"}))
    index.remove_link(DATASET, LINK)
    sent = [request.headers for request in stac_server.requests if request.method == "PATCH"]
    assert [one["Authorization"] for one in sent] == [f"Bearer {TOKEN}", "Bearer renewed"]


def test_nothing_is_sent_in_a_dry_run(
    index: StacIndex, stac_server: StacServer, config: dict[str, Any]
) -> None:
    """esgcet's EGI client patches even then; ours does not."""
    config["dry_run"] = True
    with pytest.raises(PublisherError) as caught:
        index.add_link(DATASET, LINK)
    assert caught.value.code == "publisher-dry-run"
    assert patches(stac_server) == []


class TestGlobus:
    """The same through esgcet's other client."""

    @pytest.fixture
    def config(self, stac_server: StacServer, tmp_path: Path) -> dict[str, Any]:
        """esgcet's settings for its Globus client, with tokens that last."""
        from globus_sdk import GroupsClient
        from globus_sdk.token_storage import JSONTokenStorage, TokenStorageData

        storage = str(tmp_path / "globus-token.json")
        tokens = {
            server: TokenStorageData(server, "", "urn:x", TOKEN, "x", 4102444800, "Bearer")
            for server in ("transactions", GroupsClient.resource_server)
        }
        JSONTokenStorage(storage).store_token_data_by_resource_server(tokens)
        api = {"base_url": stac_server.url, "client_id": "transactions", "scope_string": "urn:x"}
        stac = {
            "token_storage_file": storage,
            "stac_client": {"redirect_uri": "https://auth.globus.org/x"},
            "stac_transaction_api": api,
        }
        return {"stac_config": stac, "dry_run": False}

    def test_adds_and_removes(self, index: StacIndex, stac_server: StacServer) -> None:
        """One operation in one request, with the token."""
        assert index.add_link(DATASET, LINK) is LinkState.ADDED
        assert index.remove_link(DATASET, LINK) is LinkState.REMOVED
        assert [[operation["op"] for operation in patch] for patch in patches(stac_server)] == [
            ["add"],
            ["replace"],
        ]
        assert {
            r.headers["Authorization"] for r in stac_server.requests if r.method == "PATCH"
        } == {f"Bearer {TOKEN}"}

    def test_shows_why_the_api_refuses(self, index: StacIndex, stac_server: StacServer) -> None:
        """esgcet turns every error into False; the reason is shown all the same, and not a token
        that is sent back.
        """
        stac_server.fault(
            Problem(403, "Forbidden", f"No entitlement for {TOKEN}"), methods=("PATCH",)
        )
        with pytest.raises(LinkError, match="403: Forbidden: No entitlement") as caught:
            index.add_link(DATASET, LINK)
        assert caught.value.code == "index-http-403"
        assert TOKEN not in str(caught.value)


class _Crossing:
    """A client that is overtaken: just before its change goes out, another node's goes through."""

    def __init__(self, client: TransactionClient, other: StacIndex, server: StacServer) -> None:
        self._client = client
        self._other = other
        self._server = server

    def patch(self, collection: str, item_id: str, operation: Mapping[str, Any]) -> int:
        self._other.add_link(DATASET, THIRD)
        self._server.delay_s = 0.3
        return self._client.patch(collection, item_id, operation)


def test_says_so_when_two_nodes_undo_each_other(
    index: StacIndex, stac_server: StacServer, config: dict[str, Any], transport: Transport
) -> None:
    """Without transactions over two requests, two nodes may undo each other: then it is said who
    has to come again.
    """
    index.add_link(DATASET, OTHER_NODES)
    crossing = _Crossing(TransactionClient(config), index, stac_server)
    with pytest.raises(LinkError, match=r"undid that of third\.example\.org") as caught:
        StacIndex(stac_server.url, crossing, transport, poll_timeout_s=2).add_link(DATASET, LINK)
    assert caught.value.code == "index-changed"


def test_what_is_no_item_is_refused(index: StacIndex, stac_server: StacServer) -> None:
    """A page that is not the dataset's item is never changed."""
    stac_server.fault(Problem(200), methods=("GET",))
    with pytest.raises(LinkError) as caught:
        index.add_link(DATASET, CHANGED)
    assert caught.value.code == "index-item-invalid"


def test_connects_by_name(tmp_path: Path) -> None:
    """Built-ins are registered as strangers are; an unknown name is met with a similar one."""
    assert isinstance(connect("catalog", directory=tmp_path), CatalogIndex)
    with pytest.raises(SettingsError, match="Did you mean 'catalog'"):
        connect("catalogue")


class TestSchema:
    """The JSON schema that esgvoc makes: its own template, with a vocabulary of a few words."""

    @pytest.fixture
    def schema(self) -> dict[str, Any]:
        jsg = pytest.importorskip(
            "esgvoc.apps.jsg.json_schema_generator", reason="esgvoc is in the extra `publisher`"
        )
        template = jsg.Environment(loader=jsg.FileSystemLoader(jsg.TEMPLATE_DIR_PATH)).get_template(
            jsg.TEMPLATE_FILE_NAME
        )
        text = template.render(
            project_id="CMIP6",
            catalog_version="v3.0.4",
            dataset_id_regex="^CMIP6[.].*$",
            title_regex=".*",
            catalog_dataset_properties=[],
            catalog_file_properties=[],
            catalog_link_properties=[],
            required_link_rels=[],
            file_extension_version="v2.1.0",
            alternate_assets_extension_version="v1.2.0",
        )
        return dict(json.loads(text))

    @pytest.fixture
    def checked(
        self,
        stac_server: StacServer,
        config: dict[str, Any],
        transport: Transport,
        schema: dict[str, Any],
    ) -> StacIndex:
        options: dict[str, Any] = {
            "poll_timeout_s": 0.5,
            "list_access": True,
            "schema_of": {"CMIP6": schema}.get,
        }
        return StacIndex(stac_server.url, TransactionClient(config), transport, **options)

    def test_takes_our_asset(self, checked: StacIndex, item: dict[str, Any]) -> None:
        """Whatever else the item breaks: esgcet's items break a rule of their own."""
        assert checked.add_link(DATASET, LINK) is LinkState.ADDED

    def test_keeps_back_what_it_forbids(
        self,
        checked: StacIndex,
        item: dict[str, Any],
        stac_server: StacServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A service that the schema does not know is not sent; the link is."""
        checked.add_link(DATASET, LINK)
        assert [[operation["path"] for operation in patch] for patch in patches(stac_server)] == [
            ["/assets/reference_file"]
        ]
        assert "VirtualZarr" in caplog.text

    def test_names_the_field_and_the_rule(
        self, checked: StacIndex, item: dict[str, Any], schema: dict[str, Any]
    ) -> None:
        """A project that takes no kerchunk is not sent any."""
        schema["definitions"]["asset_fields"]["properties"]["protocol"]["enum"] = ["https"]
        with pytest.raises(
            LinkError, match=r"assets/reference_file/protocol.*'kerchunk' is not one of"
        ) as caught:
            checked.add_link(DATASET, LINK)
        assert caught.value.code == "index-asset-invalid"
        assert checked.links(DATASET) == ()

    def test_is_not_there_without_the_vocabulary(self) -> None:
        assert item_schema("no-such-project") is None
