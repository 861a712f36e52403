"""The demo, run as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import xarray

from esgvzarr.demo import DATASETS, MAP, MONTHLY, run
from esgvzarr.errors import SettingsError, SourceError
from esgvzarr.testing import samples
from esgvzarr.testing.processes import hear_ctrl_c
from esgvzarr.testing.samples import SHA256, sample_datasets, sample_files

_LONGEST_S = 600


@dataclass(frozen=True, slots=True)
class Shown:
    """One run with ``--keep-serving``, which a Ctrl-C ended."""

    home: Path
    said: str
    complaints: str
    served: Mapping[str, str]
    """What a link is about -> what is served there while it is up."""


@pytest.fixture(scope="module")
def kept(sample_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The demo, looked at while it is up."""
    for package in ("esgcet", "stac_fastapi", "pystac_client"):
        pytest.importorskip(package, reason="needs the extra `demo`")
    home = tmp_path_factory.mktemp("demo") / "kept"
    command = [
        sys.executable,
        "-c",
        "from esgvzarr.cli import main; main()",
        "demo",
        "--keep-serving",
        "--dir",
        str(home),
    ]
    complaints = home.with_name("complaints")
    lines = []
    with (
        complaints.open("w") as errors,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=hear_ctrl_c,
        ) as demo,
    ):
        assert demo.stdout is not None
        timer = threading.Timer(_LONGEST_S, demo.kill)
        timer.start()
        for line in demo.stdout:
            lines.append(line)
            if "until you press Ctrl-C" in line:
                break
        served = {}
        for text, href in re.findall(r"^  ([a-z0-9 ]+): (http\S+)$", "".join(lines), re.MULTILINE):
            served[text] = requests.get(href, timeout=20).text
        demo.send_signal(signal.SIGINT)
        lines += demo.stdout
        timer.cancel()
    said = "".join(lines)
    assert demo.returncode == 0, said + complaints.read_text()
    return Shown(home, said, complaints.read_text(), served)


@pytest.fixture(scope="module")
def shown(kept: Shown) -> tuple[Path, str]:
    """Its directory, and what it printed."""
    return kept.home, kept.said


class TestDemo:
    def test_means_are_equal(self, shown: tuple[Path, str]) -> None:
        """The mean through the references is that of the 65 NetCDF files by netCDF4, to the last
        digit; both are said.
        """
        means = re.findall(r"mean of .*:\s+(\S+) K", shown[1])
        assert len(means) == 2
        assert means[0] == means[1]
        assert "all 14040 values are equal" in shown[1]
        assert "all 1020 dates are equal: 1930-01-16 12:00:00 to 2014-12-16 12:00:00" in shown[1]

    def test_leaves_pages_and_index_up_until_it_is_interrupted(self, kept: Shown) -> None:
        assert set(kept.served) == {"a map", "the 65 files", "all datasets", "the index"}
        assert MAP in kept.served["a map"]
        assert "How to open it" in kept.served["a map"]
        for name in (*DATASETS, MAP):
            assert name in kept.served["all datasets"]
            assert name in kept.served["the index"]

    def test_says_nothing_that_others_complain_of(self, kept: Shown) -> None:
        assert kept.complaints == ""

    def test_shows_the_dataset_whole(self, shown: tuple[Path, str]) -> None:
        """65 files are one dataset of 780 months, opened without a request for data."""
        assert "Dimensions:    (time: 780, plev: 2, lat: 3, lon: 3, bnds: 2)" in shown[1]
        assert "with 0 requests for data" in shown[1]

    def test_all_that_it_names_is_there(self, shown: tuple[Path, str]) -> None:
        """Every path below its directory that it prints exists, whole and on one line."""
        home, text = shown
        named = {
            match.rstrip('",')
            for match in re.findall(rf"{re.escape(str(home))}[^\s\"]*", text)
            if "*" not in match
        }
        assert len(named) >= 8
        assert [path for path in named if not Path(path).exists()] == []

    def test_esgcet_speaks_into_the_log(self, shown: tuple[Path, str]) -> None:
        """Its chatter does not drown the demo's own lines."""
        home, text = shown
        assert "PUB_STATUS=PASS" in (home / "esgpublish.log").read_text()
        assert "PUB_STATUS" not in text
        assert len(text.splitlines()) < 80

    def test_opens_from_disk_afterwards(self, shown: tuple[Path, str]) -> None:
        """When the servers have ended, the static catalogue still leads to all values."""
        home, _ = shown
        item = json.loads((home / "catalog" / "CMIP6" / MONTHLY / f"{MONTHLY}.json").read_text())
        asset = item["assets"]["reference_file"]
        with xarray.open_dataset(asset["href"], **asset["xarray:open_kwargs"]) as opened:
            assert opened.ta.shape == (780, 2, 3, 3)
            assert opened.ta.mean().values == pytest.approx(258.3138)


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    """The demo does not mix with other files."""
    from rich.console import Console

    (tmp_path / "mine").write_text("")
    with pytest.raises(SettingsError, match="is not empty") as caught:
        run(Console(quiet=True), tmp_path)
    assert caught.value.code == "settings-demo-dir"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_without_esgcet(tmp_path: Path) -> None:
    """The package that is missing is named, and the command that installs it; nothing is made."""
    program = "import sys; sys.modules['esgcet'] = None; from esgvzarr.cli import main; main()"
    command = [sys.executable, "-c", program, "demo", "--dir", str(tmp_path / "new")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1]
        == "esgvzarr: [publisher-missing] esgcet: is not installed. pip install 'esgvzarr[demo]'"
    )
    assert not (tmp_path / "new").exists()


class TestSamples:
    def test_are_those_of_the_package(self, sample_root: Path) -> None:
        """326 real files, by the ids of their 76 datasets."""
        datasets = sample_datasets(sample_root)
        assert (len(datasets), sum(map(len, datasets.values()))) == (76, 326)
        assert len(datasets[MONTHLY]) == 65

    def fetch(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **environment: str
    ) -> SourceError:
        """The error of fetching into an empty cache under an environment."""
        monkeypatch.setattr(samples, "_installed", lambda: None)
        for name, value in {"XDG_CACHE_HOME": str(tmp_path / "cache"), **environment}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SourceError) as caught:
            sample_files()
        assert caught.value.code == "source-samples"
        assert list((tmp_path / "cache" / "esgvzarr").iterdir()) == []
        return caught.value

    def test_without_network(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """pip's own reason is passed on, the way out is named, and nothing half-fetched stays."""
        nowhere = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        for name in nowhere:
            monkeypatch.delenv(name)
        error = self.fetch(monkeypatch, tmp_path, PIP_CONFIG_FILE=os.devnull, PIP_NO_INDEX="1")
        assert "No matching distribution found for esmvaltool-sample-data==0.0.4" in str(error)
        assert "pip install --no-deps" in error.todo

    def test_without_pip(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An interpreter without pip is said to be one."""
        broken = tmp_path / "path" / "pip"
        broken.mkdir(parents=True)
        (broken / "__init__.py").write_text("raise ImportError('No module named pip')")
        assert "No module named pip" in str(
            self.fetch(monkeypatch, tmp_path, PYTHONPATH=str(broken.parent))
        )

    def test_another_wheel_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """An index that serves other bytes under the name is not believed."""
        links = tmp_path / "links"
        links.mkdir()
        write_wheel(links / "esmvaltool_sample_data-0.0.4-py3-none-any.whl")
        error = self.fetch(monkeypatch, tmp_path, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(links))
        assert error.expected == SHA256


def write_wheel(path: Path) -> None:
    """A wheel that pip takes."""
    import zipfile

    info = "esmvaltool_sample_data-0.0.4.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: esmvaltool-sample-data\nVersion: 0.0.4\n",
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
