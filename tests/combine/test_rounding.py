"""When two fields differ by rounding noise only: each bound of the tolerance, by its number."""

from __future__ import annotations

import numpy as np
import pytest

from esgvzarr.combine.rounding import tolerance, usual_step

SINGLE = 2.0**-23
LATITUDES = np.arange(-80.0, 81.0, 10.0)


def at(values: list[float], place: int, **attrs: object) -> float:
    field = np.array(values)
    return float(tolerance(field, field, attrs)[place])


def test_a_number_may_be_off_by_one_step_of_its_single_precision() -> None:
    assert at([1000.0, 1001.0, 1002.0], 0) == 1000 * SINGLE
    assert at([1000.0, 1001.0, 1002.0], 2) == 1002 * SINGLE


def test_the_larger_of_two_numbers_counts() -> None:
    found = tolerance(np.array([100.0, 101.0]), np.array([200.0, 101.0]), {})
    assert found.tolist() == [200 * SINGLE, 101 * SINGLE]


def test_at_most_by_a_hundredth_of_the_usual_step() -> None:
    """Large numbers that lie near each other are told apart."""
    assert at([1e8, 1e8 + 1, 1e8 + 2], 0) == 0.01


def test_zero_may_be_off_by_a_millionth_of_the_usual_step() -> None:
    assert at([0.0, 10.0, 20.0], 0) == pytest.approx(10e-6)


def test_a_field_of_one_number_has_no_usual_step() -> None:
    assert usual_step(np.array([5.0]), {}) == 0.0
    assert usual_step(np.array([5.0, 5.0]), {}) == 0.0
    assert at([5.0, 5.0], 0) == 5 * SINGLE


def test_the_usual_step_is_along_the_axis_where_it_is_smallest() -> None:
    field = LATITUDES[:, None] + np.arange(5) * 0.5
    assert usual_step(field, {}) == 0.5
    assert usual_step(field.T, {}) == 0.5


def test_the_usual_step_is_at_most_the_median_size_of_the_numbers() -> None:
    assert usual_step(np.array([-1.0, 1.0, -1.0, 1.0]), {}) == 1.0
    assert usual_step(np.array([0.0, 0.0, 0.0, 4.0]), {}) == 0.0


@pytest.mark.parametrize(
    "attrs",
    [
        {"units": "degrees_north"},
        {"valid_max": 90.0},
        {"valid_range": np.array([-90.0, 90.0])},
    ],
)
def test_fillers_are_no_neighbours(attrs: dict[str, object]) -> None:
    field = np.repeat(LATITUDES, 3)
    field[1::3] = 1e20
    assert usual_step(field, {}) > 10.0
    assert usual_step(field, attrs) == 10.0
    assert usual_step(np.append(LATITUDES, [1e20, -1e20]), attrs) == 10.0


def test_a_valid_minimum_excludes_what_is_below() -> None:
    field = np.array([-9999.0, 0.0, -9999.0, 1.0, -9999.0, 2.0])
    assert usual_step(np.append(field, [3.0, 4.0]), {"valid_min": -1.0}) == 1.0


def test_the_range_of_packed_numbers_says_nothing() -> None:
    """It is in other units."""
    attrs = {"valid_range": np.array([0, 1]), "scale_factor": 0.1}
    assert usual_step(LATITUDES, attrs) == 10.0
    assert usual_step(LATITUDES, {"valid_range": np.array([0, 1])}) == 0.0


def test_720_degrees_are_a_longitude_and_more_are_a_filler() -> None:
    degrees = {"units": "degrees_east"}
    assert usual_step(np.array([700.0, 710.0, 720.0]), degrees) == 10.0
    assert usual_step(np.array([700.0, 720.0]), degrees) == 20.0
    assert usual_step(np.array([700.0, 720.5]), degrees) == 0.0
