"""Sort files by their decoded times (rule 10). No input or output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series, Variable


def arrange(files: Sequence[FileReferences], findings: list[Finding]) -> Series:
    """Sort files by decoded time (rule 10). Files that cannot be sorted keep the order of their
    URLs, and yield a finding.
    """
    time = _common_time(files, findings)
    if time is None:
        return Series(tuple(files), None, tuple(np.empty(0, np.int64) for _ in files))
    timed = _with_times(files, time, findings)
    timed.sort(key=lambda pair: (int(pair[0][0]), -int(pair[0][-1]), pair[1].file.url))
    if not timed and not any(finding.refuse for finding in findings):
        findings.append(_empty(files[0], "", refuse=True))
    ordered = tuple(file for _, file in timed)
    return Series(ordered, time, tuple(times for times, _ in timed), dates=_dates(ordered, time))


def _common_time(files: Sequence[FileReferences], findings: list[Finding]) -> str | None:
    """Return the name of the time coordinate, and add a finding for each file that lacks it; None
    if no file has a time.
    """
    names = {file.file.url: cf.time_name(file.variables) for file in files}
    found = sorted(filter(None, names.values()))
    if not found:
        if len(files) > 1:
            findings.append(_no_time(files[1]))
        return None
    time = found[0]
    for file in files:
        if names[file.file.url] != time:
            findings.append(_no_time(file))
    return time


def _with_times(
    files: Sequence[FileReferences], time: str, findings: list[Finding]
) -> list[tuple[np.ndarray, FileReferences]]:
    """Return the files that have time steps, with their times."""
    timed = []
    for file in files:
        times = _times(file, time, findings, alone=len(files) == 1)
        if times is not None and len(times) == 0:
            findings.append(_empty(file, "The file adds no time steps.", refuse=False))
        elif times is not None:
            timed.append((times, file))
    return timed


def _empty(file: FileReferences, todo: str, *, refuse: bool) -> Finding:
    return Finding("file-empty", 26, file.file.url, "time steps", "none", todo, refuse=refuse)


def _dates(files: Sequence[FileReferences], time: str) -> tuple[str, ...]:
    """Return the variables that are dates along time in any of the files.

    If the files state time with different reference dates, bounds that no attribute names are
    recognised by their numbers.
    """
    names = dict[str, None]()
    for file in files:
        names.update(dict.fromkeys(cf.dates_along(file.variables, time)))
    if len(cf.time_references([file.variables for file in files], time, time)) > 1:
        candidates = dict[str, None]()
        for file in files:
            candidates.update(dict.fromkeys(cf.unnamed_bounds(file.variables, time)))
        for name in candidates:
            if all(is_unnamed_bounds(file, name, time) for file in files):
                names[name] = None
    return tuple(names)


def is_unnamed_bounds(file: FileReferences, name: str, time: str) -> bool:
    """Whether a variable that time does not name is bounds of time, by its name, its shape, and
    numbers close to those of time.
    """
    variable = file.variables.get(name)
    times = file.variables[time].values
    if variable is None or times is None or not cf.named_as_bounds(variable):
        return False
    return cf.tracks_time(variable, times)


def _no_time(file: FileReferences) -> Finding:
    return Finding(
        "time-missing",
        10,
        file.file.url,
        "the time coordinate that orders the files",
        "no time coordinate, or one of another name",
        "Publish fixed fields and other grids as separate datasets.",
    )


def _times(
    file: FileReferences, time: str, findings: list[Finding], *, alone: bool
) -> np.ndarray | None:
    """Return the times in microseconds since 1970-01-01; None, and a finding, if they cannot be
    decoded.

    The steps of a file that is ``alone`` need no order: times may decrease, repeat, or be missing.
    """
    variable = file.variables.get(time)
    if variable is None or variable.dims != (time,):
        return None
    try:
        times = _decoded(variable, alone=alone)
    except ValueError as error:
        expected = "times that can be decoded"
        findings.append(
            Finding("time-invalid", 5, file.file.url, expected, f"{time}: {error}", _TODO)
        )
        return None
    backwards = np.flatnonzero(np.diff(times) <= 0)
    if len(backwards) and not alone:
        step = int(backwards[0])
        found = (
            f"{date_at(file, times, step)} at step {step}, and {date_at(file, times, step + 1)} "
            "after it"
        )
        findings.append(
            Finding("time-not-increasing", 10, file.file.url, "time to increase", found)
        )
    return times


_TODO = "Correct the units, calendar or values of the time coordinate."


def _decoded(variable: Variable, *, alone: bool) -> np.ndarray:
    """Return times in microseconds, unpacked.

    Raises:
        ValueError: they cannot be decoded, or some are missing.
    """
    if variable.values is None:
        raise ValueError("were not read")
    times = cf.dates_of(variable.values, cf.meaning(variable), variable.attrs)
    absent = np.flatnonzero(times == cf.NO_DATE)
    if len(absent) and not alone:
        raise ValueError(f"step {int(absent[0])} is missing")
    return times


def date_at(file: FileReferences, times: np.ndarray, step: int) -> str:
    """Return the date of a step of a file, as text."""
    variable = file.variables[cf.time_name(file.variables) or ""]
    return cf.date_text(int(times[step]), cf.calendar_of(variable.attrs))
