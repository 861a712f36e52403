"""An index of Globus Search, spoken to by the real globus-sdk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.errors import EsgvzarrError, LinkError, PublisherError
from esgvzarr.indexes import LinkState, connect
from esgvzarr.indexes.dataset_document import document_id
from esgvzarr.indexes.globus import LOGIN, GlobusIndex
from esgvzarr.model import AccessLink
from esgvzarr.testing.conformance import DATASET, LINK, NODE, OTHER_NODES, RECORD, IndexTests
from esgvzarr.testing.faults import HtmlPage, Problem, Reset, Status
from esgvzarr.testing.globus import (
    CLIENT_ID,
    CLIENT_SECRET,
    REFRESH_TOKEN,
    RESOURCE_SERVER,
    SCOPE,
    TOKEN,
    GlobusServer,
)

pytest.importorskip("globus_sdk", reason="globus-sdk is in the extra `publisher`")

ID = document_id(DATASET, NODE)


def documents() -> Iterator[dict[str, Any]]:
    """DATASET as two data nodes registered it, files first, in the form of esgcet's
    GlobusSearchIngest.
    """
    for node in (OTHER_NODES.data_node, NODE):
        common = {
            "project": ["CMIP6"],
            "variable_id": ["siconc"],
            "data_node": node,
            "index_node": None,
            "replica": node != NODE,
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
            yield {**common, **own, "type": "File", "title": file.name, "size": file.size}
        own = {
            "id": document_id(DATASET, node),
            "instance_id": str(DATASET),
            "version": int(DATASET.version),
        }
        yield {
            **common,
            **own,
            "type": "Dataset",
            "access": ["HTTPServer", "Globus"],
            "_timestamp": "2026-11-20T14:59:24.241133Z",
        }


@pytest.fixture
def server(globus_server: GlobusServer) -> GlobusServer:
    """An index with DATASET."""
    for document in documents():
        globus_server.add_entry(document)
    return globus_server


@pytest.fixture
def index(server: GlobusServer) -> GlobusIndex:
    return GlobusIndex(server.index_uuid, poll_timeout_s=2, retries=0)


@pytest.fixture
def impatient(server: GlobusServer) -> GlobusIndex:
    """It waits for what is not shown in the end."""
    return GlobusIndex(server.index_uuid, poll_timeout_s=0.3, retries=0)


class _Shown(IndexTests):
    @pytest.fixture
    def impatient_index(self, impatient: GlobusIndex) -> GlobusIndex:
        return impatient

    def shown(self, link: AccessLink) -> AccessLink:
        """A document has no place for size, checksum and what it is opened with."""
        return replace(link, roles=(), size=0, sha256="", open_kwargs={}, local_path=None)

    def rest(self, record: Mapping[str, Any]) -> Any:
        """All of it."""
        return dict(record)


class TestConformance(_Shown):
    """A task is done as soon as it was taken."""


class TestConformanceQueued(_Shown):
    """A task takes its time, as they do."""

    @pytest.fixture(autouse=True)
    def _queued(self, server: GlobusServer) -> None:
        server.delay_s = 0.05


def ingests(server: GlobusServer) -> list[Any]:
    return [
        json.loads(request.body) for request in server.requests if request.path.endswith("/ingest")
    ]


def test_changes_the_data_nodes_dataset_document_only(
    index: GlobusIndex, server: GlobusServer
) -> None:
    """File documents, and the other data node's, stay as they are; the rest of the document too,
    for it is sent whole.
    """
    before = {
        document["id"]: document
        for kind in ("file", "dataset")
        for document in server.contents(kind)
    }
    assert index.add_link(DATASET, LINK) is LinkState.ADDED
    after = {
        document["id"]: document
        for kind in ("file", "dataset")
        for document in server.contents(kind)
    }
    changed = after.pop(ID)
    assert after == {
        identifier: document for identifier, document in before.items() if identifier != ID
    }
    assert changed == {
        **before[ID],
        "access": ["HTTPServer", "Globus", "VirtualZarr"],
        "url": [f"{LINK.href}|application/vnd.zarr+kerchunk|VirtualZarr"],
        "xlink": [f"{LINK.href}|Virtual Zarr (kerchunk) reference|supdata"],
    }


def test_sends_the_entry_in_esgcets_form(index: GlobusIndex, server: GlobusServer) -> None:
    """The same subject and entry id replace the entry; another id would stand beside it."""
    index.add_link(DATASET, LINK)
    (ingest,) = ingests(server)
    assert ingest["ingest_type"] == "GMetaList"
    (entry,) = ingest["ingest_data"]["gmeta"]
    assert {key: value for key, value in entry.items() if key != "content"} == {
        "id": "dataset",
        "subject": ID,
        "visible_to": ["public"],
    }


def test_what_not_all_may_see_is_not_made_public(
    impatient: GlobusIndex, server: GlobusServer
) -> None:
    """Globus Search does not say who may see an entry, so what is not seen without a login is not
    written.
    """
    for document in documents():
        server.add_entry(document, visible_to=["urn:globus:groups:id:x"])
    with pytest.raises(LinkError) as caught:
        impatient.add_link(DATASET, LINK)
    assert caught.value.code == "index-item-missing"
    assert ingests(server) == []


def test_reads_without_a_login(
    index: GlobusIndex, server: GlobusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading needs no login."""
    index.add_link(DATASET, LINK)
    server.clear()
    monkeypatch.delenv("GLOBUS_CLI_CLIENT_SECRET")
    again = GlobusIndex(server.index_uuid, poll_timeout_s=0)
    assert again.add_link(DATASET, LINK) is LinkState.UNCHANGED
    assert again.find(DATASET) is not None
    assert [request.headers.get("Authorization") for request in server.requests] == [None, None]


def test_finds_the_original_before_replicas(index: GlobusIndex) -> None:
    """The documents of all data nodes are one dataset's; the record is that of the original."""
    record = index.find(DATASET)
    assert record is not None
    assert record["id"] == ID


def test_does_not_build_on_an_older_document(server: GlobusServer) -> None:
    """An ingest replaces the whole entry: built on an older one, it would undo what was registered
    just now.
    """
    registered = {**server.content(ID), "title": "new", "_timestamp": "2026-11-21T00:00:00.000000Z"}
    index = GlobusIndex(server.index_uuid, poll_timeout_s=2, registered=registered)
    threading.Timer(0.3, server.add_entry, [registered]).start()
    assert index.add_link(DATASET, LINK) is LinkState.ADDED
    assert server.content(ID)["title"] == "new"


def test_says_pending_when_the_queue_is_long(impatient: GlobusIndex, server: GlobusServer) -> None:
    """A task that is still waiting is neither a success nor a failure."""
    server.delay_s = 60
    assert impatient.add_link(DATASET, LINK) is LinkState.PENDING


def test_a_task_that_may_not_be_looked_at_is_not_a_failed_one(
    impatient: GlobusIndex, server: GlobusServer
) -> None:
    """The ingest was taken, and may be done later."""
    server.delay_s = 60
    server.fault(Status(403), "/v1/task/*")
    assert impatient.add_link(DATASET, LINK) is LinkState.PENDING


def test_says_why_a_task_failed(index: GlobusIndex, server: GlobusServer) -> None:
    """A task that was taken may fail later: its message is what the operator needs."""
    server.failure = "field url: mapping conflict"
    with pytest.raises(LinkError, match="mapping conflict") as caught:
        index.add_link(DATASET, LINK)
    assert caught.value.code == "index-update-failed"


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        (Status(403), "index-http-403", False),
        (Status(503), "index-http-503", True),
        (Reset(times=9), "index-unreachable", True),
        (HtmlPage(), "index-update-failed", False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refused_change_is_named(
    index: GlobusIndex, server: GlobusServer, fault: Any, code: str, retryable: bool
) -> None:
    """The codes are those of the other indexes."""
    server.fault(fault, "*/ingest")
    with pytest.raises(LinkError) as caught:
        index.add_link(DATASET, LINK)
    assert (caught.value.code, caught.value.retryable) == (code, retryable)


def test_shows_why_the_index_refuses(index: GlobusIndex, server: GlobusServer) -> None:
    """The message is what the operator needs. A token that is sent back is not."""
    server.fault(Problem(403, "Forbidden", f"You are no writer of this index, {TOKEN}"), "*/ingest")
    with pytest.raises(LinkError, match="HTTP 403: You are no writer") as caught:
        index.add_link(DATASET, LINK)
    assert not _secrets(caught.value)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Status(500), "index-http-500"),
        (HtmlPage(), "index-item-invalid"),
        (Reset(times=9), "index-unreachable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_answer_without_documents_is_named(
    index: GlobusIndex, server: GlobusServer, fault: Any, code: str
) -> None:
    """A page that is no answer of the index is not an absent dataset."""
    server.fault(fault, "*/search")
    server.fault(fault, "*/subject")
    for ask in (lambda: index.find(DATASET), lambda: index.remove_link(DATASET, LINK)):
        with pytest.raises(LinkError) as caught:
            ask()
        assert caught.value.code == code


def test_an_environment_that_globus_sdk_does_not_take_is_named(
    index: GlobusIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variables are globus-sdk's own."""
    monkeypatch.setenv("GLOBUS_SDK_VERIFY_SSL", "/no/such/file")
    with pytest.raises(LinkError, match="GLOBUS_SDK_") as caught:
        index.find(DATASET)
    assert caught.value.code == "index-failed"


def keep_login(
    home: Path, *, refresh_token: str = REFRESH_TOKEN, expires_in_s: int = 3600, profile: str = ""
) -> None:
    """What ``globus login`` leaves."""
    from globus_sdk.token_storage.legacy import SQLiteAdapter

    path = home / LOGIN.relative_to("~")
    path.parent.mkdir(parents=True, exist_ok=True)
    adapter = SQLiteAdapter(path, namespace=f"userprofile/production{profile}")
    adapter.store_config(
        "auth_client_data", {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    )
    token = {
        "scope": SCOPE,
        "access_token": TOKEN if expires_in_s > 0 else "an old one",
        "refresh_token": refresh_token,
        "token_type": "Bearer",
        "expires_at_seconds": int(time.time()) + expires_in_s,
        "resource_server": RESOURCE_SERVER,
    }
    adapter._connection.execute(
        "REPLACE INTO token_storage VALUES (?, ?, ?)",
        (adapter.namespace, RESOURCE_SERVER, json.dumps(token)),
    )
    adapter._connection.commit()
    adapter.close()


class TestLogin:
    """Of the ``globus`` program, which esgcet uses."""

    @pytest.fixture(autouse=True)
    def _no_login(self, server: GlobusServer, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("GLOBUS_CLI_CLIENT_ID", "GLOBUS_CLI_CLIENT_SECRET"):
            monkeypatch.delenv(name)

    def test_of_globus_login_is_used(
        self, index: GlobusIndex, server: GlobusServer, tmp_path: Path
    ) -> None:
        """No setting is needed where esgcet works."""
        keep_login(tmp_path)
        assert index.add_link(DATASET, LINK) is LinkState.ADDED
        assert not any("oauth2" in request.path for request in server.requests)

    def test_of_a_profile(
        self, index: GlobusIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``GLOBUS_PROFILE`` holds, as it does for the program."""
        keep_login(tmp_path, profile="/other")
        monkeypatch.setenv("GLOBUS_PROFILE", "other")
        assert index.add_link(DATASET, LINK) is LinkState.ADDED

    def test_is_renewed_and_kept(self, server: GlobusServer, tmp_path: Path) -> None:
        """A token that ran out is renewed once, and kept for the next run."""
        keep_login(tmp_path, expires_in_s=-10)
        for link, renewed in ((LINK, 1), (replace(LINK, href=LINK.href + ".2"), 0)):
            server.clear()
            assert (
                GlobusIndex(server.index_uuid, poll_timeout_s=1).add_link(DATASET, link)
                is LinkState.ADDED
            )
            assert sum("oauth2" in request.path for request in server.requests) == renewed

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda home: None,
            lambda home: keep_login(home, profile="/other"),
            lambda home: keep_login(home, refresh_token="revoked", expires_in_s=-10),
            lambda home: (
                keep_login(home),
                (home / LOGIN.relative_to("~")).write_bytes(b"no database" * 99),
            ),
        ],
        ids=["none", "other-profile", "revoked", "no-database"],
    )
    def test_that_does_not_work_is_said(
        self, index: GlobusIndex, tmp_path: Path, spoil: Callable[[Path], Any]
    ) -> None:
        """What to run is named; no token is."""
        spoil(tmp_path)
        with pytest.raises(PublisherError, match="globus login") as caught:
            index.add_link(DATASET, LINK)
        assert caught.value.code == "publisher-login"
        assert not _secrets(caught.value)

    def test_as_a_client_that_is_not_known(
        self, index: GlobusIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The client's secret is not repeated."""
        monkeypatch.setenv("GLOBUS_CLI_CLIENT_ID", CLIENT_ID)
        monkeypatch.setenv("GLOBUS_CLI_CLIENT_SECRET", "wrong-secret-that-stays-hidden")
        with pytest.raises(PublisherError, match="HTTP 401") as caught:
            index.add_link(DATASET, LINK)
        assert not _secrets(caught.value)


def _secrets(error: EsgvzarrError) -> bool:
    return "that-stays-hidden" in f"{error} {error.__cause__!r}"


def test_connects_by_name(server: GlobusServer) -> None:
    """It is registered as strangers' are."""
    assert isinstance(connect("globus", index_uuid=server.index_uuid), GlobusIndex)
