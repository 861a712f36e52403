"""Faults of data nodes, each as a frozen object that changes the usual answer to a request."""

from __future__ import annotations

import fnmatch
import gzip
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Protocol

from .loopback import Asked, FileSlice, Response, text_response

Answer = Callable[[Asked], Response]

LOGIN_PAGE = (
    "<!DOCTYPE html>\n<html><head><title>Log "
    "in</title></head><body><form>OpenID</form></body></html>\n"
)


class Fault(Protocol):
    """Answers instead of ``answer``, which returns the usual answer."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the answer with this fault."""
        ...


class FaultPlan:
    """Faults by request; the latest fault that matches applies."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []

    def add(self, fault: Fault, paths: str, methods: Collection[str]) -> None:
        """Apply ``fault`` to requests whose URL path matches a glob, and with these methods (all,
        if empty).
        """
        with self._lock:
            self._planned.append(_Planned(fault, paths, frozenset(methods)))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._planned.clear()

    @property
    def is_empty(self) -> bool:
        """Whether there are no faults."""
        with self._lock:
            return not self._planned

    def answer(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer, or the answer with the faults that match."""
        with self._lock:
            meant = [planned for planned in self._planned if planned.is_meant(asked)]
            earlier = [planned.count(asked.path) for planned in meant]
        for planned, count in zip(meant, earlier, strict=True):
            answer = planned.before(answer, count)
        return answer(asked)


@dataclass(frozen=True, slots=True)
class _Planned:
    fault: Fault
    paths: str
    methods: frozenset[str]
    counts: dict[str, int] = field(default_factory=dict)

    def is_meant(self, asked: Asked) -> bool:
        return fnmatch.fnmatchcase(asked.path, self.paths) and (
            not self.methods or asked.method in self.methods
        )

    def count(self, path: str) -> int:
        """Count a request for a path, and return how many came before."""
        earlier = self.counts.get(path, 0)
        self.counts[path] = earlier + 1
        return earlier

    def before(self, answer: Answer, earlier: int) -> Answer:
        return lambda asked: self.fault.apply(replace(asked, earlier=earlier), answer)


@dataclass(frozen=True, slots=True)
class Latency:
    """Delays each request. Requests on other connections are answered meanwhile."""

    seconds: float

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Sleep, then return the usual answer."""
        time.sleep(self.seconds)
        return answer(asked)


@dataclass(frozen=True, slots=True)
class Status:
    """Answers always with this status, such as 403, 404 or 500."""

    code: int

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the status and its phrase."""
        return text_response(self.code, HTTPStatus(self.code).phrase)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Answers 503 to the first ``times`` requests of each path."""

    times: int = 1
    retry_after_s: int = 0

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return 503 with ``Retry-After``, or the usual answer."""
        return (
            answer(asked)
            if asked.earlier >= self.times
            else text_response(503, Retry_After=str(self.retry_after_s))
        )


@dataclass(frozen=True, slots=True)
class Reset:
    """Resets the connection at the first ``times`` requests of each path."""

    times: int = 1

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return a reset, or the usual answer."""
        return answer(asked) if asked.earlier >= self.times else Response(0, reset=True)


@dataclass(frozen=True, slots=True)
class After:
    """Carries out the request, and then gives a faulty answer."""

    fault: Fault

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the fault's version of the usual answer, which is made in any case."""
        given = answer(asked)
        return self.fault.apply(asked, lambda _: given)


@dataclass(frozen=True, slots=True)
class NoRanges:
    """Ignores ``Range``: answers 200 with the whole file."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the answer to the same request without ``Range``."""
        response = answer(replace(asked, range=None))
        return replace(
            response,
            headers={
                name: value for name, value in response.headers.items() if name != "Accept-Ranges"
            },
        )


@dataclass(frozen=True, slots=True)
class Truncated:
    """Closes the connection after this part of the body that ``Content-Length`` promised."""

    kept: float = 0.5

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual head, and a part of the usual body."""
        response = answer(asked)
        return replace(response, missing=response.length - int(response.length * self.kept))


@dataclass(frozen=True, slots=True)
class WrongLength:
    """States in every answer that the file is ``more`` bytes longer than it is (shorter, if
    negative).

    The body agrees with this statement: HEAD and 200 with a body padded or cut, 206 with the size
    in ``Content-Range``.
    """

    more: int

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer, for a file of another size."""
        response = answer(asked)
        if response.status == 206:
            said, _, size = response.headers["Content-Range"].rpartition("/")
            return replace(
                response,
                headers={**response.headers, "Content-Range": f"{said}/{int(size) + self.more}"},
            )
        if response.status != 200:
            return response
        if self.more >= 0:
            return replace(response, padding=self.more)
        kept = max(0, len(response.body) + self.more)
        body = (
            replace(response.body, length=kept)
            if isinstance(response.body, FileSlice)
            else response.body[:kept]
        )
        return replace(response, body=body)


@dataclass(frozen=True, slots=True)
class WrongContentRange:
    """Answers 206 with the requested bytes and the ``Content-Range`` of other bytes, ``shift``
    bytes later.
    """

    shift: int = 1

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer with another ``Content-Range``."""
        response = answer(asked)
        if response.status != 206:
            return response
        said, _, size = response.headers["Content-Range"].removeprefix("bytes ").rpartition("/")
        first, last = (int(part) + self.shift for part in said.split("-"))
        return replace(
            response, headers={**response.headers, "Content-Range": f"bytes {first}-{last}/{size}"}
        )


@dataclass(frozen=True, slots=True)
class LoginRedirect:
    """Redirects with 302 to an HTML login page, as for restricted data.

    ``ThreddsServer.login_url`` is such a page on a host name that clients take for another host.
    """

    location: str = "/login"

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return 302 without looking at the file."""
        return text_response(302, Location=self.location)


@dataclass(frozen=True, slots=True)
class Headers:
    """Gives the usual answer with these headers in place of its own; None removes a header."""

    headers: Mapping[str, str | None]

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer with these headers."""
        response = answer(asked)
        said = {**response.headers, **self.headers}
        return replace(
            response, headers={name: value for name, value in said.items() if value is not None}
        )


@dataclass(frozen=True, slots=True)
class ReplacedAfter:
    """States another ETag after the first ``requests`` of each path: the file was replaced by one
    of the same size.
    """

    requests: int

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer, with the ETag of the first or the second file."""
        etag = '"before"' if asked.earlier < self.requests else '"after"'
        response = answer(asked)
        return replace(response, headers={**response.headers, "ETag": etag})


@dataclass(frozen=True, slots=True)
class ForAgent:
    """Applies a fault only to clients whose User-Agent contains ``agent``, such as ``aiohttp``,
    which stock readers use.
    """

    fault: Fault
    agent: str = "aiohttp"

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer to all other clients."""
        meant = self.agent in asked.headers.get("User-Agent", "").lower()
        return self.fault.apply(asked, answer) if meant else answer(asked)


@dataclass(frozen=True, slots=True)
class Trickle:
    """Sends bodies at this many bytes a second."""

    pace: float = 5.0

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer, sent slowly."""
        return replace(answer(asked), pace=self.pace)


@dataclass(frozen=True, slots=True)
class Zeros:
    """Sends the correct head, and zeros instead of the bytes."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer with zeros."""
        response = answer(asked)
        return replace(response, body=bytes(len(response.body)))


@dataclass(frozen=True, slots=True)
class Deflated:
    """Compresses bodies for clients that accept it, also ranges, as Apache's ``DEFLATE`` does."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the usual answer, compressed."""
        response = answer(asked)
        if "gzip" not in asked.headers.get("Accept-Encoding", ""):
            return response
        body = gzip.compress(_body_of(response))
        return replace(
            response, body=body, headers={**response.headers, "Content-Encoding": "gzip"}
        )


def _body_of(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    with body.path.open("rb") as file:
        file.seek(body.start)
        return file.read(body.length)


@dataclass(frozen=True, slots=True)
class SlowsDown:
    """Keeps up with ``at_once`` requests: each takes ``seconds``, and proportionally longer if more
    are in flight.
    """

    seconds: float
    at_once: int
    _running: list[None] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    """Number of requests in flight, at each arrival of one."""

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Sleep, then return the usual answer."""
        self._running.append(None)
        running = len(self._running)
        self.peaks.append(running)
        time.sleep(self.seconds * max(1.0, (running / self.at_once) ** 2))
        self._running.pop()
        return answer(asked)


@dataclass(frozen=True, slots=True)
class HtmlPage:
    """Answers 200 with an HTML page to any request."""

    html: str = LOGIN_PAGE

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the page."""
        return text_response(200, self.html, "text/html; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Problem:
    """Answers with an error as the ESGF transaction API describes it (RFC 9457)."""

    status_code: int = 403
    title: str = "Forbidden"
    detail: str = "You are not entitled to publish from this data node."
    type: str = "about:blank"

    def apply(self, asked: Asked, answer: Answer) -> Response:
        """Return the description as JSON, with the path as its instance."""
        body = {
            "status_code": self.status_code,
            "type": self.type,
            "title": self.title,
            "detail": self.detail,
            "instance": asked.path,
        }
        return text_response(self.status_code, json.dumps(body), "application/problem+json")
