"""Tests for `esgvzarr.netcdf_c`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

import esgvzarr
from esgvzarr.netcdf_c import NETCDF_C
from esgvzarr.testing import DATASET_ID, write_monthly


def test_a_thread_that_has_the_lock_may_take_it_again() -> None:
    with NETCDF_C:
        with NETCDF_C:
            assert NETCDF4_PYTHON_LOCK.locked()
        assert NETCDF4_PYTHON_LOCK.locked()
    assert not NETCDF4_PYTHON_LOCK.locked()


def test_the_lock_is_given_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), NETCDF_C:
        raise ZeroDivisionError
    assert not NETCDF4_PYTHON_LOCK.locked()


def test_references_are_proved_in_several_threads_at_once(tmp_path: Path) -> None:
    """netCDF-C in two threads ended the process."""
    files = write_monthly(tmp_path, lengths=(12, 12))

    def prove(_: int) -> bool:
        return esgvzarr.references(files, dataset_id=DATASET_ID).prove().passed

    with ThreadPoolExecutor(3) as threads:
        assert all(threads.map(prove, range(6)))
