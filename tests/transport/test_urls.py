"""A URL is read once, and only one that every parser reads alike is a URL."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given, settings
from hypothesis import strategies as st
from urllib3.util import parse_url as parse_as_urllib3

from esgvzarr.errors import TransportError
from esgvzarr.transport.urls import join_url, parse_url

BAD = [
    "http://127.0.0.1:1\\@node.example/a",
    "http://node.example\\a",
    "http://node.example/a\\b",
    "http://user@node.example/a",
    "http://user:word@node.example/a",
    "http://@node.example/a",
    "http://node.example/a b",
    "http://node.example /a",
    " http://node.example/a",
    "http://node.example/a\t",
    "http://node\n.example/a",
    "http://node.example/a\r\nHost: other",
    "http://node.example/\x00",
    "http://node.example/\x7f",
    "http://node.example/\u202ea",
    "http://[",
    "http://[::1",
    "http://[::1]x/a",
    "http://[1]/a",
    "http://[fe80::1%25eth0]/a",
    "http://①②⑦.0.0.1/a",
    "http://127。0。0。1/a",
    "http://127.0.0.1%00.node.example/a",
    "http://node%2eexample/a",
    "http://node..example/a",
    "http://.node.example/a",
    "http:///a",
    "http://:80/a",
    "http://node.example:/a",
    "http://node.example:0/a",
    "http://node.example:65536/a",
    "http://node.example:port/a",
    "http://node.example:١/a",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "example/",
    "http://node.example/" + "a" * 20_000,
    "ftp://node.example/a",
    "//node.example/a",
    "node.example",
    "",
]


@pytest.mark.parametrize("text", BAD)
def test_what_parsers_may_read_differently_is_refused(text: str) -> None:
    with pytest.raises(TransportError) as caught:
        parse_url(text)
    assert caught.value.code == "transport-bad-url"
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://Node.Example/a", ("https", "node.example", 443, "/a", "node.example")),
        ("http://n:8080", ("http", "n", 8080, "/", "n:8080")),
        ("http://n?q=1#part", ("http", "n", 80, "/?q=1", "n")),
        ("http://n/ä.nc?a=b@c:d//e", ("http", "n", 80, "/ä.nc?a=b@c:d//e", "n")),
        ("https://[::1]:8443/a", ("https", "[::1]", 8443, "/a", "[::1]:8443")),
        ("http://under_score.example./", ("http", "under_score.example.", 80, "/", "")),
    ],
)
def test_the_parts_of_a_url(text: str, parts: tuple[str, str, int, str, str]) -> None:
    url = parse_url(text)
    assert (url.scheme, url.host, url.port, url.target) == parts[:4]
    assert url.place == (parts[4] or url.host)


@pytest.mark.parametrize("reference", ["http://[", "//[", "http://a\\@b/", "//user@b/", "a b"])
def test_a_reference_that_leads_to_no_url_is_refused(reference: str) -> None:
    with pytest.raises(TransportError) as caught:
        join_url("http://node.example/a", reference)
    assert caught.value.code == "transport-bad-url"


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.text(alphabet="ab1.:/\\@[]%?# \t\n-_", max_size=30).map(lambda text: f"http://{text}")
    | st.text(max_size=20).map(lambda text: f"http://node.example{text}")
    | st.text(max_size=20).map(lambda text: f"http://{text}.node.example/a")
)
def test_what_is_taken_is_read_alike_by_all_parsers(text: str) -> None:
    """Python's, urllib3's and yarl's, which aiohttp uses, see one host and one port."""
    try:
        url = parse_url(text)
    except TransportError:
        return
    bare = url.host.strip("[]")
    usual = urlsplit(text)
    assert (usual.hostname, usual.port or 80) == (bare, url.port)
    other = parse_as_urllib3(text)
    assert (str(other.host).strip("[]"), other.port or 80) == (bare, url.port)
    third = yarl.URL(text, encoded=True)
    assert (str(third.host).lower(), third.port) == (bare, url.port)
