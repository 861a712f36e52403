"""A dataset that is linked without a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from esgvzarr.testing import ThreddsServer, write_monthly

from .shelf import Shelf, install


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two months in one file, to be copied."""
    return write_monthly(tmp_path_factory.mktemp("small"), lengths=(2,))


@pytest.fixture(scope="session")
def shelf_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all tests: what is installed on an import path is looked up once."""
    site = tmp_path_factory.mktemp("site")
    install(site)
    return site


@pytest.fixture
def shelf_installed(shelf_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index and the output of another package are there."""
    monkeypatch.syspath_prepend(str(shelf_site))


@pytest.fixture
def shelf(tmp_path: Path, small_files: list[Path], shelf_installed: None) -> Shelf:
    return Shelf(tmp_path, small_files)


@pytest.fixture
def served_shelf(tmp_path: Path, small_files: list[Path], shelf_installed: None) -> Iterator[Shelf]:
    """The dataset of a data node: the index describes files by their URLs."""
    with ThreddsServer(tmp_path) as server:
        yield Shelf(tmp_path, small_files, server=server)
