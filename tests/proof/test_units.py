"""Units in other words are the same units, and other units are others."""

from __future__ import annotations

import itertools

import pytest

from esgvzarr.proof.units import same_units

ONE_UNIT = [
    ["K", "kelvin", " Kelvin ", "degK", "degree_K"],
    ["kg m-2 s-1", "kg m^-2 s^-1", "kg m**-2 s**-1", "kg/m2/s", "kg / m2 / s", "kg.m-2.s-1"],
    ["kg m-2 s-1", "s-1 kg m-2", "kilograms metre-2 second-1", "kg*m-2*s-1", "kg m-1 m-1 s-1"],
    ["1", "", " ", "1.0", "1e0"],
    ["1e-3", "0.001", " 1.0e-3"],
    ["m m", "m2", "m^2", "meters+2"],
    ["degrees_north", "degree_north", "degreesN"],
    ["%", "percent"],
    ["mol/s", "mol s-1"],
    ["s-1", "1/s", "1 s-1", "1. / sec", "1 per second", "1.0 s-1"],
    ["kg m-2 s-1", "kg/(m2 s)", "kg / ( m2.s ) ", "kg/(s*m**2)"],
    ["1e-3 kg m-2", "0.001 kg/m2"],
    ["1e-3", "1/1000"],
    ["0.5 K", "K .5"],
    ["1000 s", "1.e3 s"],
    ["no unit at all!", "no  unit at all!"],
]
OTHERS = [
    ("K", "degC"),
    ("m", "m2"),
    ("m", "m-1"),
    ("K m", "K/m"),
    ("K/m", "K/m2"),
    ("kg m-2", "kg m-3"),
    ("kg kg-1", "1"),  # the fraction of what is told
    ("kg kg-2", "kg-1"),
    ("kg2 kg-1", "kg"),
    ("m", "M"),  # a symbol of one letter has its case
    ("k", "K"),
    ("1", "1e-3"),
    ("1", "%"),
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
    ("days since 2000-01-01", "days since 2001-01-01"),
]


@pytest.mark.parametrize("words", ONE_UNIT, ids=lambda words: words[0])
def test_a_unit_in_other_words_is_the_same(words: list[str]) -> None:
    for one, other in itertools.product(words, repeat=2):
        assert same_units(one, other), (one, other)


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_another_unit_is_another(one: str, other: str) -> None:
    assert not same_units(one, other)
    assert not same_units(other, one)


def test_the_order_of_factors_says_nothing_and_each_power_does() -> None:
    for factors in itertools.permutations(["kg", "m-2", "s-1"]):
        assert same_units("kg m-2 s-1", " ".join(factors))
    for number in range(3):
        factors = ["kg", "m-2", "s-1"]
        factors[number] = factors[number].rstrip("-12") + "3"
        assert not same_units("kg m-2 s-1", " ".join(factors))


@pytest.mark.parametrize("other", [None, 1, 1.0, b"1"])
def test_what_is_no_text_is_no_unit(other: object) -> None:
    assert not same_units("1", other)
    assert not same_units(other, other)
