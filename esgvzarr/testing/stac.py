"""A STAC API with transactions, as an ESGF index node has it: stac-fastapi over a memory store, on
the loopback.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from .faults import Fault, FaultPlan
from .itemstore import Item, ItemStore, RejectedError
from .loopback import Asked, Response, write_certificates
from .requestlog import NOTED, LoggedRequest, RequestLog

if TYPE_CHECKING:
    from .stac_app import Backend, Server


class StacServer:
    """Serve a STAC API while the context is open.

    Searches take ``ids``, ``collections`` and cql2 filters. Changes are answered as
    stac-fastapi-pgstac does, or, with a delay, as the ESGF transaction API does: 202 at once,
    applied later, and whatever is wrong with them is never told. ``/scope`` answers esgcet's EGI
    client.

    >>> with StacServer() as server:
    ...     server.fault(Problem(), "/collections/*", methods=("PATCH",))

    Args:
        collections: ids of the collections that there are.
        delay_s: seconds until a change is applied; 0 applies it before the answer.
        tls: serve https, under a certificate for ``localhost`` and 127.0.0.1 from a CA made on the
            fly.
    """

    ca_bundle: Path | None = None
    """PEM file to verify the server with; None without TLS."""

    def __init__(
        self,
        collections: Sequence[str] = ("CMIP6", "CMIP7", "input4MIPs"),
        delay_s: float = 0.0,
        *,
        tls: bool = False,
    ) -> None:
        self.requests = RequestLog()
        self._tls = tls
        self._private: Path | None = None
        self.delay_s = delay_s
        self.queue_loses = False
        """Set this to answer changes with 202 and never apply them."""
        self.rejected: list[RejectedError] = []
        """Errors of queued changes."""
        self._faults = FaultPlan()
        self._store = ItemStore(collections)
        self._queued: dict[Callable[[], Any], threading.Timer] = {}
        self._queue_lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._uvicorn: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def host(self) -> str:
        """``host:port``."""
        if self._socket is None:
            raise RuntimeError("StacServer is not running: use it as a context manager")
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def url(self) -> str:
        """The landing page: the API's own URL."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def add_item(self, item: Item) -> None:
        """Store an item in its collection, without the API and its delay."""
        self._store.create(item["collection"], item)

    def item(self, collection: str, item_id: str) -> Item:
        """An item as it is stored.

        Raises:
            RejectedError: there is none.
        """
        return self._store.get(collection, item_id)

    def fault(self, fault: Fault, paths: str = "*", methods: Collection[str] = ()) -> None:
        """From now on, apply ``fault`` to requests whose URL path matches a glob, and with these
        methods (all, if empty).
        """
        self._faults.add(fault, paths, methods)

    def heal(self) -> None:
        """Remove all faults."""
        self._faults.clear()
        self.queue_loses = False

    def settle(self) -> None:
        """Apply the waiting changes, in order of arrival."""
        with self._queue_lock:
            waiting = list(self._queued)
        for change in waiting:
            self._apply_late(change)

    def clear(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()

    def __enter__(self) -> Self:
        import uvicorn

        logging.getLogger("stac_fastapi.types.config").setLevel(logging.ERROR)
        # while it is imported, it complains of the names of an API that is never served
        from .stac_app import Backend, Server, shared_app

        self._socket = socket.create_server(("127.0.0.1", 0))
        backend = Backend(self._store, self._apply)
        app = _Watched(shared_app(), backend, self._faults, self.requests)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
            ssl_certfile=self._write_certificate() if self._tls else None,
        )
        self._uvicorn = Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([self._socket],), name="StacServer", daemon=True
        )
        self._thread.start()
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.005)
        if not self._uvicorn.started:
            raise RuntimeError("StacServer did not start: its thread has ended")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._queue_lock:
            for timer in self._queued.values():
                timer.cancel()
            self._queued.clear()
        if self._uvicorn is not None and self._thread is not None:
            self._uvicorn.stop()
            self._thread.join()
        if self._socket is not None:
            self._socket.close()
        if self._private is not None:
            shutil.rmtree(self._private)
        self._socket = self._uvicorn = self._thread = self._private = self.ca_bundle = None

    def _write_certificate(self) -> Path:
        """Write the certificate with its key, in one file as uvicorn expects."""
        self._private = Path(tempfile.mkdtemp(prefix="esgvzarr-tls-"))
        certificates = write_certificates(self._private)
        self.ca_bundle = certificates.ca_bundle
        return certificates.server

    def _apply(self, text: str, change: Any) -> Any:
        from .stac_app import queued

        if self.queue_loses:
            return queued(text)
        if not self.delay_s:
            return change()
        timer = threading.Timer(self.delay_s, self._apply_late, (change,))
        timer.daemon = True
        with self._queue_lock:
            self._queued[change] = timer
        timer.start()
        return queued(text)

    def _apply_late(self, change: Callable[[], Any]) -> None:
        """Apply a waiting change, unless it was applied meanwhile."""
        with self._queue_lock:
            timer = self._queued.pop(change, None)
        if timer is None:
            return
        timer.cancel()
        try:
            change()
        except RejectedError as error:
            self.rejected.append(error)


class _Watched:
    """An ASGI application with faults in front of it and a log."""

    def __init__(self, app: Any, backend: Backend, faults: FaultPlan, log: RequestLog) -> None:
        self._app = app
        self._backend = backend
        self._faults = faults
        self._log = log

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = await _read_body(receive)
        loop = asyncio.get_running_loop()
        asked = Asked(
            scope["method"],
            scope["path"],
            query=scope["query_string"].decode(),
            headers=_noted(scope),
            body=body,
        )

        def act(_: Asked) -> Response:
            return asyncio.run_coroutine_threadsafe(self._act(scope, body, receive), loop).result()

        if self._faults.is_empty:
            answer = await self._act(scope, body, receive)
        else:  # A fault may sleep.
            answer = await asyncio.to_thread(self._faults.answer, asked, act)
        self._log.append(_logged(scope, asked, answer))
        await _send(answer, send)

    async def _act(self, scope: Any, body: bytes, receive: Any) -> Response:
        """Return the application's own answer."""
        said: list[Any] = []

        async def keep(message: Any) -> None:
            said.append(message)

        own = {**scope, "state": {"backend": self._backend}}
        await self._app(own, _replay(body, receive), keep)
        start, *rest = said
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]
        }
        return Response(
            start["status"], headers, b"".join(message.get("body", b"") for message in rest)
        )


async def _read_body(receive: Any) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _replay(body: bytes, receive: Any) -> Any:
    """Replay the body, then pass on what follows."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return pending.pop() if pending else await receive()

    return receive_again


async def _send(answer: Response, send: Any) -> None:
    if answer.reset:
        _reset(send)
        return
    assert isinstance(answer.body, bytes)  # noqa: S101  (no files are served)
    headers = {
        "content-length": str(answer.length),
        **{name.lower(): value for name, value in answer.headers.items()},
    }
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
    sent = (answer.body + bytes(answer.padding))[: answer.length - answer.missing]
    await send({"type": "http.response.body", "body": sent, "more_body": bool(answer.missing)})
    if answer.missing:
        _reset(send)


def _reset(send: Any) -> None:
    """Close the connection with RST, through uvicorn's transport: ASGI has no message for that."""
    transport = send.__self__.transport
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()


def _noted(scope: Any) -> MappingProxyType[str, str]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return MappingProxyType(
        {name: headers[name.lower()] for name in NOTED if name.lower() in headers}
    )


def _logged(scope: Any, asked: Asked, answer: Response) -> LoggedRequest:
    return LoggedRequest(
        method=asked.method,
        path=f"{asked.path}?{asked.query}" if asked.query else asked.path,
        status=answer.status,
        sent=0 if answer.reset else answer.length - answer.missing,
        headers=asked.headers,
        body=asked.body,
        connection=scope["client"][1],
    )
