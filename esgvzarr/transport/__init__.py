"""Read bytes by URL or path: many ranges of many files in one call. No other room speaks HTTP.

Only allowed hosts are contacted; hosts that the operator did not name must have public addresses;
redirects stay on their host; TLS is verified; status, range and length of every answer are checked.
Errors of a server or disk become a TransportError that describes them.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import Obstacle, TransportError
from .allowed_hosts import AllowedHosts
from .heads import Answer as Answer
from .heads import Head as Head
from .in_flight import AT_FIRST, AT_MOST, LONGEST_PAUSE_S
from .paths import read_path, state_of_path, too_large
from .ranges import COALESCE_GAP as COALESCE_GAP
from .ranges import Range as Range
from .ranges import Span, coalesce
from .round import Round
from .urls import host_of as host_of
from .urls import is_url as is_url
from .validators import State, States

if TYPE_CHECKING:
    from .client import Client  # Its packages are imported with the first request.

LONGEST_DOCUMENT = 64 * 2**20
"""The most bytes of a catalogue page, a record file, or an answer of an index."""
_DISK_READERS = 8
_SLOW_READ_S = 0.002
"""A read from disk that takes longer shows that the bytes are not in memory: the next ones are read
by several threads. Bytes in memory are read faster by one thread than by several.
"""
_T = TypeVar("_T")
_W = TypeVar("_W")


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
        self._hosts = AllowedHosts(allowed_hosts)
        self._states = States()
        self._silent: Counter[str] = Counter()
        self.connections = connections
        self._at_first = min(connections_at_first, connections)
        self._told: Callable[[int, int], None] = lambda *_: None
        self._lock = Lock()
        self.rounds = 0
        """Rounds of requests so far; each round is sent after the one before it was answered."""
        self.timeout_s = timeout_s
        self.retries = retries
        self._ca_bundle = ca_bundle
        if ca_bundle:
            from .connections import usual_tls_context

            # Raises here if the file cannot be used, not at the first request.
            usual_tls_context(str(ca_bundle))
        self._client: Client | None = None
        self._lender: Transport | None = None
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
        return _make_again, (settings, self._hosts, self._states)

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

    def borrow_connections(self, lender: Transport) -> None:
        """Send all requests over the connections of another transport, which must stay open. The
        allowed hosts, and the states of files, remain those of this transport.

        Args:
            lender: a transport of the same settings.
        """
        self._lender = lender

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def requests(self) -> int:
        """Requests so far, including followed redirects and retries."""
        return self._client.requests if self._client is not None else 0

    def _http(self) -> Client:
        """Return the client for HTTP, made on first use."""
        from .client import Client

        with self._lock:
            if self._client is None:
                self._client = Client(
                    self._hosts,
                    timeout_s=self.timeout_s,
                    connections=self.connections,
                    connections_at_first=self._at_first,
                    ca_bundle=self._ca_bundle,
                )
                if self._lender is not None:
                    self._client.borrow_connections(self._lender._http())
            return self._client

    def close(self) -> None:
        """Close the connections and threads."""
        self._threads.shutdown(cancel_futures=True)
        self._disk_threads.shutdown(cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def allow(self, host: str, *, named: bool = False) -> None:
        """Allow requests to ``host`` or ``host:port``.

        Args:
            host: for example the host of a record.
            named: whether the operator named the host. Other hosts must have public addresses:
                otherwise a record could direct requests into the operator's own network.
        """
        self._hosts.allow(host, named=named)

    def is_named(self, url: str) -> bool:
        """Whether the operator named the host of a URL."""
        return self._hosts.is_named(url)

    def check_allowed(self, location: str) -> None:
        """Check that ``location`` is a path, or that its host is allowed.

        Raises:
            TransportError: ``transport-host-refused``.
        """
        self._hosts.check(location)

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
        return self._retried(lambda: self._http().fetch_document(location, limit))

    def ask(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request once, and return its answer unchecked, without following a redirect,
        with at most 64 KiB of the body.

        Raises:
            TransportError: the host is not allowed, or does not answer.
        """
        return self._http().ask(url, method=method, headers=headers)

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
        """Call ``read`` for each item; items over HTTP form one round, and are read all at once."""

        def read_one(number: int) -> _T:
            return read(wanted[number])

        far = Round(self._threads, read_one)
        near = []
        for number, one in enumerate(wanted):
            location = location_of(one)
            if is_url(location):
                far.add(self._http().in_flight_to(location), number)
            else:
                near.append(number)
        self.rounds += len(near) < len(wanted)
        found: dict[int, _T] = {}
        try:
            far.start()
            for results in (self._read_near(near, read_one), far.results()):
                for number, result in results:
                    found[number] = result
                    self._told(len(found), len(wanted))
            return [found[number] for number in range(len(wanted))]
        finally:
            far.stop()

    def _read_near(
        self, numbers: Sequence[int], read: Callable[[int], _T]
    ) -> Iterator[tuple[int, _T]]:
        """Read items from disk; yield the number and the result of each."""
        started: list[tuple[int, Future[_T]]] = []
        slow = False
        try:
            for number in numbers:
                if slow:
                    started.append((number, self._disk_threads.submit(read, number)))
                    continue
                begun = time.perf_counter()
                result = read(number)
                slow = time.perf_counter() - begun > _SLOW_READ_S
                yield number, result
            for number, future in started:
                yield number, future.result()
        finally:
            for _, future in started:
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
        return self._retried(lambda: self._http().post(url, body, media_type, certificate))

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
        body, state, moved_to = self._retried(
            lambda: self._http().fetch(location, 0, count, shorter=True)
        )
        self._states.compare(location, state)
        return Head(body, state.size, state.etag, state.last_modified, moved_to)

    def _read_span(self, span: Span) -> bytes:
        if not is_url(span.location):
            return read_path(span.location, span.start, span.stop, self._states)
        body, state, _ = self._retried(
            lambda: self._http().fetch(span.location, span.start, span.stop)
        )
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


def _make_again(settings: dict[str, Any], hosts: AllowedHosts, states: States) -> Transport:
    again = Transport(**settings)
    again._hosts = hosts.copy()
    again._states = states
    return again
