"""Real published files: every dataset is shown as its files hold it, or refused for the reason that
is known of it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import pytest

from esgvzarr import DatasetId, DatasetRecord, FileRecord, RefusedError, Transport
from esgvzarr.formats import Fetched
from esgvzarr.generate import make_references
from esgvzarr.output import named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify
from esgvzarr.testing import ThreddsServer
from esgvzarr.testing.samples import sample_datasets

from . import oracle

MORE = os.environ.get("ESGVZARR_TEST_DATA")
needs_more = pytest.mark.skipif(
    not MORE, reason="ESGVZARR_TEST_DATA names no directory with further real files"
)
REFUSED = {
    "HadGEM2-ES/rcp85": {"time-overlap"},  # 2099-12 stands in two files with different values
    "IPSL-CM6A-LR/historical/r1i1p1f1/Amon/rlds": {
        "time-overlap",
        "dimension-differs",
    },  # one month on another grid, again
}
SAMPLES = 76
PARTS = 8
"""So many tests, for several processes, each of some datasets."""


def check(paths: list[Path], dataset_id: str) -> None:
    _, document = oracle.make(paths, dataset_id)
    found = oracle.differences(document, paths)
    assert [
        text for text in found if "least_significant_digit" not in text
    ] == []  # xarray hides that one of netCDF files
    report = oracle.proof(document, paths, dataset_id=dataset_id)
    assert report.passed, report.failures[:3]


def check_served(paths: list[Path], dataset_id: str, server: ThreddsServer) -> None:
    """The same of files that are read over HTTP alone. The references are compared with the files
    on disk after their URLs were made paths.
    """
    files = tuple(
        FileRecord(path.name, server.url_of(path), size=path.stat().st_size) for path in paths
    )
    record = DatasetRecord(DatasetId.parse(dataset_id), "", files)
    fetched: dict[str, Fetched] = {}
    with Transport(allowed_hosts=[server.host]) as transport:
        document = encode(make_references(record, transport, keep=fetched))
        report = verify(
            named("json").parse(document, "test", transport),
            files,
            transport,
            location="test",
            dataset_id=dataset_id,
            scanned=fetched,
        )
    assert report.passed, report.failures[:3]
    root = server.url_of(server.root / "x").removesuffix("/x")
    local = document.replace(root.encode(), str(server.root).encode())
    found = oracle.differences(local, paths)
    assert [text for text in found if "least_significant_digit" not in text] == []


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


@pytest.mark.parametrize("part", range(PARTS))
def test_all_datasets_of_the_sample_package(sample_root: Path, part: int) -> None:
    """Forty models, monthly and daily, 1 to 65 files, three reference dates in one dataset."""
    datasets = sample_datasets(sample_root)
    assert len(datasets) == SAMPLES
    for dataset_id in list(datasets)[part::PARTS]:
        check(datasets[dataset_id], dataset_id)


def test_datasets_of_the_sample_package_over_http(sample_root: Path) -> None:
    """A share of them; all at night, or where further data are named."""
    every = sorted(sample_datasets(sample_root).items())
    share = 1 if MORE or os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 15
    with ThreddsServer(sample_root) as server:
        for dataset_id, paths in every[::share]:
            check_served(paths, dataset_id, server)


def further_datasets() -> dict[Path, list[Path]]:
    datasets: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in sorted(Path(str(MORE)).rglob("*.nc")):
        datasets[path.parent].append(path)
    assert datasets
    return datasets


@needs_more
def test_further_real_datasets_over_http() -> None:
    with ThreddsServer(Path(str(MORE))) as server:
        for directory, paths in further_datasets().items():
            if not any(name in str(directory) for name in REFUSED):
                check_served(paths, id_of(directory), server)


@needs_more
def test_further_real_datasets() -> None:
    """CMIP5, CMIP6, CORDEX and C3S files, one dataset a directory."""
    for directory, paths in further_datasets().items():
        expected = next((codes for name, codes in REFUSED.items() if name in str(directory)), set())
        if not expected:
            check(paths, id_of(directory))
            continue
        with pytest.raises(RefusedError) as caught:
            oracle.make(paths, id_of(directory))
        assert {finding.code for finding in caught.value.findings} >= expected
