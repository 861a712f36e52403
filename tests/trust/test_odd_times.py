"""Times that stock xarray decodes, and that no rule of order or unit stands against."""

from __future__ import annotations

import base64
from pathlib import Path

import netCDF4
import numpy as np
import orjson
import pytest
import xarray

from esgvzarr import RefusedError
from esgvzarr.testing import DEFECTS, FileSpec, oddities, write_files
from esgvzarr.testing.datasets import Extra

from . import oracle


def _served(specs: list[FileSpec], directory: Path) -> tuple[xarray.Dataset, list[Path]]:
    """What stock readers get, after the proof."""
    paths = write_files(directory, specs)
    _, document = oracle.make(paths)
    report = oracle.proof(document, paths)
    assert report.passed, report.failures
    return oracle.shown(document), paths


@pytest.mark.parametrize(
    "units", [f"days since {date}" for date in ("1850", "1850-1", "18500101", "1850/01/01")]
)
def test_a_reference_date_is_read_as_xarray_reads_it(units: str, tmp_path: Path) -> None:
    specs = [FileSpec(start=12 * n, extra=(oddities.change("time", units=units),)) for n in (0, 1)]
    shown, paths = _served(specs, tmp_path)
    files = [xarray.open_dataset(path, engine="netcdf4")["time"].values for path in paths]
    assert np.array_equal(shown["time"], np.concatenate(files))
    assert shown["time"].dtype.kind == "M"


@pytest.mark.parametrize("extra", [oddities.turn_time_back])
def test_one_file_needs_no_order(extra: Extra, tmp_path: Path) -> None:
    shown, (path,) = _served([FileSpec(extra=(extra,))], tmp_path)
    with xarray.open_dataset(path, engine="netcdf4") as file:
        assert shown["time"].values.tolist() == file["time"].values.tolist()
        assert np.array_equal(shown["tas"], file["tas"])


def test_units_are_known_by_any_case(tmp_path: Path) -> None:
    specs = [FileSpec(), FileSpec(start=12, units="Days Since 1851-01-01")]
    shown, _ = _served(specs, tmp_path)
    assert str(shown["time"].values[12])[:7] == "1851-01"


def test_nanoseconds_are_put_into_order(tmp_path: Path) -> None:
    def count(first: int) -> Extra:
        units = {"units": "nanoseconds since 1970-01-01", "calendar": "standard"}
        return oddities.number_time(np.arange(12) * 1000 + first, **units)

    specs = [
        FileSpec(name=f"{n}.nc", start=12 * n, time_dtype="i8", extra=(count(10**18 * (2 - n)),))
        for n in (0, 1)
    ]
    shown, _ = _served(specs, tmp_path)
    assert (np.diff(shown["time"].values) > np.timedelta64(0)).all()


def test_what_xarray_does_not_decode_is_refused_by_that_alone(tmp_path: Path) -> None:
    weeks = oddities.change("time", units="weeks since 1850-01-01")
    paths = write_files(tmp_path, [FileSpec(extra=(weeks,))])
    with pytest.raises(RefusedError) as refused:
        oracle.make(paths)
    assert [finding.code for finding in refused.value.findings] == ["time-invalid"]


@pytest.mark.parametrize("name", ["bounds_unnamed", "dates_with_own_units"])
def test_the_proof_finds_dates_that_kept_their_files_reference(name: str, tmp_path: Path) -> None:
    """The references of files that agree, shown for files that do not."""
    mixed = DEFECTS[name].make(tmp_path)
    _, right = oracle.make(mixed)
    assert oracle.proof(right, mixed).passed
    variable = "time_bnds" if name == "bounds_unnamed" else "average_T1"
    wrong = _with_the_files_numbers(right, variable, mixed)
    assert any(variable in check.subject for check in oracle.proof(wrong, mixed).failures)


def _with_the_files_numbers(document: bytes, variable: str, paths: list[Path]) -> bytes:
    """References in which a variable keeps the numbers of its files."""
    parsed = orjson.loads(document)
    numbers = []
    for path in paths:
        with netCDF4.Dataset(path) as file:
            numbers.append(np.asarray(file[variable][:], "<f8"))
    data = np.concatenate(numbers).tobytes()
    for key in [
        key for key in parsed["refs"] if key.startswith(f"{variable}/") and "/." not in key
    ]:
        del parsed["refs"][key]
    shape = orjson.loads(parsed["refs"][f"{variable}/.zarray"])
    shape["chunks"] = shape["shape"]
    parsed["refs"][f"{variable}/.zarray"] = orjson.dumps(shape).decode()
    text = "base64:" + base64.b64encode(data).decode()
    parsed["refs"][f"{variable}/{'.'.join(['0'] * len(shape['shape']))}"] = text
    return orjson.dumps(parsed)
