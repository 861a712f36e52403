"""Commands of esgvzarr in processes that tests kill.

They are forked from one server that has imported what is heavy: an interpreter that starts anew
imports for longer than the command takes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.connection import wait
from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
_HEAVY = ["esgvzarr.cli", "esgvzarr.link.resume", "netCDF4", "kerchunk.xarray_backend"]
_HEAVY += ["esgvzarr.proof", "esgvzarr.stage", "pystac"]
_HEAVY += ["esgcet", "pytest", "esgvzarr.testing.node"]  # the modules of the tests import them too
PROCESSES.set_forkserver_preload(_HEAVY)


class Forked:
    """A command in the environment of this process; what it prints goes into a file."""

    def __init__(self, arguments: list[object], output: Path) -> None:
        words = list(map(str, arguments))
        self._process = PROCESSES.Process(target=_run, args=(words, dict(os.environ), str(output)))
        self._process.start()

    @property
    def exitcode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        """Kill it, and wait until it is gone. Any thread may do this while another one joins."""
        self._process.kill()
        wait([self._process.sentinel])

    def join(self, timeout: float | None = None) -> None:
        self._process.join(timeout)


def _run(words: list[str], environment: dict[str, str], output: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(target, 1)
    os.dup2(target, 2)
    from esgvzarr.cli import main

    main(words)
