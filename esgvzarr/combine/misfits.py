"""Find whether two datasets can be shown together in one group. No input or output."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series
from .fixed import check_dimensions, check_fixed
from .meaning import check_units

_Dates = tuple[str, np.ndarray] | None


def misfits(first: Series, second: Series) -> Iterator[Finding]:
    """Yield the reasons why two datasets cannot be shown in one group: they need one grid and one
    time axis, and variables that both hold must be equal.

    Nothing is filled, cut or aligned: any difference is a finding.
    """
    if first.time is None:
        return _misfits(second, first)
    return _misfits(first, second)


def _misfits(first: Series, second: Series) -> Iterator[Finding]:
    """Do the work of ``misfits``. The first series has time, if one of them has."""
    one = first.files[0]
    other = second.files[0]
    yield from _check_shared_variables(first, second)
    pair = Series((one, other), first.time, ())
    yield from check_dimensions(pair)
    yield from check_fixed(pair)
    yield from check_units(pair)
    if first.time is not None and second.time is not None:
        yield from _check_one_axis(first, second)
        scalars = [_scalar_coordinates(one), _scalar_coordinates(other)]
        if scalars[0] != scalars[1]:
            yield Finding(
                "coordinate-differs",
                1,
                other.file.url,
                f"the scalar coordinates {scalars[0]} of {one.file.name}",
                str(scalars[1]),
                "Readers would take the coordinate of one variable for that of another: "
                "show the datasets in separate groups.",
            )


def _check_shared_variables(first: Series, second: Series) -> Iterator[Finding]:
    """Check that a variable of both has one shape and type, and is not data along time."""
    one = first.files[0]
    other = second.files[0]
    times = _time_names(first) | _time_names(second)
    shared = [name for name in other.variables if name in one.variables]
    for name in shared:
        here = one.variables[name]
        there = other.variables[name]
        if name not in times and (first.time in here.dims or second.time in there.dims):
            yield Finding(
                "variable-clash",
                14,
                other.file.url,
                f"no {name!r}, because {one.file.name} has a variable of this name",
                f"another {name!r}",
                "Show the datasets in separate groups, or drop one of the variables.",
            )
        elif here.dims != there.dims or (
            name not in times and here.dtype.newbyteorder("=") != there.dtype.newbyteorder("=")
        ):
            yield Finding(
                "dimension-differs",
                14,
                other.file.url,
                f"{name!r} {here.dims} of {here.dtype}, as in {one.file.name}",
                f"{there.dims} of {there.dtype}",
                "Show the datasets in separate groups.",
            )


def _scalar_coordinates(file: FileReferences) -> list[str]:
    names = cf.coordinate_names(file.variables)
    return sorted(name for name in names if not file.variables[name].dims)


def _check_one_axis(first: Series, second: Series) -> Iterator[Finding]:
    """Check that both have the same times, with the same bounds."""
    names = _time_names(first) | _time_names(second)
    if first.time != second.time:
        different = [f"{second.time!r}, not {first.time!r}"]
    else:
        different = [
            f"other values of {name!r}"
            for name in sorted(names)
            if not _same_times(_dates_of(first, name), _dates_of(second, name))
        ]
    if different:
        yield Finding(
            "time-differs",
            14,
            second.files[0].file.url,
            f"the time axis of {first.files[0].file.name}",
            different[0],
            "Show the datasets in separate groups: esgvzarr does not fill or align times.",
        )


def _time_names(series: Series) -> set[str]:
    return (
        {series.time, *cf.time_companions(series.files[0].variables, series.time)}
        if series.time
        else set()
    )


def _dates_of(series: Series, name: str) -> _Dates:
    """Return the calendar, and the microseconds of time, or of a companion of it, over all files;
    None if they cannot be decoded.
    """
    parts = []
    time = series.time or ""
    for file in series.files:
        variable = file.variables.get(name)
        attrs = cf.companion_attrs(file.variables, name, time)
        if variable is None or variable.values is None:
            return None
        dates = cf.dates_of(variable.values, cf.meaning(variable), attrs)
        if (dates == cf.NO_DATE).any():
            return None
        parts.append(dates)
    return cf.calendar_of(series.files[0].variables[time].attrs), np.concatenate(parts)


def _same_times(a: _Dates, b: _Dates) -> bool:
    """Whether dates are equal in one calendar. Dates that could not be read never count as
    equal.
    """
    if a is None or b is None or not np.array_equal(a[1], b[1]):
        return False
    return cf.same_calendar((a[0], b[0]), int(a[1].min()))
