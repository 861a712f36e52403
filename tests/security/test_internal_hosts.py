"""A URL that two parsers read differently leads no request to a host of the operator's own
network: given directly, by a redirect, a catalogue, a record, an item or a reference file.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from esgvzarr.errors import EsgvzarrError, TransportError
from esgvzarr.model import DatasetId
from esgvzarr.proof.reference_side import check_places
from esgvzarr.sources.plain_files import from_locations
from esgvzarr.sources.records import from_records, from_stac_item
from esgvzarr.sources.thredds import read_catalogue
from esgvzarr.testing import DATASET_ID, make_item
from esgvzarr.transport import Range, Transport
from security.test_security import Hostile

ID = DatasetId.parse(DATASET_ID)
NODE = "node.example"


@pytest.fixture
def internal() -> Iterator[socket.socket]:
    """A server that must get no connection: a test that leads there fails."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def crafted(internal: socket.socket, named: str = NODE) -> str:
    """For urllib's parser on the host that was named, for urllib3's on the internal one."""
    return f"http://127.0.0.1:{internal.getsockname()[1]}\\@{named}/a.nc"


@pytest.mark.parametrize("by_operator", [True, False])
def test_no_request_leads_there(internal: socket.socket, by_operator: bool) -> None:
    url = crafted(internal)
    with Transport(timeout_s=2, retries=0) as transport:
        transport.allow(NODE, named=by_operator)
        for read in (
            lambda: transport.read_document(url),
            lambda: transport.read_heads([url], 8),
            lambda: transport.read_ranges([Range(url, 0, 8)]),
            lambda: transport.ask(url),
            lambda: transport.post(url, b"", "text/plain"),
        ):
            with pytest.raises(TransportError) as caught:
                read()
            assert caught.value.code == "transport-bad-url"


@pytest.mark.parametrize(
    "target", ["http://[", "//[", "http://user@{host}/", "/a b", "{internal}", "\\\\{host}\\a"]
)
def test_a_redirect_to_no_url_has_a_code(internal: socket.socket, target: str) -> None:
    """`http://[` ended in a ValueError; a backslash led to the internal host."""
    answer = "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with Hostile(b"", b"") as node, Transport(timeout_s=2, retries=0) as transport:
        place = target.format(host=node.host, internal=crafted(internal, node.host))
        node._start = answer.format(place).encode()
        transport.allow(node.host, named=True)
        transport.allow("localhost", named=True)
        with pytest.raises(TransportError) as caught:
            transport.read_document(node.url)
        assert caught.value.code == "transport-redirected"
        with pytest.raises(TransportError) as caught:
            transport.post(node.url, b"", "text/plain")
        assert caught.value.code == "transport-redirected"


def test_a_catalogue_page_does_not_lead_there(internal: socket.socket) -> None:
    """Neither by a link to another page, nor by the base of its services."""
    namespaces = (
        'xmlns="http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0" '
        'xmlns:xlink="http://www.w3.org/1999/xlink"'
    )
    with Hostile(b"", b"") as node, Transport(timeout_s=2, retries=0) as transport:
        transport.allow(node.host, named=True)
        url = crafted(internal, node.host)
        link = f'<catalogRef xlink:title="{ID}" xlink:href="{url}"/>'
        files = (
            f'<service name="s" serviceType="HTTPServer" base="{url}/"/>'
            f'<dataset ID="{ID}" name="{ID}"><dataset name="a.nc" urlPath="a.nc" '
            'serviceName="s"/></dataset>'
        )
        for body, code in ((link, "source-none"), (files, "source-url")):
            page = f"<catalog {namespaces}>{body}</catalog>".encode()
            head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(page)}\r\n\r\n"
            node._start = head.encode() + page
            with pytest.raises(EsgvzarrError) as caught:
                read_catalogue(node.url, transport, ID)
            assert caught.value.code == code


def test_records_items_and_plain_urls_do_not_name_it(internal: socket.socket) -> None:
    url = crafted(internal)
    dataset = {
        "type": "Dataset",
        "id": f"{ID}|{NODE}",
        "instance_id": str(ID),
        "data_node": NODE,
    }
    file = {
        "type": "File",
        "dataset_id": f"{ID}|{NODE}",
        "title": "a.nc",
        "url": [f"{url}|application/netcdf|HTTPServer"],
    }
    for read, code in (
        (lambda: from_records([file, dataset]), "source-url"),
        (lambda: from_stac_item(make_item(DATASET_ID, {"a.nc": url})), "source-record"),
        (lambda: from_locations([url], ID), "source-url"),
    ):
        with pytest.raises(EsgvzarrError) as caught:
            read()
        assert caught.value.code == code


def test_a_reference_file_does_not_lead_there(internal: socket.socket, tmp_path: Path) -> None:
    with Transport(allowed_hosts=[NODE]) as transport, pytest.raises(TransportError) as caught:
        check_places([crafted(internal)], transport, str(tmp_path / "references.json"), ())
    assert caught.value.code == "transport-bad-url"


def test_a_reference_file_may_lead_to_an_ipv6_host(tmp_path: Path) -> None:
    """``::`` in the host chains no file systems."""
    with Transport(allowed_hosts=["[::1]:8080"]) as transport:
        check_places(["http://[::1]:8080/a.nc"], transport, str(tmp_path / "r.json"), ())
        with pytest.raises(EsgvzarrError) as caught:
            check_places(["http://[::1]:8080/a.nc::file:///etc"], transport, "r.json", ())
    assert caught.value.code == "proof-place-refused"
