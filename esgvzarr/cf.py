"""What the CF conventions say of variables: which is time, which are its bounds, and arithmetic on
time that is exact.

Times are compared as whole microseconds since 1970-01-01 of their own calendar. Rules: CF
conventions 1.11, sections 4.4 (time coordinate), 4.4.1 (calendar), 7.1 (bounds), 7.4 (climatology).
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
_UNIT_US: dict[str, int] = {}
for _size, _names in _MICROSECONDS.items():
    _UNIT_US |= dict.fromkeys(_names, _size)
_ALIASES = {"gregorian": "standard", "365_day": "noleap", "366_day": "all_leap"}
_MOST_US = 2**62
"""About 146,000 years: int64 goes no further with a reference date to add."""
_GREGORIAN_US = -12_219_292_800 * 1_000_000
"""1582-10-15: from here on the standard and the proleptic Gregorian calendar are one."""


def is_time(variable: Variable) -> bool:
    """Whether its units are a time since a date."""
    units = variable.attrs.get("units")
    return isinstance(units, str) and _SINCE.match(units) is not None


def time_name(variables: Mapping[str, Variable]) -> str | None:
    """The dimension along which files follow each other: that of the one-dimensional time
    coordinate; None for fixed fields.
    """
    found = [
        name
        for name, variable in variables.items()
        if variable.dims == (name,) and is_time(variable)
    ]
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
    named = (variables[time].attrs.get(role) for role in ("bounds", "climatology"))
    return tuple(
        name for name in named if isinstance(name, str) and name in variables
    )  # a hostile one is an array


def coordinate_names(variables: Mapping[str, Variable]) -> set[str]:
    """All that describes places and times rather than data: coordinates, bounds, grid mappings,
    formula terms.
    """
    names = {name for name, variable in variables.items() if name in variable.dims}
    for variable in variables.values():
        for role in ("coordinates", "bounds", "climatology", "grid_mapping", "ancillary_variables"):
            names.update(_words(variable.attrs.get(role)))
        names.update(_words(variable.attrs.get("formula_terms"))[1::2])
    return names & set(variables)


def data_names(variables: Mapping[str, Variable], time: str | None) -> set[str]:
    """What the files are about, as opposed to what describes it: fields that change with time, or
    in fixed files all fields.
    """
    described = coordinate_names(variables)
    return {
        name
        for name, variable in variables.items()
        if name not in described
        and variable.dims
        and (time is None or time in variable.dims)
        and variable.dtype.kind != "O"
    }


def _words(value: Any) -> list[str]:
    return value.replace(":", " ").split() if isinstance(value, str) else []


def companion_attrs(variables: Mapping[str, Variable], name: str, time: str) -> dict[str, Any]:
    """Units and calendar of time, its bounds or climatology; where these state none of their own,
    time's hold.
    """
    own = variables[name].attrs if name in variables else {}
    both = {**variables[time].attrs, **own}
    return {role: both[role] for role in ("units", "calendar") if role in both}


def time_references(
    files: Iterable[Mapping[str, Variable]], time: str, name: str
) -> set[tuple[str, str]]:
    """The (units, calendar) by which several files state time or a companion of it: more than one,
    and they have to be rebased.
    """
    all_attrs = [companion_attrs(variables, name, time) for variables in files]
    return {(str(attrs.get("units")), calendar_of(attrs)) for attrs in all_attrs}


def calendar_of(attrs: Mapping[str, Any]) -> str:
    """The calendar by its first name in the CF conventions: ``gregorian`` is ``standard``,
    ``365_day`` is ``noleap``.
    """
    name = str(attrs.get("calendar", "standard")).strip().lower()
    return _ALIASES.get(name, name)


def to_microseconds(values: np.ndarray, units: str, calendar: str) -> np.ndarray:
    """Times as int64 microseconds since 1970-01-01 of ``calendar``, same shape.

    Raises:
        ValueError: the units or calendar are not CF's, or a value is not finite, or too far away.
    """
    unit, epoch = _unit_and_epoch(units, calendar)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError("times that are not finite numbers")
    if values.size and float(np.abs(values.astype(np.float64)).max()) * unit > _MOST_US:
        raise ValueError("times beyond any calendar")
    if values.dtype.kind in "iu":
        return values.astype(np.int64) * unit + epoch
    whole = np.floor(values.astype(np.float64))
    return (
        whole.astype(np.int64) * unit + np.round((values - whole) * unit).astype(np.int64) + epoch
    )


def _unit_and_epoch(units: str, calendar: str) -> tuple[int, int]:
    """Microseconds of one unit, and microseconds from 1970-01-01 to the reference date."""
    match = _SINCE.match(units)
    unit = _UNIT_US.get(match[1].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(
            f"units {units!r} {'have no fixed length' if match else 'are not a time since a date'}"
        )
    date = cftime.num2date(0, f"days since {match[2]}", calendar, only_use_cftime_datetimes=True)
    zero = cftime.datetime(1970, 1, 1, calendar=calendar, has_year_zero=date.has_year_zero)
    gap = date - zero
    return unit, (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


def meaning(variable: Variable) -> dict[str, Any]:
    """The attributes with ``_FillValue`` among them, as netCDF has it."""
    return (
        dict(variable.attrs)
        if variable.fill_value is None
        else {**variable.attrs, "_FillValue": variable.fill_value}
    )


def missing(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Where stored ``values`` are the ``_FillValue``, a ``missing_value`` or NaN."""
    marks: list[Any] = []
    for name in ("_FillValue", "missing_value"):
        marks += list(np.ravel(attrs.get(name, ())))
    found = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    for mark in marks:
        if np.asarray(mark).dtype.kind in "iuf":
            found = found | (values == mark)
    return found


def unpacked(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """What stored numbers mean: missing ones NaN, others as float64 by their packing. Text as it
    is.
    """
    if values.dtype.kind not in "iuf":
        return values
    absent = missing(values, attrs)
    if str(attrs.get("_Unsigned", "")).lower() == "true" and values.dtype.kind == "i":
        values = values.view(values.dtype.str.replace("i", "u"))
    numbers = values.astype(np.float64) * float(attrs.get("scale_factor", 1)) + float(
        attrs.get("add_offset", 0)
    )
    return np.where(absent, np.nan, numbers)


def rebase(
    values: np.ndarray, attrs: Mapping[str, Any], target: Mapping[str, Any]
) -> np.ndarray | None:
    """Times in the units and calendar of ``target``, to the microsecond the same; None where these
    cannot say them.

    Both calendars must be one where the times lie. They need not be where the reference dates do:
    "days since 0001-01-01" is two days apart in the standard and the proleptic Gregorian calendar.
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
    same = np.array_equal(
        to_microseconds(moved, str(target.get("units")), calendar_of(target)), times
    )
    return moved if same else None


def grid_step(values: np.ndarray) -> float:
    """The smallest step of a coordinate or its bounds, as far as one number can say; of a scalar,
    its size.
    """
    flat = values[np.isfinite(values)]
    if len(flat) < 2:
        return float(np.abs(flat).max()) if len(flat) else 0.0
    if values.ndim == 1 or (values.ndim == 2 and 1 < values.shape[1] <= 4):
        steps = np.abs(np.diff(flat) if values.ndim == 1 else np.diff(values, axis=1))
        steps = steps[steps > 0]
        if len(steps):
            return float(steps.min())
        return float(np.abs(flat).max()) if values.ndim == 1 else 0.0
    return float(np.ptp(flat) / max(values.shape))


def same_calendar(calendars: Iterable[str], earliest_us: int) -> bool:
    """Whether dates mean the same in all: proleptic Gregorian and standard do from 1582-10-15
    on.
    """
    names = set(calendars)
    return len(names) == 1 or (
        names == {"standard", "proleptic_gregorian"} and earliest_us >= _GREGORIAN_US
    )


def date_text(microseconds: int, calendar: str) -> str:
    """ISO 8601 of a time, to the second."""
    zero = cftime.datetime(1970, 1, 1, calendar=calendar)
    days, seconds = divmod(int(microseconds) // 1_000_000, 86_400)
    date = cftime.num2date(
        days, f"days since {zero.isoformat()}", calendar, only_use_cftime_datetimes=True
    )
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{date.strftime('%Y-%m-%d')}T{hour:02}:{minute:02}:{second:02}"
