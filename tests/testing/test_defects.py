"""Every defect is on disk as its name says."""

from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest

from esgvzarr.testing import DEFECTS

CODES = {
    "attribute-invalid",
    "dataset-id-differs",
    "dataset-mixed",
    "file-type-unsupported",
    "time-not-increasing",
    "equal",
    "calendar-differs",
    "coordinate-differs",
    "dimension-differs",
    "file-fill-invalid",
    "file-filter-mask",
    "file-groups",
    "file-layout-unsupported",
    "file-name-invalid",
    "file-no-variables",
    "file-not-netcdf",
    "file-unwritten",
    "file-truncated",
    "file-unreadable",
    "filter-unsupported",
    "time-invalid",
    "time-overlap",
    "units-differ",
    "variable-missing",
}


def test_all_rules_have_a_defect_but_the_one_of_later_change() -> None:
    """Rules 32, 34 to 36 and 40 are of files, as those before; 28 is of a later change."""
    expected = {*range(32), 32, 34, 35, 36, 40} - {28}
    assert {defect.rule for defect in DEFECTS.values()} == expected


def test_outcomes_are_stable_codes_and_all_are_met() -> None:
    assert {defect.outcome for defect in DEFECTS.values()} == CODES


@pytest.mark.parametrize(
    "name", [name for name, defect in DEFECTS.items() if defect.outcome == "equal"]
)
def test_what_shall_be_equal_is_read_whole_by_netcdf4(name: str, tmp_path: Path) -> None:
    for path in DEFECTS[name].make(tmp_path):
        with netCDF4.Dataset(path) as dataset:
            dataset.set_auto_chartostring(False)
            assert "time" in dataset.variables
            for variable in dataset.variables.values():
                assert variable[...].shape == tuple(
                    len(dataset.dimensions[dim]) for dim in variable.dimensions
                )


@pytest.mark.parametrize(
    "name", ["truncated", "truncated_netcdf3", "html_page", "empty_file", "broken_header"]
)
def test_what_is_spoilt_is_not_read_whole_by_netcdf4(name: str, tmp_path: Path) -> None:
    path = DEFECTS[name].make(tmp_path)[1]
    try:
        with netCDF4.Dataset(path) as dataset:
            read = all(
                np.ma.count_masked(variable[...]) == 0 and np.all(variable[...])
                for variable in dataset.variables.values()
            )
    except OSError:
        read = False
    assert not read


def test_compact_variables_are_compact_and_netcdf(tmp_path: Path) -> None:
    path = DEFECTS["compact_layout"].make(tmp_path)[0]
    with h5py.File(path) as file:
        assert file["p0"].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
        assert file["area"].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
    with netCDF4.Dataset(path) as dataset:
        assert dataset["p0"][...] == 101325.0
        assert dataset["area"].dimensions == ("lat",)
        assert dataset["area"][:].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_the_masked_chunk_is_stored_unfiltered_and_reads_the_same(tmp_path: Path) -> None:
    path = DEFECTS["filter_mask"].make(tmp_path / "masked")[1]
    whole = DEFECTS["compressed"].make(tmp_path / "whole")[1]
    with h5py.File(path) as file, h5py.File(whole) as expected:
        assert [file["tas"].id.get_chunk_info(number).filter_mask for number in range(3)] == [
            0,
            3,
            0,
        ]
        assert np.array_equal(file["tas"][:], expected["tas"][:])


def test_extents_are_shorter_than_time(tmp_path: Path) -> None:
    path = DEFECTS["extent_shorter_than_time"].make(tmp_path)[0]
    with h5py.File(path) as file:
        assert (file["short"].shape[0], file["short_filled"].shape[0], file["time"].shape[0]) == (
            5,
            5,
            12,
        )


def test_zeros_are_valid_under_a_fill_of_zero(tmp_path: Path) -> None:
    with h5py.File(DEFECTS["zeros_without_fill_value"].make(tmp_path)[0]) as file:
        assert file["count"].fillvalue == 0
        assert "_FillValue" not in file["count"].attrs
        assert (file["count"][:] == 0).any()


def test_overlaps_are_equal_or_not_as_named(tmp_path: Path) -> None:
    for name, equal in (("overlap_equal", True), ("overlap_differs", False)):
        first, second = DEFECTS[name].make(tmp_path / name)
        with netCDF4.Dataset(first) as one, netCDF4.Dataset(second) as other:
            assert one["time"][12:].tolist() == other["time"][:6].tolist()
            assert np.array_equal(one["tas"][12:], other["tas"][:6]) is equal


def test_the_only_record_variable_is_not_padded(tmp_path: Path) -> None:
    content = DEFECTS["netcdf3_one_record_variable"].make(tmp_path)[0].read_bytes()
    assert np.arange(15, dtype=">i2").tobytes() in content
