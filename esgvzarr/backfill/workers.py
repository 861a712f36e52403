"""Processes that compute for a backfill: on this machine, or on a Dask cluster.

They only read. The process that started them places outputs and makes links.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from typing import Any, Protocol, TypeVar

from ..errors import SettingsError, WorkerError
from ..workers import Limits, in_a_worker_or_two, packed_in_a_worker

_T = TypeVar("_T")
_LOOK_S = 1.0
"""Seconds between two looks at the connection to the scheduler of a cluster."""


class Workers(Protocol):
    """Processes, each of which does one job at a time."""

    count: int
    shares_disk: bool
    """Whether they see the same files as this process."""

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Run a function in one of the processes, and return its result. Threads may call this at
        the same time, and wait for their turn.

        Raises:
            WorkerError: the process died, reached a limit, or cannot be started, or the function
                has a fault. ``retryable`` if it was killed from outside, twice, or cannot be
                started: another run may succeed.
        """
        ...

    def close(self) -> None:
        """Release the processes."""
        ...


class LocalWorkers:
    """Processes on this machine. They end with the process that started them, however it ends."""

    shares_disk = True

    def __init__(self, count: int, limits: Limits) -> None:
        self.count = count
        self._limits = limits
        self._slots = threading.BoundedSemaphore(count)

    def run(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """Run a function, as in `Workers`."""
        with self._slots:
            return in_a_worker_or_two(function, *arguments, limits=self._limits)

    def close(self) -> None:
        """Do nothing: processes without a job end soon."""


class DaskWorkers:
    """The processes of an existing Dask cluster. Dask itself repeats a job elsewhere if its worker
    died.

    Args:
        scheduler: ``tcp://host:port``.
        limits: limits of each job, which a process of the cluster runs in a process of its own.

    Raises:
        SettingsError: distributed is not installed, or the scheduler does not answer or has no
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
        """Run a function, as in `Workers`.

        Raises:
            WorkerError: the worker died with the job, its result is lost, or the connection to the
                cluster is lost.
        """
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        job = pickle.dumps((function, arguments))
        connection = self._client.scheduler_comm
        try:
            self._check_connection(connection)
            future: Future[bytes] = self._executor.submit(
                packed_in_a_worker, job, limits=self._limits
            )
            # A job that is sent while the connection breaks off has no end.
            while not wait([future], timeout=_LOOK_S).done:
                self._check_connection(connection)
            packed = future.result()
        except KilledWorker as error:
            raise WorkerError(
                "the worker process",
                f"made {error.allowed_failures + 1} workers of the cluster die",
                expected="a result",
                todo="Check that the workers have enough memory for this dataset.",
                code="worker-died",
            ) from None
        except (CancelledError, CommClosedError, RuntimeError) as error:
            raise _cluster_lost(type(error).__name__) from error
        except (TypeError, ValueError) as error:
            # distributed takes a result that is lost with its worker for an error in three parts.
            self._check_connection(connection)
            raise WorkerError(
                "the Dask cluster",
                "lost a result: its worker ended before it was fetched",
                expected="a result",
                todo="Run the same command again.",
                code="worker-died",
                retryable=True,
            ) from error
        result: _T = pickle.loads(packed)  # noqa: S301  (from our own workers)
        return result

    def _check_connection(self, connection: Any) -> None:
        """Check that a connection to the scheduler, on which a job is sent, is still in use.

        Raises:
            WorkerError: it is not; Dask then knows no job that was sent before.
        """
        is_in_use = connection is not None and self._client.scheduler_comm is connection
        if not is_in_use or connection.closed():
            raise _cluster_lost("the connection to the scheduler is closed")

    def close(self) -> None:
        """Disconnect from the cluster, and cancel what it still computes."""
        self._client.close()


def _cluster_lost(reason: str) -> WorkerError:
    return WorkerError(
        "the Dask cluster",
        f"is lost: {reason}",
        todo="Start the cluster again, then run the same command.",
        code="worker-cluster-lost",
    )


def connect_workers(scheduler: str, count: int, limits: Limits) -> Workers:
    """Return the workers of a Dask cluster; without one, ``count`` processes on this machine, or
    one for each CPU if it is 0.
    """
    if scheduler:
        return DaskWorkers(scheduler, limits)
    return LocalWorkers(count or len(os.sched_getaffinity(0)), limits)
