"""Whatever CMIP-like files look like: a stock reader gets what netCDF4 reads, or nothing is
published and a code says why.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import event, given

from esgvzarr import EsgvzarrError, RefusedError

from . import oracle
from .random_files import Dataset, datasets, write

REFUSALS = {"filter-unsupported", "file-unwritten"}
"""Codes with which such files may be refused. They are all legal; netCDF-C puts the checksum before
the shuffle, and numcodecs cannot undo that for types of 8 bytes; it also reads
variables in wrong places whose last steps were never written and whose first dimension is not time.
"""


def _codes(error: EsgvzarrError) -> set[str]:
    return (
        {finding.code for finding in error.findings if finding.refuse}
        if isinstance(error, RefusedError)
        else {error.code}
    )


def _expected_refusals(dataset: Dataset) -> set[str]:
    """The codes with which these files may be refused."""
    expected = set(REFUSALS)
    if dataset.repeats and not dataset.alike:
        expected.add("time-overlap")
    if dataset.mixed:
        expected.add("dataset-mixed")
    return expected


@given(datasets())
def test_random_files_are_read_as_they_are(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as directory:
        paths = write(Path(directory), dataset)
        try:
            _, document = oracle.make(paths)
        except EsgvzarrError as error:
            event(error.code)
            if not _codes(error) <= _expected_refusals(dataset):
                raise
            return
        event(
            f"{len(oracle.groups(document))} groups, "
            f"{'repeated steps' if dataset.repeats else 'each step once'}"
        )
        assert oracle.differences(document, paths) == []
        report = oracle.proof(document, paths)
        assert report.passed, report.failures
