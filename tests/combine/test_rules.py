"""Each rule between files, alone: what it lets through, what it refuses, and that nothing else
refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cftime
import netCDF4
import numpy as np
import pytest
from trust.oracle import record_of

from esgvzarr import RefusedError, Transport
from esgvzarr.combine import rules, time_rules
from esgvzarr.formats import scan
from esgvzarr.model import FileReferences, Finding, Series
from esgvzarr.testing import DEFECTS, write_monthly

Rule = Callable[[Series], object]
BY_RULE = {
    "check_calendars": ("calendar_differs", "calendar-differs", True),
    "check_bounds": ("bounds_of_one_file_missing_value", "time-invalid", True),
    "check_dates": ("bounds_no_date", "time-invalid", True),
    "check_overlap": ("overlap_differs", "time-overlap", True),
    "check_gaps": ("time_gap", "time-gap", False),
    "check_variables": ("scalar_missing", "variable-missing", True),
    "check_dimensions": ("grid_differs", "dimension-differs", True),
    "check_fixed": ("scalar_differs", "coordinate-differs", True),
    "check_units": ("units_differ", "units-differ", True),
    "check_packing": ("packed_single", "packing-single", False),
    "check_attributes": ("scale_factor_text", "attribute-invalid", True),
    "check_identity": ("variant_label_differs", "dataset-mixed", True),
    "check_methods": ("cell_methods_differ", "dataset-mixed", True),
    "check_finite": ("attribute_not_finite", "attribute-not-finite", False),
    "check_groups": ("groups", "file-groups-not-shown", False),
}
"""Rule -> (defect, the finding's code, whether it refuses)."""


def scanned(name: str, directory: Path) -> list[FileReferences]:
    """The files of a defect, scanned."""
    if name == "bounds_of_one_file_missing_value":
        return _with_missing_bounds(scanned("time_epoch_differs", directory))
    if name == "packed_single":
        return _packed_by_single(scanned("packed", directory))
    with Transport() as transport:
        return scan(record_of(DEFECTS[name].make(directory)).files, transport)


def _with_missing_bounds(files: Sequence[FileReferences]) -> list[FileReferences]:
    bounds = files[1].variables["time_bnds"]
    values = np.array(bounds.values)
    values[3, 0] = 1e20
    changed = replace(bounds, values=values, fill_value=1e20)
    return [
        files[0],
        replace(files[1], variables={**files[1].variables, "time_bnds": changed}),
        files[2],
    ]


def _packed_by_single(files: Sequence[FileReferences]) -> list[FileReferences]:
    tas = files[0].variables["tas"]
    return [
        replace(
            files[0],
            variables={
                **files[0].variables,
                "tas": replace(tas, attrs={**tas.attrs, "scale_factor": np.float32(0.01)}),
            },
        )
    ]


def findings(files: Sequence[FileReferences]) -> list[Finding]:
    """Refused or not."""
    try:
        return list(rules.check(files, "test").warnings)
    except RefusedError as error:
        return list(error.findings)


def test_every_rule_is_in_the_table() -> None:
    assert set(BY_RULE) == {rule.__name__ for rule in rules._RULES}
    assert set(BY_RULE) == {name for name in dir(rules) if name.startswith("check_")}


@pytest.mark.parametrize("rule", BY_RULE)
def test_a_rule_finds_its_defect(rule: str, tmp_path: Path) -> None:
    name, code, refuses = BY_RULE[rule]
    found = [finding for finding in findings(scanned(name, tmp_path)) if finding.code == code]
    assert found
    assert all(
        finding.refuse is refuses and finding.file and finding.expected and finding.found
        for finding in found
    )


@pytest.mark.parametrize("rule", BY_RULE)
def test_nothing_else_finds_it_when_the_rule_is_taken_out(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, code, _ = BY_RULE[rule]
    files = scanned(name, tmp_path)
    monkeypatch.setattr(rules, "_RULES", tuple(one for one in rules._RULES if one.__name__ != rule))
    assert code not in {finding.code for finding in findings(files)}


def test_all_broken_rules_are_told_at_once(tmp_path: Path) -> None:
    both = DEFECTS["scalar_differs"].recipe.with_also(DEFECTS["units_differ"].recipe)
    assert both is not None
    with Transport() as transport:
        files = scan(record_of(both.write(tmp_path)).files, transport)
    with pytest.raises(RefusedError) as raised:
        rules.check(files, "test")
    assert {finding.code for finding in raised.value.findings} == {
        "coordinate-differs",
        "units-differ",
    }


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("latitude_rounding", "coordinate-rounding"),
        ("same_file_twice", "file-twice"),
        ("no_steps_in_one_file", "file-empty"),
    ],
)
def test_what_is_harmless_is_told_and_served(name: str, code: str, tmp_path: Path) -> None:
    series = rules.check(scanned(name, tmp_path), "test")
    assert code in {finding.code for finding in series.warnings}
    assert len(series.left_out) == (0 if name == "latitude_rounding" else 1)


def test_a_copy_of_a_file_is_told_by_its_checksum_and_by_nothing_less(tmp_path: Path) -> None:
    """Files of one size and one kind of checksum are two files."""
    plain = scanned("plain", tmp_path)
    size = plain[0].size

    def with_sums(*sums: str) -> list[FileReferences]:
        files = []
        for file, checksum in zip(plain, sums, strict=True):
            record = replace(file.file, checksum=checksum, checksum_type="SHA256")
            files.append(replace(file, file=record, size=size))
        return files

    def kept(files: Sequence[FileReferences]) -> int:
        found: list[Finding] = []
        return len(list(rules._drop_repeated(files, found)))

    assert kept(with_sums("a", "b", "c")) == 3
    assert kept(with_sums("", "", "")) == 3
    summed = with_sums("ab" * 32, "bc" * 32, "cd" * 32)
    copy = replace(summed[0], file=replace(summed[0].file, url="a copy"))
    assert kept([*summed, copy]) == 3
    assert kept(with_sums("ab" * 32, "bc" * 32, "ab" * 32)) == 3  # the record of one is wrong


def test_files_come_in_the_order_of_their_times_whatever_their_names(tmp_path: Path) -> None:
    series = rules.check(scanned("order_not_by_name", tmp_path), "test")
    assert [file.file.name for file in series.files] == ["tas_b.nc", "tas_a.nc"]
    assert (np.diff(np.concatenate(series.times)) > 0).all()


def _times(calendar: str, steps: Sequence[tuple[int, ...]]) -> np.ndarray:
    dates = [cftime.datetime(*step, calendar=calendar) for step in steps]
    return np.array(
        [round(x) for x in cftime.date2num(dates, "microseconds since 1970-01-01", calendar)],
        np.int64,
    )


def _months(middle: bool, count: int = 30) -> list[tuple[int, ...]]:
    return [(1999 + n // 12, n % 12 + 1, 15 if middle else 1) for n in range(count)]


STEPS: dict[str, list[tuple[int, ...]]] = {
    "mon": _months(True),
    "monPt": _months(False),
    "monC": _months(True, 12),
    "yr": [(year, 7, 1) for year in range(1850, 1870)],
    "yrPt": [(year, 1, 1) for year in range(1850, 1870)],
    "dec": [(year, 1, 1) for year in range(1850, 1950, 10)],
    "day": [(2000, 2, day) for day in range(1, 29)],
    "6hr": [(2000, 3, 1 + n // 4, 6 * (n % 4), 0) for n in range(40)],
    "6hrPt": [(2000, 3, 1 + n // 4, 6 * (n % 4), 0) for n in range(40)],
    "3hr": [(2000, 3, 1 + n // 8, 3 * (n % 8), 30) for n in range(40)],
    "3hrPt": [(2000, 3, 1 + n // 8, 3 * (n % 8)) for n in range(40)],
    "1hr": [(2000, 3, 1 + n // 24, n % 24, 30) for n in range(60)],
    "1hrCM": [(2000, 3, 1, n, 30) for n in range(24)],
    "subhrPt": [(2000, 3, 1, n // 4, 15 * (n % 4)) for n in range(40)],
    "": [(2000, 2, day) for day in range(1, 29)],
}
"""Frequency -> (year, month, day, hour, minute) of steps as CMIP tables have them."""


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day", "julian", "all_leap"])
@pytest.mark.parametrize("frequency", STEPS)
def test_a_gap_is_told_by_the_calendar_and_no_gap_is_not(frequency: str, calendar: str) -> None:
    times = _times(calendar, STEPS[frequency])
    assert len(time_rules._too_wide(times, frequency, calendar)) == 0
    for lost in (1, len(times) // 2, len(times) - 2):
        assert time_rules._too_wide(np.delete(times, lost), frequency, calendar).tolist() == [
            lost - 1
        ]


def test_one_step_or_none_has_no_gap() -> None:
    assert len(time_rules._too_wide(np.empty(0, np.int64), "fx", "standard")) == 0
    assert len(time_rules._too_wide(np.zeros(1, np.int64), "mon", "360_day")) == 0


def test_variables_in_files_of_their_own_are_no_overlap_to_retract(tmp_path: Path) -> None:
    finding = _refusal_of_two_variables(tmp_path, pr=(12, 12))
    assert (finding.code, finding.rule) == ("variable-missing", 39)
    assert "{dataset: ID, sources: FILES}" in finding.todo
    assert "may be missing" not in finding.todo


def test_of_several_variables_one_that_lacks_a_file_is_named(tmp_path: Path) -> None:
    finding = _refusal_of_two_variables(tmp_path, pr=(12,))
    assert "A file may be missing" in finding.todo
    assert "12 of pr, 24 of tas" in finding.todo


def _refusal_of_two_variables(directory: Path, *, pr: tuple[int, ...]) -> Finding:
    """What is said of two years of ``tas``, and files of ``pr`` of so many months beside them."""
    tas = write_monthly(directory / "tas", lengths=(12, 12))
    beside = write_monthly(directory / "pr", lengths=pr)
    for path in beside:
        with netCDF4.Dataset(path, "a") as file:
            file.renameVariable("tas", "pr")
    with Transport() as transport:
        files = scan(record_of([*tas, *beside]).files, transport)
    with pytest.raises(RefusedError) as refused:
        rules.check(files, "test")
    (finding,) = refused.value.findings
    return finding


def test_texts_of_another_length_are_not_called_another_grid(tmp_path: Path) -> None:
    (found,) = findings(scanned("text_length_differs", tmp_path))
    assert "the length of the texts ['type']" in found.todo
    found = next(iter(findings(scanned("grid_differs", tmp_path))))
    assert "different grids" in found.todo
