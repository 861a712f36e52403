"""The checks before combining and the proof have each their own rule of equality; both must mean
the same, or a legal file would end as a fault of ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from esgvzarr.cf import units_meaning
from esgvzarr.combine.attributes import same_value
from esgvzarr.combine.fixed import _unlike
from esgvzarr.model import ChunkTable, Variable
from esgvzarr.output.kerchunk import json_value
from esgvzarr.proof.attributes import same
from esgvzarr.proof.closeness import closeness
from esgvzarr.proof.units import same_units

NUMBERS = st.one_of(
    st.integers(-3, 3).map(np.int32),
    st.integers(-3, 3).map(np.float64),
    st.sampled_from([0.1, 1.5]).map(np.float32),
    st.sampled_from([0.1, 1.5, np.nan, np.inf]).map(np.float64),
)
TEXTS = st.sampled_from(["", "1", "1.0", "0.1", "K"])
ATTRIBUTES = st.one_of(
    NUMBERS,
    TEXTS,
    st.lists(TEXTS, min_size=2, max_size=3),
    st.lists(st.integers(0, 2), max_size=3).map(lambda items: np.array(items, "i2")),
)


@settings(deadline=None)
@given(ATTRIBUTES, ATTRIBUTES)
def test_both_rules_agree_on_attributes(a: Any, b: Any) -> None:
    assert same_value(a, b) == same(a, b)
    assert same(json_value(a), a)


@pytest.mark.parametrize(("a", "b"), [(np.int32(1), "1"), (0.0, "0.0"), ([1, 2], ["1", "2"])])
def test_a_number_is_no_text(a: Any, b: Any) -> None:
    assert not same_value(a, b)
    assert not same(a, b)


SAME_UNITS = (
    ("K", "K ", "kelvin", "degrees_K"),
    ("m s-1", "m/s", "m s^-1", "m.s-1", "meter second-1"),
    ("kg m-2 s-1", "kg/m2/s", "kg m**-2 s**-1"),
    ("degrees_north", "degree_north", "degreesN"),
    ("%", "percent"),
    ("1", "", "1.0"),
    ("degC", "celsius"),
    ("0.001", "1e-3"),
    ("kg kg-1", "kg/kg"),
    ("mol mol-1",),
    ("hPa",),
    ("Pa",),
    ("m",),
    ("degrees_east",),
    ("days since 1850-01-01",),
)
UNITS = [(group, units) for group, names in enumerate(SAME_UNITS) for units in names]


@pytest.mark.parametrize(("group", "units"), UNITS)
def test_both_rules_agree_on_units(group: int, units: str) -> None:
    for other_group, other in UNITS:
        same_quantity = group == other_group
        assert (units_meaning(units) == units_meaning(other)) is same_quantity, other
        assert same_units(units, other) is same_quantity, other


def _variable(values: np.ndarray, attrs: dict[str, Any]) -> Variable:
    none = np.empty(0, np.int64)
    dims = tuple(f"d{axis}" for axis in range(values.ndim))
    table = ChunkTable(np.empty((0, values.ndim), np.int64), none, none)
    return Variable(
        "field",
        dims,
        values.shape,
        values.dtype,
        attrs,
        None,
        values.shape,
        (),
        table,
        values=values,
    )


FIELDS = st.builds(
    lambda shape, scale, seed, filled: _field(shape, scale, seed, filled),
    st.sampled_from([(), (1,), (7,), (5, 2), (4, 6), (3, 4, 4)]),
    st.sampled_from([1e-6, 1.0, 90.0, 1e8]),
    st.integers(0, 20),
    st.booleans(),
)


def _field(shape: tuple[int, ...], scale: float, seed: int, filled: bool) -> np.ndarray:
    values = np.random.default_rng(seed).uniform(-scale, scale, shape)
    if filled and shape:
        values[0] = 1e30
    return np.asarray(values)


@settings(deadline=None)
@given(
    FIELDS,
    st.sampled_from([0.0, 1e-15, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1.0]),
    st.sampled_from(["f8", "f4"]),
    st.sampled_from([{}, {"units": "degrees_north"}, {"valid_max": 1e10}]),
)
def test_both_rules_agree_on_rounding(
    field: np.ndarray, moved: float, dtype: str, attrs: dict[str, Any]
) -> None:
    other = (field * (1 + moved) + moved).astype(dtype)
    shown = _variable(field, attrs)
    finding = _unlike(shown, _variable(other, attrs), "file", "field")
    served = finding is None or not finding.refuse
    found = closeness(
        xarray.Variable(shown.dims, other, attrs), xarray.Variable(shown.dims, field, attrs)
    )
    assert served == (found in ("equal", "rounding"))


@pytest.mark.parametrize("filler", [1e20, 1e30, -9999.0])
def test_a_filler_does_not_widen_the_tolerance(filler: float) -> None:
    field = np.linspace(-80, 80, 1600).reshape(40, 40)
    field[:3, :3] = filler
    other = np.where(field == filler, filler, field + 1e-4)
    finding = _unlike(_variable(field, {}), _variable(other, {}), "file", "field")
    assert finding is not None
    assert finding.refuse
    shown = xarray.Variable(("y", "x"), field)
    assert closeness(xarray.Variable(("y", "x"), other), shown) == "different"
