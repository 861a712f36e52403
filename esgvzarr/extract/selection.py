"""Choose the indices of the part that is extracted. No input or output.

Rules: CF conventions 1.11, sections 4.1 and 4.2 (latitude, longitude), 4.3 (vertical coordinate),
4.4 (time); ISO 8601 reduced accuracy, by which ``2000`` means the whole year.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cftime
import numpy as np

from ..errors import SourceError

if TYPE_CHECKING:
    import xarray

_NORTH = re.compile(r"degrees?_?(north|N)\Z")
_EAST = re.compile(r"degrees?_?(east|E)\Z")
_DATE = re.compile(r"(-?\d{1,6})(?:-(\d{1,2})(?:-(\d{1,2})(?:[T ](\d{1,2})(?::(\d{2}))?)?)?)?\Z")
_VERTICAL_UNITS = frozenset(("Pa", "hPa", "mbar", "millibar", "dbar", "bar", "level", "layer"))
_POINTERS = (
    "coordinates",
    "bounds",
    "climatology",
    "grid_mapping",
    "ancillary_variables",
    "cell_measures",
    "formula_terms",
)
"""Attributes that name other variables."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box on the Earth. West may be larger than east: the box then crosses the date line."""

    west: float
    """Degrees east."""
    south: float
    """Degrees north."""
    east: float
    north: float

    @property
    def width(self) -> float:
        """Width in degrees of longitude; 360 for the whole circle."""
        return (self.east - self.west) % 360 or 360.0


@dataclass(frozen=True, slots=True)
class Request:
    """The requested part. An empty text or None requests everything."""

    variables: tuple[str, ...] = ()
    time: str = ""
    """``2000/2010``: first and last date, each a year, month, day or minute; or a single one."""
    box: Box | None = None
    level: str = ""
    """A value of the vertical coordinate in its own units, or two of them: ``10000/50000``."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The indices that are read and written."""

    names: tuple[str, ...]
    """Variables, in the order of the dataset."""
    indices: Mapping[str, np.ndarray]
    """Dimension -> indices in the order of the result; dimensions that stay whole are left out."""
    shifts: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Variable -> degrees that are added to its longitudes, so that they increase."""


def choose(dataset: xarray.Dataset, request: Request) -> Selection:
    """Return the indices that a request means in a dataset that was opened without decoding of
    times.

    Raises:
        SourceError: the dataset has no such variable, time, level or place.
    """
    names = _names(dataset, request.variables)
    indices: dict[str, np.ndarray] = {}
    shifts: dict[str, np.ndarray] = {}
    if request.time:
        name = _time_name(dataset)
        indices[name] = _time_indices(dataset[name], request.time)
    if request.level:
        name = _vertical_name(dataset, names)
        indices[name] = _level_indices(dataset[name], request.level)
    if request.box is not None:
        _choose_box(dataset, request.box, indices, shifts)
    for dimension, chosen in indices.items():
        if not chosen.size:
            raise _nothing(dataset, dimension, request)
    return Selection(names, indices, shifts)


def runs_of(indices: np.ndarray) -> Iterator[slice]:
    """Yield the runs of consecutive indices, as slices in their order."""
    breaks = np.flatnonzero(np.diff(indices) != 1) + 1
    for run in np.split(indices, breaks):
        yield slice(int(run[0]), int(run[-1]) + 1)


def _names(dataset: xarray.Dataset, asked: Sequence[str]) -> tuple[str, ...]:
    """Return the requested variables, and all variables that describe them."""
    if not asked:
        return tuple(map(str, dataset.variables))
    for name in asked:
        _check_there(dataset, name)
    found: set[str] = set()
    todo = list(asked)
    while todo:
        name = todo.pop()
        if name in found or name not in dataset.variables:
            continue
        found.add(name)
        variable = dataset.variables[name]
        todo.extend(str(dimension) for dimension in variable.dims)
        for pointer in _POINTERS:
            text = variable.attrs.get(pointer, variable.encoding.get(pointer, ""))
            todo.extend(re.findall(r"[\w.-]+", str(text)))
    return tuple(str(name) for name in dataset.variables if name in found)


def _check_there(dataset: xarray.Dataset, name: str) -> None:
    if name in dataset.variables:
        return
    data = [str(one) for one, variable in dataset.variables.items() if variable.ndim > 1]
    raise SourceError(
        name,
        "is not a variable of the dataset",
        expected=f"one of {', '.join(data)}",
        code="source-selection",
    )


def _time_name(dataset: xarray.Dataset) -> str:
    for name, variable in dataset.variables.items():
        if variable.dims == (name,) and " since " in str(variable.attrs.get("units", "")):
            return str(name)
    raise SourceError(
        "--time",
        "the dataset has no time coordinate",
        expected="a dataset with a time coordinate",
        code="source-selection",
    )


def _time_indices(time: xarray.DataArray, text: str) -> np.ndarray:
    first, _, last = text.partition("/")
    low = _date_parts(first)
    high = _date_parts(last or first)
    calendar = str(time.attrs.get("calendar", "standard"))
    dates = cftime.num2date(time.values, str(time.attrs["units"]), calendar)
    chosen = []
    for index, date in enumerate(dates):
        parts = (date.year, date.month, date.day, date.hour, date.minute)
        if low <= parts[: len(low)] and parts[: len(high)] <= high:
            chosen.append(index)
    return np.array(chosen, np.int64)


def _date_parts(text: str) -> tuple[int, ...]:
    """Parse a date. ``2000-03`` is (2000, 3): it means every moment that begins with these
    parts.
    """
    found = _DATE.match(text.strip())
    if found is None:
        raise SourceError(
            f"--time {text!r}",
            "is not a date",
            expected="YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm, or two of them with / between",
            code="source-selection",
        )
    return tuple(int(part) for part in found.groups() if part is not None)


def _vertical_name(dataset: xarray.Dataset, names: Sequence[str]) -> str:
    for name in names:
        variable = dataset.variables[name]
        if variable.dims == (name,) and _is_vertical(variable.attrs):
            return name
    raise SourceError(
        "--level",
        "the variables have no vertical coordinate",
        expected="a coordinate with axis Z, positive, or units of pressure",
        code="source-selection",
    )


def _is_vertical(attrs: Mapping[str, Any]) -> bool:
    is_named = attrs.get("axis") == "Z" or "positive" in attrs
    return is_named or attrs.get("units") in _VERTICAL_UNITS


def _level_indices(levels: xarray.DataArray, text: str) -> np.ndarray:
    first, _, last = text.partition("/")
    try:
        ends = sorted((float(first), float(last or first)))
    except ValueError:
        raise SourceError(
            f"--level {text!r}",
            "is not a number",
            expected="a value of the vertical coordinate, or two with / between",
            code="source-selection",
        ) from None
    values = levels.values.astype(float)
    margin = 1e-6 * max(abs(ends[0]), abs(ends[1]))
    return np.flatnonzero((values >= ends[0] - margin) & (values <= ends[1] + margin))


def _choose_box(
    dataset: xarray.Dataset,
    box: Box,
    indices: dict[str, np.ndarray],
    shifts: dict[str, np.ndarray],
) -> None:
    latitude = _coordinate(dataset, "latitude", _NORTH)
    longitude = _coordinate(dataset, "longitude", _EAST)
    north = latitude.values.astype(float)
    east = (longitude.values.astype(float) - box.west) % 360
    in_latitude = (north >= box.south) & (north <= box.north)
    in_longitude = east <= box.width
    if latitude.ndim == 1 and longitude.ndim == 1:
        indices[str(latitude.dims[0])] = np.flatnonzero(in_latitude)
        columns = np.flatnonzero(in_longitude)
        columns = columns[np.argsort(east[columns], kind="stable")]
        indices[str(longitude.dims[0])] = columns
        shift = (box.west + east - longitude.values)[columns]
        shifts[str(longitude.name)] = np.round(shift / 360) * 360
        bounds = longitude.attrs.get("bounds")
        if isinstance(bounds, str) and bounds in dataset.variables:
            shifts[bounds] = shifts[str(longitude.name)]
        return
    if latitude.dims != longitude.dims or latitude.ndim != 2:
        raise SourceError(
            "--bbox",
            f"latitude has the dimensions {latitude.dims}, longitude {longitude.dims}",
            expected="one dimension each, or the same two",
            code="source-selection",
        )
    inside = in_latitude & in_longitude
    for axis, dimension in enumerate(latitude.dims):
        found = np.flatnonzero(inside.any(axis=1 - axis))
        whole = np.arange(found[0], found[-1] + 1) if found.size else found
        indices[str(dimension)] = whole


def _coordinate(
    dataset: xarray.Dataset, standard_name: str, units: re.Pattern[str]
) -> xarray.DataArray:
    """Return the latitude or longitude of the cells, not that of a rotated pole or of bounds."""
    named = [
        name
        for name, variable in dataset.variables.items()
        if variable.attrs.get("standard_name") == standard_name
    ]
    by_units = [
        name
        for name, variable in dataset.variables.items()
        if units.match(str(variable.attrs.get("units", "")))
    ]
    for name in (*named, *by_units):
        if dataset.variables[name].ndim in (1, 2):
            return dataset[name]
    raise SourceError(
        "--bbox",
        f"the dataset has no {standard_name}",
        expected=f"a coordinate with the standard_name {standard_name}",
        code="source-selection",
    )


def _nothing(dataset: xarray.Dataset, dimension: str, request: Request) -> SourceError:
    """Make the error for an empty selection along a dimension, with the range of the dataset."""
    values = dataset[dimension].values if dimension in dataset.variables else np.empty(0)
    attrs = dataset[dimension].attrs if dimension in dataset.variables else {}
    if request.time and " since " in str(attrs.get("units", "")) and values.size:
        ends = cftime.num2date(values[[0, -1]], attrs["units"], attrs.get("calendar", "standard"))
        there = f"a part of {ends[0]} to {ends[1]}"
    elif values.size:
        there = f"a part of {values.min()} to {values.max()} {attrs.get('units', '')}".strip()
    else:
        there = "a part that holds grid cells"
    return SourceError(
        f"the selection along {dimension}",
        "contains no data of the dataset",
        expected=there,
        code="source-selection",
    )
