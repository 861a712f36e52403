"""Tests for `esgvzarr.proof.netcdf_files`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from esgvzarr.proof.netcdf_files import OpenFiles
from esgvzarr.testing import write_monthly


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_monthly(tmp_path, lengths=(12,))[0])


def _is_open(path: str) -> bool:
    places = []
    for number in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{number}"):
            places.append(os.path.realpath(f"/proc/self/fd/{number}"))
    return path in places


def test_a_file_that_is_kept_is_opened_once_for_two_looks(path: str) -> None:
    files = OpenFiles()
    with files.opened(path, keep=True) as first:
        pass
    assert _is_open(path)
    with files.opened(path, keep=False) as second:
        assert second is first
        assert second.variables["tas"][0].values.shape == second.variables["tas"].shape[1:]
    assert not _is_open(path)


def test_what_was_kept_is_closed_in_the_end(path: str) -> None:
    files = OpenFiles()
    with files.opened(path, keep=True):
        pass
    files.close()
    assert not _is_open(path)


def test_a_file_is_closed_when_the_look_fails(path: str) -> None:
    files = OpenFiles()
    with pytest.raises(ZeroDivisionError), files.opened(path, keep=True):
        raise ZeroDivisionError
    assert not _is_open(path)
