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
