"""The rules between files: what must agree before they may be read as one dataset. No input or
output; one small function for each rule.

Each ``check_*`` yields findings; ``check`` runs them all, so that an operator sees all reasons at
once. Differences of layout alone (packing, filters, chunks, types: rules 2, 3, 7, 8, 9) are no
reason to refuse: ``combine`` makes segments of such files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from .. import cf
from ..errors import RefusedError
from ..model import FileReferences, Finding, Series
from ..transport.checksums import is_well_formed
from .fixed import check_dimensions, check_fixed, check_variables, of_several_variables
from .identity import check_identity, check_methods, confirm_id
from .meaning import check_attributes, check_finite, check_packing, check_units
from .order import arrange
from .time_rules import check_bounds, check_calendars, check_dates, check_gaps, check_overlap


def check(
    files: Sequence[FileReferences],
    subject: str,
    serve_once: Callable[[Series], Series] = lambda series: series,
    *,
    dataset_id: str = "",
) -> Series:
    """Sort the files by time, and check that they belong together.

    Args:
        files: scanned files, in any order.
        subject: the dataset id, for messages.
        serve_once: removes the time steps that several files hold with equal values. Without it no
            time may be in two files.
        dataset_id: the dataset to which the files must belong; empty allows any dataset.

    Raises:
        RefusedError: with the findings of all rules that were broken.
    """
    findings: list[Finding] = []
    unique = list(_drop_repeated(files, findings))
    series = arrange(unique, findings)
    several = list(of_several_variables(series))
    if several:  # All other rules assume files of one dataset.
        raise RefusedError(subject, several)
    served = serve_once(series)
    findings += served.warnings
    findings += doubtful_checksums(series)
    for rule in _RULES:
        findings += rule(served if rule in _ALONG_TIME else series)
    if dataset_id:
        findings += confirm_id(series, dataset_id)
    refusals = [finding for finding in findings if finding.refuse]
    if refusals:
        raise RefusedError(subject, refusals)
    kept = set(map(id, series.files))
    left_out = (*served.left_out, *(file for file in files if id(file) not in kept))
    return replace(served, warnings=tuple(findings), left_out=left_out)


def _drop_repeated(
    files: Sequence[FileReferences], findings: list[Finding]
) -> Iterator[FileReferences]:
    """Rule 11, the harmless part: a file that is listed twice, or copied byte for byte, is served
    once.
    """
    seen: dict[object, FileReferences] = {}
    for file in sorted(files, key=lambda f: f.file.url):
        record = file.file
        sum_known = record.checksum and (record.checksum_type, record.checksum, file.size)
        twin = seen.get(record.url)
        alike = seen.get(sum_known) if sum_known else None
        if twin is None and alike is not None and is_well_formed(record):
            if _may_be_equal(file, alike):
                twin = alike
            else:
                findings.append(_checksum_of_another(file, alike))
        if twin is not None:
            findings.append(
                Finding(
                    "file-twice",
                    11,
                    record.url,
                    "each file once",
                    f"the same bytes as {twin.file.url}",
                    "The file is served once.",
                    refuse=False,
                )
            )
            continue
        seen[record.url] = file
        if sum_known:
            seen[sum_known] = file
        yield file


def _may_be_equal(one: FileReferences, other: FileReferences) -> bool:
    """Whether two files of one size may hold the same bytes: a scan finds the same in both."""
    if one.attrs.keys() != other.attrs.keys() or one.variables.keys() != other.variables.keys():
        return False
    for name, here in one.variables.items():
        there = other.variables[name]
        same_places = np.array_equal(here.chunks.offsets, there.chunks.offsets)
        if here.shape != there.shape or not same_places:
            return False
    time = cf.time_name(one.variables)
    if time is None:
        return True
    return np.array_equal(
        np.asarray(one.variables[time].values), np.asarray(other.variables[time].values)
    )


def _checksum_of_another(file: FileReferences, other: FileReferences) -> Finding:
    return Finding(
        "source-checksum",
        28,
        file.file.url,
        "a checksum in its record that no other file has",
        f"{file.file.checksum!r}, which is also that of {other.file.url}, whose contents differ",
        "The record is wrong: correct the checksum. Both files are served.",
        refuse=False,
    )


def check_groups(series: Series) -> Iterator[Finding]:
    """Rule 27: warn of groups beside the variables of a file, which are not shown."""
    for file in series.files:
        if file.groups:
            yield Finding(
                "file-groups-not-shown",
                27,
                file.file.url,
                "variables in the root group only",
                f"the groups {list(file.groups)} too",
                "Only the root group is shown, as when stock xarray opens the file.",
                refuse=False,
            )


def doubtful_checksums(series: Series) -> Iterator[Finding]:
    """Rule 28: warn of a text that is not a checksum of the stated type: it confirms no file."""
    for file in series.files:
        record = file.file
        if not is_well_formed(record):
            yield Finding(
                "source-checksum",
                28,
                record.url,
                f"a {record.checksum_type} in its record",
                repr(record.checksum),
                "The record is wrong: correct the checksum. Until then esgvzarr cannot "
                "check whether the file is whole.",
                refuse=False,
            )


_RULES: tuple[Callable[[Series], Iterator[Finding]], ...] = (
    check_calendars,
    check_bounds,
    check_dates,
    check_overlap,
    check_gaps,
    check_variables,
    check_dimensions,
    check_fixed,
    check_units,
    check_packing,
    check_attributes,
    check_identity,
    check_methods,
    check_groups,
    check_finite,
)
_ALONG_TIME = (check_overlap, check_gaps)
"""Rules about the steps that are served; the other rules are about all files."""
