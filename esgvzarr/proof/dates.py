"""Compare dates along time.

Numbers are compared where file and references use the same units and calendar. Otherwise dates are
compared, by exact arithmetic and as stock xarray decodes them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cftime
import numpy as np

from .. import cf
from ..model import Check
from .attributes import same
from .file_side import equal
from .reference_side import UNREADABLE, described

if TYPE_CHECKING:
    import xarray

_PACKING = ("scale_factor", "add_offset")
_BOUNDS_WORDS = re.compile("bnds|bound|edges")
_WITHIN_US = 1
"""xarray computes dates in floating point: after a rebase the last microsecond may differ."""


def date_names(
    truth: xarray.Dataset, shown: xarray.Dataset, time: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the variables of a file that are dates along time, and those that may be dates
    although no attribute says so.

    The question arises if time is shown with another reference date than the file's. Numbers
    without units that are close to those of time count as dates by the file's reference date if
    they have the name and the shape of bounds. For others the proof cannot decide.
    """
    if time is None:
        return (), ()
    named = cf.dates_along(described(truth), time)
    if time not in shown.variables or not _moved(truth, shown, time):
        return named, ()
    bounds, unclear = _unnamed_dates(truth, time, named)
    return (*named, *bounds), tuple(unclear)


def _unnamed_dates(
    truth: xarray.Dataset, time: str, named: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the numbers without units that count as bounds of time, and those that may be
    dates.
    """
    times = truth.variables[time].values
    bounds = []
    unclear = []
    for key, variable in truth.variables.items():
        name = str(key)
        if name in named or not _may_be_dates(variable, time):
            continue
        beside = _beside(variable.values, times)
        called = variable.ndim == 2 and _BOUNDS_WORDS.search(name.lower()) is not None
        if beside and called:
            bounds.append(name)
        elif beside or called:
            unclear.append(name)
    return bounds, unclear


def _may_be_dates(variable: xarray.Variable, time: str) -> bool:
    """Whether a variable has numbers without units, one or two for each time step."""
    if "units" in variable.attrs or variable.dtype.kind not in "iuf":
        return False
    return variable.dims[:1] == (time,) and variable.shape[1:] in ((), (2,))


def _moved(truth: xarray.Dataset, shown: xarray.Dataset, time: str) -> bool:
    """Whether time is shown with other units or another calendar."""
    one = truth.variables[time].attrs
    other = shown.variables[time].attrs
    return one.get("units") != other.get("units") or cf.calendar_of(one) != cf.calendar_of(other)


def _beside(values: np.ndarray, times: np.ndarray) -> bool:
    """Whether numbers differ from those of time by at most two of the longest steps, at each
    step.
    """
    if not times.size:
        return False
    step = np.max(np.abs(np.diff(times.astype("f8")))) if times.size > 1 else 31.0
    rows = values.reshape(times.size, -1).astype("f8")
    return bool(np.all(np.abs(rows - times.astype("f8")[:, None]) <= step * 2))


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Some steps of a dataset that is not decoded."""

    dataset: xarray.Dataset
    span: slice

    def of(self, name: str, time: str) -> xarray.Variable:
        """Return a variable at these steps."""
        variable = self.dataset.variables[name]
        before = (slice(None),) * variable.dims.index(time)
        return variable[(*before, self.span)]


def check_dates(file: Steps, shown: Steps, time: str, name: str, subject: str) -> Check:
    """Compare dates of one file with those that are shown.

    Args:
        file: steps of the file.
        shown: the same steps of the group.
        time: the time dimension.
        name: name of the variable.
        subject: what the check names.
    """
    variable = file.of(name, time)
    part = shown.of(name, time)
    there = cf.companion_attrs(described(file.dataset), name, time)
    here = cf.companion_attrs(described(shown.dataset), name, time)
    values = _unpacked(variable)
    numbers = _unpacked(part)
    alike = all(same(here.get(key), there.get(key)) for key in {*here, *there})
    right = alike and equal(values, numbers)
    if not (alike and _same_packing(variable, part)):
        right = _same_dates((values, there), (numbers, here))
    return Check("values", subject, right, f"{values.size} dates" + ("" if right else " differ"))


def same_fixed_calendar(variable: xarray.Variable, shown: xarray.Variable) -> bool:
    """Whether dates that do not change with time are shown in their calendar, by any name of that
    calendar.

    True for a variable that holds no dates.
    """
    calendars = cf.calendar_of(variable.attrs), cf.calendar_of(shown.attrs)
    units = str(variable.attrs.get("units"))
    if " since " not in units or calendars[0] == calendars[1]:
        return True
    try:
        dates = cf.to_microseconds(_unpacked(variable), units, calendars[0])
    except ValueError:
        return True  # xarray does not decode it either.
    return cf.same_calendar(calendars, int(dates.min(initial=0)))


def _unpacked(variable: xarray.Variable) -> np.ndarray:
    values = np.asarray(variable.values)
    if any(name in variable.attrs for name in (*_PACKING, "_FillValue", "missing_value")):
        return cf.unpacked(values, variable.attrs)
    return values


def _same_packing(one: xarray.Variable, other: xarray.Variable) -> bool:
    return all(same(one.attrs.get(name), other.attrs.get(name)) for name in _PACKING)


_Stated = tuple[np.ndarray, Mapping[str, Any]]


def _same_dates(file: _Stated, shown: _Stated) -> bool:
    """Whether numbers in their units mean the same dates, exactly and as xarray decodes them."""
    dates = []
    for values, attrs in (file, shown):
        units = str(attrs.get("units"))
        dates.append(cf.to_microseconds(values, units, cf.calendar_of(attrs)))
    if not np.array_equal(dates[0], dates[1]):
        return False
    calendars = (cf.calendar_of(file[1]), cf.calendar_of(shown[1]))
    if dates[0].size and not cf.same_calendar(calendars, int(dates[0].min())):
        return False
    decoded = [_decoded(*stated) for stated in (file, shown)]
    if decoded[0] is None or decoded[1] is None:
        return True  # In one of the two, xarray takes them for plain numbers.
    return bool((np.abs(decoded[0] - decoded[1]) <= _WITHIN_US).all())


def _decoded(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray | None:
    """Return microseconds as stock xarray decodes them; None if xarray takes them for no dates."""
    import xarray

    raw = xarray.Dataset({"v": (("i",), values.ravel(), dict(attrs))})
    try:
        with warnings.catch_warnings(action="ignore"):
            found = xarray.decode_cf(raw, decode_timedelta=False)["v"].values
    except UNREADABLE:
        return None
    if found.dtype.kind == "M":
        return np.asarray(found.astype("datetime64[us]").astype(np.int64))
    if found.dtype.kind != "O":
        return None
    zero = "microseconds since 1970-01-01"
    calendar = cf.calendar_of(attrs)
    return np.asarray(np.round(np.asarray(cftime.date2num(found, zero, calendar), np.float64)))
