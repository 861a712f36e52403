"""The Globus Search test server speaks with the real globus-sdk."""

from __future__ import annotations

from typing import Any

import pytest

from esgvzarr.testing import GlobusServer
from esgvzarr.testing.globus import CLIENT_ID, CLIENT_SECRET

globus_sdk = pytest.importorskip("globus_sdk", reason="globus-sdk is in the extra `publisher`")

SUBJECT = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn.v20190406|data-node.example.org"
CONTENT = {"id": SUBJECT, "type": "Dataset", "variable_id": ["tas"], "latest": True}


@pytest.fixture
def server(globus_server: GlobusServer) -> GlobusServer:
    globus_server.add_entry(CONTENT)
    globus_server.add_entry(
        {**CONTENT, "id": f"secret|{SUBJECT}"}, visible_to=["urn:globus:groups:id:x"]
    )
    return globus_server


def writer(secret: str = CLIENT_SECRET) -> Any:
    client = globus_sdk.ConfidentialAppAuthClient(CLIENT_ID, secret)
    scope = globus_sdk.SearchClient.scopes.all
    return globus_sdk.SearchClient(authorizer=globus_sdk.ClientCredentialsAuthorizer(client, scope))


def ingest_of(content: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "id": "dataset",
        "subject": content["id"],
        "visible_to": ["public"],
        "content": content,
    }
    return {"ingest_type": "GMetaEntry", "ingest_data": entry}


def test_a_subject_has_entries_and_says_not_who_sees_them(server: GlobusServer) -> None:
    """Globus Search keeps `visible_to` to itself."""
    found = globus_sdk.SearchClient().get_subject(server.index_uuid, SUBJECT)
    assert found["entries"] == [
        {"content": CONTENT, "entry_id": "dataset", "matched_principal_sets": []}
    ]


def test_who_may_not_see_an_entry_finds_none(server: GlobusServer) -> None:
    """404 to the public, as for what is not there."""
    with pytest.raises(globus_sdk.SearchAPIError) as caught:
        globus_sdk.SearchClient().get_subject(server.index_uuid, f"secret|{SUBJECT}")
    assert caught.value.http_status == 404
    assert (
        writer().get_subject(server.index_uuid, f"secret|{SUBJECT}")["subject"].startswith("secret")
    )


@pytest.mark.parametrize(
    ("kind", "values", "count"),
    [("match_all", ["tas"], 1), ("match_all", ["tas", "pr"], 0), ("match_any", ["tas", "pr"], 1)],
)
def test_filters(server: GlobusServer, kind: str, values: list[str], count: int) -> None:
    """All of the values, or any."""
    query = {"q": "", "filters": [{"type": kind, "field_name": "variable_id", "values": values}]}
    assert globus_sdk.SearchClient().post_search(server.index_uuid, query)["total"] == count


def test_a_scroll_goes_through_all_pages(server: GlobusServer) -> None:
    """Each page says where the next one begins."""
    server.add_entry({**CONTENT, "id": f"other|{SUBJECT}"})
    query = {
        "q": "",
        "limit": 1,
        "filters": [{"type": "match_any", "field_name": "variable_id", "values": ["tas"]}],
    }
    pages = list(globus_sdk.SearchClient().paginated.scroll(server.index_uuid, query))
    assert [found["subject"] for page in pages for found in page["gmeta"]] == [
        SUBJECT,
        f"other|{SUBJECT}",
    ]


def test_an_ingest_is_a_task_that_replaces_the_entry(server: GlobusServer) -> None:
    """Pending at first, and not shown; then done, and what was there before is gone."""
    server.delay_s = 60
    client = writer()
    task = client.ingest(server.index_uuid, ingest_of({"id": SUBJECT, "type": "Dataset"}))[
        "task_id"
    ]
    assert client.get_task(task)["state"] == "PENDING"
    assert server.content(SUBJECT) == CONTENT
    server.settle()
    assert client.get_task(task)["state"] == "SUCCESS"
    assert server.content(SUBJECT) == {"id": SUBJECT, "type": "Dataset"}


def test_a_task_may_fail(server: GlobusServer) -> None:
    """It was taken all the same."""
    server.failure = "mapping conflict"
    client = writer()
    task = client.get_task(client.ingest(server.index_uuid, ingest_of({"id": SUBJECT}))["task_id"])
    assert (task["state"], task["message"]) == ("FAILED", "mapping conflict")
    assert server.content(SUBJECT) == CONTENT


def test_writing_needs_a_login(server: GlobusServer) -> None:
    """Neither without a token, nor with the wrong secret."""
    with pytest.raises(globus_sdk.SearchAPIError) as caught:
        globus_sdk.SearchClient().ingest(server.index_uuid, ingest_of(CONTENT))
    assert caught.value.http_status == 401
    with pytest.raises(globus_sdk.AuthAPIError):
        writer("wrong").ingest(server.index_uuid, ingest_of(CONTENT))
