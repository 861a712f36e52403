"""The rules between files: what must agree before they may be read as one dataset. Pure, one small
function per rule.

Each ``check_*`` yields findings; ``check`` runs them all, so that an operator sees all reasons at
once. Differences of layout alone (packing, filters, chunks, types: rules 2, 3, 7, 8, 9) are no
reason to refuse: ``combine`` makes segments of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import cftime
import numpy as np

from .. import cf
from ..errors import RefusedError
from ..model import FileReferences, Finding, Series, Variable

_ROUNDING = 1e-6
"""Part of the smallest grid step up to which coordinates may differ: rounding noise of real CMIP6
files.
"""
_PERIODS = {"yr": 12, "dec": 120, "mon": 1}
"""Frequencies in months; their length in days follows the calendar."""
_HOURS = {"day": 24, "6hr": 6, "3hr": 3, "1hr": 1}


def check(
    files: Sequence[FileReferences],
    subject: str,
    serve_once: Callable[[Series], Series] = lambda series: series,
) -> Series:
    """Put the files into time order and make sure that they belong together.

    Args:
        files: scanned, in any order.
        subject: the dataset id, for messages.
        serve_once: takes out the time steps that several files hold, where they are equal. Without
            it no time may be in two files.

    Raises:
        RefusedError: with the findings of all rules that were broken.
    """
    findings: list[Finding] = []
    unique = list(_drop_repeated(files, findings))
    series = _arrange(unique, findings)
    served = serve_once(series)
    findings += served.warnings
    for rule in _RULES:
        findings += rule(served if rule in _ALONG_TIME else series)
    refusals = [finding for finding in findings if finding.refuse]
    if refusals:
        raise RefusedError(subject, refusals)
    kept = set(map(id, series.files))
    left_out = (*served.left_out, *(file for file in files if id(file) not in kept))
    return replace(served, warnings=tuple(findings), left_out=left_out)


def _drop_repeated(
    files: Sequence[FileReferences], findings: list[Finding]
) -> Iterator[FileReferences]:
    """Rule 11, the harmless half: a file that is listed twice, or copied byte for byte, is served
    once.
    """
    seen: dict[object, FileReferences] = {}
    for file in sorted(files, key=lambda f: f.file.url):
        record = file.file
        sum_known = record.checksum and (record.checksum_type, record.checksum, file.size)
        twin = seen.get(record.url) or (seen.get(sum_known) if sum_known else None)
        if twin is not None:
            findings.append(
                Finding(
                    "file-twice",
                    11,
                    record.url,
                    "each file once",
                    f"the same bytes as {twin.file.url}",
                    "It is served once.",
                    refuse=False,
                )
            )
            continue
        seen[record.url] = file
        if sum_known:
            seen[sum_known] = file
        yield file


def _arrange(files: Sequence[FileReferences], findings: list[Finding]) -> Series:
    """Order by decoded time (rule 10). What cannot be ordered keeps the order of the URLs, and a
    finding.
    """
    names = {file.file.url: cf.time_name(file.variables) for file in files}
    found = {name for name in names.values() if name}
    if not found:
        if len(files) > 1:
            findings.append(_no_time(files[1]))
        return Series(tuple(files), None, tuple(np.empty(0, np.int64) for _ in files))
    time = sorted(found)[0]
    findings += [_no_time(file) for file in files if names[file.file.url] != time]
    timed = []
    for file in files:
        times = _times(file, time, findings)
        if times is not None and len(times) == 0:
            findings.append(
                Finding(
                    "file-empty",
                    26,
                    file.file.url,
                    "time steps",
                    "none",
                    "The file adds nothing.",
                    refuse=False,
                )
            )
        elif times is not None:
            timed.append((times, file))
    timed.sort(key=lambda pair: (int(pair[0][0]), -int(pair[0][-1]), pair[1].file.url))
    if not timed:
        findings.append(
            Finding("file-empty", 26, files[0].file.url, "time steps", "none in any file")
        )
    return Series(tuple(file for _, file in timed), time, tuple(times for times, _ in timed))


def _no_time(file: FileReferences) -> Finding:
    return Finding(
        "time-missing",
        10,
        file.file.url,
        "the time coordinate by which files follow each other",
        "none, or of another name",
        "Publish fixed fields and other grids as datasets of their own.",
    )


def _times(file: FileReferences, time: str, findings: list[Finding]) -> np.ndarray | None:
    """Microseconds since 1970-01-01; None, and a finding, where they cannot be had."""
    variable = file.variables.get(time)
    if variable is None or variable.dims != (time,):
        return None
    values = variable.values
    try:
        if values is None:
            raise ValueError("were not read")
        if {"scale_factor", "add_offset"} & set(variable.attrs):
            raise ValueError("are packed")
        if (missing := cf.missing(values, cf.meaning(variable))).any():
            raise ValueError(f"step {int(np.flatnonzero(missing)[0])} is missing")
        times = cf.to_microseconds(
            values, str(variable.attrs.get("units")), cf.calendar_of(variable.attrs)
        )
    except ValueError as error:
        findings.append(
            Finding(
                "time-invalid", 5, file.file.url, "times that can be decoded", f"{time}: {error}"
            )
        )
        return None
    backwards = np.flatnonzero(np.diff(times) <= 0)
    if len(backwards):
        findings.append(
            Finding(
                "time-not-increasing",
                10,
                file.file.url,
                "time to increase",
                f"{_date(file, times, backwards[0])} at step {backwards[0]}, and "
                f"{_date(file, times, backwards[0] + 1)} after it",
            )
        )
    return times


def _date(file: FileReferences, times: np.ndarray, step: int) -> str:
    variable = file.variables[cf.time_name(file.variables) or ""]
    return cf.date_text(int(times[step]), cf.calendar_of(variable.attrs))


def check_calendars(series: Series) -> Iterator[Finding]:
    """Rule 6: one calendar, by whatever name."""
    if series.time is None or not series.files:
        return
    calendars = [cf.calendar_of(file.variables[series.time].attrs) for file in series.files]
    if not cf.same_calendar(calendars, int(series.times[0][0])):
        other = next(number for number, name in enumerate(calendars) if name != calendars[0])
        yield Finding(
            "calendar-differs",
            6,
            series.files[other].file.url,
            f"the calendar {calendars[0]!r} of {series.files[0].file.name}",
            repr(calendars[other]),
            "Dates would be wrong: check whether the files are of one simulation.",
        )


def check_bounds(series: Series) -> Iterator[Finding]:
    """Rule 5: bounds and climatology of time can be brought to one reference date with it."""
    if series.time is None or not series.files:
        return
    companions = [cf.time_companions(file.variables, series.time) for file in series.files]
    for name in sorted({name for names in companions for name in names}):
        present = [file for file in series.files if name in file.variables]
        fills = {
            str((file.variables[name].fill_value, file.variables[name].attrs.get("missing_value")))
            for file in present
        }
        moved = len(cf.time_references([file.variables for file in present], series.time, name)) > 1
        for file, names in zip(series.files, companions, strict=True):
            concerned = name in file.variables and (moved or len(fills) > 1)
            reason = (
                _unmovable(file, name, name in names or not moved, series.time) if concerned else ""
            )
            if reason:
                yield Finding(
                    "time-invalid",
                    5,
                    file.file.url,
                    f"{name!r} to be bounds of {series.time!r} that can be rebased",
                    reason,
                    "Write the files with one reference date.",
                )


def _unmovable(file: FileReferences, name: str, companion: bool, time: str) -> str:
    """Why the bounds of time of one file cannot be brought to another reference date; empty if they
    can.
    """
    variable = file.variables[name]
    attrs = cf.companion_attrs(file.variables, name, time)
    if not companion:
        return f"{time!r} does not name it"
    if variable.values is None:
        return ""
    try:
        if cf.missing(variable.values, cf.meaning(variable)).any() or {
            "scale_factor",
            "add_offset",
        } & set(variable.attrs):
            return "missing or packed values"
        cf.to_microseconds(variable.values, str(attrs.get("units")), cf.calendar_of(attrs))
    except ValueError as error:
        return str(error)
    return ""


def check_overlap(series: Series) -> Iterator[Finding]:
    """Rule 11: no time in two files, other than those of which is known already why they cannot be
    served once.
    """
    known = {finding.file for finding in series.warnings if finding.refuse}
    for (first, times), (second, later) in _neighbours(series):
        if len(later) and len(times) and later[0] <= times[-1] and second.file.url not in known:
            yield Finding(
                "time-overlap",
                11,
                second.file.url,
                f"time after {_date(first, times, -1)}, where {first.file.name} ends",
                f"{_date(second, later, 0)} to "
                f"{_date(second, later, int(np.searchsorted(later, times[-1], 'right')) - 1)} "
                "again",
                "Two files state the same time: retract one of them.",
            )


def check_gaps(series: Series) -> Iterator[Finding]:
    """Rule 12: no time is missing, by the calendar and the dataset's frequency; a warning."""
    if series.time is None or not series.files:
        return
    times = np.concatenate(series.times)
    owner = np.repeat(np.arange(len(series.files)), [len(t) for t in series.times])
    attrs = series.files[0].variables[series.time].attrs
    wide = _too_wide(times, str(series.files[0].attrs.get("frequency", "")), cf.calendar_of(attrs))
    for step in wide[:10]:
        file = series.files[owner[step + 1]]
        yield Finding(
            "time-gap",
            12,
            file.file.url,
            f"the step after {cf.date_text(times[step], cf.calendar_of(attrs))}",
            f"{cf.date_text(times[step + 1], cf.calendar_of(attrs))} ({len(wide)} such "
            f"gap{'s' if len(wide) > 1 else ''})",
            "Files may be missing from the dataset.",
            refuse=False,
        )


def _too_wide(times: np.ndarray, frequency: str, calendar: str) -> np.ndarray:
    """Steps that are followed by a gap."""
    if len(times) < 2:
        return np.empty(0, int)
    name = frequency.removesuffix("Pt").removesuffix("C")
    if name in _PERIODS:
        days = cftime.num2date(
            times // 86_400_000_000,
            "days since 1970-01-01",
            calendar,
            only_use_cftime_datetimes=True,
        )
        months = np.array([date.year * 12 + date.month for date in days])
        return np.flatnonzero(np.diff(months) > _PERIODS[name])
    steps = np.diff(times)
    usual = _HOURS[name] * 3_600_000_000 if name in _HOURS else np.median(steps) * 1.2
    return np.flatnonzero(steps > usual * 1.001)


def check_variables(series: Series) -> Iterator[Finding]:
    """Rule 13: the same variables in all files, with the same dimensions."""
    if not series.files:
        return
    everywhere: dict[str, tuple[FileReferences, Variable]] = {}
    for file in series.files:
        for name, variable in file.variables.items():
            everywhere.setdefault(name, (file, variable))
    for file in series.files:
        for name in everywhere.keys() - file.variables.keys():
            yield Finding(
                "variable-missing",
                13,
                file.file.url,
                f"{name!r}, as in {everywhere[name][0].file.name}",
                "no such variable",
                "Readers would take fill values for data.",
            )
        for name, variable in file.variables.items():
            first, known = everywhere[name]
            if variable.dims != known.dims:
                yield Finding(
                    "dimension-differs",
                    14,
                    file.file.url,
                    f"{name!r} with dimensions {known.dims}, as in {first.file.name}",
                    str(variable.dims),
                )


def check_dimensions(series: Series) -> Iterator[Finding]:
    """Rule 14: dimensions other than time have one size."""
    for first, file in _with_first(series):
        for name, size in file.dimensions.items():
            known = first.dimensions.get(name, size)
            if name != series.time and size != known:
                yield Finding(
                    "dimension-differs",
                    14,
                    file.file.url,
                    f"{name} = {known}, as in {first.file.name}",
                    f"{name} = {size}",
                    "The files are on different grids: publish them as datasets of their own.",
                )


def check_fixed(series: Series) -> Iterator[Finding]:
    """Rules 1 and 14: what does not change with time is equal in all files, as unpacked, but for
    rounding noise.
    """
    for first, file in _with_first(series):
        for name, variable in file.variables.items():
            known = first.variables.get(name)
            if known is None or series.time in variable.dims or variable.shape != known.shape:
                continue
            if variable.values is None or known.values is None:
                yield Finding(
                    "coordinate-differs",
                    1,
                    file.file.url,
                    f"values of {name!r} to compare",
                    "none were read",
                )
            elif not _equal(known.values, variable.values) or not _equal(
                _unpacked(known), _unpacked(variable)
            ):
                yield _difference(first, file, known, variable)


def _difference(
    first: FileReferences, file: FileReferences, known: Variable, variable: Variable
) -> Finding:
    noise = f"{variable.name!r} as in {first.file.name}"
    if (
        known.values is None
        or variable.values is None
        or {known.dtype.kind, variable.dtype.kind} - set("iuf")
    ):
        return Finding(
            "coordinate-differs",
            1,
            file.file.url,
            noise,
            "other text",
            "The files are not of one grid.",
        )
    a = _unpacked(known)
    b = _unpacked(variable)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return Finding(
            "coordinate-differs",
            1,
            file.file.url,
            noise,
            "missing values in other places",
            "The files are not of one grid.",
        )
    apart = np.abs(a - b)[~np.isnan(a) & (a != b)]
    largest = float(apart.max()) if apart.size else 0.0
    step = cf.grid_step(a)
    if largest <= _ROUNDING * step and known.dtype.kind == variable.dtype.kind == "f":
        return Finding(
            "coordinate-rounding",
            14,
            file.file.url,
            noise,
            f"differences up to {largest:.3g}, rounding noise on steps of {step:.3g}",
            f"The values of {first.file.name} are served.",
            refuse=False,
        )
    return Finding(
        "coordinate-differs",
        1,
        file.file.url,
        noise,
        f"differences up to {largest:.6g} on steps of {step:.3g}",
        "The files are not of one grid: publish them as datasets of their own.",
    )


def check_units(series: Series) -> Iterator[Finding]:
    """Rule 7: one physical unit for each variable. Time units may differ: they are rebased."""
    if not series.files:
        return
    first = series.files[0]
    rebased = (
        (series.time, *cf.time_companions(first.variables, series.time)) if series.time else ()
    )
    for _, file in _with_first(series):
        for name, variable in file.variables.items():
            known = first.variables.get(name)
            if known is None or name in rebased:
                continue
            for attr in ("units", "standard_name", "positive"):
                if known.attrs.get(attr) != variable.attrs.get(attr):
                    yield Finding(
                        "units-differ",
                        7,
                        file.file.url,
                        f"{name}:{attr} = {known.attrs.get(attr)!r}, as in {first.file.name}",
                        repr(variable.attrs.get(attr)),
                        "The numbers mean different things.",
                    )


def check_packing(series: Series) -> Iterator[Finding]:
    """Rule 7: a scale or offset of single precision becomes double in JSON; readers unpack to
    double then. A warning.
    """
    for file in series.files[:1]:
        for name, variable in file.variables.items():
            packing = [
                np.asarray(variable.attrs[role]).dtype
                for role in ("scale_factor", "add_offset")
                if role in variable.attrs
            ]
            if (
                np.dtype("f4") in [dtype.newbyteorder("=") for dtype in packing]
                and variable.dtype.itemsize < 4
            ):
                yield Finding(
                    "packing-single",
                    7,
                    file.file.url,
                    f"{name!r} to be unpacked in double precision",
                    "scale_factor or add_offset of single precision, for which JSON has no word",
                    "The stored numbers are the same; unpacked ones differ by single precision's "
                    "rounding.",
                    refuse=False,
                )


def misfits(first: Series, second: Series) -> Iterator[Finding]:
    """Whether two datasets can be shown in one group: one grid, one time axis, and what both hold
    is the same in both.

    Nothing is filled, cut or aligned: what does not fit is a finding.
    """
    if first.time is None:
        first, second = second, first
    one = first.files[0]
    other = second.files[0]
    times = _time_names(first) | _time_names(second)
    for name in [name for name in other.variables if name in one.variables]:
        here = one.variables[name]
        there = other.variables[name]
        if name not in times and (first.time in here.dims or second.time in there.dims):
            yield Finding(
                "variable-clash",
                14,
                other.file.url,
                f"no other {name!r} than that of {one.file.name}",
                "a variable of that name",
                "Show them in groups of their own, or drop one.",
            )
        elif here.dims != there.dims or (
            name not in times and here.dtype.newbyteorder("=") != there.dtype.newbyteorder("=")
        ):
            yield Finding(
                "dimension-differs",
                14,
                other.file.url,
                f"{name!r} {here.dims} of {here.dtype}, as in {one.file.name}",
                f"{there.dims} of {there.dtype}",
                "Show them in groups of their own.",
            )
    pair = Series((one, other), first.time, ())
    yield from check_dimensions(pair)
    yield from check_fixed(pair)
    yield from check_units(pair)
    if first.time is not None and second.time is not None:
        yield from _check_one_axis(first, second, times)
        scalars = [
            sorted(
                name
                for name in cf.coordinate_names(file.variables)
                if not file.variables[name].dims
            )
            for file in (one, other)
        ]
        if scalars[0] != scalars[1]:
            yield Finding(
                "coordinate-differs",
                1,
                other.file.url,
                f"the scalar coordinates {scalars[0]} of {one.file.name}",
                str(scalars[1]),
                "Readers would take the coordinate of one variable for another's.",
            )


def _check_one_axis(first: Series, second: Series, names: set[str]) -> Iterator[Finding]:
    """The same times, with the same bounds."""
    if first.time != second.time:
        different = [f"{second.time!r}, not {first.time!r}"]
    else:
        different = [
            f"other values of {name!r}"
            for name in sorted(names)
            if not _same_times(_dates_of(first, name), _dates_of(second, name))
        ]
    if different:
        yield Finding(
            "time-differs",
            14,
            second.files[0].file.url,
            f"the time axis of {first.files[0].file.name}",
            different[0],
            "Show them in groups of their own: nothing is filled or aligned.",
        )


def _time_names(series: Series) -> set[str]:
    return (
        {series.time, *cf.time_companions(series.files[0].variables, series.time)}
        if series.time
        else set()
    )


_Dates = tuple[str, np.ndarray] | None


def _dates_of(series: Series, name: str) -> _Dates:
    """The calendar, and over all files the microseconds of time or a companion of it; None where
    they cannot be had.
    """
    parts = []
    time = series.time or ""
    for file in series.files:
        variable = file.variables.get(name)
        attrs = cf.companion_attrs(file.variables, name, time)
        if (
            variable is None
            or variable.values is None
            or cf.missing(variable.values, cf.meaning(variable)).any()
        ):
            return None
        parts.append(
            cf.to_microseconds(variable.values, str(attrs.get("units")), cf.calendar_of(attrs))
        )
    return cf.calendar_of(series.files[0].variables[time].attrs), np.concatenate(parts)


def _same_times(a: _Dates, b: _Dates) -> bool:
    """Equal in one calendar. What could not be read is not proved to be equal."""
    if a is None or b is None or not np.array_equal(a[1], b[1]):
        return False
    return cf.same_calendar((a[0], b[0]), int(a[1].min()))


def _unpacked(variable: Variable) -> np.ndarray:
    return cf.unpacked(np.asarray(variable.values), cf.meaning(variable))


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return bool(np.array_equal(a, b, equal_nan=True))
    return bool(np.array_equal(a, b))


def _neighbours(
    series: Series,
) -> Iterator[tuple[tuple[FileReferences, np.ndarray], tuple[FileReferences, np.ndarray]]]:
    pairs = list(zip(series.files, series.times, strict=True))
    return pairwise(pairs)


def _with_first(series: Series) -> Iterator[tuple[FileReferences, FileReferences]]:
    return ((series.files[0], file) for file in series.files[1:])


_RULES: tuple[Callable[[Series], Iterator[Finding]], ...] = (
    check_calendars,
    check_bounds,
    check_overlap,
    check_gaps,
    check_variables,
    check_dimensions,
    check_fixed,
    check_units,
    check_packing,
)
_ALONG_TIME = (check_overlap, check_gaps)
"""Rules about the steps that are served; the others are about all files."""
