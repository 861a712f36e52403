"""Arithmetic on time: every result is compared with cftime's, or with a sum of whole numbers."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st

from esgvzarr import cf

CALENDARS = ("standard", "proleptic_gregorian", "noleap", "all_leap", "360_day", "julian")
UNITS = {
    "microseconds": 1,
    "milliseconds": 1_000,
    "seconds": 1_000_000,
    "minutes": 60_000_000,
    "hours": 3_600_000_000,
    "days": 86_400_000_000,
}
DAY_US = 86_400_000_000


def microseconds(number: float, units: str, calendar: str = "standard") -> int:
    return int(cf.to_microseconds(np.array([number]), units, calendar)[0])


@given(
    st.sampled_from(CALENDARS),
    st.integers(1600, 2400),
    st.integers(1, 12),
    st.integers(1, 28),
    st.sampled_from(sorted(UNITS)),
    st.integers(-100_000, 100_000),
)
def test_whole_numbers_are_the_dates_that_cftime_gives(
    calendar: str, year: int, month: int, day: int, unit: str, number: int
) -> None:
    since = f"{year:04}-{month:02}-{day:02}"
    found = microseconds(number, f"{unit} since {since}", calendar)
    expected = cftime.num2date(
        number, f"{unit} since {since}", calendar, only_use_cftime_datetimes=True
    )
    zero = cftime.datetime(1970, 1, 1, calendar=calendar, has_year_zero=expected.has_year_zero)
    gap = expected - zero
    assert found == (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds


@pytest.mark.parametrize(
    ("units", "size"),
    [
        *((f"{unit} since 1970-01-01", size) for unit, size in UNITS.items()),
        ("msecs since 1970-01-01", 1_000),
        ("ms since 1970-01-01", 1_000),
        ("s since 1970-01-01", 1_000_000),
        ("min since 1970-01-01", 60_000_000),
        ("hrs since 1970-01-01", 3_600_000_000),
        ("D since 1970-01-01", DAY_US),
        ("  Days   Since 1970-01-01", DAY_US),
    ],
)
def test_a_unit_has_its_length(units: str, size: int) -> None:
    assert microseconds(7, units) == 7 * size


def test_a_common_year_and_a_month_have_a_length_in_one_calendar_only() -> None:
    for unit in ("common_year", "common_years"):
        assert microseconds(2, f"{unit} since 1970-01-01", "noleap") == 730 * DAY_US
    for unit in ("month", "months"):
        assert microseconds(2, f"{unit} since 1970-01-01", "360_day") == 60 * DAY_US
    for calendar in ("standard", "360_day"):
        with pytest.raises(ValueError, match="no fixed length"):
            microseconds(2, "common_years since 1970-01-01", calendar)
    with pytest.raises(ValueError, match="no fixed length"):
        microseconds(2, "months since 1970-01-01", "noleap")


def test_parts_of_a_unit_are_rounded_to_the_microsecond() -> None:
    assert microseconds(0.5, "days since 1970-01-01") == DAY_US // 2
    assert microseconds(-0.25, "days since 1970-01-01") == -DAY_US // 4
    assert microseconds(1.0000006, "seconds since 1970-01-01") == 1_000_001
    assert microseconds(1 / 3, "days since 1970-01-01") == DAY_US // 3


def test_far_days_keep_their_microseconds() -> None:
    """As a product in float64 this would be 16 microseconds off."""
    assert microseconds(1_000_000.1, "days since 1970-01-01") == (
        1_000_000 * DAY_US + round((1_000_000.1 - 1_000_000) * DAY_US)
    )


@pytest.mark.parametrize("kind", ["i4", "u4", "i8", "f4", "f8", ">i4", ">f8"])
def test_any_number_type_gives_the_same_times(kind: str) -> None:
    found = cf.to_microseconds(
        np.array([[0, 15], [31, 45]], kind), "days since 1970-01-01", "noleap"
    )
    assert found.dtype == np.int64
    assert (found // DAY_US).tolist() == [[0, 15], [31, 45]]


def test_nanoseconds_below_a_microsecond_are_cut_off() -> None:
    units = "nanoseconds since 1970-01-01"
    for kind in ("i8", "f8", "u8"):
        assert cf.to_microseconds(np.array([2999], kind), units, "standard").tolist() == [2]
    assert cf.to_microseconds(np.array([-1]), units, "standard").tolist() == [-1]


def test_dates_as_numbers_are_the_days_that_they_spell() -> None:
    assert microseconds(19700102.25, "day as %Y%m%d.%f") == DAY_US + DAY_US // 4
    assert microseconds(19700301, "day as %Y%m%d.%f", "360_day") == 60 * DAY_US
    assert cf.is_absolute(" day as %Y%m%d.%f ")
    assert not cf.is_absolute("days since 1970-01-01")


@pytest.mark.parametrize(
    ("numbers", "units", "calendar"),
    [
        ([np.nan], "days since 1970-01-01", "standard"),
        ([np.inf], "days since 1970-01-01", "standard"),
        ([1.0], "days", "standard"),
        ([1.0], "K", "standard"),
        ([1.0], "days since yesterday", "standard"),
        ([1.0], "days since 1970-02-30", "standard"),
        ([1.0], "days since 1970-01-01", "mayan"),
        ([1.0], "fortnights since 1970-01-01", "standard"),
        ([1e15], "days since 1970-01-01", "standard"),
        ([2.0**63], "nanoseconds since 1970-01-01", "standard"),
        ([19701301.0], "day as %Y%m%d.%f", "standard"),
    ],
)
def test_what_is_no_time_is_refused(numbers: list[float], units: str, calendar: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        cf.to_microseconds(np.array(numbers), units, calendar)


def test_text_is_no_time() -> None:
    with pytest.raises(ValueError, match="not finite numbers"):
        cf.to_microseconds(np.array([b"1"]), "days since 1970-01-01", "standard")


def test_a_reference_date_may_be_a_year_alone_in_the_real_calendars() -> None:
    assert microseconds(0, "days since 1971") == 365 * DAY_US
    assert microseconds(0, "days since 1971-2", "proleptic_gregorian") == 396 * DAY_US


def test_aliases_are_one_calendar() -> None:
    assert cf.calendar_of({"calendar": " Gregorian "}) == "standard"
    assert cf.calendar_of({"calendar": "365_day"}) == "noleap"
    assert cf.calendar_of({"calendar": "366_day"}) == "all_leap"
    assert cf.calendar_of({"calendar": "360_day"}) == "360_day"
    assert cf.calendar_of({}) == "standard"


def rebased(numbers: np.ndarray, units: str, target: str, **calendars: str) -> np.ndarray | None:
    return cf.rebase(
        numbers,
        {"units": units, "calendar": calendars.get("own", "standard")},
        {"units": target, "calendar": calendars.get("theirs", "standard")},
    )


@given(
    st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=5),
    st.sampled_from(["days", "hours", "seconds"]),
    st.sampled_from(["days", "hours", "minutes", "seconds"]),
    st.integers(1900, 2100),
    st.integers(1900, 2100),
)
def test_what_is_rebased_is_the_same_time_or_nothing(
    numbers: list[int], unit: str, other: str, year: int, target_year: int
) -> None:
    units = f"{unit} since {year}-01-01"
    target = f"{other} since {target_year}-01-01"
    found = rebased(np.array(numbers), units, target)
    if found is None:
        assert UNITS[other] > UNITS[unit]  # a part of the larger unit, which float64 rounds
        return
    assert np.array_equal(
        cf.to_microseconds(found, target, "standard"),
        cf.to_microseconds(np.array(numbers), units, "standard"),
    )


def test_whole_days_stay_whole_numbers() -> None:
    found = rebased(np.array([0, 15], "i4"), "days since 1850-01-01", "days since 1850-02-01")
    assert found is not None
    assert found.dtype == np.int32
    assert found.tolist() == [-31, -16]
    far = rebased(np.array([0], "i2"), "days since 1970-01-01", "days since 0001-01-01")
    assert far is not None
    assert far.dtype == np.int64  # int16 does not hold it
    assert far.tolist() == [719_164]


def test_numbers_of_one_reference_are_left_as_they_are() -> None:
    numbers = np.array([0.1, 0.2], "f4")
    assert rebased(numbers, "days since 1850-01-01", "days since 1850-1-1") is numbers


def test_a_time_that_the_target_cannot_say_to_the_microsecond_is_not_rebased() -> None:
    """A microsecond is less than float64 has room for, this many days away."""
    second = np.array([1_000_001])
    assert rebased(second, "microseconds since 2000-01-01", "days since 0001-01-01") is None
    assert rebased(second, "microseconds since 2000-01-01", "seconds since 2000-01-01") is not None


def test_reference_dates_before_1582_lie_two_days_apart_in_the_two_calendars() -> None:
    found = rebased(
        np.array([700_000]),
        "days since 0001-01-01",
        "days since 0001-01-01",
        own="standard",
        theirs="proleptic_gregorian",
    )
    assert found is not None
    assert found.tolist() == [699_998]


def test_standard_and_proleptic_are_one_calendar_from_1582_on() -> None:
    first_us = microseconds(0, "days since 1582-10-15")
    both = ["standard", "proleptic_gregorian"]
    assert cf.same_calendar(both, first_us)
    assert not cf.same_calendar(both, first_us - 1)
    assert cf.same_calendar(["noleap", "noleap"], -(10**18))
    assert not cf.same_calendar(["noleap", "360_day"], first_us)
    assert not cf.same_calendar([*both, "julian"], first_us)


@pytest.mark.parametrize("calendar", CALENDARS)
def test_a_date_is_told_to_the_second(calendar: str) -> None:
    units = "seconds since 1970-01-01"
    assert cf.date_text(microseconds(3661.9, units, calendar), calendar) == "1970-01-01T01:01:01"
    assert cf.date_text(microseconds(-1, units, calendar), calendar).endswith("T23:59:59")
    noon = microseconds(12, "hours since 2900-03-01", calendar)
    assert cf.date_text(noon, calendar) == "2900-03-01T12:00:00"


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("first_year", [1400, 1583, 1850])
def test_months_are_counted_as_cftime_counts_them(calendar: str, first_year: int) -> None:
    """Every 18 hours of 200 years: leap years, centuries and 1582 are among them."""
    units = f"hours since {first_year}-01-01"
    hours = np.arange(0, 200 * 365 * 24, 18.0)
    dates = cftime.num2date(hours, units, calendar, only_use_cftime_datetimes=True)
    months = [12 * (date.year - 1970) + date.month - 1 for date in dates]
    found = cf.months_of(cf.to_microseconds(hours, units, calendar), calendar)
    assert found.tolist() == months


def test_the_reference_date_is_what_follows_since() -> None:
    assert cf.reference_date("days SINCE 1850-01-01 00:00 ") == "1850-01-01 00:00"
    assert cf.reference_date("K") == ""


def test_nanoseconds_count_from_their_reference_date() -> None:
    found = cf.to_microseconds(np.array([2000, -1000]), "nanoseconds since 2000-01-01", "standard")
    day = cf.to_microseconds(np.array([0]), "days since 2000-01-01", "standard")
    assert (found - day).tolist() == [2, -1]


def test_a_year_alone_is_said_to_be_no_date_where_xarray_does_not_read_it() -> None:
    assert microseconds(0, "days since 1970") == 0
    with pytest.raises(ValueError, match="must have year, month and day"):
        microseconds(0, "days since 1970", "360_day")


@pytest.mark.parametrize(
    "date", ["18501", "185001", "1850011", "185001-01", "1850-0101", "1850/0101", "1850-101"]
)
def test_a_date_that_xarray_does_not_part_into_year_month_and_day_is_refused(date: str) -> None:
    units = {"units": f"days since {date}", "calendar": "standard"}
    with pytest.raises(ValueError, match="unable to decode time units"):
        xarray.decode_cf(xarray.Dataset({"time": ("time", [15.0], units)}))
    with pytest.raises(ValueError, match="is not a date of the calendar"):
        microseconds(15.0, units["units"])


@pytest.mark.parametrize("date", ["1850", "1850-", "1850-1", "1850/01", "1850/1/1", "18500101"])
def test_a_date_that_xarray_parts_is_the_same_date(date: str) -> None:
    units = {"units": f"days since {date}", "calendar": "standard"}
    shown = xarray.decode_cf(xarray.Dataset({"time": ("time", [15.0], units)})).time.values[0]
    assert cf.date_text(microseconds(15.0, units["units"]), "standard") == str(shown)[:19]


@pytest.mark.parametrize(
    ("values", "attrs", "days"),
    [
        ([0.0, 1.5], {}, [0, 1.5]),
        ([0.0, np.nan, 2.0], {}, [0, None, 2]),
        ([1.0, -1.0, 3.0], {"_FillValue": -1.0}, [1, None, 3]),
        (
            [1, 2, 3],
            {"missing_value": 2, "scale_factor": 0.5, "add_offset": 10.0},
            [10.5, None, 11.5],
        ),
        ([[0.0, 1.0], [1.0, 2.0]], {}, [[0, 1], [1, 2]]),
        ([], {}, []),
    ],
)
def test_stored_dates_are_unpacked_and_missing_ones_have_no_date(
    values: list[float], attrs: dict[str, object], days: list[float | None]
) -> None:
    found = cf.dates_of(np.array(values), attrs, {"units": "days since 1970-01-01"})
    expected = np.array(days, "f8")
    missing = np.isnan(expected)
    assert (found == cf.NO_DATE).tolist() == missing.tolist()
    assert found[~missing].tolist() == (expected[~missing] * 86_400_000_000).tolist()


@pytest.mark.parametrize("units", [None, 1, "K", "days since"])
def test_dates_without_units_of_time_are_refused(units: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        cf.dates_of(np.array([1.0]), {}, {"units": units})


@pytest.mark.parametrize("year", ["0001", "0850", "2000"])
def test_years_are_told_with_four_digits(year: str) -> None:
    zero = cf.to_microseconds(np.array([0.0]), f"days since {year}-01-01", "proleptic_gregorian")
    assert cf.date_text(int(zero[0]), "proleptic_gregorian") == f"{year}-01-01T00:00:00"
