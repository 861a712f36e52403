"""Check the server of the files: answers, ranges, encodings, certificate, clock, CORS."""

from __future__ import annotations

import os
import ssl
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import plain
from ..formats import recognise
from ..transport import host_of
from ..transport.proxies import unused_proxy
from .node import Check, Diagnosis, Node, days_left

_SLOW_S = 0.3
_CLOCK_S = 60.0
_ORIGIN = "https://example.org"
NGINX_CORS = (
    "add_header Access-Control-Allow-Origin * always;\n"
    'add_header Access-Control-Expose-Headers "Content-Range, Content-Length, Accept-Ranges" '
    "always;"
)
"""Lines for the location that serves the files. MDN, "Cross-Origin Resource Sharing"; nginx,
ngx_http_headers_module.
"""
TDS_CORS = (
    "<CORS><enabled>true</enabled><allowedMethods>GET</allowedMethods>"
    "<allowedOrigin>*</allowedOrigin></CORS>"
)
"""Lines for ``threddsConfig.xml``. TDS administrator's guide, "threddsConfig.xml", CORS."""


def _head(node: Node) -> Iterator[Diagnosis]:
    answer = node.answers[0]
    if answer.status != 200:
        yield Diagnosis(
            "head",
            "bad",
            f"HEAD is answered with {answer.status}",
            "Readers ask for the size before anything else.",
        )
        return
    if "html" in answer.headers.get("Content-Type", ""):
        yield Diagnosis(
            "head",
            "bad",
            "HEAD is answered with an HTML page",
            "Check whether it is a login page: esgvzarr references only data that anyone can read.",
        )
        return
    said = answer.headers.get("Content-Length")
    path = node.file.path
    if said is None:
        yield Diagnosis(
            "head",
            "bad",
            "the answer to HEAD has no Content-Length",
            "Readers cannot tell the size of a file without it.",
        )
    elif path and os.path.isfile(path) and os.path.getsize(path) != int(said):
        found = f"HEAD says {said} bytes, {path} has {os.path.getsize(path)}"
        yield Diagnosis(
            "head",
            "bad",
            found,
            "Check that the URL serves this directory. A cache may serve an older file.",
        )
    else:
        yield Diagnosis("head", "good", f"200, {said} bytes")


def _proxy(node: Node) -> Iterator[Diagnosis]:
    """Check that the environment names no proxy: esgcet's clients use such proxies, and the
    transport does not.
    """
    host = host_of(node.file.url)
    proxy = unused_proxy(node.file.url)
    if proxy:
        yield Diagnosis(
            "proxy",
            "note",
            f"the environment names the proxy {plain(proxy)} for {host}, which is not used",
            f"Add {host} to `no_proxy`. If this machine reaches it only through the proxy, "
            "run esgvzarr on another machine.",
        )
    else:
        yield Diagnosis("proxy", "good", f"the environment names no proxy for {host}")


def _ranges(node: Node) -> Iterator[Diagnosis]:
    """Check ranges as the transport does when references are made."""
    head = node.transport.read_heads([node.file.url], 8)[0]
    if not head.etag and not head.last_modified:
        found = "answers have neither ETag nor Last-Modified"
        yield Diagnosis(
            "ranges",
            "note",
            found,
            "esgvzarr audit can then only tell a replaced file by its size or checksum.",
        )
    yield Diagnosis(
        "ranges", "good", f"206 to a single range, {recognise(head.data, node.file.url).name}"
    )


def _encoding(node: Node) -> Iterator[Diagnosis]:
    """A browser always accepts gzip, and a range of a gzip stream is not a range of the file (RFC
    9110, 14.2).
    """
    answer = node.transport.ask(
        node.file.url, headers={"Range": "bytes=0-7", "Accept-Encoding": "gzip, deflate, br"}
    )
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        yield Diagnosis("encoding", "good", "NetCDF files are sent as they are")
    else:
        yield Diagnosis(
            "encoding",
            "bad",
            f"NetCDF files are sent with {encoding}",
            "Turn compression off for *.nc: ranges break.",
        )


def _tls(node: Node) -> Iterator[Diagnosis]:
    if not node.file.url.startswith("https:"):
        yield Diagnosis(
            "tls",
            "note",
            "files are served over plain http",
            "Nothing then shows a reader that bytes were not changed.",
        )
        return
    ends = str(node.answers[0].certificate.get("notAfter", ""))
    yield days_left("tls", "the server's certificate", ssl.cert_time_to_seconds(ends))


def _clock(node: Node) -> Iterator[Diagnosis]:
    said = node.answers[-1].headers.get("Date")
    if said is None:
        yield Diagnosis("clock", "note", "answers have no header Date")
        return
    try:
        apart = abs((parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        yield Diagnosis(
            "clock", "note", f"the header Date of answers is {said!r}, which is not a date"
        )
        return
    if apart > _CLOCK_S:
        found = f"this machine and the server are {apart:.0f} s apart"
        yield Diagnosis(
            "clock", "bad", found, "Run NTP on both: logins and Last-Modified depend on it."
        )
    else:
        yield Diagnosis("clock", "good", "agrees with that of the server")


def _latency(node: Node) -> Iterator[Diagnosis]:
    median = statistics.median(answer.seconds for answer in node.answers[1:])
    most = node.settings.connections
    found = f"{median * 1000:.0f} ms a request; at most {most} are in flight at a time"
    slow = median > _SLOW_S
    yield Diagnosis(
        "latency",
        "note" if slow else "good",
        found,
        "Set data_paths, if the files are on this machine." if slow else "",
    )


def _browsers(node: Node) -> Iterator[Diagnosis]:
    """Check CORS. Fetch standard: a page can read an answer of another origin if the answer allows
    it, and only the headers that the answer names.
    """
    answer = node.transport.ask(node.file.url, headers={"Range": "bytes=0-7", "Origin": _ORIGIN})
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    exposed = answer.headers.get("Access-Control-Expose-Headers", "").lower()
    missing = [
        name
        for name in ("Content-Range", "Content-Length")
        if name.lower() not in exposed and "*" not in exposed
    ]
    lines = f"nginx:\n{NGINX_CORS}\nTDS, threddsConfig.xml:\n{TDS_CORS}"
    if allowed not in ("*", _ORIGIN):
        yield Diagnosis(
            "browsers", "note", "pages in a browser cannot read the files (CORS)", lines
        )
    elif missing:
        yield Diagnosis(
            "browsers",
            "note",
            f"pages in a browser do not see {' and '.join(missing)} (CORS)",
            lines,
        )
    else:
        yield Diagnosis("browsers", "good", "pages of any origin can read the files (CORS)")


SERVER_CHECKS: tuple[Check, ...] = (
    _proxy,
    _head,
    _ranges,
    _encoding,
    _tls,
    _clock,
    _latency,
    _browsers,
)
"""The checks, in the order of their rows. Each reads ``node.file``."""
