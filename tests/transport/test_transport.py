"""Bytes come right, or the reason is named: every test talks to a real server on a real socket."""

from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from esgvzarr.errors import SettingsError, TransportError
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.testing import (
    Fault,
    HtmlPage,
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
from esgvzarr.testing.faults import FaultPlan, ReplacedAfter
from esgvzarr.testing.loopback import Asked, LoopbackServer, Response, text_response
from esgvzarr.transport import COALESCE_GAP, Range, Transport, host_of
from esgvzarr.transport.files import RangeFile
from esgvzarr.transport.hosts import allow_hosts
from esgvzarr.transport.ranges import COALESCE_LIMIT, coalesce

DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreddsServer]:
    (tmp_path / "a.nc").write_bytes(DATA)
    (tmp_path / "b.nc").write_bytes(DATA[::-1])
    with ThreddsServer(tmp_path) as running:
        yield running


@pytest.fixture
def transport(server: ThreddsServer) -> Iterator[Transport]:
    with Transport(allowed_hosts=[server.host], timeout_s=5, retries=1) as opened:
        yield opened


def code_of(work: object) -> str:
    with pytest.raises(TransportError) as caught:
        work()  # type: ignore[operator]
    assert str(caught.value).strip()
    return caught.value.code


def test_ranges_come_in_the_order_they_were_asked_for(
    server: ThreddsServer, transport: Transport
) -> None:
    a = server.url_of("a.nc")
    b = server.url_of("b.nc")
    places = [
        Range(b, 500_000, 500_100),
        Range(a, 10, 20),
        Range(b, 0, 5),
        Range(a, 5, 15),
        Range(a, 1_000_000, 1_048_576),
    ]
    expected = [
        DATA[::-1][500_000:500_100],
        DATA[10:20],
        DATA[::-1][:5],
        DATA[5:15],
        DATA[1_000_000:],
    ]
    assert transport.read_ranges(places) == expected


def test_near_ranges_are_fetched_together_and_far_ones_are_not(
    server: ThreddsServer, transport: Transport
) -> None:
    url = server.url_of("a.nc")
    transport.read_ranges(
        [
            Range(url, 0, 10),
            Range(url, 10 + COALESCE_GAP, 20 + COALESCE_GAP),
            Range(url, 500_000, 500_001),
        ]
    )
    assert sorted(request.range or "" for request in server.requests) == [
        "bytes=0-32787",
        "bytes=500000-500000",
    ]


def test_an_empty_range_asks_for_nothing(server: ThreddsServer, transport: Transport) -> None:
    assert transport.read_ranges([Range(server.url_of("a.nc"), 7, 7)]) == [b""]
    assert not server.requests


def test_connections_are_kept_and_bounded(server: ThreddsServer) -> None:
    url = server.url_of("a.nc")
    with Transport(allowed_hosts=[server.host], connections=3) as transport:
        transport.read_ranges([Range(url, n * 100_000, n * 100_000 + 1) for n in range(10)])
        transport.read_ranges([Range(url, n * 100_000, n * 100_000 + 1) for n in range(10)])
    assert len(server.requests) == 20
    assert len({request.connection for request in server.requests}) <= 3


def test_borrowed_connections_are_used_and_left_open(server: ThreddsServer) -> None:
    """What is allowed, named, and seen of files stays with each transport."""
    url = server.url_of("a.nc")
    with Transport(allowed_hosts=[server.host]) as lender:
        lender.read_document(url)
        with Transport(allowed_hosts=[server.host]) as borrower:
            borrower.borrow_connections(lender)
            borrower.read_heads([url], 8)
            assert lender.state_of(url) is None
        with Transport() as stranger:
            stranger.borrow_connections(lender)
            assert code_of(lambda: stranger.read_document(url)) == "transport-host-refused"
            stranger.allow(server.host)
            assert code_of(lambda: stranger.read_document(url)) == "transport-address-private"
        lender.read_document(url)
    assert len(server.requests) == 3
    assert len({request.connection for request in server.requests}) == 1


def test_bytes_are_asked_for_as_they_are(server: ThreddsServer, transport: Transport) -> None:
    transport.read_heads([server.url_of("a.nc")], 10)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_heads_say_the_size_and_are_shorter_where_the_file_is(
    server: ThreddsServer, transport: Transport
) -> None:
    (server.root / "small.nc").write_bytes(b"12345")
    large, small = transport.read_heads([server.url_of("a.nc"), server.url_of("small.nc")], 100)
    assert (large.data, large.size) == (DATA[:100], len(DATA))
    assert (small.data, small.size) == (b"12345", 5)
    assert large.last_modified


@pytest.mark.parametrize("slow_s", [0.0, 1e9])
def test_slow_and_fast_disks_give_the_same_bytes_as_a_server(
    server: ThreddsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow_s: float
) -> None:
    """Reads from a slow disk are made by several threads. Paths and URLs may be mixed."""
    monkeypatch.setattr("esgvzarr.transport._SLOW_READ_S", slow_s)
    path = str(tmp_path / "a.nc")
    step = 2 * COALESCE_GAP
    ranges = []
    for start in range(0, len(DATA) - 9, step):
        ranges += [Range(path, start, start + 9), Range(server.url_of("a.nc"), start, start + 9)]
    expected = [DATA[start : start + 9] for _, start, _ in ranges]
    with Transport(allowed_hosts=[server.host]) as transport:
        assert transport.read_ranges(ranges) == expected
        assert transport.rounds == 1
        assert transport.requests == len(ranges) // 2


def test_paths_are_read_like_urls(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(DATA)
    path = str(tmp_path / "a.nc")
    with Transport() as transport:
        assert transport.read_ranges([Range(path, 3, 9), Range(path, 0, 2)]) == [
            DATA[3:9],
            DATA[:2],
        ]
        assert transport.read_heads([path], 4)[0].data == DATA[:4]
        assert transport.read_document(path) == DATA
        assert (
            code_of(lambda: transport.read_ranges([Range(path, 0, len(DATA) + 1)]))
            == "transport-truncated"
        )
        assert code_of(lambda: transport.read_heads([path + "x"], 4)) == "transport-path"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (NoRanges(), "transport-no-range"),
        (HtmlPage(), "transport-html"),
        (Status(403), "transport-http-403"),
        (Status(404), "transport-http-404"),
        (Status(500), "transport-http-500"),
        (Truncated(), "transport-truncated"),
        (WrongContentRange(), "transport-range-wrong"),
        (LoginRedirect(), "transport-redirected"),
        (Unavailable(times=99), "transport-http-503"),
        (Reset(times=99), "transport-unreachable"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_range_that_does_not_come_right_is_named(
    server: ThreddsServer, transport: Transport, fault: object, code: str
) -> None:
    server.fault(fault)  # type: ignore[arg-type]
    assert (
        code_of(lambda: transport.read_ranges([Range(server.url_of("a.nc"), 1000, 2000)])) == code
    )


def test_a_login_page_of_the_same_host_is_no_file(
    server: ThreddsServer, transport: Transport
) -> None:
    server.fault(LoginRedirect(), paths="*.nc")
    assert code_of(lambda: transport.read_heads([server.url_of("a.nc")], 10)) == "transport-html"


def test_a_redirect_to_another_host_is_refused(server: ThreddsServer, transport: Transport) -> None:
    server.fault(LoginRedirect(server.login_url))
    assert (
        code_of(lambda: transport.read_heads([server.url_of("a.nc")], 10)) == "transport-redirected"
    )
    assert all("login" not in request.path for request in server.requests)


@pytest.mark.parametrize("fault", [Unavailable(times=1), Reset(times=1)], ids=["503", "reset"])
def test_what_may_pass_is_tried_again(
    server: ThreddsServer, transport: Transport, fault: object
) -> None:
    server.fault(fault)  # type: ignore[arg-type]
    assert transport.read_ranges([Range(server.url_of("a.nc"), 0, 10)]) == [DATA[:10]]
    assert len(server.requests) == 2


def test_what_will_not_pass_is_asked_once(server: ThreddsServer, transport: Transport) -> None:
    server.fault(Status(403))
    code_of(lambda: transport.read_heads([server.url_of("a.nc")], 10))
    assert len(server.requests) == 1


def test_answers_that_are_refused_do_not_use_up_the_connections(server: ThreddsServer) -> None:
    with Transport(allowed_hosts=[server.host], connections=2, timeout_s=5, retries=0) as transport:
        for fault in (Status(404), NoRanges(), HtmlPage(), WrongContentRange(), Truncated()):
            server.fault(fault)
            for _ in range(3):
                code_of(lambda: transport.read_ranges([Range(server.url_of("a.nc"), 0, 10)]))
            server.heal()
        assert transport.read_ranges([Range(server.url_of("a.nc"), 0, 10)]) == [DATA[:10]]


def test_no_more_tries_than_set(server: ThreddsServer) -> None:
    server.fault(Unavailable(times=99))
    with Transport(allowed_hosts=[server.host], retries=2) as transport:
        code_of(lambda: transport.read_heads([server.url_of("a.nc")], 10))
    assert len(server.requests) == 3


def test_a_file_replaced_between_two_reads_is_noticed(
    server: ThreddsServer, transport: Transport
) -> None:
    url = server.url_of("a.nc")
    transport.read_heads([url], 10)
    (server.root / "a.nc").write_bytes(DATA[::-1])
    os.utime(server.root / "a.nc", (1, 1))
    assert (
        code_of(lambda: transport.read_ranges([Range(url, 500_000, 500_010)]))
        == "transport-changed"
    )


def test_a_file_replaced_between_two_heads_is_noticed(
    server: ThreddsServer, transport: Transport
) -> None:
    """Files that are read by their heads alone are compared, too."""
    server.fault(ReplacedAfter(1))
    url = server.url_of("a.nc")
    transport.read_heads([url], 10)
    assert code_of(lambda: transport.read_heads([url], 10)) == "transport-changed"
    transport.forget([url])
    assert transport.read_heads([url], 10)[0].etag == '"after"'


def test_a_path_replaced_by_a_file_of_the_same_size_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "local.nc"
    path.write_bytes(DATA)
    with Transport() as transport:
        transport.read_heads([str(path)], 10)
        other = tmp_path / "other.nc"
        other.write_bytes(DATA[::-1])
        known = path.stat()
        os.utime(other, ns=(known.st_atime_ns, known.st_mtime_ns))
        other.rename(path)
        assert code_of(lambda: transport.read_ranges([Range(str(path), 9, 99)])) == (
            "transport-changed"
        )


def test_near_ranges_are_put_together_in_linear_time() -> None:
    """In quadratic time these would take minutes."""
    near = [Range("http://a.example/f.nc", at * 200, at * 200 + 180) for at in range(150_000)]
    started = time.perf_counter()
    spans = coalesce(near)
    assert time.perf_counter() - started < 30
    assert sum(len(span.members) for span in spans) == len(near)
    assert all(span.stop - span.start <= COALESCE_LIMIT for span in spans)


def test_a_process_that_may_open_no_more_files_says_so(server: ThreddsServer) -> None:
    """That is not the data node's fault, nor one of the program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Transport(allowed_hosts=[server.host], retries=0) as transport:
        try:
            free = os.open("/dev/null", os.O_RDONLY)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            found = code_of(lambda: transport.read_heads([server.url_of("a.nc")], 10))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == "transport-files-limit"


def test_a_server_that_lies_about_its_length_is_not_believed(
    server: ThreddsServer, transport: Transport
) -> None:
    server.fault(WrongLength(1000))
    with pytest.raises(TransportError):
        transport.read_ranges([Range(server.url_of("a.nc"), len(DATA), len(DATA) + 500)])


def test_only_allowed_hosts_are_asked(server: ThreddsServer) -> None:
    with Transport(allowed_hosts=["data.example"]) as transport:
        assert (
            code_of(lambda: transport.read_document(server.url_of("a.nc")))
            == "transport-host-refused"
        )
        transport.allow(server.host, named=True)
        assert transport.read_document(server.url_of("a.nc")) == DATA
    assert len(server.requests) == 1


def test_documents_are_bounded(server: ThreddsServer, transport: Transport) -> None:
    assert (
        code_of(lambda: transport.read_document(server.url_of("a.nc"), limit=1000))
        == "transport-too-large"
    )


def test_tls_is_verified(tmp_path: Path) -> None:
    (tmp_path / "a.nc").write_bytes(DATA)
    with ThreddsServer(tmp_path, tls=True) as server:
        with Transport(allowed_hosts=[server.host]) as unaware:
            assert (
                code_of(lambda: unaware.read_heads([server.url_of("a.nc")], 10)) == "transport-tls"
            )
        with Transport(allowed_hosts=[server.host], ca_bundle=server.ca_bundle) as aware:
            assert aware.read_heads([server.url_of("a.nc")], 10)[0].data == DATA[:10]


def test_a_server_that_is_down_is_unreachable(tmp_path: Path) -> None:
    with ThreddsServer(tmp_path) as server:
        host = server.host
        url = server.url_of("a.nc")
    with Transport(allowed_hosts=[host], retries=0) as transport:
        assert code_of(lambda: transport.read_heads([url], 10)) == "transport-unreachable"


def test_a_range_file_reads_as_the_file_does(server: ThreddsServer, transport: Transport) -> None:
    file = RangeFile(transport, server.url_of("b.nc"))
    whole = DATA[::-1]
    for start, count in [
        (0, 10),
        (262_140, 10),
        (1_048_570, 100),
        (500_000, 300_000),
        (2_000_000, 5),
    ]:
        file.seek(start)
        assert file.read(count) == whole[start : start + count]
    file.seek(-4, os.SEEK_END)
    assert file.read() == whole[-4:]


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Node.Example/a", "node.example"),
        ("https://node.example:443/a", "node.example"),
        ("http://[::1]:80/a", "[::1]"),
    ],
)
def test_hosts_are_compared_in_one_form(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize("url", ["http:///a", "https://node:port/a", "https://[::1/a"])
def test_what_is_no_url_is_refused(url: str) -> None:
    assert code_of(lambda: host_of(url)) == "transport-bad-url"


class Echo(LoopbackServer):
    """Says who asked, and what."""

    asks_clients = True

    def __init__(self, *, tls: bool = False) -> None:
        super().__init__(tls=tls)
        self.faults = FaultPlan()

    def answer(self, asked: Asked) -> Response:
        return self.faults.answer(
            asked, lambda asked: text_response(202, f"{asked.client}: {asked.body.decode()}")
        )


def test_a_document_is_posted() -> None:
    """Body and media type arrive, and status and text come back, whatever they are."""
    with Echo() as server, Transport(allowed_hosts=[server.host]) as transport:
        assert transport.post(server.url, b"<x/>", "application/xml") == (202, "None: <x/>")
        assert server.requests[0].headers["Content-Type"] == "application/xml"
        server.faults.add(Status(400), "*", ())
        assert transport.post(server.url, b"<x/>", "application/xml") == (400, "Bad Request")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (LoginRedirect(), "transport-redirected"),
        (Unavailable(times=99), "transport-http-503"),
        (Reset(times=99), "transport-unreachable"),
    ],
)
def test_a_post_that_does_not_arrive_is_named(fault: Fault, code: str) -> None:
    """Nothing is posted to where a redirect leads."""
    with Echo() as server, Transport(allowed_hosts=[server.host], retries=0) as transport:
        server.faults.add(fault, "*", ())
        assert code_of(lambda: transport.post(server.url, b"x", "text/plain")) == code
        assert len(server.requests) == 1


def test_a_post_is_tried_again() -> None:
    """What may pass is waited for, as when reading."""
    with Echo() as server, Transport(allowed_hosts=[server.host], retries=1) as transport:
        server.faults.add(Unavailable(times=1), "*", ())
        assert transport.post(server.url, b"x", "text/plain") == (202, "None: x")


def test_nothing_is_posted_to_other_hosts() -> None:
    """The hosts are those that may be read from."""
    with Echo() as server, Transport() as transport:
        assert (
            code_of(lambda: transport.post(server.url, b"x", "text/plain"))
            == "transport-host-refused"
        )
        assert not server.requests


def test_a_client_certificate_is_shown_with_its_own_request_only(tmp_path: Path) -> None:
    """Requests for data show no certificate. A certificate that cannot be used is named, without
    asking for a password.
    """
    with (
        Echo(tls=True) as server,
        Transport(allowed_hosts=[server.host], ca_bundle=server.ca_bundle) as transport,
    ):
        assert transport.post(
            server.url, b"x", "text/plain", certificate=server.client_certificate
        ) == (202, "publisher: x")
        assert transport.post(server.url, b"x", "text/plain") == (202, "None: x")
        (tmp_path / "cert.pem").write_text("nothing")
        with pytest.raises(SettingsError, match=r"cert\.pem: cannot be used as client certificate"):
            transport.post(server.url, b"x", "text/plain", certificate=tmp_path / "cert.pem")


def test_each_location_gets_its_own_answer(server: ThreddsServer, transport: Transport) -> None:
    """What cannot be had is given as its error, in its place."""
    urls = [server.url_of("a.nc"), server.url_of("none.nc"), server.url_of("a.nc")]
    first, missing, last = transport.try_each(urls, lambda url: transport.read_head(url, 4))
    assert isinstance(missing, TransportError)
    assert missing.code == "transport-http-404"
    assert first == last == transport.read_head(urls[0], 4)


def test_a_host_without_answers_is_given_up(server: ThreddsServer) -> None:
    """A dead data node does not hold up the others: the rest of its files are not asked for."""
    server.fault(Reset(times=99))
    urls = [server.url_of(f"{number}.nc") for number in range(50)]
    with Transport(allowed_hosts=[server.host], connections=2, retries=0) as transport:
        found = transport.try_each(urls, lambda url: transport.read_head(url, 4))
    assert all(isinstance(error, TransportError) and error.retryable for error in found)
    assert len(server.requests) <= 4


def test_a_few_files_without_answers_are_no_dead_host(server: ThreddsServer) -> None:
    """A disk of many that is down: the others' files are had."""
    server.fault(Reset(times=99), "*dead*")
    urls = [server.url_of(name) for name in (*[f"dead{number}.nc" for number in range(5)], "a.nc")]
    with Transport(allowed_hosts=[server.host], connections=6, retries=0) as transport:
        *_, last = transport.try_each(urls, lambda url: transport.read_head(url, 4))
    assert not isinstance(last, TransportError)


def test_a_redirect_within_the_host_is_told(server: ThreddsServer, transport: Transport) -> None:
    server.fault(LoginRedirect(server.url_of("a.nc")), "*moved.nc")
    assert transport.read_head(server.url_of("moved.nc"), 4).moved_to == server.url_of("a.nc")
    assert transport.read_head(server.url_of("a.nc"), 4).moved_to == ""


@pytest.mark.parametrize("nginx", [False, True], ids=["tds", "nginx"])
def test_an_empty_file_is_one(
    server: ThreddsServer, request: pytest.FixtureRequest, nginx: bool
) -> None:
    """There is no range in it to answer with; servers say so in their own ways."""
    (server.root / "empty.nc").touch()
    at = request.getfixturevalue("nginx_server") if nginx else server
    with Transport(allowed_hosts=[at.host]) as transport:
        head = transport.read_head(at.url_of("empty.nc"), 8)
    assert (head.data, head.size) == (b"", 0)


def test_sent_to_another_process_it_keeps_its_rules_and_what_it_saw(server: ThreddsServer) -> None:
    with Transport(allowed_hosts=[server.host], connections=3, retries=0) as transport:
        transport.allow("data.example.org")
        transport.read_head(server.url_of("a.nc"), 4)
        again = pickle.loads(pickle.dumps(transport))  # noqa: S301  (our own bytes)
    (server.root / "a.nc").write_bytes(b"another file, of another size")
    with again:
        again.check_allowed("https://data.example.org/a.nc")
        assert again.is_named(server.url_of("a.nc"))
        assert not again.is_named("https://data.example.org/a.nc")
        with pytest.raises(TransportError, match="was replaced") as caught:
            again.read_head(server.url_of("a.nc"), 4)
    assert caught.value.code == "transport-changed"


def test_the_hosts_of_a_records_files_are_its_data_nodes() -> None:
    """CEDA's node is another name than the host of its files. Nothing else is allowed by it."""
    dataset_id = DatasetId.parse("CMIP6.CMIP.M.S.historical.r1i1p1f1.Amon.tas.gn.v20190406")
    files = (FileRecord("a.nc", "https://dap.ceda.ac.uk/a.nc"), FileRecord("b.nc", "/data/b.nc"))
    with Transport() as transport:
        allow_hosts(transport, DatasetRecord(dataset_id, "ceda.ac.uk", files))
        transport.check_allowed("https://ceda.ac.uk/x")
        transport.check_allowed("https://dap.ceda.ac.uk/x")
        assert not transport.is_named("https://dap.ceda.ac.uk/x")
        assert code_of(lambda: transport.check_allowed("https://x.ceda.ac.uk/x")) == (
            "transport-host-refused"
        )
