"""What a worker process does: the jobs of its owner, one after another."""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from enum import StrEnum

from .errors import EsgvzarrError
from .extras import naming_extras
from .fork_server import own_memory
from .messages import arrives, receive, send

WAITS_S = 10.0
"""Seconds that a process without a job waits for the next one, before it ends."""
_MOST_JOBS = 100
"""The most jobs of one process: libraries leak a little memory in each."""
_MOST_MEMORY_LEFT = 256 * 2**20
"""A process that still uses more memory than this after a job ends."""
_is_a_worker = False


class Kind(StrEnum):
    """Kinds of messages that a child sends to its owner."""

    PROGRESS = "progress"
    LOG = "log"
    RESULT = "result"
    ERROR = "error"
    FAULT = "fault"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The surroundings of the owner (working directory, environment, log level) that a child must
    have. The server was started earlier, and may differ.
    """

    directory: str
    """The working directory; empty if it was removed."""
    directory_at: tuple[int, int]
    """Its device and inode."""
    environment: dict[str, str]
    import_path: list[str]
    log_level: int

    @classmethod
    def of_this_process(cls) -> Surroundings:
        """Return the surroundings of this process."""
        directory = ""
        with suppress(FileNotFoundError):
            directory = os.getcwd()
        return cls(
            directory,
            _directory_at(),
            dict(os.environ),
            list(sys.path),
            logging.getLogger("esgvzarr").getEffectiveLevel(),
        )

    def enter(self) -> None:
        """Give this process the same surroundings."""
        # The owner may be in a directory that it may not enter, or that was removed.
        if _directory_at() != self.directory_at:
            os.chdir(self.directory)
        if dict(os.environ) != self.environment:
            os.environ.clear()
            os.environ.update(self.environment)
        sys.path[:] = self.import_path


def _directory_at() -> tuple[int, int]:
    """Return device and inode of the working directory."""
    state = os.stat("/proc/self/cwd")
    return state.st_dev, state.st_ino


def is_a_worker() -> bool:
    """Whether this process is itself the worker of another one."""
    return _is_a_worker


def run_child(job: socket.socket) -> None:
    """In a child: run the jobs of the owner, and send it the results."""
    global _is_a_worker
    _is_a_worker = True
    owner = _Owner(job)
    for _ in range(_MOST_JOBS):
        message = receive(job)
        if message is None:
            return
        surroundings, pickled = message
        if not _run_job(surroundings, pickled, owner):
            return
        if own_memory(os.getpid()) > _MOST_MEMORY_LEFT:
            return
        if not arrives(job, WAITS_S):
            return


def _run_job(surroundings: Surroundings, pickled: bytes, owner: _Owner) -> bool:
    """Run a pickled job, and send the owner its result or its error.

    Returns:
        Whether the job has a result.
    """
    owner.hear_logs(surroundings.log_level)
    try:
        surroundings.enter()
        with naming_extras("this command"):
            function, arguments, wants_progress = pickle.loads(pickled)  # noqa: S301
            told = {"progress": owner.progress} if wants_progress else {}
            result = function(*arguments, **told)
        _close(arguments)
        owner.tell(Kind.RESULT, result)
        return True
    except EsgvzarrError as error:
        # Pickled as an object, it would take its cause along where dask finds tblib installed.
        owner.tell(Kind.ERROR, (error.__reduce__(), _pickled(error.__cause__)))
    except MemoryError as error:
        owner.tell(Kind.MEMORY, str(error))
    except BaseException as error:  # noqa: BLE001  (the owner raises it again)
        said = f"{type(error).__name__}: {error}"
        owner.tell(Kind.FAULT, (said, traceback.format_exc()))
    return False


def _close(arguments: Sequence[object]) -> None:
    """Close the arguments of a job that can be closed, which are copies of the owner's: transports
    have connections and threads, and the process may do a hundred jobs.
    """
    for argument in arguments:
        if isinstance(argument, AbstractContextManager):
            argument.__exit__(None, None, None)


class _Owner:
    """The owner of the work, as a child sees it. Several threads may send messages."""

    def __init__(self, job: socket.socket) -> None:
        self._job = job
        self._lock = threading.Lock()

    def tell(self, kind: Kind, said: object) -> None:
        """Send one message. End this process if the owner has ended."""
        with self._lock:
            try:
                send(self._job, (kind, said))
            except (BrokenPipeError, ConnectionResetError):
                os._exit(1)

    def progress(self, *words: object) -> None:
        """Send the progress that the function reports."""
        self.tell(Kind.PROGRESS, words)

    def hear_logs(self, level: int) -> None:
        """Send log records; at level DEBUG, let a crash print its traceback."""
        from logging.handlers import QueueHandler

        owner = self

        class ToOwner(QueueHandler):
            def enqueue(self, record: logging.LogRecord) -> None:
                owner.tell(Kind.LOG, record)

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
