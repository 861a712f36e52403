"""Bytes by URL or path: many ranges of many files in one call. Nothing else in the package speaks
HTTP.

Only hosts that were allowed are fetched, those that the operator did not name only at public
addresses, redirects stay on their host, TLS is verified, every answer's status, range and length
are checked, and what a server or disk does wrong becomes a TransportError that says so.
"""

from __future__ import annotations

import functools
import http.client
import io
import math
import os
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3

from ..errors import Obstacle, SettingsError, TransportError
from .public_addresses import check_address, check_name

COALESCE_GAP = 32 * 1024
"""Bytes. Two ranges nearer than this are fetched as one: the bytes between cost less than a
request.
"""
COALESCE_LIMIT = 8 * 2**20
"""Bytes. No merged range grows beyond this."""
LONGEST_DOCUMENT = 64 * 2**20
"""Bytes of a catalogue page, a record file, an answer of an index."""
_MOST_REDIRECTS = 3
_LONGEST_ANSWER = 64 * 1024
"""Bytes that are read of the answer to a POST."""
_LONGEST_PAUSE_S = 60.0
_LONGEST_HEAD = 2**20
_LONGEST_BODY = 4 * 2**30
"""Bytes of an answer that are received at all, whoever asked for them."""
_BUFFER = 64 * 1024
_SLOWEST = 16 * 1024
"""Bytes a second, from the time on that a server may take to answer. No answer takes longer in all,
however it trickles.
"""
_T = TypeVar("_T")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Range(NamedTuple):
    """Bytes ``start`` (included) to ``stop`` (excluded) of the file at a URL or path."""

    location: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Head:
    """The first bytes of a file, and what its server says of the whole."""

    data: bytes
    size: int
    """Bytes of the whole file."""
    etag: str | None = None
    last_modified: str | None = None
    moved_to: str = ""
    """Where the server sent us, on the same host; empty if nowhere."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a server answered one request, whatever it said."""

    status: int
    headers: Mapping[str, str]
    """Looked up without regard to case."""
    data: bytes
    """The first bytes of the body, as they were sent."""
    seconds: float
    """Until the headers were there."""
    certificate: Mapping[str, Any]
    """What the server showed, as ``ssl.SSLSocket.getpeercert`` has it; empty without TLS."""


def is_url(location: str) -> bool:
    """True for http(s) URLs, False for what must be a path on this machine."""
    return location.startswith(("http://", "https://"))


def host_of(url: str) -> str:
    """``host``, or ``host:port`` where the port is not the scheme's default; lower case; the user
    part dropped.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise TransportError(
            url, f"not a URL: {error}", expected="http(s)://host/path", code="transport-bad-url"
        ) from error
    if not parts.hostname:
        raise TransportError(
            url, "has no host", expected="http(s)://host/path", code="transport-bad-url"
        )
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return name if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{name}:{port}"


class Transport:
    """Reads from a bounded set of hosts, and from local paths. Use as a context manager; threads
    may share it.

    Args:
        allowed_hosts: ``host`` or ``host:port`` that may be fetched from, wherever they are: the
            operator named them.
        timeout_s: seconds to connect, to answer, and between two arrivals of bytes.
        retries: tries after the first, on 429, 503 and lost connections; ``Retry-After`` is kept
            to.
        connections: kept open to one host, and requests in flight.
        ca_bundle: PEM file of a private certificate authority.
    """

    def __init__(
        self,
        *,
        allowed_hosts: Iterable[str] = (),
        timeout_s: float = 30.0,
        retries: int = 3,
        connections: int = 32,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> None:
        self._named = {host.lower() for host in allowed_hosts}
        self._allowed = set(self._named)
        self._seen: dict[str, tuple[int, str | None]] = {}
        self._silent: Counter[str] = Counter()
        self._connections = connections
        self._timeout_s = timeout_s
        self._retries = retries
        self._ca_bundle = ca_bundle
        context = _usual_tls_context(str(ca_bundle or ""))
        self._pools = {
            named: self._make_pool(connections, context, named=named) for named in (True, False)
        }
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="esgvzarr-transport")

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections and threads."""
        self._threads.shutdown(cancel_futures=True)
        for pool in self._pools.values():
            pool.clear()

    def _make_pool(
        self, connections: int, context: ssl.SSLContext, *, named: bool
    ) -> urllib3.PoolManager:
        pool = urllib3.PoolManager(
            maxsize=connections,
            block=True,
            timeout=urllib3.Timeout(connect=self._timeout_s, read=self._timeout_s),
            retries=False,
            ssl_context=context,
            headers={"User-Agent": "esgvzarr", "Accept-Encoding": "identity"},
        )
        pool.pool_classes_by_scheme = _NAMED_POOLS if named else _PUBLIC_POOLS
        return pool

    def allow(self, host: str, *, named: bool = False) -> None:
        """Let ``host`` or ``host:port`` be fetched from as well.

        Args:
            host: of a record, say.
            named: by the operator. Other hosts must be at public addresses: those of the operator's
                own network are not for anyone to name who can write a record.
        """
        self._allowed.add(host.lower())
        if named:
            self._named.add(host.lower())

    def is_named(self, url: str) -> bool:
        """Whether the operator named the host of a URL."""
        return host_of(url) in self._named

    def check_allowed(self, location: str) -> None:
        """Raise TransportError unless ``location`` is a path, or its host was allowed."""
        if is_url(location) and (host := host_of(location)) not in self._allowed:
            raise TransportError(
                location,
                f"host {host} is not allowed",
                expected=f"one of {sorted(self._allowed) or 'none'}",
                todo="Only the record's data node is fetched from; add others to `allowed_hosts`.",
                code="transport-host-refused",
            )

    def read_document(self, location: str, *, limit: int = LONGEST_DOCUMENT) -> bytes:
        """The whole of a small file, by URL or path.

        Raises:
            TransportError: not there, not allowed, or larger than ``limit`` bytes.
        """
        if not is_url(location):
            size = _stat(location).st_size
            if size > limit:
                raise _too_large(location, limit)
            return _read_path(location, 0, size)
        return self._retried(lambda: self._fetch_document(location, limit))

    def ask(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, sent once, and its answer as it is: no judgement, no redirect followed, at
        most 64 KiB of the body.

        Raises:
            TransportError: not allowed, or no answer.
        """
        started = time.perf_counter()
        response = self._open(url, dict(headers or {}), method=method)
        seconds = time.perf_counter() - started
        try:
            sock = getattr(getattr(response, "connection", None), "sock", None)
            certificate = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
            data = response.read(_LONGEST_ANSWER, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise _lost(url, error) from error
        finally:
            _drop(response)
        return Answer(response.status, response.headers, data, seconds, certificate or {})

    def read_heads(self, locations: Sequence[str], count: int) -> list[Head]:
        """The first ``count`` bytes of each file, all at once; shorter where the file is."""
        return list(self._threads.map(lambda location: self.read_head(location, count), locations))

    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """The bytes of each range, in the order given; near ones are fetched together.

        Raises:
            TransportError: among others, where a range reaches beyond the end of its file.
        """
        spans = _coalesce(ranges)
        bodies = list(self._threads.map(lambda span: self._read_range(span[0]), spans))
        parts: list[bytes] = [b""] * len(ranges)
        for (span, members), body in zip(spans, bodies, strict=True):
            for member in members:
                wanted = ranges[member]
                parts[member] = body[wanted.start - span.start : wanted.stop - span.start]
        return parts

    def post(
        self,
        url: str,
        body: bytes,
        media_type: str,
        *,
        certificate: str | os.PathLike[str] | None = None,
    ) -> tuple[int, str]:
        """Send a document that does no harm if it is sent twice, and give back the status and text
        of the answer.

        Args:
            url: where to; redirects are not followed.
            body: the document.
            media_type: of the document.
            certificate: PEM file of a client certificate and its key, which no other request shows.

        Raises:
            TransportError: not allowed, redirected, no answer, or still 429 or 503 after the last
                try.
            SettingsError: the certificate cannot be used.
        """
        pool = None
        if certificate:
            pool = self._make_pool(
                1, _tls_context(self._ca_bundle, certificate), named=self.is_named(url)
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
                    f"redirects to {urljoin(url, place)}",
                    expected="an answer",
                    code="transport-redirected",
                )
            if response.status in (429, 503):
                raise _status_error(url, response)
            return response.status, _body(url, response, _LONGEST_ANSWER).decode("utf-8", "replace")
        finally:
            _drop(response)

    def try_each(
        self, locations: Sequence[str], read: Callable[[str], _T]
    ) -> list[_T | TransportError]:
        """What ``read``, a method of this transport, makes of each location, all at once; or why it
        cannot be had.

        A host that left as many requests in a row without an answer as are in flight at once is not
            asked any more: a dead data
        node does not hold up others.
        """
        return list(self._threads.map(lambda location: self._try(location, read), locations))

    def _try(self, location: str, read: Callable[[str], _T]) -> _T | TransportError:
        try:
            host = host_of(location) if is_url(location) else ""
            if self._silent[host] >= self._connections:
                raise TransportError(
                    location,
                    f"was not asked for: {host} did not answer before",
                    todo="Is the server up, and reachable from here?",
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
        """The first ``count`` bytes of a file; fewer where it is shorter."""
        if not is_url(location):
            size = _stat(location).st_size
            return Head(_read_path(location, 0, min(count, size)), size)
        body, size, headers, moved_to = self._retried(
            lambda: self._fetch(location, 0, count, shorter=True)
        )
        self._seen[location] = (size, _validator(headers))
        return Head(body, size, headers.get("ETag"), headers.get("Last-Modified"), moved_to)

    def _read_range(self, span: Range) -> bytes:
        if span.stop <= span.start:
            return b""
        if not is_url(span.location):
            return _read_path(span.location, span.start, span.stop)
        body, size, headers, _ = self._retried(
            lambda: self._fetch(span.location, span.start, span.stop)
        )
        known = self._seen.get(span.location)
        if known is not None and known != (size, _validator(headers)):
            raise TransportError(
                span.location,
                f"was replaced while it was read: {known} became {(size, _validator(headers))}",
                expected="the size and ETag, or date, of its first bytes",
                todo="Try again when the file is settled.",
                code="transport-changed",
                retryable=True,
            )
        return body

    def _retried(self, attempt: Callable[[], _T]) -> _T:
        """Try again after what may pass, with growing pauses, or as long as the server asks for."""
        for tried in range(self._retries):
            try:
                return attempt()
            except TransportError as error:
                if not error.retryable:
                    raise
                time.sleep(min(error.retry_after_s or 0.2 * 2**tried, _LONGEST_PAUSE_S))
        return attempt()

    def _fetch_document(self, url: str, limit: int) -> bytes:
        with self._get(url, {}) as (response, _):
            if response.status != 200:
                raise _status_error(url, response)
            body = _body(url, response, limit + 1)
        if len(body) > limit:
            raise _too_large(url, limit)
        return body

    def _fetch(
        self, url: str, start: int, stop: int, *, shorter: bool = False
    ) -> tuple[bytes, int, Any, str]:
        """One range: its bytes, the size of the whole file, the headers, where a redirect led."""
        with self._get(url, {"Range": f"bytes={start}-{stop - 1}"}) as (response, moved_to):
            if shorter and _is_empty(response):
                return b"", 0, response.headers, moved_to
            if response.status != 206:
                raise _status_error(url, response)
            match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
            first, last, size = map(int, match.groups()) if match else (-1, -1, -1)
            expected = min(stop, size) if shorter else stop
            if first != start or last + 1 != expected:
                raise TransportError(
                    url,
                    f"answered Content-Range {response.headers.get('Content-Range')!r} to bytes "
                    f"{start}-{stop - 1}",
                    expected="the range that was asked for",
                    todo=(
                        "The file is shorter than it says of itself, or its server does not keep "
                        "to RFC 9110."
                    ),
                    code="transport-range-wrong",
                )
            body = _body(url, response, expected - start + 1)
        if len(body) != expected - start:
            raise TransportError(
                url,
                f"sent {len(body)} bytes for bytes {start}-{expected - 1}",
                expected=f"{expected - start}",
                todo="The answer was cut short: try again, then look at the data node.",
                code="transport-truncated",
                retryable=True,
            )
        return body, size, response.headers, moved_to

    @contextmanager
    def _get(
        self, url: str, headers: dict[str, str]
    ) -> Iterator[tuple[urllib3.BaseHTTPResponse, str]]:
        """A GET that follows redirects within the host only, and where they led; the body is still
        to be read.
        """
        response = self._open(url, headers)
        target = ""
        for followed in range(_MOST_REDIRECTS + 1):
            place = response.get_redirect_location()
            if not place:
                break
            _drop(response)
            target = urljoin(url, place)
            elsewhere = urlsplit(target).hostname != urlsplit(url).hostname
            if (
                elsewhere
                or (url.startswith("https:") and not target.startswith("https:"))
                or followed == _MOST_REDIRECTS
            ):
                raise _redirected(url, target)
            response = self._open(target, headers)
        try:
            if response.status in (200, 206) and "html" in response.headers.get("Content-Type", ""):
                raise TransportError(
                    url,
                    "answered with an HTML page",
                    expected="the file itself",
                    todo=(
                        "Access may be restricted (a login page), or the URL wrong: open it in a "
                        "browser."
                    ),
                    code="transport-html",
                )
            yield response, target
        finally:
            _drop(response)

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
        pool = pool or self._pools[self.is_named(url)]
        said = {**pool.headers, **headers}
        content = body or None
        try:
            return pool.request(
                method, url, body=content, headers=said, preload_content=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise _lost(url, error) from error


class _TooSlowError(TimeoutError):
    """Bytes trickle."""


class _Paced(io.RawIOBase):
    """The bytes of an answer, as long as they come fast enough, and as many as there may be."""

    def __init__(self, raw: io.RawIOBase, patience_s: float) -> None:
        self._raw = raw
        self._deadline = time.monotonic() + patience_s
        self.left = _LONGEST_HEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if time.monotonic() > self._deadline:
            raise _TooSlowError(f"its answer came at less than {_SLOWEST} bytes a second")
        if self.left <= 0:
            raise http.client.HTTPException("its answer has no end")
        count = self._raw.readinto(buffer) or 0
        self._deadline += count / _SLOWEST
        self.left -= count
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedResponse(http.client.HTTPResponse):
    """An answer with an end, from its first line on."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self._paced = _Paced(self.fp.detach(), sock.gettimeout() or math.inf)
        self.fp = io.BufferedReader(self._paced, _BUFFER)

    def begin(self) -> None:
        super().begin()
        self._paced.left = _LONGEST_BODY


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _PacedResponse


class _TlsConnection(_Connection, urllib3.connection.HTTPSConnection):
    """The same, under TLS."""


class _PublicConnection(_Connection):
    """Sends nothing to an address that is not public."""

    def _new_conn(self) -> socket.socket:
        check_name(self._dns_host, self.port)
        connected = super()._new_conn()
        try:
            check_address(
                connected.getpeername()[0], self.host
            )  # a name may lead elsewhere when it is asked for again
        except TransportError:
            connected.close()
            raise
        return connected


class _PublicTlsConnection(_PublicConnection, urllib3.connection.HTTPSConnection):
    """The same, under TLS."""


def _pool_classes(
    plain: type[_Connection], tls: type[urllib3.connection.HTTPSConnection]
) -> dict[str, type[Any]]:
    return {
        "http": type("Pool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("TlsPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


_NAMED_POOLS = _pool_classes(_Connection, _TlsConnection)
_PUBLIC_POOLS = _pool_classes(_PublicConnection, _PublicTlsConnection)


def _is_empty(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the answer to a range that begins at 0 says that the file has no bytes: 416, as RFC
    9110 has it, or 200 as nginx.
    """
    said = (
        response.status,
        response.headers.get("Content-Range"),
        response.headers.get("Content-Length"),
    )
    return said[:2] == (416, "bytes */0") or said == (200, None, "0")


def _validator(headers: Mapping[str, str]) -> str | None:
    """What tells one state of a file from another, as far as its server says: TDS has no ETag."""
    return headers.get("ETag") or headers.get("Last-Modified")


@functools.cache
def _usual_tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Made once: to read all certificate authorities takes longer than to read many a dataset."""
    return _tls_context(ca_bundle or None)


def _tls_context(
    ca_bundle: str | os.PathLike[str] | None, certificate: str | os.PathLike[str] | None = None
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            str(ca_bundle), f"cannot be used as ca_bundle: {error}", expected="a PEM file"
        ) from error
    if certificate:
        try:
            context.load_cert_chain(
                certificate, password=""
            )  # or OpenSSL asks for one on the terminal
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                str(certificate),
                f"cannot be used as client certificate: {type(error).__name__}",
                expected="a PEM file of a certificate and its key, without a password",
                todo="See `cert` in esg.yaml.",
            ) from error
    return context


def _coalesce(ranges: Sequence[Range]) -> list[tuple[Range, list[int]]]:
    """Merged ranges, each with the positions of those that it serves."""
    spans: list[tuple[Range, list[int]]] = []
    for position in sorted(range(len(ranges)), key=ranges.__getitem__):
        wanted = ranges[position]
        if spans:
            span, members = spans[-1]
            stop = max(span.stop, wanted.stop)
            if (
                span.location == wanted.location
                and wanted.start - span.stop <= COALESCE_GAP
                and stop - span.start <= COALESCE_LIMIT
            ):
                spans[-1] = (span._replace(stop=stop), [*members, position])
                continue
        spans.append((wanted, [position]))
    return spans


def _drop(response: urllib3.BaseHTTPResponse) -> None:
    """Have done with an answer. One that was read to its end gave its connection back before;
    another may have gigabytes to go, so its connection is closed, and its place in the pool freed.
    """
    response.close()
    response.release_conn()


def _body(url: str, response: urllib3.BaseHTTPResponse, limit: int) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise TransportError(
            url,
            f"answered with Content-Encoding {encoding!r}",
            expected="the bytes as they are, as asked for",
            todo=(
                "Encoded bytes may be of any size: let the data node compress only what clients "
                "accept compressed."
            ),
            code="transport-encoded",
        )
    try:
        return response.read(limit)
    except urllib3.exceptions.ProtocolError as error:
        raise TransportError(
            url,
            f"ended early: {error.args[-1]}",
            expected=f"{response.headers.get('Content-Length')} bytes, as its head says",
            todo="The answer was cut short: try again, then look at the data node.",
            code="transport-truncated",
            retryable=True,
        ) from error
    except urllib3.exceptions.HTTPError as error:
        raise _lost(url, error) from error


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise TransportError(
            path, f"cannot be read: {error.strerror}", code="transport-path"
        ) from error


def _read_path(path: str, start: int, stop: int) -> bytes:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(stop - start)
    except OSError as error:
        raise TransportError(
            path, f"cannot be read: {error.strerror}", code="transport-path"
        ) from error
    if len(data) != stop - start:
        raise TransportError(
            path,
            f"ends at byte {start + len(data)}",
            expected=f"at least {stop} bytes",
            code="transport-truncated",
        )
    return data


def _status_error(url: str, response: urllib3.BaseHTTPResponse) -> TransportError:
    status = response.status
    if status == 200:
        return TransportError(
            url,
            "the server ignores Range (status 200)",
            expected="206 Partial Content",
            todo="Turn on byte ranges on the data node: without them no reader can stream.",
            code="transport-no-range",
        )
    todo = {
        401: "The data are restricted: references are for data that anyone can read.",
        403: "The data are restricted: references are for data that anyone can read.",
        404: "Is the dataset published, and its data root served?",
    }.get(status, "")
    error = TransportError(
        url,
        f"HTTP status {status}",
        todo=todo,
        code=f"transport-http-{status}",
        retryable=status in (429, 503),
    )
    error.retry_after_s = _seconds(response.headers.get("Retry-After", ""))
    return error


def _seconds(retry_after: str) -> float:
    """Seconds of a Retry-After header; 0 where it is missing, or a date."""
    return float(retry_after) if retry_after.isdecimal() else 0.0


def _redirected(url: str, target: str) -> TransportError:
    error = TransportError(
        url,
        f"redirects to {target}",
        expected="the file itself",
        todo=(
            "Access may be restricted (a login page): references are for data that anyone can read."
        ),
        code="transport-redirected",
    )
    error.moved_to = target
    return error


def _lost(url: str, error: urllib3.exceptions.HTTPError) -> TransportError:
    reason = getattr(error, "reason", None) or error
    if isinstance(error.__cause__, _TooSlowError):
        return TransportError(
            url,
            f"is too slow: {error.__cause__}",
            todo="Try again later, with fewer `connections` or a longer `timeout_s`.",
            code="transport-slow",
            retryable=True,
        )
    if isinstance(reason, urllib3.exceptions.SSLError):
        return TransportError(
            url,
            f"TLS failed: {reason}",
            todo="Set `ca_bundle` for a private certificate authority.",
            code="transport-tls",
        )
    return TransportError(
        url,
        f"no answer: {reason}",
        todo="Is the server up, and reachable from here?",
        code="transport-unreachable",
        retryable=True,
    )


def _too_large(location: str, limit: int) -> TransportError:
    return TransportError(
        location,
        f"is larger than {limit} bytes",
        expected="a small document",
        code="transport-too-large",
    )
