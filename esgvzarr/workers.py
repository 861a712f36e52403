"""Processes that compute: on this machine, or those of a Dask cluster. They read; the process that
has them alone writes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from .errors import EsgvzarrError, SettingsError, WorkerError

_T = TypeVar("_T")


class Workers(Protocol):
    """Processes, each of which computes one thing at a time."""

    count: int

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What the function returns or raises in one of the processes; threads may ask at once, and
        wait for their turn.

        Raises:
            WorkerError: the process died twice, or cannot be had (``retryable``), or the function
                has a fault.
        """
        ...

    def close(self) -> None:
        """End the processes, or let go of them."""
        ...


class LocalWorkers:
    """Processes on this machine. They end with the process that has them, however it ends.

    Each is a pool of its own, so that one that dies (for want of memory, say) takes no other's work
    with it.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._idle: SimpleQueue[ProcessPoolExecutor] = SimpleQueue()
        for _ in range(count):
            self._idle.put(_make_pool())

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """As in `Workers`."""
        pool = self._idle.get()
        try:
            for _ in range(2):
                try:
                    return _result(pool.submit(function, *arguments))
                except BrokenProcessPool:
                    pool.shutdown(wait=False)
                    pool = _make_pool()
        finally:
            self._idle.put(pool)
        raise _died("the worker process died twice")

    def close(self) -> None:
        """End the processes when they are through with what they are at."""
        for _ in range(self.count):
            self._idle.get().shutdown()


class DaskWorkers:
    """The processes of a Dask cluster that is there. Dask itself tries elsewhere what a worker died
    over.

    Args:
        scheduler: ``tcp://host:port``.

    Raises:
        SettingsError: distributed is not installed, the scheduler does not answer, or has no
            workers.
    """

    def __init__(self, scheduler: str) -> None:
        try:
            from distributed import Client
        except ImportError:
            raise SettingsError(
                "--scheduler",
                "distributed is not installed",
                todo="pip install 'esgvzarr[dask]'",
                code="settings-scheduler",
            ) from None
        try:
            self._client: Any = Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"--scheduler {scheduler}",
                f"does not answer: {error}",
                expected="a running Dask scheduler, tcp://host:port",
                code="settings-scheduler",
            ) from error
        self.count = sum(self._client.nthreads().values())
        if not self.count:
            self._client.close()
            raise SettingsError(
                f"--scheduler {scheduler}",
                "has no workers",
                todo="dask worker --nthreads 1 ...",
                code="settings-scheduler",
            )
        self._executor = self._client.get_executor(pure=False)

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """As in `Workers`."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            future: Future[_T] = self._executor.submit(function, *arguments)
            return _result(future)
        except KilledWorker as error:
            raise _died(f"{error.allowed_failures + 1} workers died over it") from None
        except (CancelledError, CommClosedError, RuntimeError) as error:
            raise WorkerError(
                "the Dask cluster",
                f"is gone: {type(error).__name__}",
                todo="Start it again, then run the same command.",
                code="worker-cluster-lost",
            ) from error

    def close(self) -> None:
        """Let go of the cluster, and of what it still computes for us."""
        self._client.close()


def connect_workers(scheduler: str, count: int) -> Workers:
    """The workers of a Dask cluster, or, without one, so many processes on this machine; 0: one for
    each CPU.
    """
    if scheduler:
        return DaskWorkers(scheduler)
    return LocalWorkers(count or len(os.sched_getaffinity(0)))


def _result(future: Future[_T]) -> _T:
    """What a worker returned or raised; what it should never raise is a fault of the package, of
    which others hear nothing.
    """
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, EsgvzarrError) or _is_of_the_pool(error):
        raise error
    raise WorkerError(
        "the worker process",
        f"failed: {type(error).__name__}: {error}",
        todo="Please report this as a bug.",
        code="worker-failed",
    ) from error


def _is_of_the_pool(error: BaseException) -> bool:
    return (
        isinstance(error, BrokenProcessPool | CancelledError)
        or type(error).__module__.partition(".")[0] == "distributed"
    )


def _died(found: str) -> WorkerError:
    return WorkerError(
        "the worker process",
        found,
        expected="a result",
        todo="Is there memory enough for this dataset? Try it by itself: esgvzarr link.",
        code="worker-died",
    )


def _make_pool() -> ProcessPoolExecutor:
    """One process, started when it is first needed: a new interpreter, since this one has threads,
    which no copy would have.
    """
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """In a new worker: what is sent to all processes is for the one that has it, whose end is its
    end.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="esgvzarr-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
