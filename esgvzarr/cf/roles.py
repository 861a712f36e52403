"""Which variable is time, which are dates along it, and which describe places and times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..model import Variable
from .dates import calendar_of, is_reference

_BOUNDS_NAME = re.compile(r"bnds|bound|edges", re.IGNORECASE)
_NUMBERS = "iuf"


def text_of(attrs: Mapping[str, Any], name: str) -> str:
    """Return an attribute that should be text; empty if it is absent, or something else."""
    value = attrs.get(name)
    return value if isinstance(value, str) else ""


def is_time(variable: Variable) -> bool:
    """Whether a variable's units are a time since a date, or dates as numbers."""
    return is_reference(text_of(variable.attrs, "units"))


def time_name(variables: Mapping[str, Variable]) -> str | None:
    """Return the dimension along which files follow each other: that of the one-dimensional time
    coordinate; None for fixed fields.
    """
    found = [
        name
        for name, variable in variables.items()
        if variable.dims == (name,) and is_time(variable)
    ]
    by_name = [name for name in found if text_of(variables[name].attrs, "standard_name") == "time"]
    by_axis = [name for name in found if text_of(variables[name].attrs, "axis") == "T"]
    called = [name for name in found if name == "time"]
    return next(iter((*by_name, *by_axis, *called, *found)), None)


def time_companions(variables: Mapping[str, Variable], time: str) -> tuple[str, ...]:
    """Return the bounds and climatology that the time coordinate names; they share its units."""
    named = (text_of(variables[time].attrs, role) for role in ("bounds", "climatology"))
    return tuple(name for name in named if name in variables)


def dates_along(variables: Mapping[str, Variable], time: str) -> tuple[str, ...]:
    """Return all variables along time that are dates: time first, then its bounds and climatology,
    then variables with time units of their own.
    """
    named = (time, *time_companions(variables, time))
    own = (
        name
        for name, variable in variables.items()
        if time in variable.dims and variable.dtype.kind in _NUMBERS and is_time(variable)
    )
    return tuple(dict.fromkeys([*named, *own]))


def unnamed_bounds(variables: Mapping[str, Variable], time: str) -> tuple[str, ...]:
    """Return variables that may be dates along time although no attribute says so: numbers without
    units, one or two for each step.
    """
    known = dates_along(variables, time)
    found = []
    for name, variable in variables.items():
        beside = [
            size for dim, size in zip(variable.dims, variable.shape, strict=True) if dim != time
        ]
        if (
            name not in known
            and variable.dims[:1] == (time,)
            and beside in ([], [2])
            and variable.dtype.kind in _NUMBERS
            and "units" not in variable.attrs
        ):
            found.append(name)
    return tuple(found)


def tracks_time(variable: Variable, times: np.ndarray) -> bool:
    """Whether the numbers of a variable are as close to those of time, at every step, as bounds of
    time are: within two of the longest steps.

    Args:
        variable: a variable along time, with its values.
        times: (time,) the numbers of time, as stored.
    """
    if variable.values is None or not len(times):
        return False
    values = np.asarray(variable.values, np.float64).reshape(len(times), -1)
    numbers = times.astype(np.float64)
    longest = float(np.abs(np.diff(numbers)).max()) if len(numbers) > 1 else 31.0
    apart = np.abs(values - numbers[:, None])
    return bool(np.isfinite(apart).all() and (apart <= 2 * longest).all())


def named_as_bounds(variable: Variable) -> bool:
    """Whether a variable has the name and shape of bounds."""
    return len(variable.dims) == 2 and _BOUNDS_NAME.search(variable.name) is not None


def coordinate_names(variables: Mapping[str, Variable]) -> set[str]:
    """Return all variables that describe places and times and are not data: coordinates, bounds,
    grid mappings, formula terms.
    """
    names = {name for name, variable in variables.items() if name in variable.dims}
    for variable in variables.values():
        for role in ("coordinates", "bounds", "climatology", "grid_mapping", "ancillary_variables"):
            names.update(_words(variable.attrs.get(role)))
        names.update(_words(variable.attrs.get("formula_terms"))[1::2])
    return names & set(variables)


def data_names(variables: Mapping[str, Variable], time: str | None) -> set[str]:
    """Return the data variables: fields that change with time; in fixed files, all fields that
    describe nothing else.
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
    """Return units and calendar of time, or of dates along it. Bounds that state none have those of
    time; dates with units of their own have their own calendar.
    """
    own = variables[name].attrs if name in variables else {}
    alone = name not in (time, *time_companions(variables, time)) and "units" in own
    both = dict(own) if alone else {**variables[time].attrs, **own}
    return {role: both[role] for role in ("units", "calendar") if role in both}


def time_references(
    files: Iterable[Mapping[str, Variable]], time: str, name: str
) -> set[tuple[str, str]]:
    """Return the (units, calendar) pairs by which several files state time or a companion of it; if
    there are several pairs, the dates must be rebased.
    """
    all_attrs = [companion_attrs(variables, name, time) for variables in files]
    return {(str(attrs.get("units")), calendar_of(attrs)) for attrs in all_attrs}
