"""Time, and other dates along it, in one unit over all files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from esgvzarr.combine import combine
from esgvzarr.combine.times import common_references
from esgvzarr.errors import FormatError
from esgvzarr.model import Array, FileReferences, Series, Variable

from .in_memory import DAYS, file, variable

YEAR_LATER = {"units": "days since 2001-01-01"}
DAY = 86_400_000_000


def of(number: int, days: Any, *more: Variable, **attrs: Any) -> FileReferences:
    """A file of data at some days."""
    time = variable("time", "time", days, **{**DAYS, **attrs})
    data = variable("tas", "time", np.zeros(len(days), "f4"))
    return file(time, data, *more, number=number)


def timed(*files: FileReferences, dates: tuple[str, ...] = ("time",)) -> Series:
    """Files in their order; the times themselves play no part here."""
    steps = [file.variables["time"].shape[0] for file in files]
    begins = np.cumsum([0, *steps[:-1]])
    times = [begin * DAY + np.arange(n) * DAY for begin, n in zip(begins, steps, strict=True)]
    return Series(files, "time", tuple(times), dates=dates)


def array_of(series: Series, name: str) -> tuple[Array, np.ndarray]:
    """An array that the references hold whole, and its numbers."""
    (group,) = combine(series, "CMIP6.a.v1").groups
    (found,) = (one for one in group.arrays if one.name == name)
    (data,) = found.inline.values()
    return found, np.frombuffer(data, found.dtype).reshape(found.shape)


def test_times_of_one_unit_stay_as_they_are_stored() -> None:
    array, numbers = array_of(timed(of(1, [0.0, 1.0]), of(2, [2.0])), "time")
    assert numbers.tolist() == [0.0, 1.0, 2.0]
    assert array.attrs == DAYS


def test_times_of_several_units_are_told_in_that_of_the_first_file() -> None:
    array, numbers = array_of(timed(of(1, [364.0]), of(2, [0.0, 1.5], **YEAR_LATER)), "time")
    assert numbers.tolist() == [364.0, 365.0, 366.5]
    assert array.attrs == DAYS


def test_bounds_are_told_in_the_unit_of_time() -> None:
    edges = [variable("edges", "time nv", [[at, at + 1]]) for at in (364.0, 0.0)]
    files = [
        of(1, [364.5], edges[0], bounds="edges"),
        of(2, [0.5], edges[1], bounds="edges", **YEAR_LATER),
    ]
    _, numbers = array_of(timed(*files, dates=("time", "edges")), "edges")
    assert numbers.tolist() == [[364.0, 365.0], [365.0, 366.0]]


def test_dates_of_units_of_their_own_are_brought_together_by_themselves() -> None:
    issued = [variable("issued", "time", [0.0], **{**DAYS, **own}) for own in ({}, YEAR_LATER)]
    files = [of(1, [10.0], issued[0]), of(2, [20.0], issued[1])]
    series = timed(*files, dates=("time", "issued"))
    assert common_references(series).keys() == {"issued"}
    _, numbers = array_of(series, "issued")
    assert numbers.tolist() == [0.0, 365.0]
    assert array_of(series, "time")[1].tolist() == [10.0, 20.0]


def test_where_no_file_has_a_unit_that_suits_all_it_is_a_smaller_one_of_the_first_file() -> None:
    """So far from the reference date, double precision does not hold a third of a day."""
    first = of(1, np.array([730_000]), units="days since 0001-01-01")
    second = of(2, np.array([730_001]), units="days since 0001-01-01 08:00:00")
    array, numbers = array_of(timed(first, second), "time")
    assert array.attrs["units"] == "hours since 0001-01-01"
    assert numbers.tolist() == [730_000 * 24, 730_001 * 24 + 8]


def test_what_no_unit_can_tell_to_the_microsecond_is_refused() -> None:
    odd = np.sqrt([2, 3, 5, 7, 11, 13])
    first = of(1, 730_000 + odd, units="days since 0001-01-01")
    second = of(2, 730_005 * 24 + odd, units="hours since 0001-01-01 07:00:00")
    with pytest.raises(FormatError) as caught:
        common_references(timed(first, second))
    assert caught.value.code == "time-not-representable"


def test_a_unit_that_cannot_be_decoded_is_refused_by_its_code() -> None:
    odd = of(2, [0.0], units="fortnights since 2000-01-01")
    with pytest.raises(FormatError) as caught:
        common_references(timed(of(1, [0.0]), odd))
    assert caught.value.code == "time-not-representable"


@pytest.mark.parametrize(
    ("fills", "moved", "kept"),
    [
        ((None, None), False, None),
        ((1e20, 1e20), False, 1e20),
        ((1e20, None), False, None),
        ((1e20, -1.0), False, None),
        ((1e20, 1e20), True, None),  # it is a number of the unit that was
    ],
)
def test_a_fill_value_of_time_is_kept_where_all_files_state_it_in_one_unit(
    fills: tuple[Any, Any], moved: bool, kept: Any
) -> None:
    units = YEAR_LATER if moved else {}
    files = [of(1, [364.0], _FillValue=fills[0]), of(2, [365.0], _FillValue=fills[1], **units)]
    array, _ = array_of(timed(*files), "time")
    assert array.fill_value == kept
    assert "valid_max" not in array.attrs


def test_limits_in_units_that_were_are_not_shown() -> None:
    limits = {"valid_min": 0.0, "valid_range": [0.0, 9e9], "long_name": "time"}
    files = [of(1, [364.0], **limits), of(2, [0.0], **limits, **YEAR_LATER)]
    assert array_of(timed(*files), "time")[0].attrs == {**DAYS, "long_name": "time"}
    same = [of(1, [364.0], **limits), of(2, [365.0], **limits)]
    assert array_of(timed(*same), "time")[0].attrs.keys() == {*DAYS, *limits}


def test_without_time_nothing_is_moved() -> None:
    assert common_references(Series((file(variable("lat", "lat", [1.0])),), None, ())) == {}


@pytest.mark.parametrize(
    ("kilobytes", "dims", "inlined"),
    [(40, "x", True), (70, "x", False), (70, "time nv", True), (5000, "time nv", False)],
)
def test_what_is_no_data_is_copied_where_it_is_small(
    kilobytes: int, dims: str, inlined: bool
) -> None:
    """64 KiB of what is fixed, and over all files 8 MiB of what changes with time."""
    count = kilobytes * 128
    shape = (2, count // 2) if dims.startswith("time") else (count,)
    files = [
        of(number, [2.0 * number, 2.0 * number + 1], variable("extra", dims, np.zeros(shape)))
        for number in range(2)
    ]
    for one in files:
        one.variables["tas"].attrs["coordinates"] = "extra"  # type: ignore[index]
    (group,) = combine(timed(*files), "CMIP6.a.v1").groups
    (extra,) = (array for array in group.arrays if array.name == "extra")
    assert bool(extra.inline) is inlined
