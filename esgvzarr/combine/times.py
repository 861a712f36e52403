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


def rebased_names(series: Series) -> set[str]:
    """Those of time and its companions that the files state by different reference dates, units or
    calendars.
    """
    if series.time is None:
        return set()
    names = (series.time, *cf.time_companions(series.files[0].variables, series.time))
    variables = [file.variables for file in series.files]
    return {name for name in names if len(cf.time_references(variables, series.time, name)) > 1}


def common_reference(series: Series) -> Mapping[str, Any] | None:
    """Units and calendar in which all that has to be rebased can be said to the microsecond; None
    where nothing has to.

    Raises:
        FormatError: there are none.
    """
    names = rebased_names(series)
    if not names or series.time is None:
        return None
    stated = []
    for file in series.files:
        for name in sorted(names):
            stated.append(cf.companion_attrs(file.variables, name, series.time))
    since = str(stated[0]["units"]).split("since", 1)[1].strip()
    finer = [f"{unit} since {since}" for unit in ("hours", "minutes", "seconds")]
    for candidate in dict.fromkeys([*(str(attrs["units"]) for attrs in stated), *finer]):
        target = {**stated[0], "units": candidate}
        places = itertools.product(series.files, names)
        if all(_moved(file, name, series.time, target) is not None for file, name in places):
            return target
    raise FormatError(
        series.files[0].file.url,
        "the times of all files cannot be said in one unit",
        expected="times that float64 holds to the microsecond",
        todo="Write the files again with one reference date.",
        code="time-not-representable",
    )


def joined_times(
    files: Sequence[FileReferences],
    name: str,
    time: str,
    target: Mapping[str, Any] | None,
    attrs: Mapping[str, Any],
) -> tuple[np.ndarray, dict[str, Any]]:
    """The values over all files, and attributes that say so; as stored where ``target`` is None."""
    parts = [
        file.variables[name].values if target is None else _moved(file, name, time, target)
        for file in files
    ]
    found = [part for part in parts if part is not None]
    values = np.concatenate(
        [part.astype(np.result_type(*found)) for part in found],
        files[0].variables[name].dims.index(time),
    )
    if target is None:
        return values, dict(attrs)
    stated = {
        key: target[key]
        for key in ("units", "calendar")
        if key in attrs or (name == time and key in target)
    }
    return values, {
        **{key: value for key, value in attrs.items() if key not in _IN_TIME_UNITS},
        **stated,
    }


def _moved(
    file: FileReferences, name: str, time: str, target: Mapping[str, Any]
) -> np.ndarray | None:
    """The values in the target's units; as they are where these are their own."""
    values = file.variables[name].values
    attrs = cf.companion_attrs(file.variables, name, time)
    if values is None or (str(attrs.get("units")), cf.calendar_of(attrs)) == (
        str(target.get("units")),
        cf.calendar_of(target),
    ):
        return values
    return cf.rebase(values, attrs, target)
