"""What does not change with time is the same in all files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esgvzarr.combine.fixed import (
    check_dimensions,
    check_fixed,
    check_variables,
    of_several_variables,
)
from esgvzarr.model import Variable

from .in_memory import DAYS, file, series, variable

LATITUDES = np.linspace(-88.9, 89.03, 90)
SAME = None
ROUNDING = "coordinate-rounding"
OTHER = "coordinate-differs"


def found(one: Variable, other: Variable) -> str | None:
    """The code of what is found between two files."""
    findings = list(check_fixed(series(file(one, number=1), file(other, number=2))))
    assert all(finding.refuse == (finding.code == OTHER) for finding in findings)
    return findings[0].code if findings else None


def fixed(values: Any, **attrs: Any) -> Variable:
    return variable("lat", "lat", values, **attrs)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (LATITUDES, LATITUDES, SAME),
        (LATITUDES, LATITUDES.astype("f4"), ROUNDING),
        (LATITUDES, LATITUDES + 0.1, OTHER),
        ([1.0, np.nan], [1.0, np.nan], SAME),
        ([1.0, np.nan], [np.nan, 1.0], OTHER),
        ([1.0, 2.0, np.nan], [1.0, 2.0 + 1e-14, np.nan], ROUNDING),
        ([1.0, 2.0, np.inf], [1.0, 2.0 + 1e-14, np.inf], ROUNDING),
        ([1.0, np.inf], [1.0, np.inf], SAME),
        ([1, 2], [1, 2], SAME),
        ([1, 2], [1, 3], OTHER),
        ([1, 2], [1.0, 2.0], SAME),
        ([2**53], [2**53 + 1], OTHER),  # one number in double precision
        (["a", "b"], [b"a", b"b"], SAME),
        (["a", "b"], ["a", "c"], OTHER),
        (["1"], [1], OTHER),
    ],
)
def test_a_field_is_the_same_or_off_by_rounding_or_another(
    one: Any, other: Any, expected: str | None
) -> None:
    assert found(fixed(one), fixed(other)) == expected
    assert found(fixed(other), fixed(one)) == expected


@pytest.mark.parametrize("number", [2.0, -np.inf])
def test_a_number_is_not_off_from_infinity_by_rounding(number: float) -> None:
    """One number has no neighbours, whose step would bound the difference."""
    assert found(fixed([number, number]), fixed([np.inf, np.inf])) == OTHER
    assert found(fixed([np.inf]), fixed([number])) == OTHER


def test_packed_numbers_are_compared_unpacked_and_masked_ones_as_missing() -> None:
    packed = fixed(np.arange(3, dtype="i2"), scale_factor=0.5)
    assert found(packed, fixed(np.arange(3) * 0.5)) == SAME
    assert found(packed, fixed(np.arange(3, dtype="i2"), scale_factor=0.25)) == OTHER
    masked = fixed([0, -1], _FillValue=-1)
    assert found(masked, fixed([0, -2], _FillValue=-2)) == SAME
    assert found(masked, fixed([0, -2], _FillValue=-1)) == OTHER


def test_what_was_not_read_is_not_taken_for_the_same() -> None:
    known = fixed(LATITUDES)
    assert found(replace(known, values=None), known) == OTHER
    assert found(known, replace(known, values=None)) == OTHER


def test_of_three_files_each_is_compared_with_the_first() -> None:
    files = [file(fixed([1.0 + shift]), number=number) for number, shift in enumerate((0, 0, 1))]
    assert [finding.file for finding in check_fixed(series(*files))] == [files[2].file.url]


def monthly(number: int, *more: Variable, lat: int = 2, name: str = "tas") -> Any:
    days = np.arange(2.0) + 2 * number
    data = variable(name, "time lat", np.zeros((2, lat), "f4"))
    return file(variable("time", "time", days, **DAYS), data, *more, number=number)


def test_each_variable_is_in_each_file_with_the_same_dimensions() -> None:
    height = variable("height", "", 2.0)
    together = series(monthly(0), monthly(1, height), time="time")
    assert [(one.code, one.file[-4]) for one in check_variables(together)] == [
        ("variable-missing", "0")
    ]
    turned = variable("tas", "lat time", np.zeros((2, 2), "f4"))
    other = series(monthly(0), monthly(1, turned), time="time")
    assert [one.code for one in check_variables(other)] == ["dimension-differs"]
    assert list(check_variables(series(monthly(0), monthly(1), time="time"))) == []


def test_each_dimension_but_time_has_one_length() -> None:
    long = file(variable("time", "time", np.arange(5.0) + 2, **DAYS), number=1)
    assert list(check_dimensions(series(monthly(0), long, time="time"))) == []
    wider = series(monthly(0), monthly(1, lat=3), monthly(2), time="time")
    assert [(one.code, one.expected, one.found) for one in check_dimensions(wider)] == [
        ("dimension-differs", "lat = 2, as in tas_0.nc", "lat = 3")
    ]


def test_files_of_several_variables_are_told_from_files_that_lack_one() -> None:
    apart = series(monthly(0), monthly(1, name="pr"), monthly(2, name="pr"), time="time")
    (finding,) = of_several_variables(apart)
    assert finding.rule == 39
    assert "2 of tas" in finding.todo
    assert "4 of pr" in finding.todo
    (even,) = of_several_variables(series(monthly(0), monthly(1, name="pr"), time="time"))
    assert "may be missing" not in even.todo
    pressure = variable("pr", "time lat", np.zeros((2, 2), "f4"))
    shared = series(monthly(0, pressure), monthly(1), time="time")
    assert list(of_several_variables(shared)) == []
    assert list(of_several_variables(series(monthly(0), monthly(1), time="time"))) == []
    assert list(of_several_variables(series(file(fixed([1.0]))))) == []
