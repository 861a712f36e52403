"""What the CF conventions say of variables: which is time, which are its bounds, and arithmetic on time that is exact.

Times are compared as whole microseconds since 1970-01-01 of their own calendar. Rules: CF conventions 1.11, sections 4.4 (time
coordinate), 4.4.1 (calendar), 7.1 (bounds), 7.4 (climatology).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import cftime
import numpy as np

from .model import Variable

_SINCE = re.compile(r"\s*(\w+)\s+since\s+(\S.*)", re.IGNORECASE)
_MICROSECONDS = {
    1: ("microsecond", "microseconds", "microsec", "microsecs"),
    1_000: ("millisecond", "milliseconds", "millisec", "millisecs", "msec", "msecs", "ms"),
    1_000_000: ("second", "seconds", "sec", "secs", "s"),
    60_000_000: ("minute", "minutes", "min", "mins"),
    3_600_000_000: ("hour", "hours", "hr", "hrs", "h"),
    86_400_000_000: ("day", "days", "d"),
}
_UNIT_US = {name: size for size, names in _MICROSECONDS.items() for name in names}
_ALIASES = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
_GREGORIAN_US = -12_219_292_800 * 1_000_000
"""1582-10-15: from here on the standard and the proleptic Gregorian calendar are one."""


def is_time(variable: Variable) -> bool:
    """Whether its units are a time since a date."""
    units = variable.attrs.get("units")
    return isinstance(units, str) and _SINCE.match(units) is not None


def time_name(variables: Mapping[str, Variable]) -> str | None:
    """The dimension along which files follow each other: that of the one-dimensional time coordinate; None for fixed fields."""
    found = [name for name, variable in variables.items() if variable.dims == (name,) and is_time(variable)]
    for known in (
        lambda v: v.attrs.get("standard_name") == "time",
        lambda v: v.attrs.get("axis") == "T",
        lambda v: v.name == "time",
        lambda v: True,
    ):
        named = [name for name in found if known(variables[name])]
        if named:
            return named[0]
    return None


def time_companions(variables: Mapping[str, Variable], time: str) -> tuple[str, ...]:
    """The bounds and climatology of the time coordinate, which share its units."""
    attrs = variables[time].attrs
    return tuple(str(attrs[role]) for role in ("bounds", "climatology") if attrs.get(role) in variables)


def coordinate_names(variables: Mapping[str, Variable]) -> set[str]:
    """All that describes places and times rather than data: coordinates, bounds, grid mappings, formula terms."""
    names = {name for name, variable in variables.items() if name in variable.dims}
    for variable in variables.values():
        for role in ("coordinates", "bounds", "climatology", "grid_mapping", "ancillary_variables"):
            names.update(_words(variable.attrs.get(role)))
        names.update(_words(variable.attrs.get("formula_terms"))[1::2])
    return names & set(variables)


def data_names(variables: Mapping[str, Variable], time: str | None) -> set[str]:
    """What the files are about, as opposed to what describes it: fields that change with time, or in fixed files all fields."""
    described = coordinate_names(variables)
    return {
        name for name, variable in variables.items()
        if name not in described and variable.dims and (time is None or time in variable.dims) and variable.dtype.kind != "O"
    }  # fmt: skip


def _words(value: Any) -> list[str]:
    return value.replace(":", " ").split() if isinstance(value, str) else []


def calendar_of(attrs: Mapping[str, Any]) -> str:
    """The calendar by its first name in the CF conventions: ``gregorian`` is ``standard``, ``365_day`` is ``noleap``."""
    name = str(attrs.get("calendar", "standard")).strip().lower()
    return _ALIASES.get(name, name)


def to_microseconds(values: np.ndarray, units: str, calendar: str) -> np.ndarray:
    """Times as int64 microseconds since 1970-01-01 of ``calendar``, same shape.

    Raises:
        ValueError: the units or calendar are not CF's, or a value is not finite.
    """
    unit, epoch = _unit_and_epoch(units, calendar)
    if values.dtype.kind in "iu":
        return values.astype(np.int64) * unit + epoch
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise ValueError("times that are not finite numbers")
    whole = np.floor(values.astype(np.float64))
    return whole.astype(np.int64) * unit + np.round((values - whole) * unit).astype(np.int64) + epoch


def _unit_and_epoch(units: str, calendar: str) -> tuple[int, int]:
    """Microseconds of one unit, and microseconds from 1970-01-01 to the reference date."""
    match = _SINCE.match(units)
    unit = _UNIT_US.get(match[1].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"units {units!r}: months and years are no fixed times" if match else f"units {units!r} are not a time since a date")
    date = cftime.num2date(0, f"days since {match[2]}", calendar, only_use_cftime_datetimes=True)
    zero = cftime.datetime(1970, 1, 1, calendar=calendar, has_year_zero=date.has_year_zero)
    gap = date - zero
    return unit, (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


def rebase(values: np.ndarray, units: str, target: str, calendar: str) -> np.ndarray | None:
    """Times in ``target`` units, to the microsecond the same; None where ``target`` cannot say them."""
    (unit, epoch), (target_unit, target_epoch) = _unit_and_epoch(units, calendar), _unit_and_epoch(target, calendar)
    gap = epoch - target_epoch
    if unit == target_unit and gap % unit == 0:
        moved = values + np.asarray(gap // unit, values.dtype if values.dtype.kind in "iu" else np.float64)
    else:
        moved = (to_microseconds(values, units, calendar) - target_epoch) / target_unit
    same = np.array_equal(to_microseconds(moved, target, calendar), to_microseconds(values, units, calendar))
    return moved if same else None


def same_calendar(calendars: Iterable[str], earliest_us: int) -> bool:
    """Whether dates mean the same in all: proleptic Gregorian and standard do from 1582-10-15 on."""
    names = set(calendars)
    return len(names) == 1 or (names == {"standard", "proleptic_gregorian"} and earliest_us >= _GREGORIAN_US)


def date_text(microseconds: int, calendar: str) -> str:
    """ISO 8601 of a time, to the second."""
    zero = cftime.datetime(1970, 1, 1, calendar=calendar)
    days, seconds = divmod(int(microseconds) // 1_000_000, 86_400)
    date = cftime.num2date(days, f"days since {zero.isoformat()}", calendar, only_use_cftime_datetimes=True)
    return f"{date.strftime('%Y-%m-%d')}T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
