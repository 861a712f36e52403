"""A Solr index behind esg-search, on a real socket, over TLS."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from esgvzarr.errors import LinkError
from esgvzarr.indexes import LinkState, connect
from esgvzarr.indexes.dataset_document import document_id
from esgvzarr.indexes.solr import SolrIndex, update_document
from esgvzarr.model import AccessLink
from esgvzarr.testing.conformance import DATASET, LINK, NODE, OTHER_NODES, RECORD, IndexTests
from esgvzarr.testing.faults import HtmlPage, LoginRedirect, Problem, Reset, Status, Unavailable
from esgvzarr.testing.solr import SolrServer
from esgvzarr.transport import Transport

pytest.importorskip(
    "trustme", reason="certificates of servers on the loopback are in the extra `demo`"
)

ID = document_id(DATASET, NODE)


def documents() -> Iterator[dict[str, Any]]:
    """DATASET as two data nodes registered it, files first, as esgcet makes the documents."""
    for node in (OTHER_NODES.data_node, NODE):
        common = {
            "project": "CMIP6",
            "variable_id": "siconc",
            "data_node": node,
            "version": DATASET.version,
            "replica": str(node != NODE),
            "latest": "True",
        }
        for file in RECORD.files:
            name = f"{DATASET}.{file.name}"
            urls = [f"{file.url}|application/netcdf|HTTPServer"]
            own = {
                "id": f"{name}|{node}",
                "instance_id": name,
                "dataset_id": document_id(DATASET, node),
                "url": urls,
            }
            yield {**common, **own, "type": "File", "title": file.name, "size": str(file.size)}
        own = {
            "id": document_id(DATASET, node),
            "instance_id": str(DATASET),
            "master_id": DATASET.master_id,
        }
        yield {
            **common,
            **own,
            "type": "Dataset",
            "access": "HTTPServer",
            "xlink": ["https://x.org/a?b&c|Citation <1>|citation"],
        }


@pytest.fixture
def server(solr_server: SolrServer) -> SolrServer:
    """An index with DATASET."""
    for document in documents():
        solr_server.add_document(document)
    return solr_server


@pytest.fixture
def transport(server: SolrServer) -> Iterator[Transport]:
    with Transport(allowed_hosts=[server.host], retries=0, ca_bundle=server.ca_bundle) as opened:
        yield opened


@pytest.fixture
def index(server: SolrServer, transport: Transport) -> SolrIndex:
    return SolrIndex(server.host, transport, poll_timeout_s=2)


@pytest.fixture
def impatient(server: SolrServer, transport: Transport) -> SolrIndex:
    """It waits for what is not shown in the end."""
    return SolrIndex(server.host, transport, poll_timeout_s=0.3)


class _Shown(IndexTests):
    @pytest.fixture
    def impatient_index(self, impatient: SolrIndex) -> SolrIndex:
        return impatient

    def shown(self, link: AccessLink) -> AccessLink:
        """A document has no place for size, checksum and what it is opened with."""
        return replace(link, roles=(), size=0, sha256="", open_kwargs={}, local_path=None)

    def rest(self, record: Mapping[str, Any]) -> Any:
        """All of it."""
        return dict(record)


class TestConformance(_Shown):
    """Searches show a change at once."""


class TestConformanceDelayed(_Shown):
    """Searches go to a copy that follows later."""

    @pytest.fixture(autouse=True)
    def _delayed(self, server: SolrServer) -> None:
        server.delay_s = 0.05


def updates(server: SolrServer) -> list[ElementTree.Element]:
    return [
        ElementTree.fromstring(request.body)  # noqa: S314
        for request in server.requests
        if request.method == "POST"
    ]


def test_changes_the_data_nodes_dataset_document_only(index: SolrIndex, server: SolrServer) -> None:
    """File documents, and the other data node's, stay as they are: clients take a file's first URL
    for the file.
    """
    before = {
        document["id"]: document
        for kind in ("File", "Dataset")
        for document in server.documents(kind)
    }
    assert index.add_link(DATASET, LINK) is LinkState.ADDED
    after = {
        document["id"]: document
        for kind in ("File", "Dataset")
        for document in server.documents(kind)
    }
    changed = after.pop(ID)
    assert after == {
        identifier: document for identifier, document in before.items() if identifier != ID
    }
    assert changed == {
        **before[ID],
        "access": ["HTTPServer", "VirtualZarr"],
        "url": [f"{LINK.href}|application/vnd.zarr+kerchunk|VirtualZarr"],
        "xlink": [
            "https://x.org/a?b&c|Citation <1>|citation",
            f"{LINK.href}|Virtual Zarr (kerchunk) reference|supdata",
        ],
    }


def test_sends_one_escaped_update(index: SolrIndex, server: SolrServer) -> None:
    """esgcet escapes nothing; a title with `<` and a URL with `&` must not break the update."""
    index.add_link(DATASET, LINK)
    (update,) = updates(server)
    assert update.attrib == {"core": "datasets", "action": "set"}
    assert update.findtext("update/query") == f"id={ID}"
    assert "https://x.org/a?b&c|Citation <1>|citation" in [
        value.text for value in update.iter("value")
    ]


def test_a_field_without_values_is_removed() -> None:
    """esg-search clears a field that is set to nothing."""
    document = ElementTree.fromstring(update_document("x|node", {"url": []}))  # noqa: S314  (our own)
    assert document.find("update/field[@name='url']") is not None
    assert document.find("update/field[@name='url']/value") is None


def test_a_port_in_the_data_nodes_name_is_no_field_of_solrs() -> None:
    """esg-search hands the query to Solr as it is, where a colon parts a field from its value."""
    assert b'id="x.v1|localhost:8443"' in update_document("x.v1|localhost:8443", {}).replace(
        b"&quot;", b'"'
    )
    assert b"id=x.v1|node<" in update_document("x.v1|node", {})
    link = replace(LINK, data_node="localhost:8443")
    with (
        SolrServer() as server,
        Transport(allowed_hosts=[server.host], ca_bundle=server.ca_bundle) as transport,
    ):
        for document in documents():
            server.add_document({name: _renamed(value) for name, value in document.items()})
        assert (
            SolrIndex(server.host, transport, poll_timeout_s=1).add_link(DATASET, link)
            is LinkState.ADDED
        )


def _renamed(value: Any) -> Any:
    return value.replace(NODE, "localhost:8443") if isinstance(value, str) else value


def test_finds_the_original_before_replicas(index: SolrIndex) -> None:
    """The documents of all data nodes are one dataset's; the record is that of the original."""
    record = index.find(DATASET)
    assert record is not None
    assert record["id"] == ID


def test_asks_this_index_only(index: SolrIndex, server: SolrServer) -> None:
    """A distributed search would find documents that this index does not hold, and cannot
    change.
    """
    index.links(DATASET)
    assert "distrib=false" in server.requests[0].path


def test_sends_nothing_for_a_link_that_is_there(index: SolrIndex, server: SolrServer) -> None:
    """The second run reads once, and that is all."""
    index.add_link(DATASET, LINK)
    server.clear()
    assert index.add_link(DATASET, LINK) is LinkState.UNCHANGED
    assert [request.method for request in server.requests] == ["GET"]


def test_says_pending_when_a_change_is_never_shown(
    index: SolrIndex, impatient: SolrIndex, server: SolrServer
) -> None:
    """What esg-search says that it changed is not added before it is shown."""
    server.updates_are_lost = True
    assert impatient.add_link(DATASET, LINK) is LinkState.PENDING
    server.heal()
    assert index.add_link(DATASET, LINK) is LinkState.ADDED


def test_does_not_believe_an_older_document(
    index: SolrIndex, server: SolrServer, transport: Transport
) -> None:
    """What esgcet wrote anew has no link, though the copy that is searched may show the older one's
    for a while.
    """
    index.add_link(DATASET, LINK)
    older = server.document(ID)
    registered = next(document for document in documents() if document["id"] == ID)
    fresh = SolrIndex(server.host, transport, poll_timeout_s=2, registered=registered)
    threading.Timer(0.3, server.add_document, [registered]).start()
    assert fresh.add_link(DATASET, LINK) is LinkState.ADDED
    assert fresh.add_link(DATASET, LINK) is LinkState.UNCHANGED
    assert server.document(ID)["url"]
    server.add_document(older)
    with pytest.raises(LinkError, match="which was registered") as caught:
        SolrIndex(server.host, transport, poll_timeout_s=0, registered=registered).add_link(
            DATASET, LINK
        )
    assert (caught.value.code, caught.value.retryable) == ("index-item-missing", True)


@pytest.mark.parametrize("authorized", [True, False])
def test_a_client_certificate(server: SolrServer, transport: Transport, authorized: bool) -> None:
    """Where the index wants one, it is shown with the change; without it the reason is told."""
    server.authorize = True
    certificate = server.client_certificate if authorized else None
    index = SolrIndex(server.host, transport, certificate=certificate, poll_timeout_s=2)
    if authorized:
        assert index.add_link(DATASET, LINK) is LinkState.ADDED
        return
    with pytest.raises(LinkError, match="401: User is not authorized") as caught:
        index.add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == ("index-http-401", False)


def test_a_server_that_cannot_be_verified_is_sent_nothing(server: SolrServer) -> None:
    """esgcet does not verify unless it is told to; ours always does, and says how to."""
    with (
        Transport(allowed_hosts=[server.host], retries=0) as transport,
        pytest.raises(LinkError, match="ca_bundle") as caught,
    ):
        SolrIndex(server.host, transport, poll_timeout_s=0).add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == ("index-unreachable", False)
    assert not server.requests


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        (Status(500), "index-http-500", True),
        (Unavailable(times=9), "index-http-503", True),
        (Reset(times=9), "index-unreachable", True),
        (LoginRedirect(), "index-unreachable", False),
        (HtmlPage(), "index-update-failed", False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refused_change_is_named(
    index: SolrIndex, server: SolrServer, fault: Any, code: str, retryable: bool
) -> None:
    """Whatever comes in place of `1 record updated`, nothing is taken for done."""
    server.fault(fault, "/esg-search/ws/*")
    with pytest.raises(LinkError) as caught:
        index.add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert index.links(DATASET) == ()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Status(500), "index-unreachable"),
        (Problem(200), "index-item-invalid"),
        (HtmlPage(), "index-unreachable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_without_documents_is_named(
    index: SolrIndex, server: SolrServer, fault: Any, code: str
) -> None:
    """A page that is no answer of Solr's is not an absent dataset."""
    server.fault(fault, "/esg-search/search")
    with pytest.raises(LinkError) as caught:
        index.find(DATASET)
    assert caught.value.code == code


def test_connects_by_name(server: SolrServer, transport: Transport) -> None:
    """It is registered as strangers' are."""
    assert isinstance(connect("solr", index_node=server.host, transport=transport), SolrIndex)
