"""What the operator names is known by what it holds, not by what it is called."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.errors import SourceError, TransportError
from esgvzarr.model import DatasetId
from esgvzarr.sources import read_source, recognise
from esgvzarr.testing import ThreddsServer
from esgvzarr.transport import Transport

MASTER = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn"
DSID = f"{MASTER}.v20190406"
ID = DatasetId(MASTER, "20190406")
OTHER = DatasetId(MASTER, "20200101")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreddsServer]:
    root = tmp_path / "data"
    root.mkdir()
    (root / "a.nc").write_bytes(b"CDF\x01")
    with ThreddsServer(root) as running:
        yield running


@pytest.fixture
def transport() -> Iterator[Transport]:
    """One that may fetch from nowhere yet."""
    with Transport(retries=0, timeout_s=5) as running:
        yield running


@pytest.fixture
def documents(server: ThreddsServer) -> dict[str, bytes]:
    """The same dataset, described in each way."""
    url = server.url_of("a.nc")
    file = {
        "type": "File",
        "title": "a.nc",
        "dataset_id": f"{DSID}|{server.host}",
        "url": f"{url}|application/netcdf|HTTPServer",
    }
    dataset = {
        "type": "Dataset",
        "id": f"{DSID}|{server.host}",
        "instance_id": DSID,
        "data_node": server.host,
    }
    asset = {
        "href": url,
        "type": "application/netcdf",
        "roles": ["data"],
        "alternate:name": server.host,
    }
    item = {"type": "Feature", "id": DSID, "properties": {}, "assets": {"a.nc": asset}}
    return {
        "records": json.dumps([file, dataset]).encode(),
        "records by id": json.dumps({"1": file, "2": dataset}).encode(),
        "item": b"\xef\xbb\xbf" + json.dumps(item, indent=1).encode(),
        "mapfile": f"{MASTER}#20190406 | {server.root}/a.nc | 4 | mod_time=1.0\n".encode(),
    }


@pytest.mark.parametrize("remote", [False, True], ids=["path", "url"])
@pytest.mark.parametrize("kind", ["records", "records by id", "item", "mapfile"])
def test_each_description_gives_the_same_files(
    server: ThreddsServer,
    transport: Transport,
    documents: dict[str, bytes],
    kind: str,
    remote: bool,
) -> None:
    (server.root / "document").write_bytes(documents[kind])
    source = server.url_of("document") if remote else str(server.root / "document")
    prefix = server.url_of("x").removesuffix("/x")
    record = read_source([source], None, transport, {str(server.root): prefix})
    assert (record.id, record.data_node) == (ID, server.host)
    assert [(file.url, file.path) for file in record.files] == [
        (server.url_of("a.nc"), str(server.root / "a.nc"))
    ]
    with pytest.raises(SourceError, match=DSID) as mismatch:
        read_source([source], OTHER, transport, {str(server.root): prefix})
    assert mismatch.value.code == "source-mismatch"


def test_a_catalogue_is_known_by_its_content(server: ThreddsServer, transport: Transport) -> None:
    url = server.add_dataset(DSID, ["a.nc"])
    assert [file.url for file in read_source([url], None, transport, {}).files] == [
        server.url_of("a.nc")
    ]
    assert read_source([url.replace(".xml", ".html")], None, transport, {}).id == ID
    assert read_source([server.catalog_url], ID, transport, {}).id == ID


def test_a_netcdf_url_is_not_fetched_to_know_it(
    server: ThreddsServer, transport: Transport
) -> None:
    record = read_source([server.url_of("a.nc")], ID, transport, {})
    assert (record.data_node, [file.name for file in record.files]) == (server.host, ["a.nc"])
    assert len(server.requests) == 0


def test_netcdf_is_known_by_its_first_bytes(server: ThreddsServer, transport: Transport) -> None:
    path = server.root / "named-otherwise"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    assert read_source([str(path)], ID, transport, {}).files[0].size == 8
    assert read_source([server.url_of(path.name)], ID, transport, {}).files[0].url == server.url_of(
        path.name
    )


def test_several_plain_files_and_directories_may_be_given(
    server: ThreddsServer, transport: Transport, tmp_path: Path
) -> None:
    (tmp_path / "b.nc").write_bytes(b"CDF\x01")
    record = read_source([str(server.root), str(tmp_path / "b.nc")], ID, transport, {})
    assert [file.name for file in record.files] == ["a.nc", "b.nc"]


def test_of_other_kinds_exactly_one(server: ThreddsServer, transport: Transport) -> None:
    catalogue = server.add_dataset(DSID, ["a.nc"])
    with pytest.raises(SourceError, match="exactly one of another kind"):
        read_source([catalogue, server.url_of("a.nc")], None, transport, {})


def test_plain_files_need_a_dataset_id(server: ThreddsServer, transport: Transport) -> None:
    with pytest.raises(SourceError, match="--dataset-id"):
        read_source([server.url_of("a.nc")], None, transport, {})


def test_published_files_are_found_on_disk_through_data_paths(
    server: ThreddsServer, transport: Transport
) -> None:
    prefix = server.url_of("x").removesuffix("/x")
    urls = [
        server.url_of("a.nc"),
        f"{prefix}/c%20d.nc",
        f"{prefix}/%2e%2e/etc/passwd.nc",
        f"{prefix}xyz/e.nc",
    ]
    record = read_source(urls, ID, transport, {"/short": server.url, "/data/": prefix + "/"})
    below = prefix.removeprefix(server.url)
    assert [file.path for file in record.files] == [
        "/data/a.nc",
        "/data/c d.nc",
        None,
        f"/short{below}xyz/e.nc",
    ]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "begins with"),
        (b"<html><body>login</body></html>", "begins with"),
        (b"plain text", "begins with"),
        (b"PK\x03\x04|", "line 1: .*expected <master_id>#<version>"),
        (b"{]", "line 1: is not JSON"),
        (b'[\n{"type": "File"},\n', "line 3: is not JSON"),
        (b"[\xff]", "not UTF-8"),
        (b"[" * 100_000, "JSON|nested too deeply"),
        (json.dumps({"type": "FeatureCollection", "features": []}).encode(), "one item"),
        (b'{"message": "not found"}', "record message"),
    ],
)
def test_what_describes_no_dataset_is_refused(
    transport: Transport, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "source"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        read_source([str(path)], None, transport, {})


@pytest.mark.parametrize(
    "source", ["missing.json", "http://127.0.0.1:9/x.xml", "http://[bad/x.xml", "ftp://h/x"]
)
def test_what_cannot_be_read_is_the_transports_error(transport: Transport, source: str) -> None:
    with pytest.raises(TransportError):
        read_source([source], None, transport, {})


def test_only_hosts_that_the_operator_named_are_allowed(
    server: ThreddsServer, transport: Transport
) -> None:
    read_source([server.url_of("a.nc")], ID, transport, {})
    assert transport.read_document(server.url_of("a.nc")) == b"CDF\x01"
    with pytest.raises(TransportError, match="not allowed"):
        transport.read_document(server.url_of("a.nc").replace(server.host, server.other_host))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"CDF\x05", "netcdf"),
        (b'<?xml version="1.0"?>\n<catalog xmlns="x">', "catalogue"),
        (b'<t:catalog xmlns:t="x">', "catalogue"),
        (b'  \n{"type": "Feature"}', "item"),
        (b"{}", "records"),
        (f"{DSID} | /a.nc | 1".encode(), "mapfile"),
    ],
)
def test_kinds_are_recognised_by_content(content: bytes, kind: Any) -> None:
    assert recognise(content, "source") == kind
