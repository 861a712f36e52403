"""Attributes that are shown, against those of the files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr.proof import attributes

ONE = {"units": "K", "history": "a"}
OTHER = {"units": "K", "history": "b"}


def wrong(shown: dict[str, Any], *versions: dict[str, Any]) -> set[str]:
    return set(attributes.wrong_attrs(shown, versions))


@pytest.mark.parametrize(
    ("shown", "versions", "expected"),
    [
        ({"units": "K"}, (ONE, OTHER), set()),
        ({"units": "K", "history": "b"}, (ONE, OTHER), set()),  # that of one file
        ({"units": "K", "history": "c"}, (ONE, OTHER), {"history"}),
        ({}, (ONE, OTHER), {"units"}),  # all files have it
        ({"units": "K"}, (ONE, ONE), {"history"}),
        ({"units": "K"}, (ONE, OTHER, OTHER), set()),
        ({"units": "K"}, (ONE, {"units": "K"}), set()),
        ({"units": "K"}, (ONE,) * 300, {"history"}),
        ({"units": "K"}, (ONE,) * 300 + (OTHER,), set()),
        ({}, ({"_FillValue": float("nan")},), set()),  # marks nothing that is not marked
        ({}, ({"_FillValue": 1e20},), {"_FillValue"}),
        ({"esgvzarr_segments": 2}, ({"least_significant_digit": 1},), set()),
    ],
)
def test_shown_is_what_some_file_says_and_all_that_every_file_says(
    shown: dict[str, Any], versions: tuple[dict[str, Any], ...], expected: set[str]
) -> None:
    assert wrong(shown, *versions) == expected


@pytest.mark.parametrize(
    ("name", "value", "shown", "alike"),
    [
        ("standard_name", "air_temperature", " air_temperature ", True),
        ("standard_name", "air_temperature", "surface_temperature", False),
        ("standard_name", "surface_temperature", "air_temperature", False),
        ("standard_name", "air_temperature", "air_temperature number_of_observations", False),
        ("positive", "up", "down", False),
        ("positive", "down", "up", False),
        ("units", "K", "kelvin", True),
        ("units", "K", "degC", False),
        ("scale_factor", np.float32(2), 2.0, True),
        ("scale_factor", 1, None, False),
        ("add_offset", None, 0.0, False),
        ("_FillValue", np.float32(1e20), float(np.float32(1e20)), True),
        ("_FillValue", np.nan, None, True),
        ("_FillValue", None, "NaN", True),
        ("missing_value", [np.nan], None, True),
        ("missing_value", 1.0, None, False),
        ("scale_factor", np.nan, None, False),
        ("_Unsigned", "true", None, False),
        ("long_name", "a", "b", True),  # means nothing to a number
    ],
)
def test_numbers_mean_the_same_by_the_attributes_that_make_a_quantity(
    name: str, value: Any, shown: Any, alike: bool
) -> None:
    attrs = {} if value is None else {name: value}
    others = {} if shown is None else {name: shown}
    expected = [] if alike else [name]
    assert list(attributes.unlike(attrs, others, np.dtype("f4"))) == expected


def test_nan_marks_something_in_what_is_no_floating_point() -> None:
    assert list(attributes.unlike({"_FillValue": np.nan}, {}, np.dtype("i4"))) == ["_FillValue"]


@pytest.mark.parametrize(
    ("file", "shown", "alike"),
    [
        (np.array([1, 2], "i2"), [1.0, 2.0], True),
        (np.array([1, 2]), [1], False),
        (np.array([1, 2]), [1, 3], False),
        ([[1], [2, 3]], [1, 2, 3], True),
        (np.array([np.nan, np.inf, -np.inf]), ["NaN", "Infinity", "-Infinity"], True),
        (np.inf, "-Infinity", False),
        (b"text\0", "text", True),
        (1, "1", False),
        ("1", 1, False),
        ("a", "b", False),
    ],
)
def test_an_attribute_is_the_same_as_strict_json_has_it(file: Any, shown: Any, alike: bool) -> None:
    assert attributes.same(file, shown) == alike
    assert attributes.same(shown, file) == alike


def test_numbers_that_strict_json_has_no_number_for_are_told() -> None:
    assert attributes.not_finite(np.array([1.0, np.nan]))
    assert attributes.not_finite(np.float32(np.inf))
    assert not any(map(attributes.not_finite, (1.0, [1.0, 2.0], "NaN", 3, [], None)))
