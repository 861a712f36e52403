"""Compare what a reference file shows with one source file after the other. Facts about all files are judged at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cf
from ..model import Check, FileRecord
from .attributes import MARKS, OF_FILES, same, unlike, wrong_attrs
from .boxes import Box, choose
from .reading import UNREADABLE, Shown, Stated, described, place_of, times_of
from .truth import Counted, Source, equal

if TYPE_CHECKING:
    import xarray

_WHOLE = 2**20
"""Bytes per file up to which a variable that is no data is compared whole."""
_READERS = 8
_AT_ONCE = 64
"""Boxes that are in memory at a time."""
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One source file beside the group that shows it."""

    file: FileRecord
    source: Source
    truth: xarray.Dataset
    group: Shown
    time: str | None
    begin: int
    """Step of the group at which the file begins."""
    end: int
    time_names: tuple[str, ...]
    """Time and its companions in the file: dates, which are no data."""

    def of(self, name: str) -> str:
        """How a check names a variable of the file."""
        return f"{name} in {self.file.name}"

    def is_data(self, name: str) -> bool:
        """Whether a variable changes with time, and is not time itself."""
        dims = self.truth.variables[name].dims
        return self.time in dims and name not in self.time_names and dims == self.group.dataset.variables[name].dims

    def shown_box(self, name: str, box: Box) -> Box:
        """Where the group shows a box of the file."""
        axis = self.truth.variables[name].dims.index(self.time)
        return (*box[:axis], slice(box[axis].start + self.begin, box[axis].stop + self.begin), *box[axis + 1 :])

    def read_shown(self, name: str, box: Box) -> np.ndarray | Exception:
        """What a reader gets for a box of the file."""
        try:
            return np.asarray(self.group.dataset.variables[name][self.shown_box(name, box)].values)
        except UNREADABLE as error:
            return error


class Comparison:
    """One run of the proof over all files of a dataset, and the groups that show it."""

    def __init__(self, shown: Sequence[Shown], places: Stated, *, seed: str, samples: int, full: bool, alone: bool = True) -> None:
        """Args: ``alone``: the groups show no other dataset; else only what is in the first file's variables is looked at."""
        self._shown, self._places, self._seed, self._samples, self._full, self._alone = shown, places, seed, samples, full, alone
        self.attrs: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        """Variable -> its attributes in each file; ``""`` for the global ones."""
        self.fixed: defaultdict[str, list[str]] = defaultdict(list)
        """Variable without time -> how near it is to what is shown, for each file."""
        self._seen = _none_seen(shown)

    @property
    def timed(self) -> bool:
        """Whether its files follow each other in time."""
        return any(group.time for group in self._shown)

    def file(self, file: FileRecord, source: Source, truth: xarray.Dataset, stored: Mapping[str, Counted]) -> Iterator[Check]:
        """All that can be said of one file. ``truth`` reads from ``source``; ``stored`` is HDF5's count of it."""
        if not self._alone:
            self._shown, self._alone = [group.only(map(str, truth.variables)) for group in self._shown], True
            self._seen = _none_seen(self._shown)
        time = cf.time_name(described(truth))
        times = times_of(truth, time)
        if time is not None and not truth.sizes[time]:
            yield Check("time", file.name, True, "no time steps")
            return
        group, begin = self._find(times) if len(times) or time is None else (None, 0)
        if group is None:
            yield Check("time", file.name, False, f"its {len(times)} time steps are not shown one after the other")
            return
        self._seen[group.path][begin : begin + len(times)] = True
        yield Check("time", file.name, True, f"{len(times)} steps, from step {begin} of /{group.path}" if time else "fixed fields")
        pair = _Pair(file, source, truth, group, time, begin, begin + len(times), _time_names(truth, time))
        yield from _structure(pair)
        names = [str(name) for name in truth.variables if name in group.dataset.variables]
        for name in names:
            yield from _counts(pair, name, self._places, stored)
            yield from self._description(pair, name)
        yield from self._data(pair, [name for name in names if pair.is_data(name)])
        for key, variable in truth.variables.items():
            self.attrs[str(key)].append(variable.attrs)
        self.attrs[""].append(truth.attrs)

    def check_times(self) -> Iterator[Check]:
        """That no time is shown that no file has."""
        for path, seen in self._seen.items():
            yield Check("time", f"/{path}", bool(seen.all()), f"{int(seen.sum())} of {len(seen)} steps shown come from the files")

    def _find(self, times: np.ndarray) -> tuple[Shown | None, int]:
        """The group that shows these times, and the step at which they begin there."""
        for group in self._shown:
            if not len(times) and not len(group.times):
                return group, 0
            for begin in np.flatnonzero(group.times == times[0]) if len(times) else ():
                if np.array_equal(group.times[begin : begin + len(times)], times):
                    return group, int(begin)
        return None, 0

    def _description(self, pair: _Pair, name: str) -> Iterator[Check]:
        """Times as dates; what does not change with time is compared now, and judged in the end."""
        variable, shown = pair.truth.variables[name], pair.group.dataset.variables[name]
        if variable.dims != shown.dims:
            return
        try:
            if name in pair.time_names:
                yield _check_times(pair, name)
            elif pair.time not in variable.dims:
                self.fixed[name].append(_closeness(variable, shown))
        except UNREADABLE as error:
            yield Check("values", pair.of(name), False, f"cannot be read: {type(error).__name__}: {error}")

    def _data(self, pair: _Pair, names: Sequence[str]) -> Iterator[Check]:
        """The chosen chunks of all data variables, some at a time: the readers ahead, the file after them."""
        chosen = {name: self._choose(pair, name) for name in names}
        jobs = [(name, box) for name, boxes in chosen.items() for box in boxes]
        wrong: defaultdict[str, list[str]] = defaultdict(list)
        with ThreadPoolExecutor(_READERS) as pool:
            for first in range(0, len(jobs), _AT_ONCE):
                some = jobs[first : first + _AT_ONCE]
                if not isinstance(pair.source, str):
                    pair.source.prefetch(place for name, box in some for place in self._stated(pair, name, box))
                for (name, box), part in zip(some, pool.map(pair.read_shown, *zip(*some, strict=True)), strict=True):
                    wrong[name] += _unlike_box(pair, name, box, part)
        for name, boxes in chosen.items():
            count = sum(math.prod(part.stop - part.start for part in box) for box in boxes)
            detail = f"{count} of {pair.truth.variables[name].size} values in {len(boxes)} boxes"
            if wrong[name]:
                detail += f", {len(wrong[name])} of them wrong, first {wrong[name][0]}"
            yield Check("values", pair.of(name), not wrong[name], detail)

    def _choose(self, pair: _Pair, name: str) -> list[Box]:
        variable = pair.truth.variables[name]
        chunks = pair.group.chunk_shape(name) if variable.nbytes > _WHOLE or self._full else variable.shape
        seed = f"{self._seed} {pair.file.name} {name}"
        return choose(variable.shape, chunks, samples=self._samples, seed=seed, full=self._full)

    def _stated(self, pair: _Pair, name: str, box: Box) -> Iterator[tuple[int, int]]:
        """Where the references say that the first chunk of a box is."""
        return self._places.within(pair.group.path, name, [pair.shown_box(name, box)], pair.group.chunk_shape(name))


def whole(shown: Sequence[Shown], compared: Sequence[Comparison], *, but: Sequence[str] = ()) -> Iterator[Check]:
    """What can be said after all files: fixed fields, attributes, that nothing is shown that no file has.

    Args:
        shown: the groups.
        compared: the datasets that they show, which have been compared file by file.
        but: global attributes that are the document's own.
    """
    for one in compared:
        yield from one.check_times()
    results, attrs = defaultdict[str, list[str]](list), defaultdict[str, list[Mapping[str, Any]]](list)
    owners = [one for one in compared if one.timed] or compared  # fixed fields beside them have no say in global attributes
    for one in compared:
        for name, found in one.fixed.items():
            results[name] += found
        for name, versions in one.attrs.items():
            attrs[name] += versions if name or one in owners else []
    for name, found in results.items():
        right = "equal" in found and set(found) <= {"equal", "rounding"}
        yield Check("values", name, right, f"fixed, compared with {len(found)} files: {', '.join(sorted(set(found)))}")
    for group in shown:
        there, here = attrs.keys() - {""}, set(map(str, group.dataset.variables))
        yield Check("variables", f"/{group.path}", here <= there, f"{len(here)}, in no file: {sorted(here - there)}")
        for name, versions in attrs.items():
            yield from _check_attributes(group, name, versions, but)


def _check_attributes(group: Shown, name: str, versions: Sequence[Mapping[str, Any]], but: Sequence[str]) -> Iterator[Check]:
    variable = group.dataset.variables.get(name)
    if name and variable is None:
        return  # the files' own checks have said so
    if variable is None:
        shown, known = group.dataset.attrs, but
    else:
        dates = name in _time_names(group.dataset, group.time)
        shown, known = variable.attrs, OF_FILES if dates else (() if group.time in variable.dims else MARKS)
    wrong = sorted(wrong_attrs(shown, versions, but=known))
    yield Check("attributes", f"{name or 'global'} in /{group.path}", not wrong, f"differ: {wrong}" if wrong else f"{len(shown)}")


def _none_seen(shown: Sequence[Shown]) -> dict[str, np.ndarray]:
    """(time,) bool for each group: which steps a file was found for."""
    return {group.path: np.zeros(len(group.times), bool) for group in shown}


def _time_names(dataset: xarray.Dataset, time: str | None) -> tuple[str, ...]:
    return (time, *cf.time_companions(described(dataset), time)) if time else ()


def _same_type(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    """Equal but for the byte order; strings of variable length come as more than one type."""
    return {a.kind, b.kind} <= set("OUT") or a.newbyteorder("=") == b.newbyteorder("=")


def _structure(pair: _Pair) -> Iterator[Check]:
    """Variables, their dimensions and types, and what their numbers mean."""
    truth, shown = pair.truth, pair.group.dataset
    there, here = set(map(str, truth.variables)), set(map(str, shown.variables))
    detail = f"missing {sorted(there - here)}, too many {sorted(here - there)}" if there != here else f"{len(there)}"
    yield Check("variables", pair.file.name, there == here, detail)
    for name in sorted(there & here):
        a, b = truth.variables[name], shown.variables[name]
        if a.dims != b.dims:
            yield Check("dimensions", pair.of(name), False, f"{b.dims} are shown, the file has {a.dims}")
        if name in _time_names(truth, pair.time):
            continue
        if not _same_type(a.dtype, b.dtype):
            yield Check("type", pair.of(name), False, f"{b.dtype} is shown, the file has {a.dtype}")
        if pair.time in a.dims and (other := sorted(unlike(a.attrs, b.attrs, a.dtype))):
            yield Check("attributes", pair.of(name), False, f"its numbers mean something else by {other}")


def _counts(pair: _Pair, name: str, places: Stated, stored: Mapping[str, Counted]) -> Iterator[Check]:
    """Chunks that the references state against HDF5's own count; bytes where chunks were cut (no chunk is lost)."""
    place = pair.file.url, place_of(pair.group.path, name)
    found, size = places.chunks.get(place, 0), places.sizes.get(place, 0)
    if not found:
        return
    variable, chunk_shape = pair.truth.variables[name], pair.group.chunk_shape(name)
    if name not in stored:
        yield Check("count", pair.of(name), size == variable.nbytes, f"{size} bytes stated, {variable.nbytes} in the file")
        return
    chunks, held, filtered = stored[name]
    axis = variable.dims.index(pair.time) if pair.time in variable.dims else None
    inline = places.inline_within(pair.group.path, name, axis, (pair.begin, pair.end), chunk_shape)
    right = found <= chunks <= found + inline
    if not filtered:
        copied = inline * math.prod(chunk_shape) * variable.dtype.itemsize
        right = right or variable.nbytes - copied <= size <= held
    detail = f"{found} chunks, {size} bytes stated, {inline} chunks inline; {chunks} chunks, {held} bytes by HDF5"
    yield Check("count", pair.of(name), right, detail)


def _unlike_box(pair: _Pair, name: str, box: Box, part: np.ndarray | Exception) -> Iterator[str]:
    """In what the part that a reader gets is not the file's."""
    try:
        there = np.asarray(pair.truth.variables[name][box].values)
    except UNREADABLE as error:
        part = error
    if isinstance(part, Exception):
        yield f"{box} cannot be read: {type(part).__name__}: {part}"
    elif not equal(there, part):
        yield f"{box} differs"


def _check_times(pair: _Pair, name: str) -> Check:
    """Times and bounds as dates: their units may differ from file to file. As numbers where they are the same."""
    variable, shown, time = pair.truth.variables[name], pair.group.dataset.variables[name], pair.time or ""
    part = shown[(slice(None),) * variable.dims.index(time) + (slice(pair.begin, pair.end),)].values
    there = cf.companion_attrs(described(pair.truth), name, time)
    here = cf.companion_attrs(described(pair.group.dataset), name, time)
    right = all(same(here.get(key), there.get(key)) for key in {*here, *there}) and equal(variable.values, part)
    if not right:
        dates = cf.to_microseconds(variable.values, str(there["units"]), cf.calendar_of(there))
        shown_dates = cf.to_microseconds(part, str(here["units"]), cf.calendar_of(here))
        right = np.array_equal(dates, shown_dates) and cf.same_calendar(
            (cf.calendar_of(there), cf.calendar_of(here)), int(dates.min())
        )
    return Check("values", pair.of(name), right, f"{variable.size} dates" + ("" if right else " differ"))


def _closeness(variable: Any, shown: Any) -> str:
    """Whether a fixed field of one file is the one that is shown; rounding noise of coordinates is known and reported."""
    if variable.shape != shown.shape:
        return "of another shape"
    a, b = np.asarray(variable.values), np.asarray(shown.values)
    if {a.dtype.kind, b.dtype.kind} - set("iuf"):
        return "equal" if equal(a, b) else "different"
    numbers, others = cf.unpacked(a, variable.attrs), cf.unpacked(b, shown.attrs)
    if equal(a, b) and equal(numbers, others):
        return "equal"
    if a.dtype.kind == b.dtype.kind == "f" and np.array_equal(np.isnan(numbers), np.isnan(others)):
        apart = np.abs(numbers - others)[~np.isnan(numbers) & (numbers != others)]
        if not apart.size or float(apart.max()) <= _ROUNDING * cf.grid_step(numbers):
            return "rounding"
    return "different"
