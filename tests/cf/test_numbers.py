"""What stored numbers mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr import cf

from . import variable


def places(values: np.ndarray, **attrs: Any) -> list[bool]:
    found: list[bool] = cf.missing(values, attrs).tolist()
    return found


def test_the_fill_value_is_an_attribute_like_others() -> None:
    assert cf.meaning(variable("tas", attrs={"units": "K"})) == {"units": "K"}
    filled = variable("tas", attrs={"units": "K"}, fill_value=0)
    assert cf.meaning(filled) == {"units": "K", "_FillValue": 0}


def test_missing_is_what_either_attribute_names_and_nan() -> None:
    values = np.array([1.0, -1.0, -2.0, -3.0, np.nan])
    assert places(values) == [False, False, False, False, True]
    assert places(values, _FillValue=-1.0) == [False, True, False, False, True]
    assert places(values, missing_value=np.array([-2.0, -3.0])) == [False, False, True, True, True]
    assert places(values, _FillValue=-1.0, missing_value=-2.0) == [False, True, True, False, True]
    assert places(np.array([1, 2]), _FillValue=2) == [False, True]


def test_a_mark_that_is_text_marks_nothing() -> None:
    assert places(np.array([1, 2]), missing_value="2") == [False, False]


def unpacked(values: Any, **attrs: Any) -> list[float]:
    found: list[float] = cf.unpacked(np.array(values), attrs).tolist()
    return found


def test_packed_numbers_are_scaled_and_then_moved() -> None:
    assert unpacked([1, 2], scale_factor=0.5, add_offset=10) == [10.5, 11.0]
    assert unpacked([1, 2], scale_factor=3) == [3.0, 6.0]
    assert unpacked([1, 2], add_offset=-1) == [0.0, 1.0]
    assert unpacked([1, 2]) == [1.0, 2.0]


def test_missing_numbers_are_told_before_they_are_unpacked() -> None:
    found = cf.unpacked(np.array([4, 8]), {"scale_factor": 2, "_FillValue": 8})
    assert found[0] == 8.0
    assert np.isnan(found[1])
    assert found.dtype == np.float64


@pytest.mark.parametrize("word", ["true", "TRUE"])
def test_signed_bytes_that_are_declared_unsigned_are_positive(word: str) -> None:
    assert cf.unpacked(np.array([-1, 1], "i1"), {"_Unsigned": word}).tolist() == [255.0, 1.0]
    assert cf.unpacked(np.array([-1, 1], "i1"), {"_Unsigned": "false"}).tolist() == [-1.0, 1.0]
    assert cf.unpacked(np.array([-1, 1], "f4"), {"_Unsigned": word}).tolist() == [-1.0, 1.0]


def test_text_is_left_as_it_is() -> None:
    values = np.array([b"a", b"b"])
    assert cf.unpacked(values, {"scale_factor": 2.0}) is values


def test_a_mark_of_unsigned_numbers_changes_only_whole_numbers() -> None:
    assert unpacked(np.array([-1], "i1"), _Unsigned="true") == [255.0]
    assert unpacked(np.array([-1.5], "f4"), _Unsigned="true") == [-1.5]
    assert unpacked(np.array([200], "u1"), _Unsigned="true") == [200.0]


@pytest.mark.parametrize("values", [["a", ""], [b"a"], [True], np.array([None], object)])
def test_of_what_is_no_number_nothing_is_missing_without_a_mark(values: object) -> None:
    assert not cf.missing(np.asarray(values), {"_FillValue": "a"}).any()
