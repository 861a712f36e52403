"""End the event loops of zarr and fsspec, which run in threads of their own.

Both libraries close their loop only when Python ends. Tasks that still wait then, as after Ctrl-C,
are destroyed, and each prints a message.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_HOLDERS = ("zarr.core.sync", "fsspec.asyn")
"""Modules that have ``loop`` and ``iothread``: lists that hold the event loop and its thread once
something was read.
"""
_PATIENCE_S = 5.0
"""Seconds that cancelled tasks of a loop get to end, and then its thread."""


@contextmanager
def loops_ended() -> Iterator[None]:
    """Cancel the waiting tasks of both loops when the block ends, and close the loops when Python
    ends.

    For programs only: the libraries can read nothing afterwards.
    """
    # Registered before the libraries register their own functions: atexit runs this one last.
    atexit.register(_close_loops)
    try:
        yield
    finally:
        for loop, _ in _running_loops():
            _cancel_tasks(loop)


def _running_loops() -> Iterator[tuple[asyncio.AbstractEventLoop, Any]]:
    """Return the loops that run in this process, each with its thread."""
    for name in _HOLDERS:
        holder = sys.modules.get(name)
        loops = getattr(holder, "loop", None) or (None,)
        threads = getattr(holder, "iothread", None) or (None,)
        if loops[0] is not None and threads[0] is not None and loops[0].is_running():
            yield loops[0], threads[0]


def _cancel_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks of a loop, and wait until they have ended."""
    import asyncio
    from concurrent.futures import CancelledError

    try:
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result(_PATIENCE_S)
    except (TimeoutError, CancelledError):
        return  # A task that does not end now ends with the process.


async def _cancel_others() -> None:
    import asyncio

    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _close_loops() -> None:
    """Stop the loops that still run, wait for their threads, and close the loops.

    zarr has closed its own loop by then; fsspec has closed its connections. Ctrl-C ends the wait.
    """
    for loop, thread in _running_loops():
        loop.call_soon_threadsafe(loop.stop)
        with suppress(KeyboardInterrupt):
            thread.join(_PATIENCE_S)
        if not loop.is_running():
            loop.close()
