"""Processes that compute for a backfill: on this machine, or those of a Dask cluster.

They read. The process that has them alone places and links.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol, TypeVar

from ..errors import SettingsError, WorkerError
from ..workers import Limits, in_a_worker

_T = TypeVar("_T")


class Workers(Protocol):
    """Processes, each of which computes one thing at a time."""

    count: int
    shares_disk: bool
    """Whether they see the same files as this process."""

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What the function returns or raises in one of the processes; threads may ask at once, and
        wait for their turn.

        Raises:
            WorkerError: the process died, was ended at a limit, or cannot be had, or the function
                has a fault. ``retryable`` where it was killed from outside, twice, or cannot be
                had: another run may succeed.
        """
        ...

    def close(self) -> None:
        """Let go of the processes."""
        ...


def _twice_if_killed(function: Callable[..., _T], *arguments: Any, limits: Limits) -> _T:
    """Do a job once more where its process was killed: it may have been in the way of others on
    this machine.
    """
    try:
        return in_a_worker(function, *arguments, limits=limits)
    except WorkerError as error:
        if not error.retryable:
            raise
    return in_a_worker(function, *arguments, limits=limits)


class LocalWorkers:
    """Processes on this machine, a new one for each job. They end with the process that has them,
    however it ends.
    """

    shares_disk = True

    def __init__(self, count: int, limits: Limits) -> None:
        self.count = count
        self._limits = limits
        self._slots = threading.BoundedSemaphore(count)

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """As in `Workers`."""
        with self._slots:
            return _twice_if_killed(function, *arguments, limits=self._limits)

    def close(self) -> None:
        """Nothing is left: each process ended with its job."""


class DaskWorkers:
    """The processes of a Dask cluster that is there. Dask itself tries elsewhere what a worker died
    over.

    Args:
        scheduler: ``tcp://host:port``.
        limits: of each job, which a process of the cluster does in a process of its own.

    Raises:
        SettingsError: distributed is not installed, the scheduler does not answer, or has no
            workers.
    """

    shares_disk = False

    def __init__(self, scheduler: str, limits: Limits) -> None:
        self._limits = limits
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
        """As in `Workers`.

        Raises:
            WorkerError: a worker died with the task, or the connection to the cluster is lost.
        """
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            future: Future[_T] = self._executor.submit(
                _twice_if_killed, function, *arguments, limits=self._limits
            )
            return future.result()
        except KilledWorker as error:
            raise WorkerError(
                "the worker process",
                f"took {error.allowed_failures + 1} workers of the cluster with it",
                expected="a result",
                todo="Is there memory enough for this dataset?",
                code="worker-died",
            ) from None
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


def connect_workers(scheduler: str, count: int, limits: Limits) -> Workers:
    """The workers of a Dask cluster, or, without one, so many processes on this machine; 0: one for
    each CPU.
    """
    if scheduler:
        return DaskWorkers(scheduler, limits)
    return LocalWorkers(count or len(os.sched_getaffinity(0)), limits)
