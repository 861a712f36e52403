"""Files in the order of their decoded times, from variables alone: nothing is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from cf import named, variable

from esgvzarr.combine.order import arrange, is_unnamed_bounds
from esgvzarr.combine.time_rules import check_calendars, check_gaps
from esgvzarr.model import FileRecord, FileReferences, Finding, Series, Variable

DAYS = {"units": "days since 1850-01-01", "calendar": "noleap"}


def file_of(name: str, *variables: Variable, **attrs: Any) -> FileReferences:
    record = FileRecord(name, f"http://data.example/{name}")
    return FileReferences(record, "hdf5", {}, attrs, named(*variables), 1)


def with_times(name: str, steps: Sequence[float], **attrs: Any) -> FileReferences:
    time = variable("time", ("time",), steps, attrs={**DAYS, **attrs}, fill_value=-1.0)
    return file_of(name, time, frequency="day")


def arranged(*files: FileReferences) -> tuple[Series, list[Finding]]:
    findings: list[Finding] = []
    return arrange(files, findings), findings


def test_files_follow_each_other_by_their_first_times() -> None:
    later = with_times("a.nc", [2.0, 3.0])
    earlier = with_times("b.nc", [0.0, 1.0])
    series, findings = arranged(later, earlier)
    assert [file.file.name for file in series.files] == ["b.nc", "a.nc"]
    assert findings == []


def test_of_two_that_begin_together_the_longer_is_first() -> None:
    series, _ = arranged(with_times("a.nc", [0.0, 1.0]), with_times("b.nc", [0.0, 1.0, 2.0]))
    assert [file.file.name for file in series.files] == ["b.nc", "a.nc"]


def test_one_fixed_file_needs_no_time_and_two_do() -> None:
    fixed = file_of("orog.nc", variable("orog", ("x",)))
    series, findings = arranged(fixed)
    assert (series.time, findings) == (None, [])
    _, findings = arranged(fixed, file_of("other.nc", variable("orog", ("x",))))
    assert [(one.code, one.file) for one in findings] == [
        ("time-missing", "http://data.example/other.nc")
    ]


def test_a_step_that_is_missing_has_no_place_among_several_files() -> None:
    hole = with_times("b.nc", [3.0, -1.0, 5.0])
    _, findings = arranged(with_times("a.nc", [0.0, 1.0]), hole)
    assert [(one.code, one.found) for one in findings] == [
        ("time-invalid", "time: step 1 is missing")
    ]
    series, findings = arranged(hole)
    assert findings == []
    assert series.times[0][1] == np.iinfo(np.int64).min


def test_times_that_go_back_are_told_by_their_dates() -> None:
    _, findings = arranged(with_times("a.nc", [5.0, 4.0]), with_times("b.nc", [9.0]))
    (finding,) = findings
    assert finding.code == "time-not-increasing"
    assert finding.found == "1850-01-06T00:00:00 at step 0, and 1850-01-05T00:00:00 after it"


def test_bounds_that_a_file_lacks_are_none() -> None:
    times = variable("time", ("time",), [15.0, 45.0], attrs=DAYS)
    bounds = variable("time_bnds", ("time", "n"), [[0.0, 31.0], [31.0, 59.0]])
    assert is_unnamed_bounds(file_of("a.nc", times, bounds), "time_bnds", "time")
    assert not is_unnamed_bounds(file_of("a.nc", times), "time_bnds", "time")
    unread = variable("time", ("time",), attrs=DAYS)
    assert not is_unnamed_bounds(file_of("a.nc", unread, bounds), "time_bnds", "time")


def test_the_file_with_another_calendar_is_named() -> None:
    files = [
        with_times("a.nc", [0.0]),
        with_times("b.nc", [1.0], calendar="365_day"),
        with_times("c.nc", [2.0], calendar="360_day"),
    ]
    (finding,) = check_calendars(arranged(*files)[0])
    assert finding.file == "http://data.example/c.nc"
    assert finding.found == "'360_day'"


def test_the_first_ten_gaps_are_told_and_their_number() -> None:
    found = list(check_gaps(arranged(with_times("a.nc", np.arange(0.0, 40.0, 2)))[0]))
    assert len(found) == 10
    assert found[0].expected == "the step after 1850-01-01T00:00:00"
    assert all("19 such gaps" in one.found for one in found)


def test_files_without_time_steps_add_nothing_and_nothing_else_is_refused() -> None:
    empty = with_times("a.nc", np.empty(0))
    series, findings = arranged(empty, with_times("b.nc", [0.0]))
    assert [(finding.code, finding.refuse) for finding in findings] == [("file-empty", False)]
    assert len(series.files) == 1
    _, findings = arranged(empty, with_times("b.nc", np.empty(0)))
    assert [finding.refuse for finding in findings] == [False, False, True]
    _, findings = arranged(empty, with_times("b.nc", [-1.0, 0.0]))
    assert [finding.code for finding in findings] == ["file-empty", "time-invalid"]


def test_no_file_is_an_empty_series() -> None:
    series, findings = arranged()
    assert (series.files, series.time, findings) == ((), None, [])
