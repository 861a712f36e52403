"""Whether two files of one size may hold the same bytes, by what a scan finds in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esgvzarr.combine.rules import _may_be_equal
from esgvzarr.model import FileReferences

from .in_memory import DAYS, file, variable

TIME = variable("time", "time", [0.0, 1.0], **DAYS)
TAS = variable("tas", "time", np.zeros(2, "f4"))
ONE = file(TIME, TAS, attrs={"history": "a"})
ELSEWHERE = replace(TAS, chunks=replace(TAS.chunks, offsets=TAS.chunks.offsets + 1))


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (file(TIME, TAS, attrs={"history": "b"}), True),  # the time of writing, perhaps
        (file(TIME, TAS, attrs={}), False),
        (file(TIME, attrs={"history": "a"}), False),
        (file(TIME, ELSEWHERE, attrs={"history": "a"}), False),
        (file(TIME, variable("tas", "time x", np.zeros((2, 1), "f4")), attrs=ONE.attrs), False),
        (file(variable("time", "time", [0.0, 2.0], **DAYS), TAS, attrs=ONE.attrs), False),
        (file(TAS, attrs=ONE.attrs), False),
    ],
)
def test_a_file_is_another_by_its_attributes_variables_places_and_times(
    other: FileReferences, equal: bool
) -> None:
    assert _may_be_equal(ONE, other) is equal
    assert _may_be_equal(other, ONE) is equal
    assert _may_be_equal(other, other)
