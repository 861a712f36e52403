"""Which variable is what, by names, attributes, shapes and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from esgvzarr import cf

from . import named, variable

DAYS = {"units": "days since 1850-01-01", "calendar": "noleap"}
TIME = variable("time", ("time",), [15.0, 45.0], attrs={**DAYS, "bounds": "time_bnds"})
BOUNDS = variable("time_bnds", ("time", "bnds"), [[0.0, 31.0], [31.0, 59.0]])


def test_time_is_told_by_its_units() -> None:
    assert cf.is_time(TIME)
    assert cf.is_time(variable("t", attrs={"units": "day as %Y%m%d.%f"}))
    assert not cf.is_time(variable("lat", attrs={"units": "degrees_north"}))
    assert not cf.is_time(variable("odd", attrs={"units": 1}))
    assert cf.text_of({"units": 1}, "units") == ""


def test_the_time_coordinate_is_chosen_by_standard_name_then_axis_then_name() -> None:
    plain = variable("a", ("a",), attrs=DAYS)
    called = variable("time", ("time",), attrs=DAYS)
    axis = variable("b", ("b",), attrs={**DAYS, "axis": "T"})
    standard = variable("c", ("c",), attrs={**DAYS, "standard_name": "time"})
    assert cf.time_name(named(plain, called, axis, standard)) == "c"
    assert cf.time_name(named(plain, called, axis)) == "b"
    assert cf.time_name(named(plain, called)) == "time"
    assert cf.time_name(named(plain)) == "a"
    assert cf.time_name(named(variable("time", (), attrs=DAYS))) is None
    assert cf.time_name(named(variable("time", ("t",), attrs=DAYS))) is None


def test_companions_are_what_time_names_and_the_file_has() -> None:
    time = variable("time", ("time",), attrs={**DAYS, "bounds": "b", "climatology": "gone"})
    assert cf.time_companions(named(time, variable("b", ("time", "bnds"))), "time") == ("b",)


def test_dates_are_time_first_then_companions_then_what_has_units_of_time() -> None:
    reference = variable("leadtime", ("time",), attrs={"units": "days since 1900-01-01"})
    scalar = variable("reference", (), attrs=DAYS)
    text = variable("label", ("time",), attrs=DAYS, dtype="S1")
    found = cf.dates_along(named(reference, scalar, text, BOUNDS, TIME), "time")
    assert found == ("time", "time_bnds", "leadtime")


@pytest.mark.parametrize(
    ("name", "dims", "shape", "attrs", "dtype", "is_found"),
    [
        ("bnds", ("time", "n"), (2, 2), {}, "f8", True),
        ("step", ("time",), (2,), {}, "i4", True),
        ("bnds", ("time", "n"), (2, 3), {}, "f8", False),
        ("bnds", ("n", "time"), (2, 2), {}, "f8", False),
        ("bnds", ("time", "n"), (2, 2), {"units": "1"}, "f8", False),
        ("bnds", ("time", "n"), (2, 2), {}, "S1", False),
        ("time_bnds", ("time", "n"), (2, 2), {}, "f8", False),
    ],
)
def test_unnamed_bounds_are_numbers_without_units_one_or_two_a_step(
    name: str,
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    attrs: dict[str, str],
    dtype: str,
    is_found: bool,
) -> None:
    one = variable(name, dims, attrs=attrs, dtype=dtype, shape=shape)
    assert cf.unnamed_bounds(named(TIME, one), "time") == ((name,) if is_found else ())


def test_bounds_stay_within_two_steps_of_time() -> None:
    times = np.array([0, 10, 20])
    near = [[-20, 0], [0, 30], [0, 40]]
    assert cf.tracks_time(variable("b", ("time", "n"), near), times)
    assert cf.tracks_time(variable("b", ("time",), [1, 11, 21]), times)
    assert not cf.tracks_time(variable("b", ("time", "n"), [[-21, 0], *near[1:]]), times)
    assert not cf.tracks_time(variable("b", ("time", "n"), [[np.nan, 0], *near[1:]]), times)
    assert not cf.tracks_time(variable("b", ("time", "n"), None), times)
    assert not cf.tracks_time(variable("b", ("time",), []), np.empty(0))
    assert cf.tracks_time(variable("b", ("time",), [2, -1]), times[:2] / 10)
    assert not cf.tracks_time(variable("b", ("time",), [2.5, -1]), times[:2] / 10)


def test_bounds_of_one_step_stay_within_two_months() -> None:
    assert cf.tracks_time(variable("b", ("time", "n"), [[0, 62]]), np.array([0]))
    assert not cf.tracks_time(variable("b", ("time", "n"), [[0, 63]]), np.array([0]))


def test_bounds_are_told_by_name_and_shape() -> None:
    for name in ("time_bnds", "Time_BOUNDS", "edges"):
        assert cf.named_as_bounds(variable(name, ("time", "n")))
        assert not cf.named_as_bounds(variable(name, ("time",)))
    assert not cf.named_as_bounds(variable("tas", ("time", "n")))


def test_coordinates_are_what_variables_name_and_dimensions() -> None:
    tas = variable(
        "tas",
        ("time", "x"),
        attrs={
            "coordinates": "lat height",
            "grid_mapping": "crs: x",
            "ancillary_variables": "flag",
            "formula_terms": "a: ap b: bp",
            "bounds": 7,
        },
    )
    others = ("lat", "height", "crs", "flag", "ap", "bp", "a", "b", "pr")
    variables = named(TIME, BOUNDS, tas, variable("x", ("x",)), *map(variable, others))
    expected = {"time", "time_bnds", "x", "lat", "height", "crs", "flag", "ap", "bp"}
    assert cf.coordinate_names(variables) == expected


def test_data_is_what_changes_with_time_and_describes_nothing() -> None:
    tas = variable("tas", ("time", "x"), attrs={"coordinates": "height"})
    fixed = variable("orog", ("x",))
    text = variable("label", ("time",), dtype="O")
    scalar = variable("height", ())
    lone = variable("crs", ())
    variables = named(TIME, BOUNDS, tas, fixed, text, scalar, lone)
    assert cf.data_names(variables, "time") == {"tas"}
    assert cf.data_names(variables, None) == {"tas", "orog"}


def test_bounds_have_the_units_of_time_and_other_dates_their_own() -> None:
    own = variable("start", ("time",), attrs={"units": "hours since 1900-01-01"})
    plain = variable("middle", ("time",))
    variables = named(TIME, BOUNDS, own, plain)
    assert cf.companion_attrs(variables, "time", "time") == DAYS
    assert cf.companion_attrs(variables, "time_bnds", "time") == DAYS
    assert cf.companion_attrs(variables, "gone", "time") == DAYS
    assert cf.companion_attrs(variables, "middle", "time") == DAYS
    assert cf.companion_attrs(variables, "start", "time") == {"units": "hours since 1900-01-01"}


def test_bounds_that_state_other_units_have_them_in_the_calendar_of_time() -> None:
    bounds = variable("time_bnds", ("time", "n"), attrs={"units": "days since 1900-01-01"})
    found = cf.companion_attrs(named(TIME, bounds), "time_bnds", "time")
    assert found == {"units": "days since 1900-01-01", "calendar": "noleap"}


def test_files_that_state_time_in_one_way_have_one_reference() -> None:
    alias = variable("time", ("time",), attrs={**DAYS, "calendar": "365_day"})
    other = variable("time", ("time",), attrs={**DAYS, "units": "days since 1851-01-01"})
    assert cf.time_references([named(TIME), named(alias)], "time", "time") == {
        ("days since 1850-01-01", "noleap")
    }
    assert len(cf.time_references([named(TIME), named(other)], "time", "time")) == 2
