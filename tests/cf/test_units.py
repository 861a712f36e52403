"""Units: what is spelled differently and means the same, and what does not."""

from __future__ import annotations

import pytest

from esgvzarr.cf import units_meaning


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("K", " kelvin "),
        ("degC", "Celsius"),
        ("m s-1", "m/s"),
        ("m s-1", "meter second^-1"),
        ("m s-1", "s-1 m"),
        ("m s-1", "m.s-1"),
        ("kg m-2 s-1", "kg m**-2 / s"),
        ("W m-2", "watts  m-2"),
        ("degrees_north", "degree_N"),
        ("degrees_east", "degreeE"),
        ("%", "percent"),
        ("1", "1.0"),
        ("", "1"),
        ("1e-3", "0.001"),
        ("m2", "m m"),
        ("s-1", "1/s"),
        ("s-1", "1 s-1"),
        ("s-1", "1. / sec"),
        ("s-1", "1 per second"),
        ("kg m-2 s-1", "kg/(m2 s)"),
        ("kg m-2 s-1", "kg / ( m2.s ) "),
        ("W m-2", "watts per meter2"),
        ("1e-3 kg m-2", "0.001 kg/m2"),
        ("1e-3", "1/1000"),
        ("0.5 K", "K .5"),
        ("1000 s", "1.e3 s"),
    ],
)
def test_these_mean_the_same(one: str, other: str) -> None:
    assert units_meaning(one) == units_meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("K", "degC"),
        ("Pa", "hPa"),
        ("m s-1", "m s-2"),
        ("m s-1", "m s"),
        ("m", "M"),
        ("kg kg-1", "mol mol-1"),
        ("kg kg-1", "1"),
        ("1", "%"),
        ("1e-3", "1e-4"),
        ("degrees_north", "degrees_east"),
        ("degrees_north", "degrees"),
        ("days since 1850-01-01", "days since 1851-01-01"),
        ("log(re 1 mW)", "mW"),
        ("1/s", "s"),
        ("1/s", "2/s"),
        ("1/s", "1"),
        ("0/s", "0 s"),
        ("m 2", "m2"),
        ("m ** 2", "m 2"),
        ("kg/(m2 s", "kg/(m2 s)"),
        ("kg/m2 s", "kg/(m2 s)"),
        ("kg/(m2/s)", "kg/(m2 s)"),
        ("days since 1850 1", "days since 1 1850"),
        (".5 K", "5 K"),
        ("K .1", "K 1"),
        ("m2.5", "m2 5"),
        ("m/1e-310", "m/1e-309"),
        ("1.e3 s", "e3 s"),
    ],
)
def test_these_do_not(one: str, other: str) -> None:
    assert units_meaning(one) != units_meaning(other)


def test_what_is_not_known_means_itself() -> None:
    assert units_meaning("furlong  (long)") == "furlong (long)"
    assert units_meaning("foo") == units_meaning(" foo ")
