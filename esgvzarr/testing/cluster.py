"""A Dask cluster on the loopback: a scheduler and worker processes, which tests may kill."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .processes import free_port, listens, start, wait_until

_QUIET = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s",
}
"""Settings with which idle processes of a cluster take a tenth of their CPU time: by default each
worker looks a hundred times a second which function it runs. docs/how-to/backfill.md names them.
"""


@contextmanager
def dask_cluster(workers: int = 2) -> Iterator[str]:
    """Start a scheduler with this many workers of one thread each, and give its address. A worker
    that is killed is replaced by its nanny.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="esgvzarr-dask-")))
        port = free_port()
        address = f"tcp://127.0.0.1:{port}"
        program = [sys.executable, "-m"]
        log = folder / "scheduler"
        scheduler = start(
            [
                *program,
                "distributed.cli.dask_scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--no-dashboard",
            ],
            log,
            stack,
            stop=signal.SIGTERM,
            env={**os.environ, **_QUIET},
        )
        wait_until(lambda: listens(port), scheduler, log)
        options = [
            "--nworkers",
            str(workers),
            "--nthreads",
            "1",
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--memory-limit",
            "0",
        ]
        log = folder / "workers"
        running = start(
            [
                *program,
                "distributed.cli.dask_worker",
                address,
                *options,
                "--local-directory",
                str(folder),
            ],
            log,
            stack,
            stop=signal.SIGTERM,
            env={**os.environ, **_QUIET},
        )
        wait_until(lambda: log.read_text().count("Registered to") >= workers, running, log)
        yield address
