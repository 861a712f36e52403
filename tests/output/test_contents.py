"""Tables of references."""

from __future__ import annotations

import numpy as np
import pytest

from esgvzarr.output.contents import ContentsBuilder

FAR = 2**40
TABLES = {
    "in order": ([[0, 0], [0, 1], [1, 0]], False),
    "in any order": ([[1, 0], [0, 1], [0, 0]], False),
    "one twice": ([[1, 0], [0, 1], [1, 0]], True),
    "too wide for one number": ([[0, FAR], [FAR, 0], [FAR, FAR]], False),
    "too wide, one twice": ([[0, FAR], [FAR, FAR], [0, FAR]], True),
    "a negative one": ([[0, 1], [1, -1]], False),
    "scalars": ([[], []], True),
    "one scalar": ([[]], False),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_chunk_that_is_stated_twice_is_found(case: str) -> None:
    rows, twice = TABLES[case]
    keys = np.array(rows, np.int64).reshape(len(rows), -1)
    builder = ContentsBuilder()
    numbers = np.zeros(len(keys), np.int64)
    builder.add_rows("tas", keys, numbers, numbers, numbers)
    assert list(builder.duplicates()) == (["tas"] if twice else [])
