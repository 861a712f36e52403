"""Calendars and dates of files that are in memory alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from esgvzarr.combine.time_rules import check_calendars, check_dates
from esgvzarr.model import FileReferences, Series

from .in_memory import file, series, variable

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
