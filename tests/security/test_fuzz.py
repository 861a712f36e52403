"""A few damaged files and documents, the same each time. `python -m benchmarks.fuzz` has them by
the hundred thousand.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from esgvzarr.testing.mutants import Kind


def test_each_damaged_input_ends_in_an_outcome_with_a_code() -> None:
    """And what is accepted reads as netCDF4 reads it."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz", "--inputs", "21", "--seed", "3"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n21 inputs" in done.stdout
    assert "; 0 faults" in done.stdout
    assert all(f"| {kind.value} |" in done.stdout for kind in Kind)
