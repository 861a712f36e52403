"""Call functions that read files in another process, which does one job at a time.

Libraries that read files abort the interpreter on some damaged files, hang, or take all memory.
Here each such failure becomes an error with a code: ``worker-died``, ``worker-time``,
``worker-memory``, ``worker-failed``.

A process that succeeded waits some seconds for another job, because a new process takes as much
CPU time as the proof of a small dataset. A process that failed gets no other job. If a process
dies in its second or a later job, a new process does this job again, so that no dataset fails
because of an earlier one.
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
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from .errors import EsgvzarrError, WorkerError
from .extras import naming_extras
from .fork_server import End, Ending, ForkServer, own_memory
from .messages import arrives, receive, send

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_MIB = 2**20
_SUBJECT = "the worker process"
_LEAST_FILES = 48
"""The least number of files that a process with the imported libraries must be able to open."""
_WAITS_S = 10.0
"""Seconds that a process without a job waits for the next one, before it ends."""
_MOST_JOBS = 100
"""The most jobs of one process: what libraries leak stays small."""
_MOST_MEMORY_LEFT = 256 * _MIB
"""A process that still uses more memory than this after a job ends."""
_MAY_COME_FROM_AN_EARLIER_JOB = ("worker-died", "worker-memory")
"""Errors that a process may owe to what an earlier job left behind."""
_WANTS_MEMORY = "Check that this machine has enough free memory."


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one job."""

    time_s: float = 3600.0
    memory_mib: int = 4096


_OF_WAITING = Limits(time_s=2 * _WAITS_S)
"""The limits of a process that waits: it ends itself before."""


class _Kind(StrEnum):
    """Kinds of messages that a child sends to its owner."""

    PROGRESS = "progress"
    LOG = "log"
    RESULT = "result"
    ERROR = "error"
    FAULT = "fault"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The surroundings of the owner (working directory, environment, log level) that a child must
    have. The server was started earlier, and may differ.
    """

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
    """Call a function in another process; return its result, or raise its error.

    This process survives whatever the function does. If this process is interrupted, it ends the
    other one.

    Args:
        function: a function of a module; it gets the keyword ``progress`` if that is given here.
        arguments: arguments of the function, which are sent to the process.
        limits: limits of time and memory.
        progress: is called in this process with the progress that the function reports.

    Raises:
        EsgvzarrError: the error that the function raised.
        WorkerError: the process died, reached a limit, or the function has a fault; or this process
            may open too few files.
    """
    if is_a_worker():
        told = {"progress": progress} if progress else {}
        return function(*arguments, **told)
    used = _take_waiting(limits)
    if used is not None:
        try:
            return _run_and_keep(used, function, *arguments, progress=progress)
        except WorkerError as error:
            if error.retryable or error.code not in _MAY_COME_FROM_AN_EARLIER_JOB:
                raise
    return _run_and_keep(Worker(limits), function, *arguments, progress=progress)


def _take_waiting(limits: Limits) -> Worker | None:
    """Return a process that waits for another job, with new limits; None if there is none."""
    while True:
        try:
            worker = _WAITING.pop()
        except IndexError:
            return None
        if not worker.has_ended():
            worker.set_limits(limits)
            return worker
        worker.close()


def _run_and_keep(
    worker: Worker,
    function: Callable[..., _T],
    *arguments: Any,
    progress: Callable[..., None] | None,
) -> _T:
    """Call the function in this process. Keep the process for another job, if it succeeds."""
    with ExitStack() as stack:
        stack.enter_context(worker)
        result = worker.run(function, *arguments, progress=progress)
        stack.pop_all()
    worker.set_limits(_OF_WAITING)
    _WAITING.append(worker)
    return result


class Worker:
    """A process that does one job at a time. It gets ready before its first job is known.

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

    def has_ended(self) -> bool:
        """Return whether the process, which has no job, has ended."""
        return arrives(self._child, 0)

    def set_limits(self, limits: Limits) -> None:
        """Set the limits of the next job: of time, from now on, and of memory."""
        self._limits = limits
        self._watch.set_limits(limits.time_s, limits.memory_mib * _MIB)

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
            send(self._child, _Surroundings.of_this_process(job))
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
    """Refuse to start if the libraries could not even be imported.

    Raises:
        WorkerError: ``worker-files``.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= most < _LEAST_FILES:
        raise WorkerError(
            _SUBJECT,
            f"may have {most} files open at once",
            expected=f"at least {_LEAST_FILES}",
            todo="Raise the limit, for example: ulimit -n 1024.",
            code="worker-files",
        )


def _ignore(*_: object) -> None:
    """Ignore progress."""


_Message = tuple[_Kind, Any]


def _hear(child: socket.socket, progress: Callable[..., None]) -> tuple[_Message | None, str]:
    """Pass on what the child tells of its progress and logs.

    Returns:
        The last message of the child, or None if it died before; and what it was doing.
    """
    doing = ""
    while (message := receive(child)) is not None:
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
            (make, arguments), cause = said
            raise make(*arguments) from pickle.loads(cause)  # noqa: S301  (our own process)
        case _Kind.MEMORY:
            raise _out_of_memory(f"has no more memory{doing}: {said}", limits)
        case _Kind.FAULT:
            raise _fault(*said)
    return said


def _fault(said: str, trace: str) -> WorkerError:
    """Make the error for a fault of the package; other datasets are not affected."""
    _log.error("a worker process failed:\n%s", trace)
    return WorkerError(
        _SUBJECT, f"failed: {said}", todo="Please report this as a bug.", code="worker-failed"
    )


def _out_of_memory(found: str, limits: Limits) -> WorkerError:
    return WorkerError(
        _SUBJECT,
        found,
        expected=f"at most {limits.memory_mib} MiB",
        todo="Check whether a file is damaged; if not, raise `worker_memory_mib`.",
        code="worker-memory",
    )


def _ended(end: End, doing: str, limits: Limits) -> WorkerError:
    """Make the error for a child that ended without a result."""
    match end.ending:
        case Ending.TIME:
            return WorkerError(
                _SUBJECT,
                f"was ended after {limits.time_s:g} s{doing}",
                expected="a result within that time",
                todo="Check whether a file is damaged or the data node is slow; if neither, "
                "raise `worker_time_s`.",
                code="worker-time",
            )
        case Ending.MEMORY:
            return _out_of_memory(f"was ended because it took too much memory{doing}", limits)
        case Ending.EXIT if end.signal == signal.SIGKILL:
            return _died(f"was killed{doing}", _WANTS_MEMORY, retryable=True)
        case Ending.EXIT:
            ended_by = signal.Signals(end.signal).name if end.signal else "no signal"
            return _died(
                f"died by {ended_by}{doing}",
                "A library cannot read one of the files: run ncdump on each to find it.",
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
    """In a child: run the jobs of the owner, and send it the results."""
    global _is_a_child
    _is_a_child = True
    owner = _Owner(job)
    for _ in range(_MOST_JOBS):
        surroundings = receive(job)
        if surroundings is None or not _run_job(surroundings, owner):
            return
        if own_memory(os.getpid()) > _MOST_MEMORY_LEFT:
            return
        if not arrives(job, _WAITS_S):
            return


def _run_job(surroundings: _Surroundings, owner: _Owner) -> bool:
    """Run a job, and send the owner its result or its error.

    Returns:
        Whether the job has a result.
    """
    surroundings.enter()
    owner.hear_logs(surroundings.log_level)
    try:
        with naming_extras("this command"):
            function, arguments, wants_progress = pickle.loads(surroundings.job)  # noqa: S301
            told = {"progress": owner.progress} if wants_progress else {}
            result = function(*arguments, **told)
        owner.tell(_Kind.RESULT, result)
        return True
    except EsgvzarrError as error:
        # Pickled as an object, it would take its cause along where dask finds tblib installed.
        owner.tell(_Kind.ERROR, (error.__reduce__(), _pickled(error.__cause__)))
    except MemoryError as error:
        owner.tell(_Kind.MEMORY, str(error))
    except BaseException as error:  # noqa: BLE001  (the owner raises it again)
        said = f"{type(error).__name__}: {error}"
        owner.tell(_Kind.FAULT, (said, traceback.format_exc()))
    return False


_is_a_child = False


class _Owner:
    """The owner of the work, as a child sees it. Several threads may send messages."""

    def __init__(self, job: socket.socket) -> None:
        self._job = job
        self._lock = threading.Lock()

    def tell(self, kind: _Kind, said: object) -> None:
        """Send one message. End this process if the owner has ended."""
        with self._lock:
            try:
                send(self._job, (kind, said))
            except (BrokenPipeError, ConnectionResetError):
                os._exit(1)

    def progress(self, *words: object) -> None:
        """Send the progress that the function reports."""
        self.tell(_Kind.PROGRESS, words)

    def hear_logs(self, level: int) -> None:
        """Send log records; at level DEBUG, let a crash print its traceback."""
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


def _pickled(cause: BaseException | None) -> bytes:
    """Pickle the cause of an error; None, if it cannot be unpickled in another process."""
    try:
        pickled = pickle.dumps(cause)
        again = pickle.loads(pickled)  # noqa: S301  (our own bytes)
    except Exception:  # noqa: BLE001  (exceptions of other packages fail in many ways)
        return pickle.dumps(None)
    return pickled if isinstance(again, BaseException) else pickle.dumps(None)


_WAITING: list[Worker] = []
"""The processes that wait for another job."""
os.register_at_fork(after_in_child=_WAITING.clear)
_SERVER = ForkServer(run_child)
"""The one server of this process."""


@atexit.register
def _end_server() -> None:
    """End the server when Python ends. Ctrl-C ends the wait: the server then ends by itself."""
    with suppress(KeyboardInterrupt):
        _SERVER.close()
