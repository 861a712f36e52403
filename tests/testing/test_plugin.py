"""The plugin costs nothing until a fixture is used, and its fixtures fit together."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

import esgvzarr.testing
from esgvzarr.testing import StacServer, ThreddsServer

HEAVY = ("h5py", "netCDF4", "numpy", "requests", "stac_fastapi", "trustme", "uvicorn", "xarray")


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        f"import sys, esgvzarr.testing.plugin, esgvzarr.testing; print([name for name in {HEAVY} "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_installing_the_package_loads_nothing_into_strangers_test_runs() -> None:
    metadata = (Path(__file__).parents[2] / "setup.cfg").read_text()
    assert "pytest11" not in metadata


@pytest.mark.parametrize("name", esgvzarr.testing.__all__)
def test_public_names_are_there(name: str) -> None:
    assert getattr(esgvzarr.testing, name) is not None


def test_public_names_are_listed_once_and_others_are_not_there() -> None:
    assert sorted(set(esgvzarr.testing.__all__)) == sorted(esgvzarr.testing.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = esgvzarr.testing.no_such_name


def test_the_thredds_server_serves_the_cmip_files(
    thredds_server: ThreddsServer, cmip_files: Callable[..., list[Path]]
) -> None:
    files = cmip_files(lengths=(2, 2))
    for file in files:
        assert (
            requests.get(
                thredds_server.url_of(file), headers={"Range": "bytes=0-7"}, timeout=5
            ).content
            == b"\x89HDF\r\n\x1a\n"
        )


def test_the_stac_server_is_empty(stac_server: StacServer) -> None:
    assert requests.get(f"{stac_server.url}/search", timeout=5).json()["numberMatched"] == 0


def test_a_failed_conformance_test_of_a_stranger_shows_what_was_compared(tmp_path: Path) -> None:
    """Without the plugin, from a directory that knows nothing of this project."""
    (tmp_path / "test_stranger.py").write_text(
        "import pytest\n"
        "from esgvzarr.testing import IndexTests\n\n"
        "class TestStranger(IndexTests):\n"
        "    @pytest.fixture\n"
        "    def index(self):\n"
        "        return 'no index'\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", "follows_the_protocol"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "where False = isinstance('no index', Index)" in done.stdout
