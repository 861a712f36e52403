"""Real CMIP6 files from the PyPI package esmvaltool-sample-data, which is not installed because it
requires iris.

326 files of 79 datasets, 23 MB: air temperature, monthly and daily, cut down to a few grid points,
with all time steps.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SourceError

if TYPE_CHECKING:
    import numpy as np

PACKAGE = "esmvaltool-sample-data"
VERSION = "0.0.4"
SHA256 = "ecc82a94cf7657bd3633ebb672b6af8f510d2f8ea8becf36606ba3617b3d2afb"
"""SHA-256 of the wheel, according to PyPI."""
_MODULE = "esmvaltool_sample_data"
_ROOT = Path("data", "timeseries")
_TIMEOUT_S = 300


def sample_files() -> Path:
    """Return the directory that holds ``CMIP6/...``: of the installed package, else of the cache,
    to which the files are downloaded once.

    Raises:
        SourceError: pip cannot download the wheel, or its checksum is wrong.
    """
    installed = _installed()
    if installed is not None:
        return installed
    cached = cache_directory() / f"{PACKAGE}-{VERSION}"
    if not cached.is_dir():
        _fetch(cached)
    return cached / _MODULE / _ROOT


def sample_datasets(root: Path) -> dict[str, list[Path]]:
    """Return the files of each dataset; their path is the DRS."""
    datasets: dict[str, list[Path]] = {}
    for path in sorted(root.glob("CMIP6/**/*.nc")):
        datasets.setdefault(".".join(path.parent.relative_to(root).parts), []).append(path)
    return datasets


def read_files(files: Sequence[Path], name: str) -> np.ndarray:
    """Read a variable of consecutive files, by netCDF4 alone; missing values are NaN."""
    import netCDF4
    import numpy as np

    parts = []
    for file in files:
        with netCDF4.Dataset(file) as opened:
            parts.append(np.ma.filled(opened[name][:], np.nan))
    return np.concatenate(parts)


def decoded_times(file: Path) -> list[Any]:
    """Return the times of a file as dates, by cftime alone."""
    import cftime
    import netCDF4

    with netCDF4.Dataset(file) as opened:
        time = opened["time"]
        return list(cftime.num2date(time[:], time.units, time.calendar))


def cache_directory() -> Path:
    """Return the directory of downloads: ``$XDG_CACHE_HOME/esgvzarr``, or ``~/.cache/esgvzarr``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "esgvzarr"


def _installed() -> Path | None:
    """Find the installed package without importing it."""
    spec = importlib.util.find_spec(_MODULE)
    locations = spec.submodule_search_locations if spec else None
    roots = [Path(location) / _ROOT for location in locations or ()]
    return next((root for root in roots if (root / "CMIP6").is_dir()), None)


def _fetch(target: Path) -> None:
    """Download and unpack into ``target``, which appears completely or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=target.parent) as folder:
            wheel = _download(Path(folder))
            _check(wheel)
            unpacked = Path(folder, "unpacked")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(unpacked)
            try:
                unpacked.rename(target)
            except OSError:
                if not target.is_dir():  # Otherwise another process was faster.
                    raise
    except OSError as error:
        raise _unobtainable(f"cannot be kept in {target.parent}: {error.strerror}") from error


def _download(folder: Path) -> Path:
    """Download the wheel, by the pip of this interpreter."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--disable-pip-version-check",
    ]
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), f"{PACKAGE}=={VERSION}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unobtainable(f"pip has not finished after {_TIMEOUT_S} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise _unobtainable(
            f"cannot be downloaded: {lines[-1] if lines else f'pip exits with {done.returncode}'}"
        )
    return wheels[0]


def _check(wheel: Path) -> None:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise SourceError(
            wheel.name,
            f"has the SHA-256 {found}",
            expected=SHA256,
            todo="The package index gives another file than PyPI: use an index that does not.",
            code="source-samples",
        )


def _unobtainable(found: str) -> SourceError:
    return SourceError(
        f"{PACKAGE} {VERSION}",
        found,
        expected=f"the wheel from PyPI, or a copy of it unpacked in {cache_directory()}",
        todo=(
            "Check that pip works and reaches PyPI, or install the package: pip install "
            f"--no-deps {PACKAGE}=={VERSION}."
        ),
        code="source-samples",
    )
