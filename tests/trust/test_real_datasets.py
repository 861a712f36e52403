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


def check(paths: list[Path], dataset_id: str) -> None:
    _, document = oracle.make(paths, dataset_id)
    found = oracle.differences(document, paths)
    assert [
        text for text in found if "least_significant_digit" not in text
    ] == []  # xarray hides that one of netCDF files
    report = oracle.proof(document, paths, dataset_id=dataset_id)
    assert report.passed, report.failures[:3]


FACETS = {"CMIP6": 9, "cmip5": 9, "cordex": 11}
"""Project -> parts of its ids, each of which is a directory."""


def id_of(directory: Path) -> str:
    """The dataset id by the DRS; of other projects one that is not compared with the files."""
    parts = directory.parts
    for project, count in FACETS.items():
        begins = [number for number, part in enumerate(parts) if part == project]
        if begins:
            return ".".join((*parts[begins[-1] : begins[-1] + count], "v1"))
    return "real.data.v1"


def test_all_datasets_of_the_sample_package(sample_root: Path) -> None:
    """Forty models, monthly and daily, 1 to 65 files, three reference dates in one dataset."""
    datasets = sample_datasets(sample_root)
    assert len(datasets) == SAMPLES
    for dataset_id, paths in datasets.items():
        check(paths, dataset_id)


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
            check(paths, id_of(directory))
            continue
        with pytest.raises(RefusedError) as caught:
            oracle.make(paths, id_of(directory))
        assert {finding.code for finding in caught.value.findings} >= expected
