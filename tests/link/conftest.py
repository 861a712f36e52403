"""A dataset that is linked without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from esgvzarr.testing import write_monthly

from .shelf import Shelf, install


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two months in one file, to be copied."""
    return write_monthly(tmp_path_factory.mktemp("small"), lengths=(2,))


@pytest.fixture
def shelf(tmp_path: Path, small_files: list[Path], monkeypatch: pytest.MonkeyPatch) -> Shelf:
    install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return Shelf(tmp_path, small_files)
