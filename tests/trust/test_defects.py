"""Each defect, and each two at once: a stock reader gets what the files hold, value for value, or
the refusal says why.
"""

from __future__ import annotations

import itertools
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

import esgvzarr
from esgvzarr import EsgvzarrError, RefusedError
from esgvzarr.testing import DEFECTS, Defect
from esgvzarr.testing.defects import EQUAL
from esgvzarr.testing.recipes import Recipe

from . import oracle

SHARE = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "nightly" else 40
"""One in so many pairs is tried; nightly all."""


def outcome_of(recipe: Recipe, directory: Path) -> set[str]:
    """``equal``, or the codes of the refusal; fails where a reader would be misled."""
    paths = recipe.write(directory)
    try:
        _, document = oracle.make(paths)
    except RefusedError as error:
        return {finding.code for finding in error.findings}
    except EsgvzarrError as error:
        return {error.code}
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
    return {EQUAL}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_read_as_the_files_hold_it_or_refused_by_its_code(
    name: str, tmp_path: Path
) -> None:
    defect = DEFECTS[name]
    assert defect.outcome in outcome_of(defect.recipe, tmp_path)


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
UNSETTLED = {
    "byte_order_differs+dates_with_own_units",
    "overlap_one_value_differs+scale_factor_text",
    "netcdf3_one_record+coordinates_list",
    "epoch_before_1582+time_absolute",
    "bounds_misnamed+time_packed",
}
"""Pairs whose outcome is another than either defect's alone. Each has to be looked at: is the
outcome right and the expectation too narrow, or is it wrong? The set may only shrink.
"""


def name_of(pair: tuple[Defect, Defect, Recipe]) -> str:
    return f"{pair[0].name}+{pair[1].name}"


def marked(pair: tuple[Defect, Defect, Recipe]) -> Any:
    marks = [pytest.mark.xfail(reason="unsettled")] if name_of(pair) in UNSETTLED else []
    return pytest.param(pair, marks=marks, id=name_of(pair))


@pytest.mark.parametrize("pair", list(map(marked, chosen_pairs())))
def test_two_defects_at_once_are_read_right_or_refused_for_one_of_them(
    pair: tuple[Defect, Defect, Recipe], tmp_path: Path
) -> None:
    one, other, both = pair
    expected = {one.outcome, other.outcome} - {EQUAL} or {EQUAL}
    if {one.name, other.name} in SHUFFLED_SUMS:
        expected = {"filter-unsupported"}
    if {one.name, other.name} & REPEATING and {one.name, other.name} & UNLIKE:
        expected |= {"time-overlap"}
    assert expected & outcome_of(both, tmp_path)
