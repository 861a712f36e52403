"""Call functions that read files in another process, which does one job at a time.

Libraries that read files abort the interpreter on some damaged files, hang, or take all memory.
Here each such failure becomes an error with a code: ``worker-died``, ``worker-time``,
``worker-memory``, ``worker-failed``.

A process that succeeded waits some seconds for another job, because a new process takes as much
CPU time as the proof of a small dataset. A process that failed gets no other job, and none does
after the environment has changed, because libraries keep what they read of it. If a process dies
in its second or a later job, or has not enough files, a new process does this job again, so that
no dataset fails because of an earlier one.
"""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import EsgvzarrError, WorkerError
from .fork_server import End, Ending, ForkServer
from .messages import arrives, receive, send
from .worker_process import WAITS_S, Kind, Surroundings, is_a_worker, run_child

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_MIB = 2**20
_SUBJECT = "the worker process"
_LEAST_FILES = 48
"""The least number of files that a process with the imported libraries must be able to open."""
_MAY_COME_FROM_AN_EARLIER_JOB = (
    "worker-died",
    "worker-memory",
    "worker-failed",
    "transport-files-limit",
)
"""Errors that a process may owe to what an earlier job left behind."""
_WANTS_MEMORY = "Check that this machine has enough free memory."


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one job."""

    time_s: float = 3600.0
    memory_mib: int = 4096


_OF_WAITING = Limits(time_s=2 * WAITS_S)
"""The limits of a process that waits: it ends itself before."""


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
        except EsgvzarrError as error:
            was_killed = isinstance(error, WorkerError) and error.retryable
            if was_killed or error.code not in _MAY_COME_FROM_AN_EARLIER_JOB:
                raise
    return _run_and_keep(Worker(limits), function, *arguments, progress=progress)


def in_a_worker_or_two(function: Callable[..., _T], *arguments: Any, limits: Limits) -> _T:
    """Do the same as `in_a_worker`, and a second time if the process was killed: other processes
    may have used up the memory of the machine.
    """
    try:
        return in_a_worker(function, *arguments, limits=limits)
    except WorkerError as error:
        if not error.retryable:
            raise
    return in_a_worker(function, *arguments, limits=limits)


def packed_in_a_worker(job: bytes, limits: Limits) -> bytes:
    """Do the same as `in_a_worker_or_two`, for a process that only passes jobs on: it need not
    import the modules of the function, its arguments and its result.

    Args:
        job: the pickled pair of function and arguments.
        limits: limits of time and memory.

    Returns:
        The pickled result.
    """
    return in_a_worker_or_two(_run_packed, job, limits=limits)


def _run_packed(job: bytes) -> bytes:
    function, arguments = pickle.loads(job)  # noqa: S301  (from the owner of the work)
    return pickle.dumps(function(*arguments))


def _take_waiting(limits: Limits) -> Worker | None:
    """Return a process that waits for another job, with new limits; None if there is none."""
    surroundings = Surroundings.of_this_process()
    while True:
        try:
            worker = _WAITING.pop()
        except IndexError:
            return None
        if worker.had(surroundings) and not worker.has_ended():
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
        self._surroundings: Surroundings | None = None
        self._child, self._watch = _SERVER.start_child(limits.time_s, limits.memory_mib * _MIB)

    def had(self, surroundings: Surroundings) -> bool:
        """Return whether the process did its last job in these surroundings."""
        return self._surroundings == surroundings

    def has_ended(self) -> bool:
        """Return whether the process, which has no job, or its server has ended."""
        return arrives(self._child, 0) or self._watch.has_ended()

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
        self._surroundings = Surroundings.of_this_process()
        self._is_at_work = True
        with suppress(BrokenPipeError, ConnectionResetError):  # the process died before
            send(self._child, (self._surroundings, job))
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


_Message = tuple[Kind, Any]


def _hear(child: socket.socket, progress: Callable[..., None]) -> tuple[_Message | None, str]:
    """Pass on what the child tells of its progress and logs.

    Returns:
        The last message of the child, or None if it died before; and what it was doing.
    """
    doing = ""
    while (message := receive(child)) is not None:
        kind, said = message
        match kind:
            case Kind.PROGRESS:
                doing = f" while {said[-1]}"
                progress(*said)
            case Kind.LOG:
                logging.getLogger(said.name).handle(said)
            case _:
                return (kind, said), doing
    return None, doing


def _result(last: _Message, doing: str, limits: Limits) -> Any:
    """Return what the child returned, or raise what it raised."""
    kind, said = last
    match kind:
        case Kind.ERROR:
            (make, arguments), cause = said
            raise make(*arguments) from pickle.loads(cause)  # noqa: S301  (our own process)
        case Kind.MEMORY:
            raise _out_of_memory(f"has no more memory{doing}: {said}", limits)
        case Kind.FAULT:
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
