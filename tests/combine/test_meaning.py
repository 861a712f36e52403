"""What numbers mean is the same in all files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr.combine.meaning import check_finite, check_units

from .in_memory import DAYS, file, series, variable


def found(one: dict[str, Any], other: dict[str, Any], dims: str = "time") -> list[str]:
    files = []
    for number, attrs in enumerate((one, other)):
        time = variable("time", "time", [float(number)], **DAYS)
        files.append(file(time, variable("tas", dims, np.zeros(1), **attrs), number=number))
    return [finding.code for finding in check_units(series(*files, time="time"))]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"units": "K"}, {"units": "kelvin"}, True),
        ({"units": "K"}, {"units": "degC"}, False),
        ({"units": "K"}, {}, False),
        ({"units": "None"}, {}, False),  # the word is something that a file states
        ({}, {}, True),
        ({"units": 1}, {"units": 1.0}, True),
        ({"units": 1}, {"units": "1"}, False),
        ({"standard_name": "air_temperature"}, {"standard_name": " air_temperature"}, True),
        ({"standard_name": "air_temperature"}, {"standard_name": "surface_temperature"}, False),
        ({"standard_name": "air_temperature"}, {}, False),
        ({"positive": "up"}, {"positive": "down"}, False),
        ({"long_name": "a"}, {"long_name": "b"}, True),  # says nothing of the numbers
    ],
)
def test_units_names_and_directions_are_the_same(
    one: dict[str, Any], other: dict[str, Any], same: bool
) -> None:
    expected = [] if same else ["units-differ"]
    assert found(one, other) == found(other, one) == expected


def test_absent_units_of_what_does_not_change_are_a_warning() -> None:
    assert found({"units": "m"}, {}, dims="x") == ["units-absent"]
    assert found({}, {"units": "m"}, dims="x") == ["units-absent"]
    assert found({"units": "m"}, {"units": "km"}, dims="x") == ["units-differ"]
    assert found({"positive": "up"}, {}, dims="x") == ["units-differ"]


@pytest.mark.parametrize(
    ("attrs", "named"),
    [
        ({"limit": np.nan}, "tas:limit"),
        ({"limits": [1.0, np.inf]}, "tas:limits"),
        ({"limit": 1e300}, ""),
        ({"missing_value": np.nan}, ""),  # other rules cover it
        ({"limit": "NaN"}, ""),
        ({"limit": 3}, ""),
    ],
)
def test_attributes_that_are_no_finite_numbers_are_named(attrs: dict[str, Any], named: str) -> None:
    one = file(variable("tas", "x", [1.0], **attrs), attrs={"history": "a"})
    texts = [finding.found for finding in check_finite(series(one, one))]
    assert texts == ([f"NaN or infinity in {named}"] if named else [])


def test_at_most_ten_attributes_are_named() -> None:
    one = file(variable("tas", "x", [1.0]), attrs={f"limit_{n:02}": np.inf for n in range(12)})
    (finding,) = check_finite(series(one))
    assert finding.found.count(":limit_") == 10
