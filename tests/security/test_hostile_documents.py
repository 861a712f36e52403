"""Records, items, catalogues and answers of indexes that are built to harm: a result, or a typed
error, and never another.
"""

from __future__ import annotations

import contextlib
import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources.test_records import (
    DSID,
    NODE,
    asset,
    dataset_record,
    file_record,
    globus_flavour,
    item,
)

from esgvzarr.errors import EsgvzarrError, LinkError, SourceError, TransportError, plain
from esgvzarr.indexes import asset as stac_asset
from esgvzarr.indexes import dataset_document
from esgvzarr.indexes.solr import SolrIndex
from esgvzarr.indexes.stac import StacIndex
from esgvzarr.model import AccessLink, DatasetId, Finding
from esgvzarr.sources import read_source
from esgvzarr.sources.thredds_page import MAX_ELEMENTS, parse_catalogue
from esgvzarr.testing.loopback import Asked, LoopbackServer, Response, text_response
from esgvzarr.transport import Transport

ID = DatasetId.parse(DSID)
LINK = AccessLink(f"https://{NODE}/x.json", NODE, "application/json", ("data",), 5, "0" * 64, {})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=10)
    | st.sampled_from(
        [
            "File",
            "Dataset",
            DSID,
            f"{DSID}|{NODE}",
            NODE,
            "http://[",
            "http://a:99999/",
            "//",
            "../a.nc",
            "\x00",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
TRANSPORT = Transport()
SEVERAL = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of all that a document holds."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def with_something_else(document: Any, data: st.DataObject) -> Any:
    """The document, at one or two places something else."""
    document = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 2))):
        *parents, last = data.draw(st.sampled_from([path for path in places(document) if path]))
        target = document
        for key in parents:
            target = target[key]
        target[last] = data.draw(JSON)
    return document


LINKED = {
    "href": "https://x/x.json",
    "roles": ["data"],
    "file:size": 5,
    "xarray:open_kwargs": {},
    "file:local_path": "x",
    "alternate": {"n": {"href": "https://n/"}},
}
ITEM = item({"a.nc": asset("a.nc"), "reference_file": LINKED}, access=["HTTPServer"])
DOCUMENTS = {
    "solr": [file_record("a.nc"), dataset_record(1)],
    "globus": [globus_flavour(file_record("a.nc")), globus_flavour(dataset_record(1))],
    "item": ITEM,
}


@pytest.mark.parametrize("kind", DOCUMENTS)
@given(data=st.data())
@SEVERAL
def test_any_json_is_a_dataset_or_a_typed_error(
    kind: str, data: st.DataObject, tmp_path: Path
) -> None:
    """Records and items in which anything is replaced by anything. What comes out has names that
    are no paths.
    """
    path = tmp_path / "document.json"
    path.write_text(json.dumps(with_something_else(DOCUMENTS[kind], data)))
    with contextlib.suppress(EsgvzarrError):
        record = read_source([str(path)], None, TRANSPORT, {})
        assert not any("/" in file.name or "\0" in file.name for file in record.files)
        assert "/" not in str(record.id)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        f"[{'9' * 100_000}]",
        '[{"type": "File", "size": 1e99999}]',
        "[NaN]",
        '["\\ud800"]',
        '[{"type": "Dataset", "type": "File", "type": 5}]',
        "{}",
        "[]",
        "[null]",
        '{"type": "Feature"}',
        '{"type": []}',
        '{"type": "Feature", "id": {}, "properties": [], "assets": 5}',
        "\ufeff[1]",
    ],
)
def test_json_that_is_built_to_harm_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "document.json"
    path.write_text(text)
    with Transport() as transport, pytest.raises(SourceError):
        read_source([str(path)], None, transport, {})


@given(data=st.data())
@SEVERAL
def test_any_item_of_an_index_is_understood_or_refused(data: st.DataObject) -> None:
    """What an index shows is what others published there. Where it is an item at all, the plans are
    made, or a LinkError.
    """
    changed = with_something_else(ITEM, data)
    kinds = {"id": str, "collection": str, "properties": dict, "assets": dict}
    if not isinstance(changed, dict) or not all(
        isinstance(changed.get(name), kind) for name, kind in kinds.items()
    ):
        return  # `find` refuses it
    stac_asset.read_links(changed)
    stac_asset.plan_removal(changed, LINK)
    stac_asset.plan_access(changed)
    with contextlib.suppress(LinkError):
        operation = stac_asset.plan(changed, LINK, datetime.now(UTC))
        assert operation is not None
        stac_asset.check_asset(
            stac_asset.present_nodes(stac_asset.apply(changed, operation))[NODE], changed
        )


@given(data=st.data())
@SEVERAL
def test_any_document_of_a_legacy_index_is_understood(data: st.DataObject) -> None:
    document = with_something_else(
        {**dataset_record(1), "url": ["a|b|VirtualZarr"], "access": ["x"], "xlink": ["a|b|c"]}, data
    )
    dataset_document.read_links(document)
    change = dataset_document.plan(document, LINK)
    assert change is not None
    assert dataset_document.plan(dataset_document.apply(document, change), LINK) is None
    dataset_document.plan_removal(document, LINK)


class Answering(LoopbackServer):
    """Says the same to everybody."""

    body = b""

    def answer(self, asked: Asked) -> Response:
        return text_response(200, self.body.decode("latin-1"), "application/json")


ANSWERS = [
    b"[" * 10**6,
    b'{"response":' * 10**5,
    b'{"id":' + b"9" * 10**5 + b"}",
    b"NaN",
    b"null",
    b'"x"',
    b"5",
    b"{}",
    b"[]",
    b'{"response": {"docs": {}}}',
    b'{"response": {"docs": [5]}}',
    b'{"response": []}',
    b'{"id": [], "assets": {}}',
    b'{"features": [{"properties": 5}]}',
    b'{"features": [{"assets": []}, 5]}',
    b"\xff\xfe",
    b"",
]


@pytest.mark.parametrize("body", ANSWERS, ids=range(len(ANSWERS)))
def test_whatever_an_index_answers_the_error_is_a_link_error(body: bytes) -> None:
    with Answering() as server, Transport(allowed_hosts=[server.host], retries=0) as transport:
        server.body = body
        index = StacIndex(server.url, None, transport, poll_timeout_s=0)  # type: ignore[arg-type]
        for ask in (lambda: index.links(ID), index.search):
            with pytest.raises(LinkError):
                ask()
    with (
        Answering(tls=True) as server,
        Transport(allowed_hosts=[server.host], retries=0, ca_bundle=server.ca_bundle) as transport,
    ):
        server.body = body
        with pytest.raises(LinkError):
            SolrIndex(server.host, transport, poll_timeout_s=0).links(ID)


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        ({"features": [], "links": [{"rel": "next", "href": "https://x/?page=2"}]}, False),
        (
            {"features": [{"id": DSID}], "links": [{"rel": "next", "href": "https://x/?page=2"}]},
            True,
        ),
        ({"features": [{"id": DSID}], "links": [5, {"rel": "next"}, {}]}, False),
        ({"features": [{"id": DSID}], "links": 5}, False),
    ],
)
def test_pages_of_a_search_that_list_nothing_are_the_last(answer: object, goes_on: bool) -> None:
    """Or an index could name a next page for ever."""
    with Answering() as server, Transport(allowed_hosts=[server.host], retries=0) as transport:
        server.body = json.dumps(answer).encode()
        index = StacIndex(server.url, None, transport, poll_timeout_s=0)  # type: ignore[arg-type]
        assert bool(index.search().next_page) == goes_on


def catalogue(inside: str) -> bytes:
    return (
        "<catalog "
        f"xmlns='http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0'>{inside}</catalog>"
    ).encode()


def test_a_page_of_too_many_elements_is_refused() -> None:
    """One in the other, without end: nothing that is built of them is ever walked."""
    with pytest.raises(SourceError, match="more than"):
        parse_catalogue(catalogue("<a>" * (MAX_ELEMENTS + 1)), "https://node.example/catalog.xml")


def test_giant_attributes_do_not_fill_messages() -> None:
    """A catalogue may state a size of ten million digits. The error, the log and the ledger have
    the first of them.
    """
    service = '<service name="s" serviceType="HTTPServer" base="/f/"/>'
    size = "x" * 10**7
    file = (
        f'<dataset serviceName="s" urlPath="a.nc"><property name="size" value="{size}"/></dataset>'
    )
    with pytest.raises(SourceError) as caught:
        parse_catalogue(catalogue(service + file), "https://node.example/catalog.xml")
    assert len(str(caught.value)) < 50_000


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\x07", "line\nERROR forged", "\r", "\x9b2J", "\u202egnp.exe", "\x00"]
)
def test_words_of_strangers_move_no_cursor_and_forge_no_line(text: str) -> None:
    """Of catalogues, records, files and servers, in errors and in warnings."""
    for said in (
        str(TransportError(text, text)),
        str(Finding("code", 1, text, text, text)),
        plain(text),
    ):
        assert said.isprintable()
