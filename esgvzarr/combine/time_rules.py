"""Rules about time between files: calendars, bounds, overlaps and gaps. No input or output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series, Variable
from .order import date_at

_PERIODS = {"yr": 12, "dec": 120, "mon": 1}
"""Frequencies in months; the calendar determines their length in days."""
_HOURS = {"day": 24, "6hr": 6, "3hr": 3, "1hr": 1}


def check_calendars(series: Series) -> Iterator[Finding]:
    """Rule 6: time has one calendar, by any of its names, and so has each other variable of
    dates.
    """
    names = dict.fromkeys(series.dates)
    for file in series.files:
        names.update(dict.fromkeys(_names_of_dates(file)))
    for name in names:
        yield from _differing_calendar(series, name)


def _names_of_dates(file: FileReferences) -> list[str]:
    """Return the names of the variables of a file that are dates, along time or not."""
    return [name for name, variable in file.variables.items() if cf.is_time(variable)]


def _differing_calendar(series: Series, name: str) -> Iterator[Finding]:
    """Yield a finding for the first file that states the dates ``name`` in another calendar than
    the first file.
    """
    files = [file for file in series.files if name in file.variables]
    calendars = [cf.calendar_of(_date_attrs(series, file, name)) for file in files]
    if len(set(calendars)) == 1 or cf.same_calendar(calendars, _earliest(series, files, name)):
        return
    other = next(number for number, found in enumerate(calendars) if found != calendars[0])
    yield Finding(
        "calendar-differs",
        6,
        files[other].file.url,
        f"the calendar {calendars[0]!r} of {name!r} in {files[0].file.name}",
        repr(calendars[other]),
        "Dates would be wrong: check whether the files belong to one simulation.",
    )


def _date_attrs(series: Series, file: FileReferences, name: str) -> Mapping[str, Any]:
    """Return the units and calendar of dates in one file. Dates along time without units of their
    own have those of time.
    """
    if name in series.dates:
        return cf.companion_attrs(file.variables, name, str(series.time))
    return file.variables[name].attrs


def _earliest(series: Series, files: Sequence[FileReferences], name: str) -> int:
    """Return the first of the dates ``name`` in microseconds; the first time if the dates cannot be
    read.
    """
    found = [int(times[0]) for times in series.times[:1] if len(times)]
    for file in files:
        variable = file.variables[name]
        attrs = _date_attrs(series, file, name)
        if variable.values is None or name == series.time:
            continue
        try:
            dates = cf.dates_of(variable.values, cf.meaning(variable), attrs)
        except ValueError:
            continue
        dates = dates[dates != cf.NO_DATE]
        if dates.size:
            found.append(int(dates.min()))
    return min(found, default=0)


def check_bounds(series: Series) -> Iterator[Finding]:
    """Rule 5: if time is rebased, all other dates along time can be rebased too, and no other
    variable may be dates.
    """
    if series.time is None or not series.files:
        return
    for name in series.dates:
        present = [file for file in series.files if name in file.variables]
        moved = _is_moved(present, series.time, name)
        if moved or _fills_differ(present, name):
            for file in present:
                yield from _unmovable(file, name, series.time, moved=moved)
    if _is_moved(series.files, series.time, series.time):
        yield from _perhaps_dates(series, series.time)


def _is_moved(files: Sequence[FileReferences], time: str, name: str) -> bool:
    """Whether files state the dates ``name`` with different units or calendars."""
    return len(cf.time_references([file.variables for file in files], time, name)) > 1


def check_dates(series: Series) -> Iterator[Finding]:
    """Rule 5: stock xarray can decode all dates along time, such as bounds, or they are marked as
    missing.
    """
    for file in series.files:
        for name in series.dates[1:]:
            variable = file.variables.get(name)
            attrs = cf.companion_attrs(file.variables, name, str(series.time))
            if variable is None or cf.is_absolute(cf.text_of(attrs, "units")):
                continue
            reason = _undecodable(variable, attrs)
            if reason:
                expected = f"{name!r} to be dates that can be decoded"
                todo = "Correct its numbers, or mark missing dates by _FillValue."
                yield Finding("time-invalid", 5, file.file.url, expected, reason, todo)


def _undecodable(variable: Variable, attrs: Mapping[str, Any]) -> str:
    """Return why stock xarray cannot decode dates; empty if it can, or if they were not read."""
    values = variable.values
    if values is None or values.dtype.kind not in "iuf":
        return ""
    try:
        cf.dates_of(values, cf.meaning(variable), attrs)
    except ValueError as error:
        return str(error)
    return ""


def _fills_differ(files: Sequence[FileReferences], name: str) -> bool:
    """Whether files mark missing values of a variable by different numbers, or pack it
    differently.
    """
    roles = ("missing_value", "scale_factor", "add_offset")
    marks = set()
    for file in files:
        variable = file.variables[name]
        marks.add(str((variable.fill_value, *(variable.attrs.get(role) for role in roles))))
    return len(marks) > 1


def _unmovable(file: FileReferences, name: str, time: str, *, moved: bool) -> Iterator[Finding]:
    """Yield the reasons why dates of one file cannot be rebased."""
    variable = file.variables[name]
    attrs = cf.companion_attrs(file.variables, name, time)
    reason = ""
    if variable.values is None:
        reason = "values that were not read" if moved else ""
    elif {"scale_factor", "add_offset"} & variable.attrs.keys():
        reason = "packed values"
    elif cf.missing(variable.values, cf.meaning(variable)).any():
        reason = "missing values"
    else:
        try:
            units = cf.text_of(attrs, "units")
            cf.to_microseconds(variable.values, units, cf.calendar_of(attrs))
        except ValueError as error:
            reason = str(error)
    if reason:
        expected = f"{name!r} to be dates that can be brought to another reference date"
        todo = "Write the files with one reference date."
        yield Finding("time-invalid", 5, file.file.url, expected, reason, todo)


def _perhaps_dates(series: Series, time: str) -> Iterator[Finding]:
    """Yield a finding for numbers without units that may be dates by the reference date of their
    own file, if time is rebased.
    """
    for file in series.files:
        times = file.variables[time].values
        for name in cf.unnamed_bounds(file.variables, time):
            variable = file.variables[name]
            if name in series.dates or times is None:
                continue
            if cf.named_as_bounds(variable) or cf.tracks_time(variable, times):
                yield Finding(
                    "time-invalid",
                    5,
                    file.file.url,
                    f"units of {name!r}, because the files state time with different "
                    "reference dates",
                    "no units: it may hold dates, which would keep the reference date of its file",
                    f"Name it as the bounds of {time!r}, or give it units.",
                )


def check_overlap(series: Series) -> Iterator[Finding]:
    """Rule 11: no time is in two files, except in files for which another finding says why."""
    known = {finding.file for finding in series.warnings if finding.refuse}
    for (first, times), (second, later) in _neighbours(series):
        if len(later) and len(times) and later[0] <= times[-1] and second.file.url not in known:
            yield Finding(
                "time-overlap",
                11,
                second.file.url,
                f"time after {date_at(first, times, -1)}, where {first.file.name} ends",
                f"{date_at(second, later, 0)} to "
                f"{date_at(second, later, int(np.searchsorted(later, times[-1], 'right')) - 1)} "
                "again",
                "Two files hold the same time: retract one of them.",
            )


def check_gaps(series: Series) -> Iterator[Finding]:
    """Rule 12: warn of a missing time, by the calendar and the dataset's frequency."""
    if series.time is None or not series.files:
        return
    if any((times == cf.NO_DATE).any() or (np.diff(times) <= 0).any() for times in series.times):
        return  # A single file: its times need no order, and may be missing.
    times = np.concatenate(series.times)
    owner = np.repeat(np.arange(len(series.files)), [len(t) for t in series.times])
    attrs = series.files[0].variables[series.time].attrs
    wide = _too_wide(times, str(series.files[0].attrs.get("frequency", "")), cf.calendar_of(attrs))
    for step in wide[:10]:
        file = series.files[owner[step + 1]]
        yield Finding(
            "time-gap",
            12,
            file.file.url,
            f"the step after {cf.date_text(times[step], cf.calendar_of(attrs))}",
            f"{cf.date_text(times[step + 1], cf.calendar_of(attrs))} ({len(wide)} such "
            f"gap{'s' if len(wide) > 1 else ''})",
            "Files may be missing from the dataset.",
            refuse=False,
        )


def _too_wide(times: np.ndarray, frequency: str, calendar: str) -> np.ndarray:
    """Return the steps that are followed by a gap."""
    if len(times) < 2:
        return np.empty(0, int)
    name = frequency.removesuffix("Pt").removesuffix("C")
    if name in _PERIODS:
        return np.flatnonzero(np.diff(cf.months_of(times, calendar)) > _PERIODS[name])
    steps = np.diff(times)
    usual = _HOURS[name] * 3_600_000_000 if name in _HOURS else np.median(steps) * 1.2
    return np.flatnonzero(steps > usual * 1.001)


def _neighbours(
    series: Series,
) -> Iterator[tuple[tuple[FileReferences, np.ndarray], tuple[FileReferences, np.ndarray]]]:
    pairs = list(zip(series.files, series.times, strict=True))
    return pairwise(pairs)
