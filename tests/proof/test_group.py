"""What can be said of a group after all its files."""

from __future__ import annotations

import numpy as np
import xarray

from esgvzarr.model import Check
from esgvzarr.proof.comparison import Comparison, Sampling
from esgvzarr.proof.group import whole

from .in_memory import FILE, dataset, group, references


def judged(shown: xarray.Dataset, *files: xarray.Dataset) -> list[Check]:
    there = [group(shown)]
    one = Comparison(there, references(), Sampling("seed", 0, full=False))
    for truth in files:
        one.accept(one.describe(FILE)(truth, {}))
    return list(whole(there, [one]))


def failed(*datasets: xarray.Dataset) -> list[tuple[str, str]]:
    return [(check.name, check.subject) for check in judged(*datasets) if not check.passed]


def with_height(number: float, dtype: str = "f8", **attrs: object) -> xarray.Dataset:
    return dataset([1, 2]).assign(height=((), np.asarray(number, dtype), attrs))


def test_a_fixed_field_is_that_of_a_file_and_near_those_of_all() -> None:
    two = with_height(2.0)
    assert failed(two, two, two) == []
    assert failed(two, two, with_height(2.0 + 1e-9)) == []
    assert failed(two, with_height(2.0 + 1e-9)) == [("values", "height")]
    assert failed(two, two, with_height(3.0)) == [("values", "height")]


def test_a_fixed_field_has_the_type_of_a_file() -> None:
    assert failed(with_height(2.0, "f4"), with_height(2.0), with_height(2.0, "f4")) == []
    assert failed(with_height(2.0, "f4"), with_height(2.0)) == [("type", "height")]


def test_no_variable_is_shown_that_no_file_has() -> None:
    assert ("variables", "/") in failed(with_height(2.0), dataset([1, 2]))


def test_attributes_are_those_of_the_files() -> None:
    metres = with_height(2.0, units="m")
    assert failed(metres, metres) == []
    assert failed(metres, with_height(2.0, units="km")) == [("attributes", "height in /")]
    assert failed(with_height(2.0), metres) == [("attributes", "height in /")]
    titled = dataset([1, 2]).assign_attrs(title="a")
    assert failed(titled, dataset([1, 2])) == [("attributes", "global in /")]
    assert failed(dataset([1, 2]), titled, dataset([1, 2])) == []
    marked = with_height(2.0, _FillValue=1e20)
    assert failed(with_height(2.0), marked) == []  # it marks nothing of what does not change


def test_numbers_that_are_shown_as_words_are_named() -> None:
    endless = with_height(2.0, limit=float("inf"), gap=float("nan"))
    shown = with_height(2.0, limit="Infinity", gap="NaN")
    details = {check.subject: check.detail for check in judged(shown, endless)}
    assert details["height in /"] == "2; NaN or infinity shown as text: ['gap', 'limit']"
    assert details["tas in /"] == "1"
