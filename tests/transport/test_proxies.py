"""Proxies of the environment are not used, and named where that may be why nothing answers."""

from __future__ import annotations

import socket

import pytest

from esgvzarr import Transport
from esgvzarr.errors import TransportError
from esgvzarr.testing import ThreddsServer
from esgvzarr.transport.proxies import unused_proxy


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "http://me:word@proxy.example:3128")
    return monkeypatch


def test_a_host_that_does_not_answer_is_refused_with_the_proxy_that_is_not_used(
    proxied: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        host = f"127.0.0.1:{reserved.getsockname()[1]}"
    with Transport(allowed_hosts=[host], retries=0) as transport:
        with pytest.raises(TransportError) as caught:
            transport.read_document(f"http://{host}/tas.nc")
        assert caught.value.code == "transport-proxy"
        assert "proxy.example:3128" in str(caught.value)
        assert "word" not in str(caught.value)
        proxied.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(TransportError) as caught:
            transport.read_document(f"http://{host}/tas.nc")
        assert caught.value.code == "transport-unreachable"


def test_a_host_that_answers_is_asked_directly(
    proxied: pytest.MonkeyPatch, thredds_server: ThreddsServer
) -> None:
    path = thredds_server.root / "a.txt"
    path.write_bytes(b"there")
    url = thredds_server.url_of(path)
    assert unused_proxy(url)
    with Transport(allowed_hosts=[thredds_server.host]) as transport:
        assert transport.read_document(url) == b"there"


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://data.example/tas.nc", "http://me:word@proxy.example:3128"),
        ("https://data.example/tas.nc", ""),
        ("http://inner.example/tas.nc", ""),
        ("http://data.inner.example:8080/tas.nc", ""),
    ],
)
def test_no_proxy_is_read_as_other_clients_read_it(
    proxied: pytest.MonkeyPatch, url: str, proxy: str
) -> None:
    proxied.setenv("no_proxy", "localhost,.inner.example,inner.example")
    assert unused_proxy(url) == proxy
