"""What strangers may not do. docs/explanation/security.md says of each threat which test here, or
elsewhere, stands against it.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esgvzarr.cli import main
from esgvzarr.errors import TransportError
from esgvzarr.generate import make_transport
from esgvzarr.settings import Settings, read_settings
from esgvzarr.testing import DATASET_ID, DRS_PATH, StacServer, ThreddsServer, make_item
from esgvzarr.testing.datasets import write_monthly
from esgvzarr.transport import Transport
from esgvzarr.transport.public_addresses import is_public

PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "0.1.2.3",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "198.18.0.1",
    "::1",
    "::",
    "fe80::1%lo",
    "fc00::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


def test_each_threat_names_tests_that_exist() -> None:
    """The table is no better than its tests."""
    here = Path(__file__).parents[1]
    text = (here.parent / "docs/explanation/security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row.split("|")[3])
        assert named, row
        for file, name in named:
            defined = re.findall(r"^ *def (\w+)\(", (here / file).read_text(), re.MULTILINE)
            assert name in defined, f"{file}::{name}"


def code_of(work: Callable[[], object]) -> str:
    with pytest.raises(TransportError) as caught:
        work()
    return caught.value.code


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_private_networks_are_known_in_all_forms(address: str) -> None:
    """Loopback, private, shared, link-local, multicast, unspecified, reserved; also where IPv6
    holds one of IPv4.
    """
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::"],
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "name",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0",
        "169.254.169.254",
        "10.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_host_that_only_a_record_names_is_not_fetched_from_at_a_private_address(
    scheme: str, name: str
) -> None:
    """In any spelling. No connection is made."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        Transport(retries=0, timeout_s=2) as transport,
    ):
        host = f"{name}:{listening.getsockname()[1]}"
        transport.allow(host)
        url = f"{scheme}://{host}/secret"
        assert code_of(lambda: transport.read_heads([url], 8)) == "transport-address-private"
        assert code_of(lambda: transport.read_document(url)) == "transport-address-private"
        assert (
            code_of(lambda: transport.post(url, b"", "text/plain")) == "transport-address-private"
        )
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_host_that_the_operator_names_may_be_anywhere(
    thredds_server: ThreddsServer, tmp_path: Path
) -> None:
    """By the transport's own argument, by `allow`, in settings, and as ``data_node`` of
    esg.yaml.
    """
    (tmp_path / "a.nc").write_bytes(b"bytes")
    url = thredds_server.url_of("a.nc")
    host = thredds_server.host
    config = tmp_path / "esg.yaml"
    config.write_text(f"data_node: {host}\n")
    for settings in (
        Settings(allowed_hosts=(host,)),
        Settings(data_paths={"/data": f"http://{host}/thredds"}),
        Settings(reference_dir=tmp_path, reference_url=f"http://{host}/zarr"),
        read_settings(config),
    ):
        with make_transport(settings) as transport:
            transport.allow(host)  # as of a record: that does not make it worse
            assert transport.read_document(url) == b"bytes"
    with Transport() as transport:
        transport.allow(host)
        assert code_of(lambda: transport.read_document(url)) == "transport-address-private"
        transport.allow(host, named=True)
        assert transport.read_document(url) == b"bytes"


def test_the_address_that_was_checked_is_the_one_connected_to(
    thredds_server: ThreddsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that tells the check a public address, and then this machine's (DNS rebinding),
    gains nothing.
    """
    real = socket.getaddrinfo
    asked = list[str]()

    def rebinding(host: str, port: int, *arguments: object, **options: object) -> object:
        if host != "rebinding.example":
            return real(host, port, *arguments, **options)  # type: ignore[arg-type]
        asked.append(host)
        return [
            (
                socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                ("8.8.8.8" if len(asked) == 1 else "127.0.0.1", port),
            )
        ]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    host = f"rebinding.example:{thredds_server.port}"
    with Transport(retries=0, timeout_s=5) as transport:
        transport.allow(host)
        assert (
            code_of(lambda: transport.read_document(f"http://{host}/"))
            == "transport-address-private"
        )
    assert len(asked) == 2
    assert not thredds_server.requests


def test_an_item_cannot_make_the_operator_fetch_from_his_own_network(
    stac_server: StacServer,
    thredds_server: ThreddsServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of a STAC item on another host, the files lie on this machine: refused, until the operator
    names it.
    """
    files = write_monthly(tmp_path / DRS_PATH)
    hrefs = {file.name: thredds_server.url_of(file) for file in files}
    item = tmp_path / "item.json"
    item.write_text(json.dumps(make_item(DATASET_ID, hrefs, data_node=thredds_server.host)))
    command = ["generate", str(item), "--output-dir", str(tmp_path / "out")]
    monkey = {"ESGVZARR_LEDGER": str(tmp_path / "ledger.sqlite")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in monkey.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 1
        assert "[transport-address-private]" in capsys.readouterr().err
        assert not thredds_server.requests
        assert not (tmp_path / "out").exists()
        with pytest.raises(SystemExit) as stopped:
            main([*command, "--allow-host", thredds_server.host])
        assert stopped.value.code == 0


class Hostile:
    """A server that sends any bytes, to every client, until the client closes.

    Args:
        start: bytes that are sent at once.
        again: bytes that are sent over and over, after a pause each.
        pause_s: between them.
    """

    def __init__(self, start: bytes, again: bytes, pause_s: float = 0.0) -> None:
        self._start = start
        self._again = again
        self._pause_s = pause_s

    def __enter__(self) -> Hostile:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"http://{self.host}/catalog.xml"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(self._start)
            while self._again:
                connection.sendall(self._again)
                time.sleep(self._pause_s)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"H"),
        (OK + b"X-Slow: ", b"y"),
        (OK + b"Content-Length: 100000\r\n\r\n", b"<"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n<\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    ],
    ids=["status line", "header", "body", "chunks", "chunk extension"],
)
def test_a_server_that_trickles_is_given_up(start: bytes, again: bytes) -> None:
    """Each byte comes in time, all of them never would. It may be better later."""
    with (
        Hostile(start, again, 0.05) as server,
        Transport(allowed_hosts=[server.host], retries=0, timeout_s=0.4) as transport,
    ):
        began = time.monotonic()
        with pytest.raises(TransportError) as caught:
            transport.read_document(server.url)
        assert time.monotonic() - began < 30
        assert (caught.value.code, caught.value.retryable) == ("transport-slow", True)


@pytest.mark.parametrize(
    ("start", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (OK, b"X: y\r\n" * 1000),
        (OK + b"X: ", b"y" * 10000),
    ],
    ids=["continue", "headers", "header"],
)
def test_an_answer_that_never_begins_is_given_up(start: bytes, again: bytes) -> None:
    """However fast it comes."""
    with (
        Hostile(start, again) as server,
        Transport(allowed_hosts=[server.host], retries=0, timeout_s=20) as transport,
    ):
        began = time.monotonic()
        assert code_of(lambda: transport.read_document(server.url)) in (
            "transport-unreachable",
            "transport-truncated",
        )
        assert time.monotonic() - began < 18


@pytest.mark.parametrize(
    "framing", [b"", b"Transfer-Encoding: chunked\r\n"], ids=["to the end", "chunked"]
)
def test_a_document_without_end_is_not_read_on(framing: bytes) -> None:
    """No more than its limit is read, and kept."""
    again = b"10000\r\n" + bytes(65536) + b"\r\n" if framing else bytes(65536)
    with (
        Hostile(OK + framing + b"\r\n", again) as server,
        Transport(allowed_hosts=[server.host], retries=0) as transport,
    ):
        assert (
            code_of(lambda: transport.read_document(server.url, limit=10**6))
            == "transport-too-large"
        )


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
def test_what_expands_on_arrival_is_refused(encoding: str) -> None:
    """A small answer may be gigabytes of zeros, compressed. Bytes are asked for as they are."""
    bomb = gzip.compress(gzip.compress(bytes(10**8)))
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n".encode()
    with (
        Hostile(OK + head + b"\r\n" + bomb, b"") as server,
        Transport(allowed_hosts=[server.host], retries=0) as transport,
    ):
        assert code_of(lambda: transport.read_document(server.url)) == "transport-encoded"
        assert code_of(lambda: transport.post(server.url, b"", "text/plain")) == "transport-encoded"
    part = OK.replace(b"200 OK", b"206 Partial Content") + b"Content-Range: bytes 0-7/8\r\n"
    with (
        Hostile(part + head + b"\r\n" + bomb, b"") as server,
        Transport(allowed_hosts=[server.host], retries=0) as transport,
    ):
        assert code_of(lambda: transport.read_heads([server.url], 8)) == "transport-encoded"


def test_redirects_come_to_an_end() -> None:
    """Of the same host, too."""
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: /catalog.xml?\r\nContent-Length: 0\r\nConnection: "
        b"close\r\n\r\n"
    )
    with (
        Hostile(answer, b"") as server,
        Transport(allowed_hosts=[server.host], retries=0) as transport,
    ):
        assert code_of(lambda: transport.read_document(server.url)) == "transport-redirected"
