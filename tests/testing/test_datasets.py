"""The makers write what they claim: netCDF4 and h5py read it back."""

from dataclasses import replace
from pathlib import Path

import cftime
import h5py
import netCDF4
import numpy as np
import pytest

from esgvzarr.testing import FileSpec, specs_of, values_of, write_file, write_monthly


def test_files_follow_each_other_in_time(tmp_path: Path) -> None:
    files = write_monthly(tmp_path, lengths=(12, 24, 5))
    assert [file.name[-16:-3] for file in files] == [
        "185001-185012",
        "185101-185212",
        "185301-185305",
    ]
    edges = []
    for file in files:
        with netCDF4.Dataset(file) as dataset:
            bounds = dataset["time_bnds"][:]
            edges += [bounds[0, 0], bounds[-1, 1]]
            assert np.array_equal(dataset["time"][:], bounds.mean(axis=1))
    assert edges[1:-1:2] == edges[2::2]
    assert edges[-1] == cftime.date2num(cftime.datetime(1853, 6, 1), "days since 1850-01-01")


def test_a_file_has_what_cmip_files_have(tmp_path: Path) -> None:
    (path,) = write_monthly(tmp_path, lengths=(12,))
    with netCDF4.Dataset(path) as dataset:
        assert set(dataset.variables) == {
            "time",
            "time_bnds",
            "lat",
            "lat_bnds",
            "lon",
            "lon_bnds",
            "height",
            "tas",
        }
        assert dataset["tas"].dimensions == ("time", "lat", "lon")
        assert dataset["height"].dimensions == ()
        assert dataset.dimensions["time"].isunlimited()
        assert dataset.mip_era == "CMIP6"
        assert dataset.tracking_id.startswith("hdl:21.14100/")


def test_tracking_ids_differ_and_equal_specs_give_equal_values(tmp_path: Path) -> None:
    first, second = (write_monthly(tmp_path / name, lengths=(3, 3)) for name in ("a", "b"))
    identifiers = []
    for one, other in zip(first, second, strict=True):
        with netCDF4.Dataset(one) as a, netCDF4.Dataset(other) as b:
            assert a.tracking_id == b.tracking_id
            assert np.array_equal(a["tas"][:], b["tas"][:])
            identifiers.append(a.tracking_id)
    assert identifiers[0] != identifiers[1]


def test_a_month_has_the_same_values_in_every_file() -> None:
    assert np.array_equal(
        values_of(FileSpec(months=18))[12:], values_of(FileSpec(start=12, months=6))
    )
    assert not np.array_equal(values_of(FileSpec()), values_of(FileSpec(seed=1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "NETCDF3_CLASSIC"},
        {"format": "NETCDF3_64BIT_OFFSET", "unlimited": False},
        {"format": "NETCDF3_64BIT_DATA"},
        {"dtype": ">f4", "chunks": (1, 4, 6)},
        {"compression": "zlib", "shuffle": True, "fletcher32": True, "chunks": (5, 2, 6)},
        {"compression": "zstd"},
        {"compression": "bzip2"},
        {"compression": "szip"},
        {"fill_value": None},
        {"fill_value": False},
        {"units": "hours since 1949-12-01 00:00:00", "calendar": "360_day"},
    ],
    ids=str,
)
def test_values_survive_every_way_of_storing(tmp_path: Path, changes: dict[str, object]) -> None:
    spec = replace(FileSpec(), **changes)
    with netCDF4.Dataset(write_file(tmp_path, spec)) as dataset:
        assert dataset.data_model == spec.format
        assert np.array_equal(dataset["tas"][:], values_of(spec).astype("f4"))
        assert dataset["time"].units == spec.units
        first = cftime.num2date(dataset["time_bnds"][0, 0], spec.units, spec.calendar)
        assert (first.year, first.month, first.day) == (1850, 1, 1)


def test_filters_and_chunks_are_those_of_the_spec(tmp_path: Path) -> None:
    spec = FileSpec(
        compression="zlib", level=7, shuffle=True, fletcher32=True, chunks=(5, 2, 6), time_chunk=3
    )
    with netCDF4.Dataset(write_file(tmp_path, spec)) as dataset:
        filters = dataset["tas"].filters()
        assert (
            filters["zlib"],
            filters["complevel"],
            filters["shuffle"],
            filters["fletcher32"],
        ) == (True, 7, True, True)
        assert dataset["tas"].chunking() == [5, 2, 6]
        assert dataset["time"].chunking() == [3]


def test_unwritten_steps_have_no_chunks(tmp_path: Path) -> None:
    with h5py.File(write_file(tmp_path, FileSpec(chunks=(1, 4, 6), unwritten=(3, 7)))) as file:
        assert file["tas"].id.get_num_chunks() == 10


def test_packed_values_are_integers_with_scale_and_offset(tmp_path: Path) -> None:
    spec = FileSpec(dtype="i2", fill_value=-32768, scale_offset=(0.01, 273.0))
    with netCDF4.Dataset(write_file(tmp_path, spec)) as dataset:
        assert dataset["tas"].dtype == np.dtype("i2")
        assert dataset["tas"]._FillValue == -32768
        assert np.abs(dataset["tas"][:] - values_of(spec)).max() <= 0.0051


def test_specs_take_changes_for_all_files() -> None:
    assert [spec.height for spec in specs_of((1, 1), height=10.0)] == [10.0, 10.0]
