"""Time steps that several files hold: they are served once, after all stored numbers were compared
bit for bit (rule 11).

Nothing is read if no times overlap. NaNs are equal if their bits are, and zeros with different
signs differ. Numbers of another type, packing or fill value never count as equal: their meaning is
not judged here. Readers see no difference between the files that hold a step, so the places where
chunks begin decide from which file it is served.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series, Variable
from ..transport import Transport
from .cutting import Part, chunk_length, steps_of
from .interleaved import in_stretches
from .runs import packing
from .stored_steps import StoredSteps, first_difference


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    """Steps of a file that another file has too."""

    file: FileReferences
    steps: slice


def serve_once(series: Series, transport: Transport, *, read: str = "auto") -> Series:
    """Assign each time step to one file, if its values are equal in all files that hold it.

    Args:
        series: in the order of first times.
        transport: reads the repeated steps, if there are any.
        read: ``http``, ``local`` or ``auto``, as the setting of that name.

    Returns:
        The files without the steps that other files serve. ``left_out`` holds files of which
            nothing remains. ``warnings`` describe the repeated steps; a warning with ``refuse``
            names steps that differ, and its files are unchanged.

    Raises:
        FormatError, TransportError: repeated steps cannot be read.
    """
    if series.time is None or not _overlapping(series.times):
        return series
    apart = in_stretches(series)
    if apart is not None:
        return apart
    kept, findings = _without_repeats(series, partial(first_difference, transport, read))
    shown = {part.file.file.url for part in kept}
    return replace(
        series,
        files=tuple(part.file for part in kept),
        times=tuple(part.times for part in kept),
        warnings=tuple(findings),
        left_out=tuple(file for file in series.files if file.file.url not in shown),
    )


def _without_repeats(series: Series, unlike: _Unlike) -> tuple[list[Part], list[Finding]]:
    """Return the files without the steps that earlier files serve, and a finding for each
    overlap.
    """
    time = str(series.time)
    kept: list[Part] = []
    findings = []
    for part in map(Part, series.files, series.times):
        earlier = [known for known in kept if known.meets(part)]
        if not earlier:
            kept.append(part)
            continue
        finding = _judge(part, earlier, time, unlike)
        findings.append(finding)
        kept = [*kept, part] if finding.refuse else _join(kept, part, time)
    return kept, findings


def _overlapping(times: Sequence[np.ndarray]) -> bool:
    """Whether some times may be in several files. False if times decrease: another rule refuses
    such files.
    """
    if not times or any((np.diff(steps) <= 0).any() for steps in times):
        return False
    ends = np.maximum.accumulate([steps[-1] for steps in times])
    return any(steps[0] <= end for steps, end in zip(times[1:], ends, strict=False))


_Unlike = Callable[[StoredSteps, StoredSteps, int], int | None]
"""Finds the first step at which stored numbers differ."""


def _judge(part: Part, earlier: Sequence[Part], time: str, unlike: _Unlike) -> Finding:
    """Compare the steps that earlier files have too, and return a finding."""

    def date(step: int) -> str:
        return cf.date_text(int(part.times[step]), cf.calendar_of(part.file.variables[time].attrs))

    count = part.between(part.times[0], max(known.times[-1] for known in earlier)).stop
    spans = [known.between(part.times[0], part.times[-1]) for known in earlier]
    again = np.concatenate([known.times[span] for known, span in zip(earlier, spans, strict=True)])
    names = ", ".join(known.file.file.name for known in earlier)
    if not np.isin(part.times[:count], again).any():
        return _overlap(
            part,
            f"steps before or after those of {names}, or between them at the beginning of a chunk",
            f"{date(0)} to {date(count - 1)}, between steps that one chunk holds",
            "Write the files again, one after the other in time.",
        )
    if not np.array_equal(again, part.times[:count]):
        return _overlap(
            part, f"the steps of {names} from {date(0)} to {date(count - 1)}", "other steps"
        )
    begin = 0
    for known, span in zip(earlier, spans, strict=True):
        stop = begin + span.stop - span.start
        here = _Span(known.file, span)
        name, reason = _difference(here, _Span(part.file, slice(begin, stop)), time, unlike)
        if name:
            found = (
                f"other values, first at {date(begin + reason)}"
                if isinstance(reason, int)
                else reason
            )
            return _overlap(
                part,
                f"{name!r} from {date(begin)} to {date(stop - 1)} as in {known.file.file.name}",
                found,
            )
        begin = stop
    return Finding(
        "time-repeated",
        11,
        part.file.file.url,
        "each time in one file",
        f"{count} steps, {date(0)} to {date(count - 1)}, again as in {names}",
        "They are equal in all variables, bit for bit, and are served once.",
        refuse=False,
    )


_TODO = "Two files hold the same times and do not agree: retract one of them."


def _overlap(part: Part, expected: str, found: str, todo: str = _TODO) -> Finding:
    return Finding("time-overlap", 11, part.file.file.url, expected, found, todo)


def _difference(known: _Span, own: _Span, time: str, unlike: _Unlike) -> tuple[str, str | int]:
    """Return the first variable that differs between both files, with the reason or the first step
    that differs; empty names if all are equal.
    """
    names = known.file.variables.keys() | own.file.variables.keys()
    for name in sorted(names - {time}):
        a = known.file.variables.get(name)
        b = own.file.variables.get(name)
        if a is None or b is None:
            return name, "no such variable"
        if time in a.dims or time in b.dims:  # Other rules compare fixed fields.
            reason = _variable_difference(name, known, own, time, unlike)
            if reason is not None:
                return name, reason
    return "", ""


def _variable_difference(
    name: str, known: _Span, own: _Span, time: str, unlike: _Unlike
) -> str | int | None:
    """Return why a variable along time differs between both files, or the first step that differs;
    None if it is equal.
    """
    a = known.file.variables[name]
    b = own.file.variables[name]
    if a.dims != b.dims or _beside(a, time) != _beside(b, time):
        return f"dimensions {b.dims} of {b.shape}"
    if name in cf.dates_along(known.file.variables, time):
        same = _same_dates(known, own, name, time)
        if same:
            return None
        stated = cf.time_references([known.file.variables, own.file.variables], time, name)
        if len(stated) > 1:  # With other units or calendars, equal numbers are other dates.
            return "other dates" if same is False else "dates that cannot be compared"
    if a.dtype.newbyteorder("=") != b.dtype.newbyteorder("=") or packing(a) != packing(b):
        return "another type, packing or fill value"
    axis = a.dims.index(time)
    return unlike(
        StoredSteps(a, axis, known.steps.start, known.file),
        StoredSteps(b, axis, own.steps.start, own.file),
        own.steps.stop - own.steps.start,
    )


def _beside(variable: Variable, time: str) -> tuple[int, ...]:
    return tuple(
        size for size, dim in zip(variable.shape, variable.dims, strict=True) if dim != time
    )


def _same_dates(known: _Span, own: _Span, name: str, time: str) -> bool | None:
    """Whether bounds of time are the same dates, in any units; None if they cannot be decoded."""
    dates = []
    for span in (known, own):
        variable = span.file.variables[name]
        attrs = cf.companion_attrs(span.file.variables, name, time)
        if variable.values is None:
            return None
        values = np.moveaxis(variable.values, variable.dims.index(time), 0)[span.steps]
        try:
            dates.append(cf.dates_of(values, cf.meaning(variable), attrs))
        except ValueError:
            return None
        if (dates[-1] == cf.NO_DATE).any():
            return None
    return all(np.array_equal(dates[0], found) for found in dates)


def _join(kept: Sequence[Part], part: Part, time: str) -> list[Part]:
    """Append a new part, which begins at a chunk that allows it; earlier parts end there."""
    repeated = part.between(part.times[0], max(known.times[-1] for known in kept)).stop
    if repeated == len(part.times):
        return list(kept)
    step = chunk_length(part, time)
    begins = np.arange(repeated - repeated % step, -1, -step)
    last = kept[-1]
    fits = np.searchsorted(last.times, part.times[begins]) % chunk_length(last, time) == 0
    # Prefer the latest step that ends the last file with a whole chunk; else take the latest step.
    begin = int(begins[np.argmax(fits)])
    parts = [
        steps_of(known, time, 0, int(np.searchsorted(known.times, part.times[begin])))
        for known in kept
    ]
    return [
        *(known for known in parts if len(known.times)),
        steps_of(part, time, begin, len(part.times)),
    ]
