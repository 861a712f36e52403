"""How near a fixed field of one file is to the one that is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray

from esgvzarr.proof.closeness import DIFFERENT, EQUAL, OTHER_SHAPE, ROUNDING, closeness

LATITUDES = np.linspace(-88.9, 89.03, 90)
GAP = np.where(np.arange(90) == 7, np.nan, LATITUDES)
OTHER_GAP = np.where(np.arange(90) == 8, np.nan, LATITUDES)


def field(values: Any, **attrs: Any) -> xarray.Variable:
    return xarray.Variable(("lat",), np.asarray(values), attrs)


@pytest.mark.parametrize(
    ("here", "shown", "expected"),
    [
        (LATITUDES, LATITUDES, EQUAL),
        (LATITUDES, LATITUDES.astype("f4"), ROUNDING),
        (LATITUDES, LATITUDES + 0.1, DIFFERENT),
        (LATITUDES, LATITUDES[:-1], OTHER_SHAPE),
        (GAP, GAP.astype("f4"), ROUNDING),  # missing in the same places
        (GAP, OTHER_GAP, DIFFERENT),
        (GAP, LATITUDES, DIFFERENT),
        (np.arange(90), np.arange(90), EQUAL),
        (np.arange(90), np.arange(90) + 1, DIFFERENT),
        (np.arange(90), np.arange(90.0), EQUAL),  # of another type
    ],
)
def test_a_field_is_equal_or_off_by_rounding_or_another(
    here: np.ndarray, shown: np.ndarray, expected: str
) -> None:
    assert closeness(field(here), field(shown)) == expected


def test_a_large_number_may_be_off_by_more_than_a_small_one() -> None:
    far = field(LATITUDES * 1e6)
    assert closeness(far, field(LATITUDES * 1e6 + 1.0)) == ROUNDING
    assert closeness(field(LATITUDES), field(LATITUDES + 1.0)) == DIFFERENT


FILLED = np.where(np.arange(90) % 3 == 1, LATITUDES, 1e20)
"""Most of the numbers are fillers: the steps between unequal neighbours lead to one."""


@pytest.mark.parametrize(
    "marks",
    [
        {"valid_range": [-90.0, 90.0]},
        {"valid_min": -90.0, "valid_max": 90.0},
        {"valid_range": [-9.0, 9.0], "valid_min": -90.0, "valid_max": 90.0},
        {"units": "degrees_north"},
        {"units": "degree_east"},
    ],
)
def test_fillers_allow_no_larger_difference(marks: dict[str, Any]) -> None:
    """A filler is far from all that is valid, and would make any difference a small one."""
    for filler in (1e20, -1e20):
        shown = np.where(FILLED == 1e20, filler, LATITUDES)
        near = np.where(FILLED == 1e20, filler, LATITUDES * (1 + 1e-9))
        far = np.where(FILLED == 1e20, filler, LATITUDES + 0.1)
        assert closeness(field(near, **marks), field(shown, **marks)) == ROUNDING
        assert closeness(field(far, **marks), field(shown, **marks)) == DIFFERENT


def test_a_limit_excludes_what_is_beyond_it_alone() -> None:
    far = np.where(FILLED == 1e20, 1e20, LATITUDES + 0.1)
    for marks, expected in (
        ({"valid_max": np.float64(90)}, DIFFERENT),
        ({"valid_min": np.float64(-90)}, ROUNDING),
    ):
        assert closeness(field(far, **marks), field(FILLED, **marks)) == expected
        assert closeness(field(-far, **marks), field(-FILLED, **marks)) != expected


@pytest.mark.parametrize(
    "marks", [{}, {"valid_range": 90.0}, {"valid_range": [90.0]}, {"valid_max": "90"}]
)
def test_what_nothing_marks_is_no_filler(marks: dict[str, Any]) -> None:
    far = np.where(FILLED == 1e20, 1e20, LATITUDES + 0.1)
    assert closeness(field(far, **marks), field(FILLED, **marks)) == ROUNDING
    assert closeness(field(-far, **marks), field(-FILLED, **marks)) == ROUNDING


def test_limits_of_packed_numbers_are_not_those_of_unpacked_ones() -> None:
    """Of packed data, ``valid_range`` is in packed numbers."""
    packed = {"scale_factor": 0.5, "valid_range": [-1, 1]}
    shown = field(LATITUDES, **packed)
    assert closeness(field(LATITUDES * (1 + 1e-9), **packed), shown) == ROUNDING
    assert closeness(field(LATITUDES + 0.1, **packed), shown) == DIFFERENT


@pytest.mark.parametrize("exponent", [-30, 0, 30])
def test_the_tolerance_goes_with_the_numbers(exponent: int) -> None:
    """A hundredth of the step between neighbours, and at most the precision of a number."""
    scale = 10.0**exponent
    numbers = np.arange(1.0, 91.0) * scale
    assert closeness(field(numbers + 0.9e-6 * scale), field(numbers)) == ROUNDING
    assert closeness(field(numbers + 1.3e-5 * scale), field(numbers)) == DIFFERENT


def test_the_usual_step_is_at_most_the_usual_size_of_the_numbers() -> None:
    """Neighbours of 1 and -1 are 2 apart: near is a millionth of 1."""
    numbers = np.array([1.0, -1.0] * 5)
    assert closeness(field(numbers + 0.9e-6), field(numbers)) == ROUNDING
    assert closeness(field(numbers + 1.5e-6), field(numbers)) == DIFFERENT
    # zeros have no size, by which a step could be bounded
    zeros = np.zeros(9)
    assert closeness(field(zeros + 1e-9), field(zeros)) == DIFFERENT


def test_a_single_number_may_differ_by_its_precision_alone() -> None:
    assert closeness(field([100.0]), field([100.0 * (1 + 1e-7)])) == ROUNDING
    assert closeness(field([100.0]), field([100.0 * (1 + 1e-6)])) == DIFFERENT


def test_infinite_and_missing_numbers_are_equal_to_themselves_alone() -> None:
    odd = np.where(np.arange(90) == 9, np.inf, GAP)
    assert closeness(field(odd.astype("f4")), field(odd)) == ROUNDING
    assert closeness(field(np.where(np.isinf(odd), -np.inf, odd)), field(odd)) == DIFFERENT
    assert closeness(field(np.where(np.isinf(odd), 0.0, odd)), field(odd)) == DIFFERENT


@pytest.mark.parametrize("other", [2.0, -np.inf, np.nan])
def test_a_number_is_not_off_from_infinity_by_rounding(other: float) -> None:
    """One number has no neighbours, whose step would bound the difference."""
    assert closeness(field([np.inf]), field([other])) == DIFFERENT
    assert closeness(field([other, other]), field([np.inf, np.inf])) == DIFFERENT
    assert closeness(field([np.inf]), field([np.inf])) == EQUAL


def test_words_are_equal_or_different() -> None:
    assert closeness(field(["a", "b"]), field(np.array([b"a", b"b"]))) == EQUAL
    assert closeness(field(["a", "b"]), field(["a", "c"])) == DIFFERENT


def test_whole_numbers_that_are_packed_or_masked_are_compared_unpacked() -> None:
    packed = field(np.arange(3, dtype="i2"), scale_factor=0.5)
    assert closeness(packed, field(np.arange(3) * 0.5)) == EQUAL
    assert closeness(packed, field(np.arange(3, dtype="i2"), scale_factor=0.25)) == DIFFERENT
    masked = field(np.array([0, -1], "i2"), _FillValue=np.int16(-1))
    assert closeness(masked, field(np.array([0, -2], "i4"), _FillValue=np.int32(-2))) == EQUAL
    assert closeness(field(np.array([0, -1])), field(np.array([0, -2]))) == DIFFERENT
