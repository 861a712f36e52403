"""What is told while a dataset is staged: each step, and how much of it is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..workers import Limits, in_a_worker

Progress = Callable[[str, str], None]
"""Told the dataset id and what is being done."""
Share = Callable[[int, int], None]
"""Told how much of a step is done, and how much there is of it."""
INTERVAL_S = 0.1
"""Shares are told no more often, but for whole ones: they may come from another process."""

_T = TypeVar("_T")


class Doing(str):
    """What is being done, as text, and how much of it is done already.

    Args:
        text: the step.
        done: how much of it is done.
        total: how much there is of it.
    """

    done: int
    total: int

    def __new__(cls, text: str, done: int, total: int) -> Doing:
        """Make a text with two numbers."""
        doing = super().__new__(cls, text)
        doing.done = done
        doing.total = total
        return doing

    def __reduce__(self) -> tuple[Any, ...]:
        return (Doing, (str(self), self.done, self.total))


class Detailed:
    """A callback of progress that is told more than each step once: each step as text, and then as
    `Doing`, now and then. Other callbacks hear of each step once.

    Args:
        progress: the callback.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, dataset_id: str, step: str) -> None:
        """Tell of a step, or of a share of it."""
        self._progress(dataset_id, step)


def in_a_told_worker(
    function: Callable[..., _T], *arguments: Any, limits: Limits, progress: Progress
) -> _T:
    """Call a function in a process of its own, which tells as much as the callback wants to know.

    Args:
        function: of a module; takes a callback as ``progress``.
        arguments: of the function.
        limits: of time and memory.
        progress: is told in this process.

    Raises:
        EsgvzarrError: what the function raised.
        WorkerError: the process died, was ended at a limit, or the function has a fault.
    """
    if isinstance(progress, Detailed):
        work = (_with_details, function, *arguments)
        result: _T = in_a_worker(*work, limits=limits, progress=progress)
        return result
    return in_a_worker(function, *arguments, limits=limits, progress=progress)


def _with_details(function: Callable[..., _T], *arguments: Any, progress: Progress) -> _T:
    """In the other process, to which only a plain callback was sent."""
    return function(*arguments, progress=Detailed(progress))


def begin(progress: Progress, name: str, step: str) -> Share:
    """Tell of a step.

    Args:
        progress: is told.
        name: the dataset.
        step: what begins.

    Returns:
        To be told how much of the step is done. It does nothing where details are not wanted.
    """
    progress(name, step)
    if not isinstance(progress, Detailed):
        return _ignore
    told_s = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if total and (done == total or now_s - told_s >= INTERVAL_S):
            told_s = now_s
            progress(name, Doing(step, done, total))

    return tell


def _ignore(*_: int) -> None:
    """Hears of a share, and does nothing."""
