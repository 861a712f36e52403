"""The rules about time between files: calendars, bounds, overlaps and gaps. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import cftime
import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series
from .order import date_at

_PERIODS = {"yr": 12, "dec": 120, "mon": 1}
"""Frequencies in months; their length in days follows the calendar."""
_HOURS = {"day": 24, "6hr": 6, "3hr": 3, "1hr": 1}


def check_calendars(series: Series) -> Iterator[Finding]:
    """Rule 6: one calendar, by whatever name."""
    if series.time is None or not series.files:
        return
    calendars = [cf.calendar_of(file.variables[series.time].attrs) for file in series.files]
    if not cf.same_calendar(calendars, int(series.times[0][0])):
        other = next(number for number, name in enumerate(calendars) if name != calendars[0])
        yield Finding(
            "calendar-differs",
            6,
            series.files[other].file.url,
            f"the calendar {calendars[0]!r} of {series.files[0].file.name}",
            repr(calendars[other]),
            "Dates would be wrong: check whether the files are of one simulation.",
        )


def check_bounds(series: Series) -> Iterator[Finding]:
    """Rule 5: bounds and climatology of time can be brought to one reference date with it."""
    if series.time is None or not series.files:
        return
    companions = [cf.time_companions(file.variables, series.time) for file in series.files]
    for name in sorted({name for names in companions for name in names}):
        present = [file for file in series.files if name in file.variables]
        fills = {
            str((file.variables[name].fill_value, file.variables[name].attrs.get("missing_value")))
            for file in present
        }
        moved = len(cf.time_references([file.variables for file in present], series.time, name)) > 1
        for file, names in zip(series.files, companions, strict=True):
            concerned = name in file.variables and (moved or len(fills) > 1)
            reason = (
                _unmovable(file, name, name in names or not moved, series.time) if concerned else ""
            )
            if reason:
                yield Finding(
                    "time-invalid",
                    5,
                    file.file.url,
                    f"{name!r} to be bounds of {series.time!r} that can be rebased",
                    reason,
                    "Write the files with one reference date.",
                )


def _unmovable(file: FileReferences, name: str, companion: bool, time: str) -> str:
    """Why the bounds of time of one file cannot be brought to another reference date; empty if they
    can.
    """
    variable = file.variables[name]
    attrs = cf.companion_attrs(file.variables, name, time)
    if not companion:
        return f"{time!r} does not name it"
    if variable.values is None:
        return ""
    try:
        if cf.missing(variable.values, cf.meaning(variable)).any() or {
            "scale_factor",
            "add_offset",
        } & set(variable.attrs):
            return "missing or packed values"
        cf.to_microseconds(variable.values, str(attrs.get("units")), cf.calendar_of(attrs))
    except ValueError as error:
        return str(error)
    return ""


def check_overlap(series: Series) -> Iterator[Finding]:
    """Rule 11: no time in two files, other than those of which is known already why they cannot be
    served once.
    """
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
                "Two files state the same time: retract one of them.",
            )


def check_gaps(series: Series) -> Iterator[Finding]:
    """Rule 12: no time is missing, by the calendar and the dataset's frequency; a warning."""
    if series.time is None or not series.files:
        return
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
    """Steps that are followed by a gap."""
    if len(times) < 2:
        return np.empty(0, int)
    name = frequency.removesuffix("Pt").removesuffix("C")
    if name in _PERIODS:
        days = cftime.num2date(
            times // 86_400_000_000,
            "days since 1970-01-01",
            calendar,
            only_use_cftime_datetimes=True,
        )
        months = np.array([date.year * 12 + date.month for date in days])
        return np.flatnonzero(np.diff(months) > _PERIODS[name])
    steps = np.diff(times)
    usual = _HOURS[name] * 3_600_000_000 if name in _HOURS else np.median(steps) * 1.2
    return np.flatnonzero(steps > usual * 1.001)


def _neighbours(
    series: Series,
) -> Iterator[tuple[tuple[FileReferences, np.ndarray], tuple[FileReferences, np.ndarray]]]:
    pairs = list(zip(series.files, series.times, strict=True))
    return pairwise(pairs)
