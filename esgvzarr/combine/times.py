"""Time, its bounds and climatology over all files, in one unit and calendar (rule 5)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import cf
from ..errors import FormatError
from ..model import FileReferences, Series

_IN_TIME_UNITS = (
    "_FillValue",
    "missing_value",
    "valid_min",
    "valid_max",
    "valid_range",
    "actual_range",
)
"""Attributes that say numbers in the units of their file, and are wrong after a rebase."""


Reference = Mapping[str, Any]
"""Units and calendar."""


def common_references(series: Series) -> dict[str, Reference]:
    """Name -> units and calendar, of all dates along time that the files state by different ones:
    those in which all of them can be said to the microsecond.

    Raises:
        FormatError: there are none.
    """
    if series.time is None:
        return {}
    files = [file.variables for file in series.files]
    moved = [name for name in series.dates if len(cf.time_references(files, series.time, name)) > 1]
    with_time = [name for name in moved if not _alone(series, name)]
    found = {}
    if with_time:
        found.update(_common(series, with_time, series.time))
    for name in moved:
        if name not in with_time:
            found.update(_common(series, [name], series.time))
    return found


def _alone(series: Series, name: str) -> bool:
    """Whether dates have units of their own in every file."""
    first = series.files[0].variables
    named = (series.time, *cf.time_companions(first, series.time or ""))
    return name not in named and all("units" in file.variables[name].attrs for file in series.files)


def _common(series: Series, names: Sequence[str], time: str) -> dict[str, Reference]:
    """One unit in which all dates ``names`` can be said, each in its own calendar."""
    parts = list(itertools.product(series.files, names))
    stated = [cf.companion_attrs(file.variables, name, time) for file, name in parts]
    first = dict(zip(names, stated[: len(names)], strict=True))
    since = cf.reference_date(str(stated[0].get("units")))
    candidates = [str(attrs.get("units")) for attrs in stated]
    candidates += [f"{unit} since {since}" for unit in ("hours", "minutes", "seconds")]
    for candidate in dict.fromkeys(candidates):
        targets = {name: {**attrs, "units": candidate} for name, attrs in first.items()}
        if all(_moved(file, name, time, targets[name]) is not None for file, name in parts):
            return dict(targets)
    raise FormatError(
        series.files[0].file.url,
        f"the dates of {names[0]!r} in all files cannot be expressed in one unit",
        expected="dates that float64 holds to the microsecond",
        todo="Write the files again with one reference date.",
        code="time-not-representable",
    )


def joined_times(
    files: Sequence[FileReferences],
    name: str,
    time: str,
    target: Reference | None,
    attrs: Mapping[str, Any],
) -> tuple[np.ndarray, dict[str, Any]]:
    """The values over all files, and attributes that say so.

    Args:
        files: in the order of time.
        name: of time, or of dates along it.
        time: name of the time coordinate.
        target: units and calendar that the values are brought to; None leaves them as stored.
        attrs: of the variable in the first file.
    """
    axis = files[0].variables[name].dims.index(time)
    if target is None:
        return _concatenated([file.variables[name].values for file in files], axis), dict(attrs)
    values = _concatenated([_moved(file, name, time, target) for file in files], axis)
    kept = {key: value for key, value in attrs.items() if key not in _IN_TIME_UNITS}
    for key in ("units", "calendar"):
        if key in target and (key in attrs or name == time):
            kept[key] = target[key]
    return values, kept


def _concatenated(parts: Sequence[np.ndarray | None], axis: int) -> np.ndarray:
    """The parts that there are, one after the other, in the type that holds all of them."""
    found = [part for part in parts if part is not None]
    common = np.result_type(*found)
    return np.concatenate([part.astype(common) for part in found], axis)


def _moved(file: FileReferences, name: str, time: str, target: Reference) -> np.ndarray | None:
    """The values in the target's units; as they are where these are their own; None where the
    target cannot say them.
    """
    values = file.variables[name].values
    attrs = cf.companion_attrs(file.variables, name, time)
    own = (str(attrs.get("units")), cf.calendar_of(attrs))
    if values is None or own == (str(target.get("units")), cf.calendar_of(target)):
        return values
    try:
        return cf.rebase(values, attrs, target)
    except ValueError:
        return None
