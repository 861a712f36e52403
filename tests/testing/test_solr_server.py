"""The Solr test server answers real clients as an index node does, and goes wrong as told."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from esgvzarr.testing import SolrServer, Status

DATASET = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn.v20190406|data-node.example.org"
FILE = DATASET.replace("|", ".tas.nc|")
RECORDS = (
    {
        "id": FILE,
        "type": "File",
        "dataset_id": DATASET,
        "latest": "True",
        "url": ["https://x/tas.nc|application/netcdf|HTTPServer"],
    },
    {
        "id": DATASET,
        "type": "Dataset",
        "latest": "True",
        "replica": "False",
        "access": "HTTPServer",
        "size": "12",
        "pid": "hdl:x",
    },
)


@pytest.fixture
def server(solr_server: SolrServer) -> SolrServer:
    """With a dataset of one file, sent as esgcet sends it."""
    for record in RECORDS:
        fields = [
            (key, one)
            for key, value in record.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        answer = post(
            solr_server,
            "publish",
            "<doc>" + "".join(f'<field name="{k}">{v}</field>' for k, v in fields) + "</doc>",
        )
        assert answer.status_code == 200, answer.text
    return solr_server


def post(server: SolrServer, verb: str, body: Any) -> requests.Response:
    return requests.post(
        f"{server.url}/esg-search/ws/{verb}", data=body, verify=server.ca_bundle, timeout=5
    )


def search(server: SolrServer, **query: str) -> Any:
    url = f"{server.url}/esg-search/search/"
    asked = {"format": "application/solr+json", **query}
    return requests.get(url, params=asked, verify=server.ca_bundle, timeout=5).json()["response"]


def update(query: str, *, core: str = "datasets") -> str:
    field = '<field name="latest"><value>false</value></field>'
    return (
        f'<updates core="{core}" '
        f'action="set"><update><query>{query}</query>{field}</update></updates>'
    )


def test_documents_are_typed_as_in_solrs_schema(server: SolrServer) -> None:
    """Flags, counts, and lists even of one value; what is asked for are datasets, unless it is
    files.
    """
    (found,) = search(server)["docs"]
    assert (found["latest"], found["size"], found["access"], found["pid"]) == (
        True,
        12,
        ["HTTPServer"],
        "hdl:x",
    )
    assert search(server, type="File", fields="id")["docs"] == [{"id": FILE}]
    assert (
        search(server, id="nothing")["numFound"] == search(server, latest="false")["numFound"] == 0
    )


@pytest.mark.parametrize(
    ("text", "count"), [("latest:True AND pid:(hdl:y hdl:x)", 1), ("pid:hdl:y", 0), ("", 1)]
)
def test_a_search_may_be_in_solrs_own_words(server: SolrServer, text: str, count: int) -> None:
    """As esgpull asks: any of the values of each field."""
    assert search(server, query=text)["numFound"] == count


def test_facets_are_counted(server: SolrServer) -> None:
    """Values and counts by turns, of the facets that are asked for."""
    url = f"{server.url}/esg-search/search"
    asked = {"facets": "access", "limit": "0", "format": "application/solr+json"}
    found = requests.get(url, params=asked, verify=server.ca_bundle, timeout=5).json()
    assert (found["facet_counts"]["facet_fields"], found["response"]["docs"]) == (
        {"access": ["HTTPServer", 1]},
        [],
    )


def test_an_update_means_the_documents_of_its_query(server: SolrServer) -> None:
    """The answer says how many."""
    assert "updated: 1<" in post(server, "update", update(f"id={DATASET}")).text
    assert (
        "updated: 1<"
        in post(server, "update", update(f'dataset_id="{DATASET}"', core="files")).text
    )
    assert "updated: 0<" in post(server, "update", update("id=nothing")).text
    assert [server.document(name)["latest"] for name in (DATASET, FILE)] == [False, False]


@pytest.mark.parametrize(
    "body",
    ["", "<updates>", update("id=x|localhost:8443"), update(f"id={DATASET}", core="none"), "a & b"],
)
def test_what_esg_search_does_not_understand_is_400(server: SolrServer, body: str) -> None:
    """A port in an id that is not quoted is a field of Solr's."""
    assert post(server, "update", body).status_code == 400
    assert server.document(DATASET)["latest"] is True


@pytest.mark.parametrize(("verb", "left"), [("retract", [False, False]), ("delete", [])])
def test_a_dataset_goes_with_its_files(server: SolrServer, verb: str, left: list[bool]) -> None:
    """Retracted, both are still there."""
    assert post(server, verb, {"id": DATASET}).status_code == 200
    assert [
        document["latest"] for kind in ("Dataset", "File") for document in server.documents(kind)
    ] == left


def test_searches_follow_later(server: SolrServer) -> None:
    """The master has what its slave does not show yet."""
    server.delay_s = 60
    post(server, "update", update(f"id={DATASET}"))
    assert server.document(DATASET)["latest"] is False
    assert search(server)["docs"][0]["latest"] is True
    server.settle()
    assert search(server)["docs"][0]["latest"] is False


def test_a_client_without_a_certificate_may_only_read(server: SolrServer) -> None:
    """Where the index authorizes, it says whom."""
    server.authorize = True
    url = f"{server.url}/esg-search/ws/update"
    trust = server.ca_bundle
    assert post(server, "update", update(f"id={DATASET}")).status_code == 401
    shown = requests.post(
        url,
        data=update(f"id={DATASET}"),
        cert=str(server.client_certificate),
        verify=trust,
        timeout=5,
    )
    assert shown.status_code == 200
    assert search(server)["numFound"] == 1


def test_down_until_healed(server: SolrServer) -> None:
    """The log has what was sent meanwhile."""
    server.fault(Status(503), "/esg-search/ws/*")
    assert post(server, "update", "x").status_code == 503
    assert server.requests[-1].body == b"x"
    server.heal()
    assert post(server, "update", update(f"id={DATASET}")).status_code == 200
