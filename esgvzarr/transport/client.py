"""Send requests over HTTP, each of them once, and check their answers.

This module is imported with the first request. Its packages take as long to import as the scan of
several local files, which needs none of them.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock

import urllib3

from ..errors import TransportError
from .allowed_hosts import AllowedHosts
from .answers import redirected, seconds, status_error
from .connections import NAMED_POOLS, PUBLIC_POOLS, tls_context, usual_tls_context
from .heads import Answer
from .in_flight import InFlight
from .paths import too_large
from .responses import drop, is_empty, lost, read_body
from .urls import host_of, join_url, parse_url
from .validators import State

_MOST_REDIRECTS = 3
_LONGEST_ANSWER = 64 * 1024
"""The most bytes that are read of the answer to a POST."""
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")


class Client:
    """Sends requests to allowed hosts. Threads may share it.

    Args:
        hosts: the hosts that may be contacted.
        timeout_s: seconds to connect, to answer, and between two arrivals of bytes.
        connections: the most requests in flight to one host.
        connections_at_first: requests in flight to a host that is not known yet.
        ca_bundle: PEM file of a private certificate authority.
    """

    def __init__(
        self,
        hosts: AllowedHosts,
        *,
        timeout_s: float,
        connections: int,
        connections_at_first: int,
        ca_bundle: str | os.PathLike[str] | None,
    ) -> None:
        self._hosts = hosts
        self._timeout_s = timeout_s
        self._connections = connections
        self._at_first = connections_at_first
        self._ca_bundle = ca_bundle
        self._in_flight: dict[str, InFlight] = {}
        self._pools: dict[tuple[bool, bool], urllib3.PoolManager] = {}
        """By whether the operator named the host, and whether it speaks TLS."""
        self._lock: Lock = Lock()
        self._is_borrower = False
        self.requests = 0
        """Requests so far, including followed redirects and retries."""

    def borrow_connections(self, lender: Client) -> None:
        """Use the connections of a client of the same settings, which are not closed here."""
        self._pools = lender._pools
        self._lock = lender._lock
        self._is_borrower = True

    def close(self) -> None:
        """Close the connections, unless they are another client's."""
        if self._is_borrower:
            return
        for pool in self._pools.values():
            pool.clear()

    def ask(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request once, and return its answer unchecked, without following a redirect,
        with at most 64 KiB of the body.

        Raises:
            TransportError: the host is not allowed, or does not answer.
        """
        started = time.perf_counter()
        response = self._open(url, dict(headers or {}), method=method)
        seconds = time.perf_counter() - started
        try:
            sock = getattr(getattr(response, "connection", None), "sock", None)
            certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
            data = response.read(_LONGEST_ANSWER, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise lost(url, error) from error
        finally:
            drop(response)
        return Answer(response.status, response.headers, data, seconds, certificate or {})

    def post(
        self,
        url: str,
        body: bytes,
        media_type: str,
        certificate: str | os.PathLike[str] | None = None,
    ) -> tuple[int, str]:
        """Send a document, and return the status and text of the answer.

        Args:
            url: where to send it; redirects are not followed.
            body: the document.
            media_type: media type of the document.
            certificate: PEM file of a client certificate and its key, used for this request only.

        Raises:
            TransportError: the host is not allowed, redirects, does not answer, or answers 429 or
                503.
            SettingsError: the certificate cannot be used.
        """
        if not certificate:
            return self._post(None, url, body, media_type)
        context = tls_context(self._ca_bundle, certificate)
        pool = self._make_pool(1, context, named=self._hosts.is_named(url))
        try:
            return self._post(pool, url, body, media_type)
        finally:
            pool.clear()

    def _post(
        self, pool: urllib3.PoolManager | None, url: str, body: bytes, media_type: str
    ) -> tuple[int, str]:
        response = self._open(
            url, {"Content-Type": media_type}, pool=pool, method="POST", body=body
        )
        try:
            place = response.get_redirect_location()
            if place:
                raise TransportError(
                    url,
                    f"redirects to {place}",
                    expected="an answer",
                    code="transport-redirected",
                )
            if response.status in (429, 503):
                raise status_error(url, response.status, response.headers)
            text = read_body(url, response, _LONGEST_ANSWER).decode("utf-8", "replace")
            return response.status, text
        finally:
            drop(response)

    def fetch_document(self, url: str, limit: int) -> bytes:
        """Return the whole content of a small file.

        Raises:
            TransportError: the file does not exist, is not allowed, or has more than ``limit``
                bytes.
        """
        with self._get(url, {}) as (response, _):
            if response.status != 200:
                raise status_error(url, response.status, response.headers)
            body = read_body(url, response, limit + 1)
        if len(body) > limit:
            raise too_large(url, limit)
        return body

    def fetch(
        self, url: str, start: int, stop: int, *, shorter: bool = False
    ) -> tuple[bytes, State, str]:
        """Fetch one range; return its bytes, the state of the whole file, and the target of a
        redirect.

        Args:
            url: URL of the file.
            start: first byte.
            stop: the byte after the last.
            shorter: whether the file may end before ``stop``.

        Raises:
            TransportError: the host is not allowed, or its answer is not the range.
        """
        with self._get(url, {"Range": f"bytes={start}-{stop - 1}"}) as (response, moved_to):
            if shorter and is_empty(response):
                return b"", State.of_answer(0, response.headers), moved_to
            if response.status != 206:
                raise status_error(url, response.status, response.headers)
            match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            first, last, size = map(int, match.groups()) if match else (-1, -1, -1)
            expected = min(stop, size) if shorter else stop
            if first != start or last + 1 != expected:
                raise TransportError(
                    url,
                    f"answered Content-Range {response.headers.get('Content-Range')!r} to bytes "
                    f"{start}-{stop - 1}",
                    expected="the range that was requested",
                    todo=(
                        "The file is shorter than its metadata state, or its server does "
                        "not follow RFC 9110."
                    ),
                    code="transport-range-wrong",
                )
            body = read_body(url, response, expected - start + 1)
        if len(body) != expected - start:
            raise TransportError(
                url,
                f"sent {len(body)} bytes for bytes {start}-{expected - 1}",
                expected=f"{expected - start}",
                todo="The answer was cut short: try again; if it happens again, check the data "
                "node.",
                code="transport-truncated",
                retryable=True,
            )
        return body, State.of_answer(size, response.headers), moved_to

    def in_flight_to(self, url: str) -> InFlight:
        """Return the number of requests in flight to the host of a URL.

        Texts that are no URL share one number; the request fails later.
        """
        try:
            host = host_of(url)
        except TransportError:
            host = ""
        with self._lock:
            known = self._in_flight.get(host)
            if known is None:
                known = self._in_flight[host] = InFlight(self._at_first, self._connections)
        return known

    @contextmanager
    def _get(
        self, url: str, headers: dict[str, str]
    ) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
        """Send a GET when one more request may be in flight, and follow redirects within the host
        only; give the answer with its body unread, and the target of a redirect.
        """
        in_flight = self.in_flight_to(url)
        with in_flight.slot():
            sent_at = time.monotonic()
            response = self._open(url, headers)
            if response.status not in (429, 503):
                in_flight.answered(sent_at, time.monotonic() - sent_at)
            response, target = self._followed(url, headers, response)
            try:
                if response.status in (429, 503):
                    in_flight.refused(seconds(response.headers.get("Retry-After", "")))
                _check_no_page(url, response)
                yield response, target
            finally:
                drop(response)

    def _followed(
        self, url: str, headers: dict[str, str], response: urllib3.BaseHTTPResponse
    ) -> tuple[urllib3.BaseHTTPResponse, str]:
        """Follow redirects within the host; return the last answer, and where it came from, which
        is empty without a redirect.
        """
        target = ""
        for followed in range(_MOST_REDIRECTS + 1):
            place = response.get_redirect_location()
            if not place:
                break
            drop(response)
            target = _target(url, place)
            elsewhere = parse_url(target).host != parse_url(url).host
            if (
                elsewhere
                or (url.startswith("https:") and not target.startswith("https:"))
                or followed == _MOST_REDIRECTS
            ):
                raise redirected(url, target)
            response = self._open(target, headers)
        return response, target

    def _open(
        self,
        url: str,
        headers: dict[str, str],
        *,
        pool: urllib3.PoolManager | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> urllib3.BaseHTTPResponse:
        self._hosts.check(url)
        with self._lock:
            self.requests += 1
        pool = pool or self._pool_for(url)
        said = {**pool.headers, **headers}
        content = body or None
        # urllib3 does not parse the URL itself: it gets the host that was checked.
        place = parse_url(url)
        host = pool.connection_from_host(place.host, place.port, place.scheme)
        try:
            return host.urlopen(
                method,
                place.target,
                body=content,
                headers=said,
                preload_content=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise lost(url, error) from error

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        """Return the pool of connections for a URL, made on first use: reading all certificate
        authorities takes long.
        """
        named = self._hosts.is_named(url)
        tls = parse_url(url).scheme == "https"
        with self._lock:
            if (named, tls) not in self._pools:
                context = usual_tls_context(str(self._ca_bundle or "")) if tls else None
                self._pools[named, tls] = self._make_pool(self._connections, context, named=named)
            return self._pools[named, tls]

    def _make_pool(
        self, connections: int, context: ssl.SSLContext | None, *, named: bool
    ) -> urllib3.PoolManager:
        pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s),
            retries=False,
            ssl_context=context,
            headers={"User-Agent": "esgvzarr", "Accept-Encoding": "identity"},
        )
        pool.pool_classes_by_scheme = NAMED_POOLS if named else PUBLIC_POOLS
        return pool


def _check_no_page(url: str, response: urllib3.BaseHTTPResponse) -> None:
    """Refuse an HTML page in place of a file."""
    if response.status in (200, 206) and "html" in response.headers.get("Content-Type", ""):
        raise TransportError(
            url,
            "answered with an HTML page",
            expected="the file itself",
            todo=(
                "Access may be restricted (a login page), or the URL may be wrong: open it in a "
                "browser."
            ),
            code="transport-html",
        )


def _target(url: str, place: str) -> str:
    """Return the URL to which a redirect leads."""
    try:
        return join_url(url, place)
    except TransportError as error:
        raise TransportError(
            url,
            f"redirects to an invalid URL: {error}",
            expected="the file itself",
            todo="The server is misconfigured or malicious: report it to the data node.",
            code="transport-redirected",
        ) from error
