"""A file beside the groups that show it, before any data are read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray

from esgvzarr.proof.dates import date_names
from esgvzarr.proof.pair import (
    Pair,
    check_places,
    check_structure,
    check_variable,
    count_chunks,
    find_places,
)
from esgvzarr.proof.reference_side import ShownGroup

from .in_memory import FILE, dataset, group, references


def groups(*days: list[float]) -> list[ShownGroup]:
    return [group(dataset(some), f"seg-{number:03}") for number, some in enumerate(days)]


def places(shown: list[ShownGroup], days: list[float]) -> list[tuple[str, int, int, int]]:
    times = group(dataset(days)).times
    return [(one.group.path, one.first, one.begin, one.count) for one in find_places(shown, times)]


@pytest.mark.parametrize(
    ("shown", "days", "expected"),
    [
        ([[1, 2, 3]], [1, 2, 3], [("seg-000", 0, 0, 3)]),
        ([[1, 2, 3, 4]], [2, 3], [("seg-000", 0, 1, 2)]),
        ([[1, 2], [3, 4]], [2, 3, 4], [("seg-000", 0, 1, 1), ("seg-001", 1, 0, 2)]),
        ([[1, 3, 2, 4]], [1, 2], [("seg-000", 0, 0, 1), ("seg-000", 1, 2, 1)]),
        ([[1, 2, 1, 2, 3]], [1, 2, 3], [("seg-000", 0, 2, 3)]),  # the longest stretch
        ([[1], [1, 2]], [1, 2], [("seg-001", 0, 0, 2)]),
        ([[1, 2, 3]], [3, 4], []),
        ([[1, 2, 3]], [4], []),
        ([[2, 1]], [1, 2], [("seg-000", 0, 1, 1), ("seg-000", 1, 0, 1)]),
        ([], [1], []),
    ],
)
def test_the_steps_of_a_file_are_found_as_stretches_of_groups(
    shown: list[list[float]], days: list[float], expected: list[Any]
) -> None:
    assert places(groups(*shown), days) == expected


def test_fixed_fields_are_shown_by_the_first_group_without_time() -> None:
    none = np.empty(0, np.int64)
    fixed = group(dataset([1.0]).drop_vars(["tas", "time"]), "fixed")
    (found,) = find_places([*groups([1.0]), fixed, fixed], none)
    assert (found.group.path, found.count) == ("fixed", 0)
    assert find_places(groups([1.0]), none) == []


def test_a_file_whose_steps_lie_in_too_many_stretches_is_not_shown_in_their_order() -> None:
    days = list(range(2200))
    turned = [*days[::2], *days[1::2]]
    assert places(groups(turned), days) == []
    assert len(places(groups(turned[:200] + turned[1100:1300]), days[:400])) == 400


def test_where_a_file_is_shown_is_told() -> None:
    shown = groups([1, 2], [3])
    found = find_places(shown, group(dataset([2, 3])).times)
    check = check_places(FILE, found, 2, timed=True)
    assert check.passed
    assert check.detail == "2 steps, from step 1 of /seg-000, from step 0 of /seg-001"
    assert check_places(FILE, found, 0, timed=False).detail == "fixed fields"
    assert not check_places(FILE, [], 2, timed=True).passed


def pair(truth: xarray.Dataset, shown: xarray.Dataset, number: int = 0) -> Pair:
    """A file and the group that shows all its steps, or the stretch with this number."""
    there = group(shown)
    times = group(truth).times
    place = find_places([there], times)[number]
    return Pair(FILE, truth, place, "time", *date_names(truth, shown, "time"))


def changed(**more: Any) -> xarray.Dataset:
    return dataset([1, 2, 3]).assign(more)


@pytest.mark.parametrize(
    ("file", "shown", "failed"),
    [
        (changed(), changed(), []),
        (changed(), changed().drop_vars("lat"), ["variables"]),
        (changed().drop_vars("lat"), changed(), ["variables"]),
        (changed(), changed(tas=changed().tas.T), ["dimensions"]),
        (changed(), changed(tas=changed().tas.astype("f8")), ["type"]),
        (changed(), changed(tas=changed().tas.astype(">f4")), []),
        (changed(), changed(tas=changed().tas.assign_attrs(units="degC")), ["attributes"]),
        (changed(), changed(lat=changed().lat.astype("f4")), []),  # all files are asked in the end
        (changed(), changed(lat=changed().lat.assign_attrs(units="1")), []),
        (changed(), changed(lat=("lat", list("abcd"))), ["type"]),
        (changed(), changed(time=changed().time.astype("i4")), []),  # compared as dates
    ],
)
def test_the_structure_that_is_shown_is_that_of_the_file(
    file: xarray.Dataset, shown: xarray.Dataset, failed: list[str]
) -> None:
    checks = list(check_structure(pair(file, shown)))
    assert checks[0].name == "variables"
    assert [check.name for check in checks if not check.passed] == failed


def judged(one: Pair, name: str) -> tuple[list[bool], list[Any], list[Any]]:
    """Whether the checks of a variable passed, and what is noted for the end."""
    fixed: list[tuple[str, str]] = []
    types: list[tuple[str, bool]] = []
    checks = check_variable(one, name, fixed, types)
    return [check.passed for check in checks], fixed, types


def test_times_are_compared_as_dates_and_fixed_fields_as_numbers() -> None:
    file = changed()
    for shown, near, alike in (
        (file, "equal", True),
        (changed(lat=file.lat.astype("f4")), "equal", False),
        (changed(lat=file.lat.copy(data=file.lat + 1e-9)), "rounding", True),
        (changed(lat=file.lat.copy(data=file.lat + 1)), "different", True),
    ):
        one = pair(file, shown)
        assert judged(one, "time") == ([True], [], [])
        assert judged(one, "lat") == ([], [("lat", near)], [("lat", alike)])
        assert judged(one, "tas") == ([], [], [])  # data: its chunks are compared


def test_what_may_be_dates_is_no_proof() -> None:
    """Time is shown by another reference date, and numbers beside it are not called bounds."""
    file = changed(beside=("time", np.array([1.0, 2.0, 3.0])))
    moved = dataset([366, 367, 368], units="days since 1999-01-01")
    shown = moved.assign(beside=file.beside.variable)
    assert judged(pair(file, shown), "beside")[0] == [False]
    assert judged(pair(file, file), "beside")[0] == []


def test_a_date_that_does_not_change_is_shown_in_its_calendar() -> None:
    def issued(calendar: str) -> xarray.Dataset:
        attrs = {"units": "days since 2000-01-01", "calendar": calendar}
        return changed(issued=((), 100.0, attrs))

    assert judged(pair(issued("noleap"), issued("standard")), "issued")[0] == [False]
    assert judged(pair(issued("noleap"), issued("365_day")), "issued")[0] == []


def test_only_a_stretch_of_the_file_is_compared_where_only_that_is_shown() -> None:
    file = dataset([1, 2, 3])
    one = pair(file, dataset([2, 3, 1]), number=1)
    assert (one.steps, one.shown_steps) == (slice(1, 3), slice(0, 2))
    assert judged(one, "time")[0] == [True]
    assert one.shown_box("tas", (slice(1, 2), slice(0, 4))) == (slice(0, 1), slice(0, 4))


def test_chunks_are_counted_once_for_a_group_that_shows_several_stretches() -> None:
    file = dataset([1, 2, 3, 4])
    shown = dataset([3, 4, 1, 2])
    there = group(shown, chunks=(1, 4))
    stretches = find_places([there], group(file).times)
    pairs = [Pair(FILE, file, place, "time", ("time",)) for place in stretches]
    stated = references({"tas": [(0, 0), (1, 0), (2, 0)]}, {"tas": [(3, 0)]}, size=16)
    counts = count_chunks(pairs, "tas", stated, {"tas": (4, 64, True)})
    assert (counts.found, counts.size, counts.inline, counts.copied) == (3, 48, 1, 16)
    assert (counts.shape, counts.axis, counts.itemsize) == ((4, 4), 0, 4)
    assert counts.stored == (4, 64, True)
    fixed = count_chunks(pairs[:1], "lat", references(None, {"lat": [(0,)]}), {})
    assert (fixed.found, fixed.inline, fixed.axis, fixed.stored) == (0, 1, None, None)
