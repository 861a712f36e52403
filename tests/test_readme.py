"""What the README tells readers to install is enough to open a dataset, and weighs what is said."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from esgvzarr import generate
from esgvzarr.testing import DATASET_ID, ThreddsServer
from esgvzarr.testing.datasets import specs_of, write_files

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000


def for_readers() -> tuple[str, str]:
    """The line that installs, and the lines that open, in the README's part for readers."""
    part = (ROOT / "README.md").read_text().partition("\n## For readers\n")[2].partition("\n## ")[0]
    line = re.search(r"```sh\n(pip install .+)\n```", part)
    code = re.search(r"```python\n(.+?)\n```", part, re.DOTALL)
    assert line is not None
    assert code is not None
    return line[1], code[1]


def said_of(requirements: list[str]) -> tuple[int, int]:
    """Packages and megabytes, as docs/how-to/install.md has them."""
    page = (ROOT / "docs" / "how-to" / "install.md").read_text()
    row = re.search(
        rf"^\| `{' '.join(requirements)}` \|.*\| (\d+) \| (\d+) \|$", page, re.MULTILINE
    )
    assert row is not None
    return int(row[1]), int(row[2])


def megabytes_below(directory: Path) -> float:
    sizes = [path.stat().st_size for path in directory.rglob("*") if path.is_file()]
    return sum(sizes) / MEGABYTE


@pytest.fixture(scope="module")
def readers_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment, into which pip put what the README says, and nothing else."""
    folder = tmp_path_factory.mktemp("reader")
    venv.create(folder, with_pip=False, symlinks=True)
    words = shlex.split(for_readers()[0])[2:]
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    options = ["-q", "--no-compile", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *options, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"PyPI is not reached: {done.stderr.strip()[-200:]}")
    return folder


@pytest.mark.slow
def test_what_readers_install_opens_a_served_dataset_and_weighs_what_is_said(
    readers_environment: Path, tmp_path: Path
) -> None:
    """With the README's very lines, and without esgvzarr. Its weight is right by a tenth."""
    files = write_files(tmp_path / "data", specs_of((2, 2), grid=(2, 3), calendar="360_day"))
    with ThreddsServer(tmp_path / "data") as server:
        made = generate(
            [server.url_of(file) for file in files],
            tmp_path / "data",
            dataset_id=DATASET_ID,
            ledger=str(tmp_path / "ledger.sqlite"),
        )
        href = server.url_of(Path(made.reference.path))
        ask = "import importlib.util\nassert importlib.util.find_spec('esgvzarr') is None\n"
        show = "\nprint(dataset.time.values[-1], *dataset.tas.values.ravel().tolist())"
        python = readers_environment / "bin" / "python"
        done = subprocess.run(
            [python, "-I", "-B", "-c", f"{ask}href = {href!r}\n{for_readers()[1]}{show}"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    date, _, values = done.stdout.removesuffix("\n").partition(" 00:00:00 ")
    truth = []
    for file in files:
        with netCDF4.Dataset(file) as opened:
            truth.append(np.ma.filled(opened["tas"][:].astype("f8"), np.nan))
    np.testing.assert_array_equal(np.array(values.split(), "f8"), np.concatenate(truth).ravel())
    assert date.startswith("1850-04-")

    (site,) = readers_environment.glob("lib/python*/site-packages")
    packages, size = said_of(shlex.split(for_readers()[0])[2:])
    assert abs(len(list(site.glob("*.dist-info"))) - packages) <= 4
    assert megabytes_below(site) == pytest.approx(size, rel=0.1)
