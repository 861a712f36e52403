"""Dates of a file against those that are shown, by other numbers perhaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray

from esgvzarr.model import Check
from esgvzarr.proof.dates import Steps, check_dates, date_names, same_fixed_calendar

from .in_memory import dataset

YEARS = {"units": "days since 1999-01-01"}
"""A reference date a year earlier; of a calendar in which a year has 365 days."""
MONTHS = [15.5, 45.0, 74.5]
EDGES = [[0.0, 31.0], [31.0, 59.0], [59.0, 90.0]]


def check(file: xarray.Dataset, shown: xarray.Dataset, name: str = "time") -> Check:
    whole = slice(0, 3)
    return check_dates(Steps(file, whole), Steps(shown, whole), "time", name, "a subject")


@pytest.mark.parametrize(
    ("shift", "attrs", "right"),
    [
        (0, {}, True),
        (1, {}, False),
        (365, YEARS, True),
        (366, YEARS, False),
        (0, YEARS, False),
        (0, {"calendar": "365_day"}, True),
        (0, {"calendar": "360_day"}, False),
        (0, {"calendar": "standard"}, False),  # of which 2000-03-01 is another day
        (0, {"scale_factor": 2.0}, False),
        (0, {"units": "fortnights"}, None),
    ],
)
def test_dates_are_the_same_whatever_they_count_from(
    shift: float, attrs: dict[str, Any], right: bool | None
) -> None:
    file = dataset(MONTHS)
    shown = dataset([day + shift for day in MONTHS], **attrs)
    if right is None:
        with pytest.raises(ValueError, match="fortnights"):
            check(file, shown)
        return
    assert check(file, shown).passed is right
    assert check(shown, file).passed is right


def test_a_calendar_is_shown_even_where_its_dates_have_the_same_numbers() -> None:
    """Of the first weeks of 1970 all calendars count alike."""
    begin = {"units": "days since 1970-01-01"}
    file = dataset([1.0, 2.0, 3.0], **begin)
    for calendar, right in (("365_day", True), ("standard", False), ("360_day", False)):
        shown = dataset([24.0, 48.0, 72.0], units="hours since 1970-01-01", calendar=calendar)
        assert check(file, shown).passed is right


def test_dates_that_are_packed_are_compared_unpacked() -> None:
    packed = dataset([15.5, 44.5, 74.5], scale_factor=0.5, units="hours since 2000-01-01")
    hours = dataset([7.75, 22.25, 37.25], units="hours since 2000-01-01")
    assert check(packed, hours).passed
    assert not check(packed, dataset([7.75, 22.25, 37.5], units="hours since 2000-01-01")).passed
    assert not check(packed, dataset([15.5, 44.5, 74.5], units="hours since 2000-01-01")).passed


def test_only_the_steps_that_are_shown_are_compared() -> None:
    file = dataset([*MONTHS, 105.0])
    shown = dataset([0.0, *MONTHS])
    found = check_dates(
        Steps(file, slice(0, 3)), Steps(shown, slice(1, 4)), "time", "time", "a subject"
    )
    assert found.passed
    assert found.detail == "3 dates"
    found = check_dates(
        Steps(file, slice(0, 3)), Steps(shown, slice(0, 3)), "time", "time", "a subject"
    )
    assert not found.passed
    assert found.detail == "3 dates differ"


def beside(dims: str, values: Any, name: str, **attrs: Any) -> xarray.Dataset:
    """Monthly data, and a variable that no attribute calls bounds of time."""
    found = dataset(MONTHS)
    found[name] = (dims.split(), np.asarray(values), attrs)
    return found


@pytest.mark.parametrize(
    ("name", "dims", "values", "attrs", "expected"),
    [
        ("time_bnds", "time nv", EDGES, {}, "dates"),
        ("edges", "time nv", EDGES, {}, "dates"),
        ("pair", "time nv", EDGES, {}, "unclear"),  # near, and by its name no bounds
        ("time_bnds", "time nv", [[0.0, 1e4]] * 3, {}, "unclear"),  # by its name alone
        ("pair", "time nv", [[0.0, 1e4]] * 3, {}, "data"),
        ("bounds", "time", MONTHS, {}, "unclear"),
        ("count", "time", [400.0, 500.0, 600.0], {}, "data"),
        ("count", "time", [15, 45, 74], {}, "unclear"),
        ("count", "time", MONTHS, {"units": "1"}, "data"),
        ("time_bnds", "nv time", np.transpose(EDGES), {}, "data"),
        ("time_bnds", "time three", [[0.0, 15.0, 31.0]] * 3, {}, "data"),
        ("time_bnds", "time nv", [["a", "b"]] * 3, {}, "data"),
    ],
)
def test_numbers_beside_those_of_time_are_bounds_by_name_and_shape(
    name: str, dims: str, values: Any, attrs: dict[str, Any], expected: str
) -> None:
    file = beside(dims, values, name, **attrs)
    dates, unclear = date_names(file, dataset([380.5, 410.0, 439.5], **YEARS), "time")
    assert dates == (("time", name) if expected == "dates" else ("time",))
    assert unclear == ((name,) if expected == "unclear" else ())


def test_only_where_time_is_shown_by_another_reference_bounds_are_looked_for() -> None:
    file = beside("time nv", EDGES, "time_bnds")
    assert date_names(file, file, "time") == (("time",), ())
    assert date_names(file, file.drop_vars("time"), "time") == (("time",), ())
    assert date_names(file, dataset(MONTHS, calendar="365_day"), "time") == (("time",), ())
    assert date_names(file, dataset(MONTHS, calendar="360_day"), "time")[0] == ("time", "time_bnds")
    assert date_names(file, file, None) == ((), ())


def test_numbers_are_beside_time_within_two_of_its_longest_steps() -> None:
    for distance, expected in ((59.0, ("edges",)), (60.0, ())):
        edges = np.array(MONTHS)[:, None] + [-distance, distance]
        file = beside("time nv", edges, "edges")
        assert date_names(file, dataset(MONTHS, **YEARS), "time")[0][1:] == expected
    for distance, expected in ((62.0, ("edges",)), (63.0, ())):  # of one step, a month is taken
        file = dataset([15.5])
        file["edges"] = (("time", "nv"), np.array([[15.5 - distance, 15.5]]))
        assert date_names(file, dataset([15.5], **YEARS), "time")[0][1:] == expected


@pytest.mark.parametrize(
    ("value", "units", "calendars", "same"),
    [
        (100.0, "days since 2000-01-01", ("standard", "gregorian"), True),
        (100.0, "days since 2000-01-01", ("standard", "proleptic_gregorian"), True),
        (100.0, "days since 1500-01-01", ("standard", "proleptic_gregorian"), False),
        (100.0, "days since 2000-01-01", ("standard", "noleap"), False),
        (100.0, "days", ("standard", "noleap"), True),  # no date
        (100.0, "fortnights since 2000-01-01", ("standard", "noleap"), True),
    ],
)
def test_a_date_that_does_not_change_is_shown_in_its_calendar(
    value: float, units: str, calendars: tuple[str, str], same: bool
) -> None:
    one, other = (
        xarray.Variable((), value, {"units": units, "calendar": calendar}) for calendar in calendars
    )
    assert same_fixed_calendar(one, other) is same
