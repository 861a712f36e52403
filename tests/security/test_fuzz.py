"""A few damaged files and documents, the same each time. `python -m benchmarks.fuzz` has them by
the hundred thousand.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from esgvzarr.testing.mutants import Kind, Seed

ROOT = Path(__file__).parents[2]


def test_each_damaged_input_ends_in_an_outcome_with_a_code() -> None:
    """And what is accepted reads as netCDF4 reads it."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--inputs", "140", "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n140 inputs" in done.stdout
    assert "; 0 faults" in done.stdout
    assert all(f"| {kind.value} |" in done.stdout for kind in Kind)


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, which is of the repository and not of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.fuzz")


def judge(one: Any) -> str:
    """Ends its process where the input says so."""
    match Path(one.path).read_bytes():
        case b"abort":
            os.abort()
        case b"forget":
            raise KeyError("forgotten")
    return "read"


def test_inputs_share_a_process_and_have_an_outcome_each(fuzz: ModuleType, tmp_path: Path) -> None:
    """Those too that end it."""
    fuzzer = fuzz.Fuzzer(tmp_path, judge=judge)
    for data in (b"fine", b"abort", b"fine", b"fine", b"forget"):
        fuzzer.feed(Seed(Kind.HDF5, data))
    fuzzer.finish()
    assert fuzzer.counts == {
        ("hdf5", "read"): 3,
        ("hdf5", "worker-died"): 1,
        ("hdf5", "worker-failed"): 1,
    }
    assert fuzzer.faults() == 1
