"""Put files into the order of their decoded times (rule 10). Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series


def arrange(files: Sequence[FileReferences], findings: list[Finding]) -> Series:
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
                f"{date_at(file, times, backwards[0])} at step {backwards[0]}, and "
                f"{date_at(file, times, backwards[0] + 1)} after it",
            )
        )
    return times


def date_at(file: FileReferences, times: np.ndarray, step: int) -> str:
    """The date of a step of a file, as text."""
    variable = file.variables[cf.time_name(file.variables) or ""]
    return cf.date_text(int(times[step]), cf.calendar_of(variable.attrs))
