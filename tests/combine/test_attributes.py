"""Whether attributes of several files say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr.combine.attributes import same_value


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (np.nan, np.float32("nan"), True),
        ([1.0, np.nan], [1.0, 2.0], False),
        (np.int16(3), 3.0, True),
        (3, "3", False),
        ([], "", False),
        ([], np.empty(0), True),
        ([], np.empty(0, "U1"), True),
        ("a", "a", True),
    ],
)
def test_numbers_are_compared_by_value_and_texts_are_no_numbers(
    one: Any, other: Any, expected: bool
) -> None:
    assert same_value(one, other) is expected
