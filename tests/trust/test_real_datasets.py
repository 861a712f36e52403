"""Real published files: every dataset is shown as its files hold it, or refused for the reason that
is known of it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

from esgvzarr import RefusedError
from esgvzarr.testing.samples import sample_datasets

from . import oracle

MORE = os.environ.get("ESGVZARR_TEST_DATA")
REFUSED = {
    "HadGEM2-ES/rcp85": {"time-overlap"},  # 2099-12 stands in two files with different values
    "IPSL-CM6A-LR/historical/r1i1p1f1/Amon/rlds": {
        "time-overlap",
        "dimension-differs",
    },  # one month on another grid, again
}
SAMPLES = 76


def check(paths: list[Path]) -> None:
    _, document = oracle.make(paths)
    found = oracle.differences(document, paths)
    assert [
        text for text in found if "least_significant_digit" not in text
    ] == []  # xarray hides that one of netCDF files
    report = oracle.proof(document, paths)
    assert report.passed, report.failures[:3]


def test_all_datasets_of_the_sample_package(sample_root: Path) -> None:
    """Forty models, monthly and daily, 1 to 65 files, three reference dates in one dataset."""
    datasets = sample_datasets(sample_root)
    assert len(datasets) == SAMPLES
    for paths in datasets.values():
        check(paths)


@pytest.mark.skipif(
    not MORE, reason="ESGVZARR_TEST_DATA names no directory with further real files"
)
def test_further_real_datasets() -> None:
    """CMIP5, CMIP6, CORDEX and C3S files, one dataset a directory."""
    datasets: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in sorted(Path(str(MORE)).rglob("*.nc")):
        datasets[path.parent].append(path)
    assert datasets
    for directory, paths in datasets.items():
        expected = next((codes for name, codes in REFUSED.items() if name in str(directory)), set())
        if not expected:
            check(paths)
            continue
        with pytest.raises(RefusedError) as caught:
            oracle.make(paths)
        assert {finding.code for finding in caught.value.findings} >= expected
