"""Whether two datasets can be shown side by side."""

from __future__ import annotations

import numpy as np
import pytest
from cf import variable

from esgvzarr.combine.misfits import misfits
from esgvzarr.model import FileRecord, FileReferences, Series


def fixed(dims: tuple[str, ...], dtype: str) -> Series:
    """A dataset without time that has a latitude."""
    lat = variable("lat", dims, np.array([1, 2], dtype))
    file = FileReferences(FileRecord("a.nc", "/a.nc"), "hdf5", {dims[0]: 2}, {}, {"lat": lat}, 1000)
    return Series((file,), None, ())


@pytest.mark.parametrize(("dims", "dtype"), [(("y",), "f8"), (("lat",), "f4")])
def test_a_variable_of_both_has_the_same_dimensions_and_type(
    dims: tuple[str, ...], dtype: str
) -> None:
    codes = {finding.code for finding in misfits(fixed(("lat",), "f8"), fixed(dims, dtype))}
    assert "dimension-differs" in codes


def test_equal_variables_fit() -> None:
    assert not list(misfits(fixed(("lat",), "f8"), fixed(("lat",), ">f8")))
