"""A short storm of ``benchmarks.faults``: whatever goes wrong, nothing is lost, wrong, or left
behind.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "esgcet", reason="esgcet's STAC client and globus-sdk are in the extra `publisher`"
)

ROOT = Path(__file__).parents[2]


def test_after_a_storm_each_dataset_is_linked_and_proved_or_not_linked_with_a_reason() -> None:
    """Eighty operations in all kinds of indexes, by processes that are killed. The program ends
    with 1 if anything is broken.
    """
    words = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "benchmarks.faults",
        "--operations",
        "80",
        "--seed",
        "3",
        "--workers",
        "4",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "80 operations" in done.stdout
    assert "linked and proved" in done.stdout
