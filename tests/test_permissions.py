"""Paths and file systems as they are met."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from esgvzarr.errors import StoreError
from esgvzarr.output.disk_errors import writing
from esgvzarr.permissions import absolute, lacks_locks
from esgvzarr.settings import Settings
from esgvzarr.stage import staging_places
from esgvzarr.testing import DATASET_ID


def test_outputs_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--output-dir .`` was kept as it is, and was dangling from everywhere else."""
    monkeypatch.chdir(tmp_path)
    with staging_places(DATASET_ID, Path(), Settings()) as places:
        assert [place.path for place in places] == [f"{tmp_path}/{DATASET_ID}.json"]
        assert places[0].location == places[0].path
    assert absolute("~") == Path(os.path.expanduser("~"))


def test_a_directory_that_cannot_be_written_is_found_before_anything_is_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StoreError) as caught,
        staging_places(DATASET_ID, tmp_path / "file" / "out", Settings()),
    ):
        pytest.fail("was staged")
    assert caught.value.code == "store-unwritable"


def test_a_file_system_without_locks_is_named_as_that(tmp_path: Path) -> None:
    assert lacks_locks(OSError(errno.ENOLCK, "No locks available"))
    assert lacks_locks(sqlite3.OperationalError("locking protocol"))
    assert not lacks_locks(OSError(errno.EACCES, "Permission denied"))
    with pytest.raises(StoreError, match="supports no locks"), writing(tmp_path / "a.json"):
        raise OSError(errno.ENOLCK, "No locks available")
