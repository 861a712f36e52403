"""An HTTP/1.1 server on the loopback, in a thread: kept-alive connections, no Nagle delay, TLS with
its own CA.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, cast
from urllib.parse import unquote, urlsplit

from .requestlog import NOTED, LoggedRequest, RequestLog

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as an answer depends on it."""

    method: str
    path: str
    """Decoded path, without the query."""
    range: str | None = None
    earlier: int = 0
    """Number of earlier requests for the same path, since the fault that reads this was set."""
    query: str = ""
    """As sent."""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The headers that the log keeps."""
    body: bytes = b""
    client: str | None = None
    """Name in the client's certificate, if the server requested one and got it."""


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes ``start`` to ``start + length`` of a file."""

    path: Path
    start: int
    length: int

    def __len__(self) -> int:
        return self.length


@dataclass(frozen=True, slots=True)
class Response:
    """An answer that is decided and not sent yet."""

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Headers in addition to, or in place of, ``Server``, ``Date`` and ``Content-Length``; a header
    without a value is not sent.
    """
    body: bytes | FileSlice = b""
    padding: int = 0
    """Number of zero bytes after the body."""
    missing: int = 0
    """Number of bytes that ``Content-Length`` promises and that are not sent; the connection is
    closed instead.
    """
    reset: bool = False
    """Whether the connection is reset and nothing is sent."""
    pace: float = 0.0
    """Bytes a second at which the body is sent; 0 for full speed."""

    @property
    def length(self) -> int:
        """Value of ``Content-Length``."""
        return len(self.body) + self.padding


def text_response(
    status: int, text: str = "", content_type: str = "text/plain; charset=utf-8", **headers: str
) -> Response:
    """Make a short answer; underscores in header names become hyphens. The default text is the
    phrase of the status.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        status,
        {"Content-Type": content_type, **named},
        (text or HTTPStatus(status).phrase).encode(),
    )


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files under a new CA; each but the first holds a certificate and its key."""

    ca_bundle: Path
    server: Path
    """Certificate for ``localhost`` and 127.0.0.1."""
    client: Path


def write_certificates(directory: Path) -> Certificates:
    """Make a CA (package trustme), and write the certificates of a server and its clients."""
    import trustme

    authority = trustme.CA()
    made = Certificates(directory / "ca.pem", directory / "server.pem", directory / "client.pem")
    authority.cert_pem.write_to_path(str(made.ca_bundle))
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(made.server)
    )
    authority.issue_cert(common_name="publisher").private_key_and_cert_chain_pem.write_to_path(
        str(made.client)
    )
    return made


class LoopbackServer:
    """Serves ``answer`` on a free port of 127.0.0.1 while the context is open.

    Args:
        tls: serve https, with a certificate for ``localhost`` and 127.0.0.1 from a new CA (package
            trustme).
        cors: allow pages of any origin to read the answers, and to send ``Range`` headers.
    """

    ca_bundle: Path | None = None
    """PEM file to verify the server with; None without TLS."""
    client_certificate: Path | None = None
    """PEM file of a client certificate and key that the server accepts; None without TLS."""
    asks_clients = False
    """Whether the server requests client certificates, under TLS; clients need not have one."""

    def __init__(self, *, tls: bool = False, cors: bool = False) -> None:
        self.requests = RequestLog()
        self.cors = cors
        self.scheme = "https" if tls else "http"
        self._private: Path | None = None
        self._http: _Server | None = None
        self._thread: threading.Thread | None = None

    def answer(self, asked: Asked) -> Response:
        """Return the answer to a request; subclasses implement this."""
        return text_response(404)

    def clear(self) -> None:
        """Delete the log of requests."""
        self.requests.clear()

    @property
    def port(self) -> int:
        """The port, while the context is open."""
        if self._http is None:
            raise RuntimeError(f"{type(self).__name__} is not running: use it as a context manager")
        return int(self._http.server_address[1])

    @property
    def host(self) -> str:
        """``host:port``, as in the data node of a record."""
        return f"{'localhost' if self.scheme == 'https' else '127.0.0.1'}:{self.port}"

    @property
    def other_host(self) -> str:
        """The same server under another name, which clients take for another host."""
        return f"{'127.0.0.1' if self.scheme == 'https' else 'localhost'}:{self.port}"

    @property
    def url(self) -> str:
        """``scheme://host:port``."""
        return f"{self.scheme}://{self.host}"

    def __enter__(self) -> Self:
        context = self._make_tls() if self.scheme == "https" else None
        self._http = _Server(self, context)
        self._thread = threading.Thread(
            target=self._http.serve_forever, args=(0.02,), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        http = self._http
        thread = self._thread
        if http is not None and thread is not None:
            http.shutdown()
            http.hang_up()
            http.server_close()
            thread.join()
        if self._private is not None:
            shutil.rmtree(self._private)
        self._http = self._thread = self._private = self.ca_bundle = self.client_certificate = None

    def _make_tls(self) -> ssl.SSLContext:
        self._private = Path(tempfile.mkdtemp(prefix="esgvzarr-tls-"))
        certificates = write_certificates(self._private)
        self.ca_bundle = certificates.ca_bundle
        self.client_certificate = certificates.client
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server)
        if self.asks_clients:
            context.load_verify_locations(certificates.ca_bundle)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: LoopbackServer, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner
        self._context = context
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its own thread does the TLS handshake."""
        raw, address = super().get_request()
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = raw
        if self._context is not None:
            connection = self._context.wrap_socket(
                raw, server_side=True, do_handshake_on_connect=False
            )
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Close the connections that clients keep open, so that their threads end."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors of clients that disconnect, or do not trust the certificate."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "esgvzarr-testing"
    wbufsize = _BLOCK  # Header and body of a small answer are sent in one packet.

    def do_GET(self) -> None:
        """Answer GET, HEAD and POST."""
        owner = cast(_Server, self.server).owner
        asked = self._read_request()
        response = owner.answer(asked)
        body_length = (
            0 if self.command == "HEAD" or response.reset else response.length - response.missing
        )
        logged = LoggedRequest(
            self.command,
            self.path,
            response.status,
            body_length,
            asked.range,
            asked.headers,
            asked.body,
        )
        owner.requests.append(replace(logged, connection=self.client_address[1]))
        if response.reset:
            self._reset()
        else:
            self._send_head(response, cors=owner.cors)
            self._send_body(response, body_length)

    do_HEAD = do_POST = do_GET

    def _read_request(self) -> Asked:
        noted = MappingProxyType(
            {name: self.headers[name] for name in NOTED if name in self.headers}
        )
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the client went away before it had sent its whole request")
        shown = (
            self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        )
        names: Any = (shown or {}).get("subject", ())
        client = dict(itertools.chain.from_iterable(names)).get("commonName")
        url = urlsplit(self.path)
        return Asked(
            self.command,
            unquote(url.path),
            self.headers.get("Range"),
            query=url.query,
            headers=noted,
            body=body,
            client=client,
        )

    def _reset(self) -> None:
        """Close the connection at once with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.close(self.connection.detach())
        self.close_connection = True

    def _send_head(self, response: Response, *, cors: bool) -> None:
        self.send_response_only(response.status)
        usual = {
            "Server": self.version_string(),
            "Date": self.date_time_string(),
            "Content-Length": str(response.length),
        }
        headers = {**usual, **response.headers}
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        if cors:
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header(
                "Access-Control-Expose-Headers", "Content-Range, Content-Length, Accept-Ranges"
            )
        if not headers["Content-Length"]:
            self.send_header("Connection", "close")  # This closes it too.
        if response.missing:
            self.close_connection = True
        self.end_headers()

    def _send_body(self, response: Response, length: int) -> None:
        body = response.body
        if response.pace:
            self._trickle(response, length)
            return
        if isinstance(body, bytes):
            self.wfile.write(body[:length])
        elif length:
            left = min(length, body.length)
            with body.path.open("rb") as file:
                file.seek(body.start)
                while left and (block := file.read(min(left, _BLOCK))):
                    self.wfile.write(block)
                    left -= len(block)
        if length > len(body):
            self.wfile.write(bytes(length - len(body)))
        self.wfile.flush()

    def _trickle(self, response: Response, length: int) -> None:
        """Send one byte at a time, as long as the client receives."""
        body = response.body
        if not isinstance(body, bytes):
            with body.path.open("rb") as file:
                file.seek(body.start)
                body = file.read(body.length)
        for at in range(length):
            self.wfile.write(body[at : at + 1])
            self.wfile.flush()
            time.sleep(1 / response.pace)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; the request log has the requests."""
