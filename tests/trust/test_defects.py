"""Each defect, and each two at once: a stock reader gets what the files hold, value for value, or
the refusal says why; and the verdict over HTTP is the same.
"""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from proof.test_one_judge import over_http, told, verdict_on

import esgvzarr
from esgvzarr import EsgvzarrError, RefusedError, Transport
from esgvzarr.testing import DEFECTS, Defect, ThreddsServer
from esgvzarr.testing.defects import EQUAL
from esgvzarr.testing.recipes import Recipe

from . import oracle

SHARE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 120
"""One in so many pairs is tried; nightly all."""


@dataclass(frozen=True)
class Outcome:
    codes: set[str]
    """``equal``, or the codes of the refusal."""
    verdict: set[str]
    """The checks of the proof, or the codes of the refusal."""


def outcome_of(paths: Sequence[Path], directory: Path) -> Outcome:
    """What becomes of local files; fails where a reader would be misled."""
    try:
        _, document = oracle.make(paths)
    except RefusedError as error:
        codes = {finding.code for finding in error.findings}
        return Outcome(codes, codes)
    except EsgvzarrError as error:
        return Outcome({error.code}, {error.code})
    assert oracle.differences(document, paths) == []
    report = oracle.proof(document, paths)
    assert report.passed, report.failures
    if len(oracle.groups(document)) > 1:
        reference = directory / "references.json"
        reference.write_bytes(document)
        assert (
            oracle.joined_differences(
                esgvzarr.open_dataset(str(reference), decode_times=oracle.CFTIME), paths
            )
            == []
        )
    return Outcome({EQUAL}, told(report))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreddsServer]:
    with ThreddsServer(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_read_as_the_files_hold_it_or_refused_by_its_code_from_disk_and_over_http(
    name: str, server: ThreddsServer
) -> None:
    """The references of local files are proved by themselves, those over HTTP with what the scan
    fetched: the verdict is the same.
    """
    directory = server.root / name
    paths = DEFECTS[name].make(directory)
    local = outcome_of(paths, directory)
    assert DEFECTS[name].outcome in local.codes
    with Transport(allowed_hosts=[server.host]) as transport:
        assert verdict_on(over_http(paths, server), transport) == local.verdict


def chosen_pairs() -> list[tuple[Defect, Defect, Recipe]]:
    """A share of all two defects that one dataset can have at once."""
    found = []
    for one, other in itertools.combinations(DEFECTS.values(), 2):
        if zlib.crc32(f"{one.name} {other.name}".encode()) % SHARE:
            continue
        both = one.recipe.with_also(other.recipe)
        if both is not None:
            found.append((one, other, both))
    return found


SHUFFLED_SUMS = [{"dtype_differs", "fletcher32"}, {"dtype_differs", "fletcher32_differs"}]
"""netCDF-C puts the checksum before the shuffle, which no decoder of readers can undo for 8-byte
types.
"""
UNLIKE = {
    "packing_differs",
    "fill_value_differs",
    "dtype_differs",
    "chunks_never_written",
    "chunks_never_written_fill_value",
    "nothing_written",
    "extent_shorter_than_time",
    "extent_shorter_in_chunk",
    "integer_types",
    "integer_types_cdf5",
}
"""What these files hold of a month depends on the file, so that the steps they repeat differ, or
are stored as other numbers.
"""
REPEATING = {
    name
    for name, defect in DEFECTS.items()
    if name.startswith(("overlap_", "file_within")) and defect.outcome == EQUAL
}
AS_STORED = {"time_packed", "time_absolute"}
"""Times that one file may have, and several if they agree: they cannot be brought to another
reference.
"""
REFERENCE_DIFFERS = {
    "time_epoch_differs",
    "time_unit_differs",
    "time_integer_rebased",
    "overlap_time_unit_differs",
    "calendar_alias",
    "calendar_proleptic",
    "epoch_before_1582",
    "bounds_unnamed",
    "bounds_misnamed",
    "dates_with_own_units",
    "time_fill_value",
}
"""The second file states time by another reference date, unit, calendar or mark of missing
steps.
"""


def name_of(pair: tuple[Defect, Defect, Recipe]) -> str:
    return f"{pair[0].name}+{pair[1].name}"


@pytest.mark.parametrize("pair", chosen_pairs(), ids=name_of)
def test_two_defects_at_once_are_read_right_or_refused_for_one_of_them(
    pair: tuple[Defect, Defect, Recipe], tmp_path: Path
) -> None:
    one, other, both = pair
    expected = {one.outcome, other.outcome} - {EQUAL} or {EQUAL}
    if {one.name, other.name} in SHUFFLED_SUMS:
        expected = {"filter-unsupported"}
    if {one.name, other.name} & REPEATING and {one.name, other.name} & UNLIKE:
        expected |= {"time-overlap"}
    if {one.name, other.name} == {"overlap_time_unit_differs", "time_absolute"}:
        expected |= {"time-overlap"}  # nothing says that the bounds are dates: other numbers
    if {one.name, other.name} & AS_STORED and "time_missing_step" in {one.name, other.name}:
        expected |= {EQUAL}  # none of the numbers that replace the times is the mark
    if {one.name, other.name} & AS_STORED and {one.name, other.name} & REFERENCE_DIFFERS:
        expected |= {"time-invalid"}
    assert expected & outcome_of(both.write(tmp_path), tmp_path).codes
