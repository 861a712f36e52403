"""A wall around each dataset: what reads files is called in a process of its own.

Libraries that read files abort the interpreter on some damaged ones, hang, or take all memory.
Whatever happens there becomes an error with a code here: ``worker-died``, ``worker-time``,
``worker-memory``, ``worker-failed``.
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from .errors import EsgvzarrError, WorkerError
from .extras import naming_extras
from .fork_server import End, Ending, ForkServer

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("Q")
_MIB = 2**20
_SUBJECT = "the worker process"
_LEAST_FILES = 48
"""Files that a process has open at once, with the libraries that it imports, at least."""
_WANTS_MEMORY = "Is there memory enough on this machine?"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may take."""

    time_s: float = 3600.0
    memory_mib: int = 4096


class _Kind(StrEnum):
    """What a child tells its owner."""

    PROGRESS = "progress"
    LOG = "log"
    RESULT = "result"
    ERROR = "error"
    FAULT = "fault"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What a child shall have as its owner has it now. The server was started earlier."""

    directory: str
    environment: dict[str, str]
    import_path: list[str]
    log_level: int
    job: bytes

    @classmethod
    def of_this_process(cls, job: bytes) -> _Surroundings:
        return cls(
            os.getcwd(),
            dict(os.environ),
            list(sys.path),
            logging.getLogger("esgvzarr").getEffectiveLevel(),
            job,
        )

    def enter(self) -> None:
        os.chdir(self.directory)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        sys.path[:] = self.import_path


def in_a_worker(
    function: Callable[..., _T],
    *arguments: Any,
    limits: Limits,
    progress: Callable[..., None] | None = None,
) -> _T:
    """What a function returns or raises, called in a process of its own.

    Whatever the function does, this process lives on. Interrupted, it ends the other.

    Args:
        function: of a module; it gets a keyword ``progress`` if that is given here.
        arguments: are sent to the process.
        limits: of time and memory.
        progress: told in this process what the function tells its own.

    Raises:
        EsgvzarrError: what the function raised.
        WorkerError: the process died, was ended at a limit, or the function has a fault; or this
            process may have too few files open.
    """
    if is_a_worker():
        told = {"progress": progress} if progress else {}
        return function(*arguments, **told)
    with Worker(limits) as worker:
        return worker.run(function, *arguments, progress=progress)


class Worker:
    """A process of its own for one job, which gets ready before the job is known.

    Args:
        limits: of time, from now on, and of memory.

    Raises:
        WorkerError: this process may have too few files open.
    """

    def __init__(self, limits: Limits) -> None:
        _check_open_files()
        self._limits = limits
        self._is_at_work = False
        self._child, self._watch = _SERVER.start_child(limits.time_s, limits.memory_mib * _MIB)

    def run(
        self,
        function: Callable[..., _T],
        *arguments: Any,
        progress: Callable[..., None] | None = None,
    ) -> _T:
        """What a function returns or raises, called in that process. The arguments and errors are
        those of `in_a_worker`.
        """
        job = pickle.dumps((function, arguments, progress is not None))
        self._is_at_work = True
        with suppress(BrokenPipeError, ConnectionResetError):  # the process died before
            _send(self._child, _Surroundings.of_this_process(job))
        last, doing = _hear(self._child, progress or _ignore)
        if last is None:
            raise _ended(self._watch.wait(), doing, self._limits)
        self._is_at_work = False
        result: _T = _result(last, doing, self._limits)
        return result

    def stop(self) -> None:
        """End the process, whatever it does. A thread that waits for it gets a WorkerError."""
        self._watch.stop()

    def close(self) -> None:
        """End the process, which no thread waits for any more. A process in the middle of its job
        has ended on return: it writes no more.
        """
        try:
            if self._is_at_work:
                self._watch.stop()
                self._watch.wait()
        finally:
            self._child.close()
            self._watch.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_a_worker() -> bool:
    """Whether this process is itself the worker of another one."""
    return _is_a_child


def _check_open_files() -> None:
    """Refuse to start where libraries could not even be imported.

    Raises:
        WorkerError: ``worker-files``.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < _LEAST_FILES:
        raise WorkerError(
            _SUBJECT,
            f"may have {most} files open at once",
            expected=f"at least {_LEAST_FILES}",
            todo="Raise the limit: ulimit -n 1024.",
            code="worker-files",
        )


def _ignore(*_: object) -> None:
    """Hears of progress, and does nothing."""


_Message = tuple[_Kind, Any]


def _hear(child: socket.socket, progress: Callable[..., None]) -> tuple[_Message | None, str]:
    """Pass on what the child tells of its progress and logs.

    Returns:
        The last message of the child, or None if it died before; and what it was doing.
    """
    doing = ""
    while (message := _receive(child)) is not None:
        kind, said = message
        match kind:
            case _Kind.PROGRESS:
                doing = f" while {said[-1]}"
                progress(*said)
            case _Kind.LOG:
                logging.getLogger(said.name).handle(said)
            case _:
                return (kind, said), doing
    return None, doing


def _result(last: _Message, doing: str, limits: Limits) -> Any:
    """Return what the child returned, or raise what it raised."""
    kind, said = last
    match kind:
        case _Kind.ERROR:
            error, cause = said
            raise error from cause
        case _Kind.MEMORY:
            raise _out_of_memory(f"has no more memory{doing}: {said}", limits)
        case _Kind.FAULT:
            raise _fault(*said)
    return said


def _fault(said: str, trace: str) -> WorkerError:
    """A fault of the package, of which other datasets hear nothing."""
    _log.error("a worker process failed:\n%s", trace)
    return WorkerError(
        _SUBJECT, f"failed: {said}", todo="Please report this as a bug.", code="worker-failed"
    )


def _out_of_memory(found: str, limits: Limits) -> WorkerError:
    return WorkerError(
        _SUBJECT,
        found,
        expected=f"at most {limits.memory_mib} MiB",
        todo="Is one of the files damaged? If not, raise `worker_memory_mib`.",
        code="worker-memory",
    )


def _ended(end: End, doing: str, limits: Limits) -> WorkerError:
    """Why there is no result."""
    match end.ending:
        case Ending.TIME:
            return WorkerError(
                _SUBJECT,
                f"was ended after {limits.time_s:g} s{doing}",
                expected="a result before",
                todo="Is one of the files damaged, or the data node slow? If not, raise "
                "`worker_time_s`.",
                code="worker-time",
            )
        case Ending.MEMORY:
            return _out_of_memory(f"was ended for its memory{doing}", limits)
        case Ending.EXIT if end.signal == signal.SIGKILL:
            return _died(f"was killed{doing}", _WANTS_MEMORY, retryable=True)
        case Ending.EXIT:
            ended_by = signal.Signals(end.signal).name if end.signal else "no signal"
            return _died(
                f"died by {ended_by}{doing}",
                "A library cannot read one of the files: try ncdump on each.",
            )


def _died(found: str, todo: str, *, retryable: bool = False) -> WorkerError:
    return WorkerError(
        _SUBJECT,
        found,
        expected="a result",
        todo=todo,
        code="worker-died",
        retryable=retryable,
    )


def run_child(job: socket.socket) -> None:
    """In a child: do what the owner asks, and tell it what came of it."""
    global _is_a_child
    _is_a_child = True
    surroundings = _receive(job)
    if surroundings is None:
        return
    owner = _Owner(job)
    surroundings.enter()
    owner.hear_logs(surroundings.log_level)
    try:
        with naming_extras("this command"):
            function, arguments, wants_progress = pickle.loads(surroundings.job)  # noqa: S301
            told = {"progress": owner.progress} if wants_progress else {}
            result = function(*arguments, **told)
        owner.tell(_Kind.RESULT, result)
    except EsgvzarrError as error:
        owner.tell(_Kind.ERROR, (error, _sendable(error.__cause__)))
    except MemoryError as error:
        owner.tell(_Kind.MEMORY, str(error))
    except BaseException as error:  # noqa: BLE001  (the owner raises it)
        said = f"{type(error).__name__}: {error}"
        owner.tell(_Kind.FAULT, (said, traceback.format_exc()))


_is_a_child = False


class _Owner:
    """The process that has the work, as a child sees it. Threads may talk at once."""

    def __init__(self, job: socket.socket) -> None:
        self._job = job
        self._lock = threading.Lock()

    def tell(self, kind: _Kind, said: object) -> None:
        """Send one message. If the owner is gone, this process ends: its work is of no use."""
        with self._lock:
            try:
                _send(self._job, (kind, said))
            except (BrokenPipeError, ConnectionResetError):
                os._exit(1)

    def progress(self, *words: object) -> None:
        """Send what the function says of its progress."""
        self.tell(_Kind.PROGRESS, words)

    def hear_logs(self, level: int) -> None:
        """Send what is logged, and, where that is everything, let a crash print where it was."""
        from logging.handlers import QueueHandler

        owner = self

        class ToOwner(QueueHandler):
            def enqueue(self, record: logging.LogRecord) -> None:
                owner.tell(_Kind.LOG, record)

        logger = logging.getLogger("esgvzarr")
        logger.handlers = [ToOwner(None)]  # type: ignore[arg-type]  # enqueue needs no queue
        logger.propagate = False
        logger.setLevel(level)
        if level <= logging.DEBUG:
            faulthandler.enable()


def _sendable(cause: BaseException | None) -> BaseException | None:
    """The cause of an error, if it can be made again in another process."""
    try:
        again = pickle.loads(pickle.dumps(cause))  # noqa: S301  (our own bytes)
    except Exception:  # noqa: BLE001  (strangers' exceptions fail in many ways)
        return None
    return again if isinstance(again, BaseException) else None


def _send(to: socket.socket, message: object) -> None:
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    to.sendall(_LENGTH.pack(len(body)))
    to.sendall(body)


def _receive(source: socket.socket) -> Any:
    """The next message; None where the other process is gone."""
    head = _read(source, _LENGTH.size)
    if head is None:
        return None
    body = _read(source, *_LENGTH.unpack(head))
    return None if body is None else pickle.loads(body)  # noqa: S301  (our own process)


def _read(source: socket.socket, count: int) -> bytearray | None:
    """So many bytes; None where they end before."""
    found = bytearray(count)
    rest = memoryview(found)
    while rest:
        try:
            arrived = source.recv_into(rest)
        except ConnectionResetError:
            return None
        if not arrived:
            return None
        rest = rest[arrived:]
    return found


_SERVER = ForkServer(run_child)
"""The one server of this process."""
atexit.register(_SERVER.close)
