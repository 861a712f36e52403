"""Compare what a reference file shows with one source file after the other. Facts about all files are judged at the end."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cf
from ..model import Check, FileRecord
from .boxes import Box, choose
from .reading import Shown, Stated, described, times_of
from .truth import equal

if TYPE_CHECKING:
    import xarray

_WHOLE = 2**20
"""Bytes per file up to which a variable that is no data is compared whole."""
_READERS = 8
_ROUNDING = 1e-6
_APART = ("esgvzarr_segments", "esgvzarr_recipe", "least_significant_digit")
"""Attributes that are ours, or that xarray takes away from the files' side as it opens them."""


class Comparison:
    """One run of the proof over all files of a dataset."""

    def __init__(self, shown: Sequence[Shown], *, seed: str, samples: int, full: bool) -> None:
        self._shown, self._seed, self._samples, self._full = shown, seed, samples, full
        self._attrs: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._fixed: defaultdict[str, list[str]] = defaultdict(list)
        self._seen: dict[str, np.ndarray] = {group.path: np.zeros(len(group.times), bool) for group in shown}

    def file(self, file: FileRecord, truth: xarray.Dataset, places: Stated, stored: Mapping[str, tuple[int, int, bool]]) -> Iterator[Check]:
        """All that can be said of one file."""
        time = cf.time_name(described(truth))
        times = times_of(truth, time)
        if time is not None and not len(times):
            yield Check("time", file.name, True, "no time steps")
            return
        group, begin = self._find(times)
        if group is None:
            yield Check("time", file.name, False, f"its {len(times)} time steps are not shown one after the other")
            return
        self._seen[group.path][begin : begin + len(times)] = True
        yield Check("time", file.name, True, f"{len(times)} steps, from step {begin} of /{group.path}" if time else "fixed fields")
        yield from self._structure(file, truth, group, time)
        for name in truth.variables:
            if name in group.dataset.variables:
                yield from self._counts(file, truth, str(name), places, stored)
                yield from self._values(file, truth, str(name), group, time, begin)
        for name, variable in truth.variables.items():
            self._attrs[str(name)].append(variable.attrs)
        self._attrs[""].append(truth.attrs)

    def _find(self, times: np.ndarray) -> tuple[Shown | None, int]:
        """The group that shows these times, and the step at which they begin there."""
        for group in self._shown:
            if not len(times) and not len(group.times):
                return group, 0
            begin = int(np.searchsorted(group.times, times[0])) if len(times) and len(group.times) else -1
            if begin >= 0 and np.array_equal(group.times[begin : begin + len(times)], times):
                return group, begin
        return None, 0

    def _structure(self, file: FileRecord, truth: xarray.Dataset, group: Shown, time: str | None) -> Iterator[Check]:
        """Variables, their dimensions and types."""
        there, here = set(map(str, truth.variables)), set(map(str, group.dataset.variables))
        yield Check("variables", file.name, there == here, f"missing {sorted(there - here)}, too many {sorted(here - there)}" if there != here else f"{len(there)}")
        for name in sorted(there & here):
            a, b = truth.variables[name], group.dataset.variables[name]
            if a.dims != b.dims:
                yield Check("dimensions", f"{name} in {file.name}", False, f"{b.dims} are shown, the file has {a.dims}")
            numbers = a.dtype.kind in "iuf" and b.dtype.kind in "iuf"
            if numbers and a.dtype.newbyteorder("=") != b.dtype.newbyteorder("=") and name not in _time_names(truth, time):
                yield Check("type", f"{name} in {file.name}", False, f"{b.dtype} is shown, the file has {a.dtype}")

    def _counts(
        self, file: FileRecord, truth: xarray.Dataset, name: str, places: Stated, stored: Mapping[str, tuple[int, int, bool]]
    ) -> Iterator[Check]:
        """Chunks that the references state against HDF5's own count; bytes where chunks were cut (rule: no chunk is lost)."""
        found, size = places.chunks.get((file.url, name), 0), places.sizes.get((file.url, name), 0)
        if not found:
            return
        if name in stored:
            chunks, held, filtered = stored[name]
            right = found == chunks or chunks - places.inline.get(name, 0) <= found < chunks
            if not filtered:
                right = right or truth.variables[name].nbytes <= size <= held
            yield Check("count", f"{name} in {file.name}", right, f"{found} chunks, {size} bytes stated; {chunks} chunks, {held} bytes by HDF5")
        else:
            held = truth.variables[name].nbytes
            yield Check("count", f"{name} in {file.name}", size == held, f"{size} bytes stated, {held} in the file")

    def _values(
        self, file: FileRecord, truth: xarray.Dataset, name: str, group: Shown, time: str | None, begin: int
    ) -> Iterator[Check]:
        variable, shown = truth.variables[name], group.dataset.variables[name]
        if variable.dims != shown.dims:
            return
        if name in _time_names(truth, time):
            yield self._check_times(file, truth, name, group, time or "", begin)
        elif time not in variable.dims:
            self._fixed[name].append(_closeness(variable.values, shown.values) if variable.shape == shown.shape else "of another shape")
        else:
            yield self._check_boxes(file, variable, shown, name, group, variable.dims.index(time), begin)

    def _check_times(self, file: FileRecord, truth: xarray.Dataset, name: str, group: Shown, time: str, begin: int) -> Check:
        """Times and bounds as dates: their units may differ from file to file."""
        variable, shown = truth.variables[name], group.dataset.variables[name]
        axis = variable.dims.index(time)
        part = shown[(slice(None),) * axis + (slice(begin, begin + variable.shape[axis]),)].values
        attrs, shown_attrs = truth.variables[time].attrs, group.dataset.variables[time].attrs
        calendars = cf.calendar_of(attrs), cf.calendar_of(shown_attrs)
        there = cf.to_microseconds(variable.values, str(variable.attrs.get("units", attrs["units"])), calendars[0])
        here = cf.to_microseconds(part, str(shown.attrs.get("units", shown_attrs["units"])), calendars[1])
        right = np.array_equal(there, here) and cf.same_calendar(calendars, int(there.min()))
        return Check("values", f"{name} in {file.name}", right, f"{there.size} dates" + ("" if right else " differ"))

    def _check_boxes(
        self, file: FileRecord, variable: Any, shown: Any, name: str, group: Shown, axis: int, begin: int
    ) -> Check:
        seed = f"{self._seed} {file.name} {name}"
        chunks = group.chunk_shape(name) if variable.nbytes > _WHOLE or self._full else variable.shape
        boxes = choose(variable.shape, chunks, samples=self._samples, seed=seed, full=self._full)

        def read(box: Box) -> np.ndarray:
            moved = list(box)
            moved[axis] = slice(box[axis].start + begin, box[axis].stop + begin)
            return np.asarray(shown[tuple(moved)].values)

        wrong, count = [], 0
        with ThreadPoolExecutor(_READERS) as pool:
            for box, part in zip(boxes, pool.map(read, boxes), strict=True):
                there = np.asarray(variable[box].values)
                count += there.size
                if not equal(there, part):
                    wrong.append(box)
        detail = f"{count} of {math.prod(variable.shape)} values in {len(boxes)} boxes"
        return Check("values", f"{name} in {file.name}", not wrong, f"{detail}, {len(wrong)} boxes differ, first {wrong[0]}" if wrong else detail)

    def whole(self) -> Iterator[Check]:
        """What can be said after all files: fixed fields, attributes, that no time is shown that no file has."""
        for path, seen in self._seen.items():
            yield Check("time", f"/{path}", bool(seen.all()), f"{int(seen.sum())} of {len(seen)} steps shown come from the files")
        for name, results in self._fixed.items():
            right = "equal" in results and set(results) <= {"equal", "rounding"}
            yield Check("values", name, right, f"fixed, compared with {len(results)} files: {', '.join(sorted(set(results)))}")
        for name, versions in self._attrs.items():
            for group in self._shown:
                shown = group.dataset.attrs if not name else getattr(group.dataset.variables.get(name), "attrs", {})
                wrong = sorted(_wrong_attrs(shown, versions, moved=name in _time_names(group.dataset, group.time)))
                yield Check("attributes", f"{name or 'global'} in /{group.path}", not wrong, f"differ: {wrong}" if wrong else f"{len(shown)}")


def _time_names(dataset: xarray.Dataset, time: str | None) -> tuple[str, ...]:
    return (time, *cf.time_companions(described(dataset), time)) if time else ()


def _closeness(a: np.ndarray, b: np.ndarray) -> str:
    """Whether a fixed field of one file is the one that is shown; rounding noise of coordinates is known and reported."""
    if equal(a, b):
        return "equal"
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        scale = float(np.ptp(a)) / max(a.size - 1, 1) if a.size > 1 else float(np.abs(a).max())
        if float(np.abs(a - b).max()) <= _ROUNDING * scale:
            return "rounding"
    return "different"


def _wrong_attrs(shown: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], *, moved: bool) -> Iterator[str]:
    """Attributes that are shown with another value than some file has, that no file has, or that all files have and are not shown."""
    for name in {*shown, *(key for attrs in versions for key in attrs)}:
        if name in _APART or (moved and name in ("units", "calendar", "_FillValue")):
            continue
        values = [attrs[name] for attrs in versions if name in attrs]
        same_in_all = len(values) == len(versions) and all(_same(values[0], value) for value in values[1:])
        if name in shown:
            if not any(_same(shown[name], value) for value in values):
                yield name
        elif same_in_all and not (name == "missing_value" and np.isnan(np.asarray(values[0], np.float64)).all()):
            yield name


def _same(a: Any, b: Any) -> bool:
    """Equal as JSON has them: a list for an array, text for NaN."""
    a, b = (np.asarray(x if not isinstance(x, float) or math.isfinite(x) else str(x)) for x in (a, b))
    if a.dtype.kind in "OSU" or b.dtype.kind in "OSU":
        return [str(x).lower() for x in a.ravel().tolist()] == [str(x).lower() for x in b.ravel().tolist()]
    return bool(np.array_equal(a.ravel(), b.ravel(), equal_nan=True))
