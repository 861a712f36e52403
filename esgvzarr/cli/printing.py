"""Print results on standard output, and progress and outcomes on standard error.

Lines are never broken or cut, except in tables on a terminal: programs may read them.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from .exit_status import ExitStatus

if TYPE_CHECKING:
    from rich.console import Console

    from ..backfill import RunProgress
    from ..errors import EsgvzarrError
    from ..generate import Progress
    from ..outcome import Outcome

TERMINAL_REFRESH_S = 0.5
LOG_REFRESH_S = 30.0
"""Seconds between two lines of progress of a backfill, where standard error is not a terminal."""
_WIDE = 80
"""A bar is drawn on terminals with at least this many columns."""
_BAR = 20
_MOST_OF_ID = 43
_LEAST_OF_ID = 8
"""Columns for the end of a dataset id before its step; fewer than the minimum would identify no
dataset.
"""
MOST_MINUTES = 600
"""Remaining times of more minutes are shown in hours."""


def print_error(error: EsgvzarrError) -> None:
    """Print an error and its code in one line on standard error."""
    print(f"esgvzarr: [{error.code}] {error}", file=sys.stderr)


def make_console() -> Console:
    """Make a console on standard error that does not fold lines."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def progress_on(console: Console) -> Progress:
    """Make a callback that prints each step of a dataset."""

    def print_step(dataset_id: str, step: str) -> None:
        console.print(f"[dim]{dataset_id}: {step}[/dim]")

    return print_step


@contextmanager
def step_bar(console: Console) -> Iterator[Progress]:
    """Show on a terminal the step of the dataset in progress, its duration, and the fraction done
    where it is known.

    Nothing is shown elsewhere, so that cron sends mail about outcomes alone.
    """
    if not console.is_terminal:
        yield lambda *_: None
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeElapsedColumn

    from ..stage import DetailedProgress, StepProgress

    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
    taken = len(" 100%  00:00:00")
    if console.width >= _WIDE:
        columns.append(BarColumn(_BAR))
        taken += _BAR + 1
    columns += [TextColumn("{task.fields[share]}"), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, share="")

        def show_step(dataset_id: str, step: str) -> None:
            if isinstance(step, StepProgress):
                share = f"{100 * step.done // step.total}%"
                whole = (
                    step.done == step.total
                )  # Drawn now, because the next step may begin before the next refresh.
                bar.update(task, total=step.total, completed=step.done, refresh=whole, share=share)
                return
            description = _fitting(dataset_id, step, console.width - taken)
            bar.reset(task, total=None, description=description, share="")

        yield DetailedProgress(show_step)


def _fitting(dataset_id: str, step: str, room: int) -> str:
    """Return a step, preceded by as much of the dataset id as fits: its end, which differs most.

    Args:
        dataset_id: the id of the dataset.
        step: what is being done.
        room: columns of the terminal.
    """
    if len(step) > room:
        return f"{step[: max(room - 3, 0)]}..."
    most = min(room - len(f": {step}"), _MOST_OF_ID)
    if len(dataset_id) <= most:
        return f"{dataset_id}: {step}"
    end = most - len("...")
    return f"...{dataset_id[-end:]}: {step}" if end >= _LEAST_OF_ID else step


def is_well(outcome: Outcome) -> bool:
    """Whether a dataset is done; in a dry run, whether it would be."""
    return not outcome.code


def report(console: Console, outcomes: Sequence[Outcome]) -> ExitStatus:
    """Print the outcomes, and return the exit status that follows from them."""
    print_outcomes(console, outcomes)
    return ExitStatus.DONE if all(map(is_well, outcomes)) else ExitStatus.REFUSED


def print_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print all warnings, then one line for each dataset."""
    for outcome in outcomes:
        for warning in outcome.warnings:
            console.print(f"{outcome.dataset_id}: warning: {warning}", style="yellow", markup=False)
    for outcome in outcomes:
        code = f" [{outcome.code}]" if outcome.code else ""
        console.print(
            f"{outcome.dataset_id}: {outcome.state}{code}: {outcome.detail}",
            style="green" if is_well(outcome) else "red",
            markup=False,
        )


def print_columns(lines: Sequence[Sequence[str]]) -> None:
    """Print lines with their cells aligned in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())


def print_block(heading: str, lines: Sequence[str]) -> None:
    """Print a heading, and lines below it that are folded at words to the terminal's width."""
    width = max(shutil.get_terminal_size().columns - 4, 20)
    print(heading)
    for line in lines:
        for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False):
            print(f"    {part}")


def print_table(names: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, and aligned columns elsewhere. Print nothing if there are no
    lines.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not lines:
        return
    if not sys.stdout.isatty():
        print_columns([names, *lines])
        return
    table = Table(*names, box=None)
    for line in lines:
        table.add_row(*map(escape, line))
    Console(highlight=False).print(table)


@contextmanager
def backfill_progress(console: Console) -> Iterator[Callable[[RunProgress], None]]:
    """Show the progress of a backfill: a bar on a terminal, a line from time to time elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn

    from ..outcome import State

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        console=console,
    )
    task = bar.add_task("")
    interval_s = TERMINAL_REFRESH_S if console.is_terminal else LOG_REFRESH_S
    next_s = 0.0
    finished_before = 0

    def watch(now: RunProgress) -> None:
        nonlocal next_s, finished_before
        if now.seconds < next_s:
            return
        next_s = now.seconds + interval_s
        if console.is_terminal:
            total = sum(now.counts.values())
            completed = total - now.counts[State.OPEN]
            bar.update(task, description=_sentence(now), total=total or None, completed=completed)
        elif now.finished != finished_before:
            console.print(_sentence(now), markup=False)
            finished_before = now.finished

    with bar if console.is_terminal else nullcontext():
        yield watch


def _sentence(now: RunProgress) -> str:
    """Describe the progress of a backfill in one line."""
    from ..outcome import State

    parts = []
    for state, number in sorted(now.counts.items()):
        if number and state != State.OPEN:
            parts.append(f"{number} {state}")
    left = now.counts[State.OPEN]
    parts.append(f"{left} left, and more to be listed" if now.listing else f"{left} left")
    if now.finished and now.seconds:
        per_minute = 60 * now.finished / now.seconds
        parts.append(f"{per_minute:.0f} per minute, {_duration(left / per_minute)} to go")
    for node in now.resting:
        parts.append(f"{node} does not answer")
    return ", ".join(parts)


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < MOST_MINUTES else f"{minutes / 60:.0f} h"
