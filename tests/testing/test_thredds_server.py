"""The THREDDS test server behaves on the wire as TDS does, and goes wrong as told."""

import http.client
import socket
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from esgvzarr.testing import (
    Headers,
    HtmlPage,
    Latency,
    LoginRedirect,
    NoRanges,
    Reset,
    Status,
    ThreddsServer,
    Truncated,
    Unavailable,
    WrongContentRange,
    WrongLength,
)

CONTENT = bytes(range(256)) * 40
DSID = "CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn.v20190406"
THREDDS = "{http://www.unidata.ucar.edu/namespaces/thredds/InvCatalog/v1.0}"
HREF = "{http://www.w3.org/1999/xlink}href"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreddsServer]:
    (tmp_path / "CMIP6").mkdir()
    (tmp_path / "CMIP6" / "tas.nc").write_bytes(CONTENT)
    (tmp_path / "CMIP6" / ".hidden.json").write_text("{}")
    with ThreddsServer(tmp_path) as running:
        yield running


@pytest.fixture
def url(server: ThreddsServer) -> str:
    return server.url_of("CMIP6/tas.nc")


def get(url: str, byte_range: str | None = None) -> requests.Response:
    headers = {"Accept-Encoding": "identity"} | (
        {"Range": f"bytes={byte_range}"} if byte_range else {}
    )
    return requests.get(url, headers=headers, timeout=5, allow_redirects=False)


def test_head_gives_length_and_date(url: str) -> None:
    answer = requests.head(url, timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Last-Modified"].endswith("GMT")
    assert "ETag" not in answer.headers


def test_get_gives_the_file(url: str) -> None:
    assert get(url).content == CONTENT


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("0-7", 0, 7),
        ("100-", 100, 10239),
        ("10239-10239", 10239, 10239),
        ("10000-99999", 10000, 10239),
    ],
)
def test_a_single_range_gives_206_and_its_bytes(
    url: str, asked: str, first: int, last: int
) -> None:
    answer = get(url, asked)
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/10240"
    assert answer.content == CONTENT[first : last + 1]


@pytest.mark.parametrize(
    ("asked", "status"), [("10240-10250", 416), ("10240-", 416), ("-8", 500), ("0-7,16-23", 500)]
)
def test_ranges_that_tds_does_not_serve(url: str, asked: str, status: int) -> None:
    assert get(url, asked).status_code == status


def test_directories_dotfiles_and_what_is_not_there(server: ThreddsServer) -> None:
    assert get(server.url_of("CMIP6")).status_code == 400
    assert get(server.url_of("CMIP6/.hidden.json")).status_code == 404
    assert get(server.url_of("CMIP6/pr.nc")).status_code == 404


def test_the_log_has_each_request_and_the_connection_is_reused(
    server: ThreddsServer, url: str
) -> None:
    with requests.Session() as session:
        session.head(url, timeout=5)
        session.get(url, headers={"Range": "bytes=0-7"}, timeout=5)
    head, ranged = server.requests
    assert (head.method, head.status, head.sent, head.range) == ("HEAD", 200, 0, None)
    assert (ranged.method, ranged.status, ranged.sent, ranged.range) == ("GET", 206, 8, "bytes=0-7")
    assert ranged.path == "/thredds/fileServer/esg_dataroot/CMIP6/tas.nc"
    assert ranged.headers["User-Agent"].startswith("python-requests")
    assert head.connection == ranged.connection
    server.clear()
    assert len(server.requests) == 0


def test_latency_is_per_request_and_only_for_its_paths(server: ThreddsServer, url: str) -> None:
    server.fault(Latency(0.5), "*.nc")
    began = time.perf_counter()
    get(url)
    assert time.perf_counter() - began >= 0.5
    began = time.perf_counter()
    get(server.catalog_url)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_status_is_for_always(server: ThreddsServer, url: str, status: int) -> None:
    server.fault(Status(status), "*/tas.nc")
    assert [get(url).status_code, get(url).status_code] == [status, status]
    server.heal()
    assert get(url).status_code == 200


def test_unavailable_once_then_well(server: ThreddsServer, url: str) -> None:
    server.fault(Unavailable(retry_after_s=3))
    first = get(url)
    second = get(url)
    assert (first.status_code, first.headers["Retry-After"], second.status_code) == (503, "3", 200)


def test_reset_once_then_well(server: ThreddsServer, url: str) -> None:
    server.fault(Reset())
    connection = http.client.HTTPConnection(server.host, timeout=5)
    connection.request("GET", "/thredds/fileServer/esg_dataroot/CMIP6/tas.nc")
    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    connection.close()
    assert get(url).status_code == 200
    assert [request.status for request in server.requests] == [0, 200]


def test_no_ranges_gives_the_whole_file(server: ThreddsServer, url: str) -> None:
    server.fault(NoRanges())
    answer = get(url, "0-7")
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert "Accept-Ranges" not in answer.headers


def test_truncated_sends_less_than_it_promised(server: ThreddsServer, url: str) -> None:
    server.fault(Truncated(0.25))
    connection = http.client.HTTPConnection(server.host, timeout=5)
    connection.request(
        "GET", "/thredds/fileServer/esg_dataroot/CMIP6/tas.nc", headers={"Range": "bytes=0-99"}
    )
    answer = connection.getresponse()
    assert answer.getheader("Content-Length") == "100"
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    connection.close()
    assert caught.value.partial == CONTENT[:25]
    assert server.requests[-1].sent == 25


@pytest.mark.parametrize(("more", "body"), [(6, CONTENT + bytes(6)), (-240, CONTENT[:10000])])
def test_a_wrong_length_is_told_consistently(
    server: ThreddsServer, url: str, more: int, body: bytes
) -> None:
    server.fault(WrongLength(more))
    assert requests.head(url, timeout=5).headers["Content-Length"] == str(len(body))
    assert get(url).content == body
    assert get(url, "0-7").headers["Content-Range"] == f"bytes 0-7/{len(body)}"


def test_a_wrong_content_range_comes_with_the_right_bytes(server: ThreddsServer, url: str) -> None:
    server.fault(WrongContentRange(4))
    answer = get(url, "0-7")
    assert (answer.headers["Content-Range"], answer.content) == ("bytes 4-11/10240", CONTENT[:8])


def test_restricted_data_redirect_to_a_login_page(server: ThreddsServer, url: str) -> None:
    server.fault(LoginRedirect(server.login_url), "*.nc")
    assert get(url).status_code == 302
    followed = requests.get(url, timeout=5)
    assert followed.status_code == 200
    assert "Log in" in followed.text
    assert followed.url == f"http://{server.other_host}/login"


def test_an_html_page_in_place_of_the_file(server: ThreddsServer, url: str) -> None:
    server.fault(HtmlPage())
    answer = get(url, "0-7")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_faults_stand_before_each_other(server: ThreddsServer, url: str) -> None:
    server.fault(NoRanges())
    server.fault(Unavailable())
    assert [get(url, "0-7").status_code, get(url, "0-7").status_code] == [503, 200]


def test_cors_only_where_asked_for(tmp_path: Path, url: str) -> None:
    assert "Access-Control-Allow-Origin" not in get(url).headers
    with ThreddsServer(tmp_path, cors=True) as server:
        assert get(server.url_of("CMIP6/tas.nc")).headers["Access-Control-Allow-Origin"] == "*"


def test_tls_is_trusted_with_the_bundle_only(tmp_path: Path) -> None:
    (tmp_path / "tas.nc").write_bytes(CONTENT)
    with ThreddsServer(tmp_path, tls=True) as server:
        assert server.url == f"https://localhost:{server.port}"
        assert (
            requests.get(server.url_of("tas.nc"), verify=str(server.ca_bundle), timeout=5).content
            == CONTENT
        )
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(server.url_of("tas.nc"), timeout=5)
        bundle = server.ca_bundle
    assert bundle is not None
    assert not bundle.exists()


def test_leaving_ends_kept_connections_at_once(tmp_path: Path) -> None:
    with ThreddsServer(tmp_path) as server, requests.Session() as kept:
        assert kept.get(server.catalog_url, timeout=5).status_code == 200
        began = time.perf_counter()
        server.__exit__(None, None, None)
        assert time.perf_counter() - began < 5


def test_directory_catalogues_lead_from_the_root_to_each_file(server: ThreddsServer) -> None:
    url = server.catalog_url
    seen = []
    for _ in range(3):
        root = ET.fromstring(get(url).content)  # noqa: S314 (our own server's)
        seen.append(root)
        hrefs = [str(ref.get(HREF)) for ref in root.iter(f"{THREDDS}catalogRef")]
        if hrefs:
            url = requests.compat.urljoin(url, hrefs[0])
    (file,) = seen[-1].findall(f".//{THREDDS}dataset[@urlPath]")
    services = {
        service.get("serviceType"): service.get("base")
        for service in seen[-1].iter(f"{THREDDS}service")
    }
    assert set(services) == {"Compound", "HTTPServer", "OPENDAP"}
    assert get(f"{server.url}{services['HTTPServer']}{file.get('urlPath')}").content == CONTENT


def test_dataset_catalogues_have_what_the_publisher_writes(server: ThreddsServer) -> None:
    handle = "hdl:21.14100/0b8a4b9c-0d7e-4b7f-9d24-0123456789ab"
    (server.root / "CMIP6" / "pr.nc").write_bytes(b"CDF\x01" + handle.encode())
    catalogue = server.add_dataset(DSID, ["CMIP6/tas.nc", server.root / "CMIP6" / "pr.nc"])
    assert catalogue == f"{server.url}/thredds/catalog/esgcet/1/{DSID}.xml"
    root = ET.fromstring(get(catalogue).content)  # noqa: S314 (our own server's)
    dataset = root.find(f"{THREDDS}dataset")
    assert dataset is not None
    assert dataset.get("ID") == DSID
    tas, pr = dataset.findall(f"{THREDDS}dataset")
    properties = [
        {str(p.get("name")): p.get("value") for p in file.iter(f"{THREDDS}property")}
        for file in (tas, pr)
    ]
    assert properties[0].keys() == {"size", "checksum", "checksum_type"}
    assert properties[1]["tracking_id"] == handle
    assert get(server.url_of("CMIP6/tas.nc")).content == CONTENT
    assert f"{DSID}.xml" in get(f"{server.url}/thredds/catalog/esgcet/catalog.xml").text


def test_headers_can_be_others(server: ThreddsServer, url: str) -> None:
    server.fault(Headers({"ETag": '"1"', "Last-Modified": None}))
    answer = get(url, "0-3")
    assert (answer.status_code, answer.headers["ETag"], "Last-Modified" in answer.headers) == (
        206,
        '"1"',
        False,
    )


def test_a_request_of_a_client_that_went_away_is_not_carried_out(
    server: ThreddsServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed client has sent the headers, and not the body that they announce."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert not server.requests
    assert capsys.readouterr().err == ""
