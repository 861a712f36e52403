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
"""Attributes that hold numbers in the units of their file, and are wrong after a rebase."""


Reference = Mapping[str, Any]
"""Units and calendar."""


def common_references(series: Series) -> dict[str, Reference]:
    """Return units and calendar of all dates along time that the files state in different ones.

    The returned units can express the dates of all files to the microsecond.

    Raises:
        FormatError: no such units exist.
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
    """Return one unit that can express all dates ``names``, each in its own calendar."""
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
    """Concatenate the values of all files, and return attributes for them.

    Args:
        files: in time order.
        name: name of time, or of dates along it.
        time: name of the time coordinate.
        target: units and calendar that the values are converted to; None keeps the stored values.
        attrs: attributes of the variable in the first file.
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
    """Concatenate the parts that exist, in the type that holds all of them."""
    found = [part for part in parts if part is not None]
    common = np.result_type(*found)
    return np.concatenate([part.astype(common) for part in found], axis)


def _moved(file: FileReferences, name: str, time: str, target: Reference) -> np.ndarray | None:
    """Return the values in the target's units; unchanged if these are their own units; None if the
    target cannot express them.
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
