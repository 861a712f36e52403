"""Exact arithmetic on time.

Times are compared as whole microseconds since 1970-01-01 of their own calendar. Rules: CF
conventions 1.11, sections 4.4 (time coordinate) and 4.4.1 (calendar). The functions decode what
stock xarray decodes, and also dates as numbers (``day as %Y%m%d.%f``), which are only used to order
files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import cftime
import numpy as np

from .numbers import missing, unpacked

_SINCE = re.compile(r"\s*(\w+)\s+since\s+(\S.*)", re.IGNORECASE)
_AS_NUMBER = re.compile(r"\s*day\s+as\s+%Y%m%d\.%f\s*$", re.IGNORECASE)
_SHORT_DATE = re.compile(r"(\d{4})(?:[-/](?:(\d{1,2})(?:[-/](\d{1,2}))?)?)?$")
_COMPACT_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})$")
_DAY_US = 86_400_000_000
_MICROSECONDS = {
    1: ("microsecond", "microseconds", "microsec", "microsecs"),
    1_000: ("millisecond", "milliseconds", "millisec", "millisecs", "msec", "msecs", "ms"),
    1_000_000: ("second", "seconds", "sec", "secs", "s"),
    60_000_000: ("minute", "minutes", "min", "mins"),
    3_600_000_000: ("hour", "hours", "hr", "hrs", "h"),
    _DAY_US: ("day", "days", "d"),
}
_UNIT_US = dict[str, int]()
for _size, _names in _MICROSECONDS.items():
    _UNIT_US.update(dict.fromkeys(_names, _size))
_OF_CALENDAR = {
    "360_day": {"month": 30 * _DAY_US, "months": 30 * _DAY_US},
    "noleap": {"common_year": 365 * _DAY_US, "common_years": 365 * _DAY_US},
}
"""Units that have a fixed length in one calendar only, as in cftime."""
_NANOSECONDS = ("nanosecond", "nanoseconds", "nanosec", "nanosecs")
_ALIASES = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
_REAL = ("standard", "proleptic_gregorian")
"""Calendars in which xarray accepts a year alone as reference date."""
_MOST_US = 2**62
"""About 146,000 years: larger times overflow int64 when a reference date is added."""
_MONTHS_BEGIN = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
"""Days before each month of a year without a leap day."""
_GREGORIAN_US = -12_219_292_800 * 1_000_000
"""1582-10-15: from this date on, the standard and the proleptic Gregorian calendar agree."""


def is_reference(units: str) -> bool:
    """Whether units are a time since a date, or dates as numbers.

    True for all units that contain ``since``: stock xarray decodes them, and fails if it cannot.
    """
    return "since" in units or _SINCE.match(units) is not None or is_absolute(units)


def is_absolute(units: str) -> bool:
    """Whether numbers in these units are dates themselves: 18500116.5."""
    return _AS_NUMBER.match(units) is not None


def reference_date(units: str) -> str:
    """Return the text after ``since``; empty if there is none."""
    match = _SINCE.match(units)
    return match[2].strip() if match else ""


def calendar_of(attrs: Mapping[str, Any]) -> str:
    """Return the calendar by its first name in the CF conventions: ``gregorian`` is ``standard``,
    ``365_day`` is ``noleap``.
    """
    name = str(attrs.get("calendar", "standard")).strip().lower()
    return _ALIASES.get(name, name)


NO_DATE = np.iinfo(np.int64).min
"""In place of the microseconds of a date that is missing."""


def dates_of(
    values: np.ndarray, attrs: Mapping[str, Any], reference: Mapping[str, Any]
) -> np.ndarray:
    """Stored dates as int64 microseconds since 1970-01-01 of their calendar: unpacked, and NO_DATE
    where one is missing.

    Args:
        values: as stored.
        attrs: which numbers are missing, and how they are packed.
        reference: units and calendar.

    Raises:
        ValueError: the units or calendar are not CF's, or a value is not finite, or too far away.
    """
    absent = missing(values, attrs) if values.dtype.kind in "iuf" else np.zeros(values.shape, bool)
    if {"scale_factor", "add_offset"} & attrs.keys():
        values = unpacked(values, attrs)
    units = reference.get("units")
    dates = np.full(values.shape, NO_DATE)
    dates[~absent] = to_microseconds(
        values[~absent], units if isinstance(units, str) else "", calendar_of(reference)
    )
    return dates


def to_microseconds(values: np.ndarray, units: str, calendar: str) -> np.ndarray:
    """Convert times to int64 microseconds since 1970-01-01 of ``calendar``, in the same shape.

    Raises:
        ValueError: the units or calendar are not CF's, or a value is not finite or too far away.
    """
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError("times that are not finite numbers")
    if is_absolute(units):
        return _absolute(values, calendar)
    if _word(units) in _NANOSECONDS:
        return _from_nanoseconds(values, units, calendar)
    unit, epoch = _unit_and_epoch(units, calendar)
    if values.size and float(np.abs(values.astype(np.float64)).max()) * unit > _MOST_US:
        raise ValueError("times too far away for any calendar")
    if values.dtype.kind in "iu":
        return np.asarray(values.astype(np.int64) * unit + epoch)
    whole = np.floor(values.astype(np.float64))
    part = np.round((values - whole) * unit).astype(np.int64)
    return np.asarray(whole.astype(np.int64) * unit + part + epoch)


def _word(units: str) -> str:
    """Return the unit before ``since``."""
    match = _SINCE.match(units)
    return match[1].lower() if match else ""


def _from_nanoseconds(values: np.ndarray, units: str, calendar: str) -> np.ndarray:
    """Convert nanoseconds; the part below a microsecond is cut off."""
    _, epoch = _unit_and_epoch(f"microseconds since {reference_date(units)}", calendar)
    if values.dtype.kind == "f":
        values = np.floor(values)
        if values.size and float(np.abs(values).max()) > _MOST_US:
            raise ValueError("times too far away for any calendar")
    elif values.dtype.kind == "u" and values.size and int(values.max()) > _MOST_US:
        raise ValueError("times too far away for any calendar")
    return np.asarray(values.astype(np.int64) // 1000 + epoch)


def _absolute(values: np.ndarray, calendar: str) -> np.ndarray:
    """Convert numbers that are dates themselves: year, month, day, and the fraction of the day."""
    numbers = values.astype(np.float64).ravel()
    found = np.empty(numbers.size, np.int64)
    for place, number in enumerate(numbers.tolist()):
        whole = int(number)
        date = f"{whole // 10000:04d}-{whole // 100 % 100:02d}-{whole % 100:02d}"
        day = _epoch(date, calendar)
        found[place] = day + round((number - whole) * _DAY_US)
    return found.reshape(values.shape)


def _unit_and_epoch(units: str, calendar: str) -> tuple[int, int]:
    """Return the microseconds of one unit, and the microseconds from 1970-01-01 to the reference
    date.
    """
    word = _word(units)
    if not word:
        raise ValueError(f"units {units!r} are not a time since a date")
    unit = _UNIT_US.get(word) or _OF_CALENDAR.get(calendar, {}).get(word)
    if unit is None:
        raise ValueError(f"units {units!r} have no fixed length in the calendar {calendar!r}")
    return unit, _epoch(reference_date(units), calendar)


@lru_cache(maxsize=256)
def _epoch(date: str, calendar: str) -> int:
    """Return the microseconds from 1970-01-01 to a date."""
    short = _SHORT_DATE.match(date) or _COMPACT_DATE.match(date)
    if short is not None and calendar in _REAL:
        date = f"{short[1]}-{short[2] or '01'}-{short[3] or '01'}"
    try:
        zero = cftime.num2date(0, f"days since {date}", calendar, only_use_cftime_datetimes=True)
        epoch = cftime.datetime(1970, 1, 1, calendar=calendar, has_year_zero=zero.has_year_zero)
        gap = zero - epoch
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        why = "it must have year, month and day" if _SHORT_DATE.match(date) else error
        raise ValueError(f"{date!r} is not a date of the calendar {calendar!r}: {why}") from error
    return int((gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds)


def rebase(
    values: np.ndarray, attrs: Mapping[str, Any], target: Mapping[str, Any]
) -> np.ndarray | None:
    """Convert times to the units and calendar of ``target``, exactly to the microsecond; return
    None if these cannot express them.

    Both calendars must agree at these times, but not at the reference dates: "days since
    0001-01-01" differs by two days between the standard and the proleptic Gregorian calendar.
    """
    (unit, epoch), (target_unit, target_epoch) = (
        _unit_and_epoch(str(a.get("units")), calendar_of(a)) for a in (attrs, target)
    )
    gap = epoch - target_epoch
    times = to_microseconds(values, str(attrs.get("units")), calendar_of(attrs))
    if unit == target_unit and gap == 0:
        moved = values
    elif unit == target_unit and gap % unit == 0:
        moved = values.astype(np.int64 if values.dtype.kind in "iu" else np.float64) + gap // unit
    else:
        moved = (times - target_epoch) / target_unit
    moved = _in_own_type(moved, values.dtype)
    same = np.array_equal(
        to_microseconds(moved, str(target.get("units")), calendar_of(target)), times
    )
    return moved if same else None


def _in_own_type(moved: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Return numbers in their earlier integer type, if it holds them."""
    if dtype.kind not in "iu" or not moved.size or not (moved == np.floor(moved)).all():
        return moved
    limits = np.iinfo(dtype)
    fits = limits.min <= moved.min() and moved.max() <= limits.max
    return moved.astype(dtype) if fits else moved


def same_calendar(calendars: Iterable[str], earliest_us: int) -> bool:
    """Whether dates mean the same in all calendars: proleptic Gregorian and standard do from
    1582-10-15 on.
    """
    names = set(calendars)
    return len(names) == 1 or (
        names == {"standard", "proleptic_gregorian"} and earliest_us >= _GREGORIAN_US
    )


def months_of(microseconds: np.ndarray, calendar: str) -> np.ndarray:
    """Return the months from 1970-01 to each time, as whole numbers."""
    days = microseconds // _DAY_US
    if calendar == "360_day":
        return np.asarray(days // 30)
    if calendar == "noleap":
        years, day_of_year = np.divmod(days, 365)
        return np.asarray(12 * years + np.searchsorted(_MONTHS_BEGIN, day_of_year, "right") - 1)
    if calendar in _REAL and (microseconds >= _GREGORIAN_US).all():
        return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    dates = cftime.num2date(days, "days since 1970-01-01", calendar, only_use_cftime_datetimes=True)
    return np.array([12 * (date.year - 1970) + date.month - 1 for date in dates], np.int64)


def date_text(microseconds: int, calendar: str) -> str:
    """Return a time in ISO 8601, to the second."""
    zero = cftime.datetime(1970, 1, 1, calendar=calendar)
    days, seconds = divmod(int(microseconds) // 1_000_000, 86_400)
    date = cftime.num2date(
        days, f"days since {zero.isoformat()}", calendar, only_use_cftime_datetimes=True
    )
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{date.strftime('%Y-%m-%d')}T{hour:02}:{minute:02}:{second:02}"
