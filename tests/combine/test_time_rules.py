"""The rules about time between files, from variables alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esgvzarr.combine.order import arrange
from esgvzarr.combine.time_rules import (
    check_bounds,
    check_calendars,
    check_dates,
    check_gaps,
    check_overlap,
)
from esgvzarr.model import FileReferences, Finding, Series, Variable

from .in_memory import DAYS, file, series, variable

PACKED = {"scale_factor": 0.5, "add_offset": -200_000.0}
"""Days of the 15th century, where 2000 is meant by the numbers as stored."""


def with_dates(number: int, calendar: str, stored: Any, **attrs: Any) -> FileReferences:
    """A file of two days, with another date for each."""
    units = "days since 2000-01-01"
    days = np.array([2.0 * number, 2.0 * number + 1])
    time = variable("time", "time", days, units=units, calendar="noleap")
    dates = variable("began", "time", stored, units=units, calendar=calendar, **attrs)
    return file(time, dates, number=number)


def along_time(*files: FileReferences) -> Series:
    return replace(series(*files, time="time"), dates=("time", "began"))


@pytest.mark.parametrize(
    ("stored", "attrs", "refused"),
    [
        ([1.0, 2.0], {}, False),
        ([-200_000.0, 2.0], {}, True),
        ([1.0, 2.0], PACKED, True),
        ([-200_000.0, 2.0], {"_FillValue": -200_000.0}, False),
        ([np.iinfo("i4").min, 2], {"_FillValue": np.iinfo("i4").min, "scale_factor": 1.0}, False),
    ],
)
def test_two_calendars_are_one_from_1582_on_by_what_the_numbers_mean(
    stored: list[float], attrs: dict[str, Any], refused: bool
) -> None:
    """Packed ones unpacked, missing ones left out."""
    found = list(
        check_calendars(
            along_time(
                with_dates(1, "standard", stored, **attrs),
                with_dates(2, "proleptic_gregorian", stored, **attrs),
            )
        )
    )
    assert [finding.code for finding in found] == ["calendar-differs"] * refused


@pytest.mark.parametrize(("scale", "refused"), [(1.0, False), (1e300, True)])
def test_packed_dates_are_decoded_by_what_they_mean(scale: float, refused: bool) -> None:
    one = with_dates(1, "standard", [1, 2], scale_factor=scale)
    found = list(check_dates(along_time(one)))
    assert [finding.code for finding in found] == ["time-invalid"] * refused


LATER = {"units": "days since 2001-01-01"}


def of(number: int, days: Any, *more: Variable, frequency: str = "day", **attrs: Any) -> Any:
    time = variable("time", "time", days, **{**DAYS, **attrs})
    return file(time, *more, number=number, attrs={"frequency": frequency})


def arranged(*files: FileReferences) -> Series:
    findings: list[Finding] = []
    series = arrange(files, findings)
    assert findings == []
    return series


def test_each_calendar_that_differs_is_told_against_the_first_file() -> None:
    files = arranged(of(1, [0.0]), of(2, [1.0]), of(3, [400.0], calendar="360_day"))
    (finding,) = check_calendars(files)
    assert finding.file == files.files[2].file.url
    assert finding.expected == "the calendar 'noleap' of 'time' in tas_1.nc"
    assert finding.found == "'360_day'"


@pytest.mark.parametrize(
    ("first", "calendars", "differ"),
    [
        ("days since 2000-01-01", ("standard", "gregorian"), False),
        ("days since 2000-01-01", ("standard", "proleptic_gregorian"), False),
        ("days since 1582-10-04", ("standard", "proleptic_gregorian"), True),
        ("days since 1582-10-15", ("standard", "proleptic_gregorian"), False),
        ("days since 1500-01-01", ("standard", "gregorian"), False),
        ("days since 2000-01-01", ("noleap", "365_day"), False),
        ("days since 2000-01-01", ("noleap", "standard"), True),
    ],
)
def test_calendars_are_one_where_all_dates_are_the_same_by_both(
    first: str, calendars: tuple[str, str], differ: bool
) -> None:
    """Before October 1582 the standard calendar is the Julian one."""
    files = (
        of(1, [0.0], units=first, calendar=calendars[0]),
        of(2, [200_000.0], units=first, calendar=calendars[1]),
    )
    assert bool(list(check_calendars(arranged(*files)))) is differ


def test_dates_beside_time_have_one_calendar_too() -> None:
    issued = [variable("issued", "", 5.0, **{**DAYS, "calendar": c}) for c in ("noleap", "360_day")]
    files = arranged(of(1, [0.0], issued[0]), of(2, [1.0], issued[1]))
    (finding,) = check_calendars(files)
    assert "'issued'" in finding.expected


@pytest.mark.parametrize(
    ("name", "values", "attrs", "refused"),
    [
        ("extra_bnds", [[0.0, 1.0]], {}, True),  # by its name
        ("pair", [[0.0, 1.0]], {}, True),  # by its numbers
        ("pair", [[1e6, 2e6]], {}, False),
        ("pair", [[0.0, 1.0]], {"units": "1"}, False),
    ],
)
def test_what_may_be_dates_is_refused_where_time_is_brought_to_another_reference(
    name: str, values: Any, attrs: dict[str, Any], refused: bool
) -> None:
    one = of(1, [0.5], variable(name, "time nv", values, **attrs))
    other = of(2, [0.5], variable(name, "time nv", [[9e6, 9e7]], **attrs), **LATER)
    found = list(check_bounds(arranged(one, other)))
    expected = {"time-invalid"} if refused else set()
    assert {finding.code for finding in found if name in finding.expected} == expected
    same = of(2, [365.5], variable(name, "time nv", [[9e6, 9e7]], **attrs))
    assert list(check_bounds(arranged(one, same))) == []


def test_bounds_that_no_attribute_names_are_known_where_all_files_have_such() -> None:
    edges = variable("time_bnds", "time nv", [[0.0, 1.0]])
    files = arranged(of(1, [0.5], edges), of(2, [0.5], edges, **LATER))
    assert files.dates == ("time", "time_bnds")
    assert list(check_bounds(files)) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"values": None}, "not read"),
        ({"attrs": {"scale_factor": 2.0}}, "packed"),
        ({"fill_value": 31.0}, "missing"),
    ],
)
def test_bounds_that_cannot_be_brought_to_another_reference_are_refused(
    changes: dict[str, Any], reason: str
) -> None:
    edges = [variable("edges", "time nv", [[0.0, 31.0]]) for _ in range(2)]
    edges[1] = replace(edges[1], **changes)
    one = of(1, [15.0], edges[0], bounds="edges")
    other = of(2, [15.0], edges[1], bounds="edges", **LATER)
    found = list(check_bounds(arranged(one, other)))
    assert [(finding.file[-4], finding.code) for finding in found] == [("2", "time-invalid")]
    assert reason in found[0].found


def test_dates_beside_time_can_be_decoded_or_are_missing() -> None:
    def found(values: Any, **attrs: Any) -> list[Finding]:
        edges = variable("edges", "time nv", values, **attrs)
        return list(check_dates(arranged(of(1, [15.0], edges, bounds="edges"))))

    assert found([[0.0, 31.0]]) == []
    assert [finding.code for finding in found([[0.0, 1e300]])] == ["time-invalid"]
    assert found([[0.0, 1e300]], _FillValue=1e300) == []


def test_an_overlap_is_told_by_its_first_and_last_date() -> None:
    def overlap(*days: Any) -> list[Finding]:
        return list(check_overlap(arranged(*(of(n, some) for n, some in enumerate(days)))))

    assert overlap([0.0, 1.0], [2.0]) == []
    (finding,) = overlap([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    assert finding.expected == "time after 2000-01-03T00:00:00, where tas_0.nc ends"
    assert finding.found == "2000-01-02T00:00:00 to 2000-01-03T00:00:00 again"
    assert len(overlap([0.0, 1.0], [1.0, 2.0], [2.0, 3.0])) == 2


@pytest.mark.parametrize(
    ("frequency", "days", "gaps"),
    [
        ("day", [0, 1, 2], 0),
        ("day", [0, 1, 3], 1),
        ("6hr", [0, 0.25, 0.5], 0),
        ("6hrPt", [0, 0.25, 0.75], 1),
        ("1hr", [0, 1 / 24, 3 / 24], 1),
        ("mon", [15, 45, 74], 0),
        ("mon", [15, 74], 1),
        ("monC", [15, 45, 105], 1),
        ("yr", [180, 545], 0),
        ("yr", [180, 910], 1),
        ("dec", [180, 180 + 3650], 0),
        ("dec", [180, 180 + 7300], 1),
        ("", [0, 5, 10, 15], 0),  # by the usual step
        ("", [0, 5, 10, 17], 1),
        ("", [0, 5, 10, 16], 0),
        ("mon", [15], 0),
    ],
)
def test_a_gap_is_wider_than_the_frequency_says(
    frequency: str, days: list[float], gaps: int
) -> None:
    found = list(check_gaps(arranged(of(1, np.array(days, "f8"), frequency=frequency))))
    assert len(found) == gaps
    assert not any(finding.refuse for finding in found)
    halves = [of(n, np.array([day], "f8"), frequency=frequency) for n, day in enumerate(days)]
    assert len(list(check_gaps(arranged(*halves)))) == gaps
