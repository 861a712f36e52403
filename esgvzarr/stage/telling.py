"""Progress while a dataset is staged: each step, and the fraction of it that is done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..workers import Limits, Worker, in_a_worker

Progress = Callable[[str, str], None]
"""Is told the dataset id and the step."""
ReportAmount = Callable[[int, int], None]
"""Is told how much of a step is done, and its total."""
INTERVAL_S = 0.1
"""Least time between two reports of a fraction, in seconds, except the last one: reports may come
from another process.
"""
_WHOLE = 2**30
"""The whole of a step that is done in rounds."""
_MOST_HALVES = 20

_T = TypeVar("_T")


class StepProgress(str):
    """A step as text, with the amount of it that is done.

    Args:
        text: the step.
        done: the amount that is done.
        total: the whole amount.
    """

    done: int
    total: int

    def __new__(cls, text: str, done: int, total: int) -> StepProgress:
        """Make a text with two numbers."""
        doing = super().__new__(cls, text)
        doing.done = done
        doing.total = total
        return doing

    def __reduce__(self) -> tuple[Any, ...]:
        return (StepProgress, (str(self), self.done, self.total))


class DetailedProgress:
    """A progress callback that receives each step as text, and then repeatedly as `StepProgress`.

    Other callbacks receive each step once.

    Args:
        progress: the callback.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, dataset_id: str, step: str) -> None:
        """Report a step, or the fraction of it that is done."""
        self._progress(dataset_id, step)


def in_a_told_worker(
    function: Callable[..., _T], *arguments: Any, limits: Limits, progress: Progress
) -> _T:
    """Call a function in a process of its own, and pass its progress to the callback.

    Args:
        function: a function of a module, which takes a callback as ``progress``.
        arguments: the arguments of the function.
        limits: limits of time and memory.
        progress: receives the progress, in this process.

    Raises:
        EsgvzarrError: the error that the function raised.
        WorkerError: the process died, reached a limit, or the function has a fault.
    """
    called = (*_telling(function, progress), *arguments)
    result: _T = in_a_worker(*called, limits=limits, progress=progress)
    return result


def run_told(
    worker: Worker, function: Callable[..., _T], *arguments: Any, progress: Progress
) -> _T:
    """Do the same in a process that exists already."""
    result: _T = worker.run(*_telling(function, progress), *arguments, progress=progress)
    return result


def _telling(function: Callable[..., _T], progress: Progress) -> tuple[Any, ...]:
    """Return what the other process calls with the arguments."""
    return (_with_details, function) if isinstance(progress, DetailedProgress) else (function,)


def _with_details(function: Callable[..., _T], *arguments: Any, progress: Progress) -> _T:
    """Call the function in the other process, which receives a plain callback."""
    return function(*arguments, progress=DetailedProgress(progress))


def begin(progress: Progress, name: str, step: str) -> ReportAmount:
    """Report that a step begins.

    Args:
        progress: receives the step.
        name: the dataset.
        step: the step that begins.

    Returns:
        A function that reports how much of the step is done, unless that is less than before. It
            does nothing if the callback takes no details.
    """
    progress(name, step)
    if not isinstance(progress, DetailedProgress):
        return _ignore
    told_s = time.monotonic()
    most = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told_s, most
        now_s = time.monotonic()
        is_due = done == total or now_s - told_s >= INTERVAL_S
        if total and is_due and done / total >= most:
            told_s = now_s
            most = done / total
            progress(name, StepProgress(step, done, total))

    return tell


def over_rounds(told: ReportAmount) -> ReportAmount:
    """Return what is told of each answer in rounds of requests, whose number is not known. Each
    round counts for half of what the rounds before it left.

    Args:
        told: is told how much of all rounds is done.
    """
    rounds = 0

    def tell(answers: int, requests: int) -> None:
        nonlocal rounds
        if answers == 1:
            rounds += 1
        left = _WHOLE >> min(rounds - 1, _MOST_HALVES)
        told(_WHOLE - left + left * answers // (2 * requests), _WHOLE)

    return tell


def _ignore(*_: int) -> None:
    """Ignore a report."""
