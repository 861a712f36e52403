"""Read bytes by URL or path: many ranges of many files in one call. No other room speaks HTTP.

Only allowed hosts are contacted; hosts that the operator did not name must have public addresses;
redirects stay on their host; TLS is verified; status, range and length of every answer are checked.
Errors of a server or disk become a TransportError that describes them.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar

import urllib3

from ..errors import Obstacle, TransportError
from .answers import Answer as Answer
from .answers import Head as Head
from .answers import drop, is_empty, lost, read_body, redirected, status_error, too_large
from .connections import NAMED_POOLS, PUBLIC_POOLS, tls_context, usual_tls_context
from .in_flight import AT_FIRST, AT_MOST, LONGEST_PAUSE_S, InFlight
from .paths import read_path, state_of_path
from .ranges import COALESCE_GAP as COALESCE_GAP
from .ranges import Range as Range
from .ranges import Span, coalesce
from .urls import host_of as host_of
from .urls import is_url as is_url
from .urls import join_url, parse_url
from .validators import State, States

LONGEST_DOCUMENT = 64 * 2**20
"""The most bytes of a catalogue page, a record file, or an answer of an index."""
_MOST_REDIRECTS = 3
_LONGEST_ANSWER = 64 * 1024
"""The most bytes that are read of the answer to a POST."""
_DISK_READERS = 8
_T = TypeVar("_T")
_W = TypeVar("_W")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")


class Transport:
    """Reads from a bounded set of hosts, and from local paths. Use as a context manager; threads
    may share it.

    Args:
        allowed_hosts: ``host`` or ``host:port`` that may be contacted at any address, because the
            operator named them.
        timeout_s: seconds to connect, to answer, and between two arrivals of bytes.
        retries: tries after the first, on 429, 503 and lost connections; ``Retry-After`` is
            respected.
        connections: the most requests in flight to one host; this many connections are kept open.
        connections_at_first: requests in flight to a host that is not known yet. The number rises
            while the host answers as fast as before, and falls when it slows down.
        ca_bundle: PEM file of a private certificate authority.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str] = (),
        timeout_s: float = 30.0,
        retries: int = 3,
        connections: int = AT_MOST,
        connections_at_first: int = AT_FIRST,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> None:
        self._named = {host.lower() for host in allowed_hosts}
        self._allowed = set(self._named)
        self._states = States()
        self._silent: Counter[str] = Counter()
        self.connections = connections
        self._at_first = min(connections_at_first, connections)
        self._in_flight: dict[str, InFlight] = {}
        self._told: Callable[[int, int], None] = lambda *_: None
        self._lock = Lock()
        self.rounds = 0
        """Rounds of requests so far; each round is sent after the one before it was answered."""
        self.requests = 0
        """Requests so far, including followed redirects and retries."""
        self.timeout_s = timeout_s
        self.retries = retries
        self._ca_bundle = ca_bundle
        if ca_bundle:
            # Raises here if the file cannot be used, not at the first request.
            usual_tls_context(str(ca_bundle))
        self._pools: dict[tuple[bool, bool], urllib3.PoolManager] = {}
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="esgvzarr-transport")
        self._disk_threads = ThreadPoolExecutor(_DISK_READERS, thread_name_prefix="esgvzarr-disk")

    def __enter__(self) -> Transport:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the rules and the known states of files, for another process."""
        settings = {
            "timeout_s": self.timeout_s,
            "retries": self.retries,
            "connections": self.connections,
            "connections_at_first": self._at_first,
            "ca_bundle": self._ca_bundle,
        }
        return _make_again, (settings, self._named, self._allowed, self._states)

    def for_one_of(self, count: int) -> Transport:
        """Return a transport for one of several processes that ask the same hosts at the same time.

        Together they have as many requests in flight as this transport alone, if ``count`` is at
        most ``connections``.
        """
        make, (settings, *known) = self.__reduce__()
        share = {
            "connections": max(1, self.connections // count),
            "connections_at_first": max(1, self._at_first // count),
        }
        again: Transport = make({**settings, **share}, *known)
        return again

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and threads."""
        self._threads.shutdown(cancel_futures=True)
        self._disk_threads.shutdown(cancel_futures=True)
        for pool in self._pools.values():
            pool.clear()

    def _pool_for(self, url: str) -> urllib3.PoolManager:
        """Return the pool of connections for a URL, made on first use: reading all certificate
        authorities takes long.
        """
        named = self.is_named(url)
        tls = parse_url(url).scheme == "https"
        with self._lock:
            if (named, tls) not in self._pools:
                context = usual_tls_context(str(self._ca_bundle or "")) if tls else None
                self._pools[named, tls] = self._make_pool(self.connections, context, named=named)
            return self._pools[named, tls]

    def _make_pool(
        self, connections: int, context: ssl.SSLContext | None, *, named: bool
    ) -> urllib3.PoolManager:
        pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=self.timeout_s, read=self.timeout_s),
            retries=False,
            ssl_context=context,
            headers={"User-Agent": "esgvzarr", "Accept-Encoding": "identity"},
        )
        pool.pool_classes_by_scheme = NAMED_POOLS if named else PUBLIC_POOLS
        return pool

    def allow(self, host: str, *, named: bool = False) -> None:
        """Allow requests to ``host`` or ``host:port``.

        Args:
            host: for example the host of a record.
            named: whether the operator named the host. Other hosts must have public addresses:
                otherwise a record could direct requests into the operator's own network.
        """
        self._allowed.add(host.lower())
        if named:
            self._named.add(host.lower())

    def is_named(self, url: str) -> bool:
        """Whether the operator named the host of a URL."""
        return host_of(url) in self._named

    def check_allowed(self, location: str) -> None:
        """Check that ``location`` is a path, or that its host is allowed.

        Raises:
            TransportError: ``transport-host-refused``.
        """
        if is_url(location) and (host := host_of(location)) not in self._allowed:
            raise TransportError(
                location,
                f"host {host} is not allowed",
                expected=f"one of {sorted(self._allowed) or 'none'}",
                todo="Files are fetched from the data node of the record only; add other hosts "
                "to `allowed_hosts`.",
                code="transport-host-refused",
            )

    def read_document(self, location: str, *, limit: int = LONGEST_DOCUMENT) -> bytes:
        """Return the whole content of a small file, by URL or path.

        Raises:
            TransportError: the file does not exist, is not allowed, or has more than ``limit``
                bytes.
        """
        if not is_url(location):
            size = state_of_path(location).size
            if size > limit:
                raise too_large(location, limit)
            return read_path(location, 0, size, States())
        return self._retried(lambda: self._fetch_document(location, limit))

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

    def read_heads(self, locations: Sequence[str], count: int) -> list[Head]:
        """Return the first ``count`` bytes of each file, read in one round; fewer if the file is
        shorter.
        """
        return self._each(locations, lambda location: self.read_head(location, count))

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of each range, in the order given; near ranges are fetched together.

        Raises:
            TransportError: a range cannot be read, or extends beyond the end of its file.
        """
        spans = [span for span in coalesce(ranges) if span.stop > span.start]
        bodies = self._each(spans, self._read_span, location_of=lambda span: span.location)
        parts: list[bytes] = [b""] * len(ranges)
        for span in reversed(spans):
            # Releases answers early, so that not all bytes are in memory twice.
            body = bodies.pop()
            for member in span.members:
                wanted = ranges[member]
                parts[member] = body[wanted.start - span.start : wanted.stop - span.start]
        return parts

    @contextmanager
    def watched(self, told: Callable[[int, int], None]) -> Iterator[None]:
        """Report each answer while the block runs.

        Args:
            told: receives the number of answers of a round so far, and the number of its requests.
        """
        before = self._told
        self._told = told
        try:
            yield
        finally:
            self._told = before

    def _each(
        self,
        wanted: Sequence[_W],
        read: Callable[[_W], _T],
        *,
        location_of: Callable[[_W], str] = str,
    ) -> list[_T]:
        """Call ``read`` for each item, all at once; items over HTTP form one round."""
        remote = [is_url(location_of(one)) for one in wanted]
        self.rounds += any(remote)
        started = [
            (self._threads if far else self._disk_threads).submit(read, one)
            for one, far in zip(wanted, remote, strict=True)
        ]
        try:
            results = []
            for future in started:
                results.append(future.result())
                self._told(len(results), len(started))
            return results
        finally:
            for future in started:
                future.cancel()

    def forget(self, locations: Iterable[str]) -> None:
        """Forget the state of these files. All answers from now on must agree with each other.

        Otherwise an answer is compared with the first state of the file that this transport has
        seen.
        """
        self._states.forget(locations)

    def state_of(self, location: str) -> State | None:
        """Return the first state of a file that this transport has seen; None if it has seen
        none.
        """
        return self._states.first_of(location)

    def look_at_paths(self, paths: Iterable[str]) -> None:
        """Compare local files with their state when they were first read.

        Raises:
            TransportError: ``transport-changed``, ``transport-path``.
        """
        for path in paths:
            self._states.compare(path, state_of_path(path))

    def compare(self, location: str, state: State) -> None:
        """Compare the state of a file that another reader has seen with the first state seen here.

        Raises:
            TransportError: ``transport-changed``.
        """
        self._states.compare(location, state)

    def post(
        self,
        url: str,
        body: bytes,
        media_type: str,
        *,
        certificate: str | os.PathLike[str] | None = None,
    ) -> tuple[int, str]:
        """Send a document that may safely be sent twice, and return the status and text of the
        answer.

        Args:
            url: where to send it; redirects are not followed.
            body: the document.
            media_type: media type of the document.
            certificate: PEM file of a client certificate and its key, used for this request only.

        Raises:
            TransportError: the host is not allowed, redirects, does not answer, or answers 429 or
                503 to the last try.
            SettingsError: the certificate cannot be used.
        """
        pool = None
        if certificate:
            pool = self._make_pool(
                1, tls_context(self._ca_bundle, certificate), named=self.is_named(url)
            )
        try:
            return self._retried(lambda: self._post(pool, url, body, media_type))
        finally:
            if pool:
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

    def try_each(
        self, locations: Sequence[str], read: Callable[[str], _T]
    ) -> list[_T | TransportError]:
        """Call ``read``, a method of this transport, for each location, all at once; return its
        results or errors.

        A host that left as many consecutive requests unanswered as are in flight at once gets no
        further requests, so that a dead data node does not delay the others.
        """
        return self._each(locations, lambda location: self._try(location, read))

    def _try(self, location: str, read: Callable[[str], _T]) -> _T | TransportError:
        try:
            host = host_of(location) if is_url(location) else ""
            if self._silent[host] >= self._at_first:
                raise TransportError(
                    location,
                    f"was not requested: {host} did not answer before",
                    todo="Check that the server runs, and that this machine can reach it.",
                    code="transport-unreachable",
                    retryable=True,
                )
            found = read(location)
        except TransportError as error:
            if error.obstacle is Obstacle.SILENT:
                self._silent[host] += 1
            return error
        self._silent[host] = 0
        return found

    def read_head(self, location: str, count: int) -> Head:
        """Return the first ``count`` bytes of a file; fewer if it is shorter.

        Raises:
            TransportError: the file cannot be read, or changed since it was first seen.
        """
        if not is_url(location):
            size = state_of_path(location).size
            return Head(read_path(location, 0, min(count, size), self._states), size)
        body, state, moved_to = self._retried(lambda: self._fetch(location, 0, count, shorter=True))
        self._states.compare(location, state)
        return Head(body, state.size, state.etag, state.last_modified, moved_to)

    def _read_span(self, span: Span) -> bytes:
        if not is_url(span.location):
            return read_path(span.location, span.start, span.stop, self._states)
        body, state, _ = self._retried(lambda: self._fetch(span.location, span.start, span.stop))
        self._states.compare(span.location, state)
        return body

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        """Retry after an error that may pass, with growing pauses, or with the pauses that the
        server requests.
        """
        for tried in range(self.retries):
            try:
                return attempt()
            except TransportError as error:
                if not error.retryable:
                    raise
                time.sleep(min(error.retry_after_s or 0.2 * 2**tried, LONGEST_PAUSE_S))
        return attempt()

    def _fetch_document(self, url: str, limit: int) -> bytes:
        with self._get(url, {}) as (response, _):
            if response.status != 200:
                raise status_error(url, response.status, response.headers)
            body = read_body(url, response, limit + 1)
        if len(body) > limit:
            raise too_large(url, limit)
        return body

    def _fetch(
        self, url: str, start: int, stop: int, *, shorter: bool = False
    ) -> tuple[bytes, State, str]:
        """Fetch one range; return its bytes, the state of the whole file, and the target of a
        redirect.
        """
        in_flight = self._in_flight_to(url)
        with (
            in_flight.slot(),
            self._get(url, {"Range": f"bytes={start}-{stop - 1}"}, in_flight) as answer,
        ):
            response, moved_to = answer
            if shorter and is_empty(response):
                return b"", State.of_answer(0, response.headers), moved_to
            if response.status != 206:
                error = status_error(url, response.status, response.headers)
                if response.status in (429, 503):
                    in_flight.refused(error.retry_after_s)
                raise error
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

    def _in_flight_to(self, url: str) -> InFlight:
        host = host_of(url)
        with self._lock:
            known = self._in_flight.get(host)
            if known is None:
                known = self._in_flight[host] = InFlight(self._at_first, self.connections)
        return known

    @contextmanager
    def _get(
        self, url: str, headers: dict[str, str], in_flight: InFlight | None = None
    ) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
        """Send a GET that follows redirects within the host only; give the answer with its body
        unread, and the target of a redirect.
        """
        sent_at = time.monotonic()
        response = self._open(url, headers)
        if in_flight is not None and response.status not in (429, 503):
            in_flight.answered(sent_at, time.monotonic() - sent_at)
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
        try:
            if response.status in (200, 206) and "html" in response.headers.get("Content-Type", ""):
                raise TransportError(
                    url,
                    "answered with an HTML page",
                    expected="the file itself",
                    todo=(
                        "Access may be restricted (a login page), or the URL may be wrong: "
                        "open it in a browser."
                    ),
                    code="transport-html",
                )
            yield response, target
        finally:
            drop(response)

    def _open(
        self,
        url: str,
        headers: dict[str, str],
        *,
        pool: urllib3.PoolManager | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> urllib3.BaseHTTPResponse:
        self.check_allowed(url)
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


def _make_again(
    settings: dict[str, Any], named: set[str], allowed: set[str], states: States
) -> Transport:
    again = Transport(allowed_hosts=named, **settings)
    for host in allowed:
        again.allow(host)
    again._states = states
    return again
