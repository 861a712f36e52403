"""Compare what a reference file shows with one source file after the other. Facts about all files
are judged at the end.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cf import dates_along, time_name
from ..model import Check, FileRecord
from .attributes import MARKS, OF_FILES, unlike, wrong_attrs
from .closeness import EQUAL, ROUNDING, closeness
from .counts import Counts, judge
from .dates import Steps, check_dates, date_names
from .file_side import Counted, Source, equal
from .reference_side import UNREADABLE, Shown, Stated, described, place_of, times_of
from .sample import Box, choose

if TYPE_CHECKING:
    import xarray

_WHOLE = 2**20
"""Bytes per file up to which a variable that is no data is compared whole."""
_READERS = 8
_AT_ONCE = 64
"""Boxes that are in memory at a time."""
_PAUSES_S = (0.2, 0.8)
"""Before a second and third look at what could not be read: fsspec does not try again by itself
what a busy server refuses.
"""


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where a file's steps are shown."""

    group: Shown
    first: int
    """Step of the file."""
    begin: int
    """The same step of the group."""
    count: int
    """Steps from there on."""


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """One source file beside the group that shows it, or shows some of its steps."""

    file: FileRecord
    source: Source
    truth: xarray.Dataset
    place: _Place
    time: str | None
    time_names: tuple[str, ...]
    """Time and other dates along it in the file, which are no data."""
    unclear_names: tuple[str, ...] = ()
    """What may be dates, though no attribute says so."""

    @property
    def group(self) -> Shown:
        """What readers open."""
        return self.place.group

    @property
    def steps(self) -> slice:
        """Of the file."""
        return slice(self.place.first, self.place.first + self.place.count)

    @property
    def shown_steps(self) -> slice:
        """The same steps of the group."""
        return slice(self.place.begin, self.place.begin + self.place.count)

    def names(self) -> list[str]:
        """The variables that both have."""
        return [str(name) for name in self.truth.variables if name in self.group.dataset.variables]

    def of(self, name: str) -> str:
        """How a check names a variable of the file."""
        return f"{name} in {self.file.name}"

    def is_data(self, name: str) -> bool:
        """Whether a variable changes with time, and is not time itself."""
        dims = self.truth.variables[name].dims
        return (
            self.time in dims
            and name not in self.time_names
            and dims == self.group.dataset.variables[name].dims
        )

    def shown_box(self, name: str, box: Box) -> Box:
        """Where the group shows a box of the file."""
        axis = self.truth.variables[name].dims.index(self.time)
        shift = self.place.begin - self.place.first
        return (
            *box[:axis],
            slice(box[axis].start + shift, box[axis].stop + shift),
            *box[axis + 1 :],
        )

    def read_shown(self, name: str, box: Box) -> np.ndarray | Exception:
        """What a reader gets for a box of the file."""
        try:
            return np.asarray(self.group.dataset.variables[name][self.shown_box(name, box)].values)
        except UNREADABLE as error:
            return error


class Comparison:
    """One run of the proof over all files of a dataset, and the groups that show it."""

    def __init__(
        self,
        shown: Sequence[Shown],
        places: Stated,
        *,
        seed: str,
        samples: int,
        full: bool,
        alone: bool = True,
    ) -> None:
        """Args: ``alone``: the groups show no other dataset; else only what is in the first file's
        variables is looked at.
        """
        self._shown = shown
        self._stated = places
        self._seed = seed
        self._samples = samples
        self._full = full
        self._alone = alone
        self.attrs: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        """Variable -> its attributes in each file; ``""`` for the global ones."""
        self.fixed: defaultdict[str, list[str]] = defaultdict(list)
        """Variable without time -> how near it is to what is shown, for each file."""
        self.types: defaultdict[str, list[bool]] = defaultdict(list)
        """Variable without time -> whether its type is the one that is shown, for each file."""
        self._seen = _none_seen(shown)
        self._times_of_files: list[np.ndarray] = []
        self._places: dict[str, tuple[FileRecord, Sequence[_Place]]] = {}
        self._counted: list[Counts] = []
        self._pauses_s: tuple[float, ...] = _PAUSES_S

    @property
    def timed(self) -> bool:
        """Whether its files follow each other in time."""
        return any(group.time for group in self._shown)

    def file(
        self, file: FileRecord, source: Source, truth: xarray.Dataset, stored: Mapping[str, Counted]
    ) -> Iterator[Check]:
        """All that can be said of one file. ``truth`` reads from ``source``; ``stored`` is HDF5's
        count of it.
        """
        if not self._alone:
            self._shown = [group.only(map(str, truth.variables)) for group in self._shown]
            self._alone = True
            self._seen = _none_seen(self._shown)
        time = time_name(described(truth))
        times = times_of(truth, time)
        self._times_of_files.append(times)
        if time is not None and not truth.sizes[time]:
            yield Check("time", file.name, True, "no time steps")
            return
        places = self._find(times) if len(times) or time is None else []
        if not places:
            yield Check(
                "time",
                file.name,
                False,
                f"its {len(times)} time steps are not shown one after the other",
            )
            return
        where = ", ".join(f"from step {place.begin} of /{place.group.path}" for place in places)
        yield Check(
            "time", file.name, True, f"{len(times)} steps, {where}" if time else "fixed fields"
        )
        if file.url not in self._places:
            for place in places:
                self._times_seen(place)[:] += 1
        self._places[file.url] = file, places
        pairs = [
            _Pair(file, source, truth, place, time, *date_names(truth, place.group.dataset, time))
            for place in places
        ]
        for pair in pairs:
            yield from _structure(pair)
            for name in pair.names():
                yield from self._description(pair, name)
            yield from self._data(pair, full=self._full)
        self._counted += [
            _counts(pairs, str(name), self._stated, stored) for name in truth.variables
        ]
        for key, variable in truth.variables.items():
            self.attrs[str(key)].append(variable.attrs)
        self.attrs[""].append(truth.attrs)

    def shared(self) -> list[FileRecord]:
        """The files some of whose steps other files hold too, and that were compared by samples."""
        files = () if self._full else self._places.values()
        return [
            file
            for file, places in files
            if any((self._times_seen(place) > 1).any() for place in places)
        ]

    def repeated(self, file: FileRecord, source: Source, truth: xarray.Dataset) -> Iterator[Check]:
        """All numbers of a file at the steps that other files hold too: whichever is shown, it has
        to be that of all of them.
        """
        time = time_name(described(truth))
        for place in self._places[file.url][1]:
            for span in _stretches(self._times_seen(place) > 1):
                part = _Place(
                    place.group,
                    place.first + span.start,
                    place.begin + span.start,
                    span.stop - span.start,
                )
                yield from self._data(
                    _Pair(
                        file,
                        source,
                        truth,
                        part,
                        time,
                        *date_names(truth, part.group.dataset, time),
                    ),
                    full=True,
                )

    def check_times(self) -> Iterator[Check]:
        """That no time is shown that no file has, none twice, and that all chunks of the files are
        stated.
        """
        for path, seen in self._seen.items():
            there = int(np.count_nonzero(seen))
            yield Check(
                "time",
                f"/{path}",
                there == len(seen),
                f"{there} of {len(seen)} steps shown come from the files",
            )
        steps = np.concatenate([np.empty(0, np.int64), *(group.times for group in self._shown)])
        again = _shown_again(steps, self._times_of_files)
        yield Check(
            "time", "all groups", not again, f"{again} of {len(steps)} steps are shown again"
        )
        for counts in self._counted:
            shared = [self._times_seen(place) > 1 for place in self._places[counts.url][1]]
            yield from judge(counts, np.concatenate(shared))

    def _times_seen(self, place: _Place) -> np.ndarray:
        return self._seen[place.group.path][place.begin : place.begin + place.count]

    def _find(self, times: np.ndarray) -> list[_Place]:
        """Where these times are shown one after the other: in one group, or in several; empty if
        they are not.
        """
        if not len(times):
            return [_Place(group, 0, 0, 0) for group in self._shown if not len(group.times)][:1]
        places: list[_Place] = []
        groups = list(self._shown)
        first = 0
        while first < len(times) and groups:
            found = [
                _Place(group, first, *_stretch(group.times, times[first:])) for group in groups
            ]
            best = max(found, key=lambda place: place.count)
            if not best.count:
                break
            places.append(best)
            groups.remove(best.group)
            first += best.count
        return places if first == len(times) else []

    def _description(self, pair: _Pair, name: str) -> Iterator[Check]:
        """Times as dates; what does not change with time is compared now, and judged in the end."""
        variable = pair.truth.variables[name]
        shown = pair.group.dataset.variables[name]
        if variable.dims != shown.dims:
            return
        try:
            if name in pair.time_names:
                own = Steps(pair.truth, pair.steps)
                there = Steps(pair.group.dataset, pair.shown_steps)
                yield check_dates(own, there, pair.time or "", name, pair.of(name))
            elif name in pair.unclear_names:
                found = "may be dates, while time is shown by another reference date"
                yield Check("values", pair.of(name), passed=False, detail=found)
            elif pair.time not in variable.dims:
                self.fixed[name].append(closeness(variable, shown))
                self.types[name].append(_same_type(variable.dtype, shown.dtype))
        except UNREADABLE as error:
            yield Check(
                "values", pair.of(name), False, f"cannot be read: {type(error).__name__}: {error}"
            )

    def _data(self, pair: _Pair, *, full: bool) -> Iterator[Check]:
        """The chosen chunks of all data variables, some at a time: the readers ahead, the file
        after them.
        """
        chosen = {
            name: self._choose(pair, name, full) for name in pair.names() if pair.is_data(name)
        }
        jobs = [(name, box) for name, boxes in chosen.items() for box in boxes]
        wrong: defaultdict[str, list[str]] = defaultdict(list)
        with ThreadPoolExecutor(_READERS) as pool:
            for first in range(0, len(jobs), _AT_ONCE):
                some = jobs[first : first + _AT_ONCE]
                if not isinstance(pair.source, str):
                    pair.source.prefetch(
                        place for name, box in some for place in self._bytes(pair, name, box)
                    )
                for (name, box), part in zip(
                    some, pool.map(pair.read_shown, *zip(*some, strict=True)), strict=True
                ):
                    wrong[name] += self._unlike_box(pair, name, box, part)
        for name, boxes in chosen.items():
            count = sum(math.prod(part.stop - part.start for part in box) for box in boxes)
            detail = f"{count} of {pair.truth.variables[name].size} values in {len(boxes)} boxes"
            if wrong[name]:
                detail += f", {len(wrong[name])} of them wrong, first {wrong[name][0]}"
            yield Check("values", pair.of(name), not wrong[name], detail)

    def _unlike_box(
        self, pair: _Pair, name: str, box: Box, part: np.ndarray | Exception
    ) -> list[str]:
        """In what a part is not the file's. What could not be read is read again, until something
        stays unreadable; wrong numbers are wrong.
        """
        for pause_s in self._pauses_s:
            if not isinstance(part, Exception):
                break
            sleep(pause_s)
            part = pair.read_shown(name, box)
        if isinstance(part, Exception):
            self._pauses_s = ()
        return list(_unlike_box(pair, name, box, part))

    def _choose(self, pair: _Pair, name: str, full: bool) -> list[Box]:
        variable = pair.truth.variables[name]
        axis = variable.dims.index(pair.time)
        shape = (*variable.shape[:axis], pair.place.count, *variable.shape[axis + 1 :])
        chunks = pair.group.chunk_shape(name) if variable.nbytes > _WHOLE or full else shape
        seed = f"{self._seed} {pair.file.name} {name}"
        first = pair.place.first
        boxes = choose(shape, chunks, samples=self._samples, seed=seed, full=full)
        return [
            (*b[:axis], slice(b[axis].start + first, b[axis].stop + first), *b[axis + 1 :])
            for b in boxes
        ]

    def _bytes(self, pair: _Pair, name: str, box: Box) -> Iterator[tuple[int, int]]:
        """Where the references say that the first chunk of a box is."""
        return self._stated.within(
            pair.group.path, name, [pair.shown_box(name, box)], pair.group.chunk_shape(name)
        )


def whole(
    shown: Sequence[Shown], compared: Sequence[Comparison], *, but: Sequence[str] = ()
) -> Iterator[Check]:
    """What can be said after all files: fixed fields, attributes, that nothing is shown that no
    file has.

    Args:
        shown: the groups.
        compared: the datasets that they show, which have been compared file by file.
        but: global attributes that are the document's own.
    """
    for one in compared:
        yield from one.check_times()
    results = defaultdict[str, list[str]](list)
    types = defaultdict[str, list[bool]](list)
    attrs = defaultdict[str, list[Mapping[str, Any]]](list)
    owners = [
        one for one in compared if one.timed
    ] or compared  # fixed fields beside them have no say in global attributes
    for one in compared:
        for name, found in one.fixed.items():
            results[name] += found
            types[name] += one.types[name]
        for name, versions in one.attrs.items():
            attrs[name] += versions if name or one in owners else []
    for name, equal_types in types.items():
        if not any(equal_types):
            yield Check("type", name, False, "is shown with a type that no file has")
    for name, found in results.items():
        right = EQUAL in found and set(found) <= {EQUAL, ROUNDING}
        yield Check(
            "values",
            name,
            right,
            f"fixed, compared with {len(found)} files: {', '.join(sorted(set(found)))}",
        )
    for group in shown:
        there = attrs.keys() - {""}
        here = set(map(str, group.dataset.variables))
        yield Check(
            "variables",
            f"/{group.path}",
            here <= there,
            f"{len(here)}, in no file: {sorted(here - there)}",
        )
        for name, versions in attrs.items():
            yield from _check_attributes(group, name, versions, but)


def _check_attributes(
    group: Shown, name: str, versions: Sequence[Mapping[str, Any]], but: Sequence[str]
) -> Iterator[Check]:
    variable = group.dataset.variables.get(name)
    if name and variable is None:
        return  # the files' own checks have said so
    if variable is None:
        shown = group.dataset.attrs
        known = but
    else:
        known_dates = dates_along(described(group.dataset), group.time) if group.time else ()
        dates = name in known_dates
        shown = variable.attrs
        known = OF_FILES if dates else (() if group.time in variable.dims else MARKS)
    wrong = sorted(wrong_attrs(shown, versions, but=known))
    yield Check(
        "attributes",
        f"{name or 'global'} in /{group.path}",
        not wrong,
        f"differ: {wrong}" if wrong else f"{len(shown)}",
    )


def _shown_again(steps: np.ndarray, files: Sequence[np.ndarray]) -> int:
    """How many steps are shown more often than any single file has them."""
    times, counts = np.unique(steps, return_counts=True)
    allowed = np.ones(len(times), np.int64)
    for own in files:
        own_times, own_counts = np.unique(own, return_counts=True)
        if (own_counts > 1).any():
            places = np.searchsorted(times, own_times)
            known = (places < len(times)) & np.isin(own_times, times)
            np.maximum.at(allowed, places[known], own_counts[known])
    return int(np.maximum(counts - allowed, 0).sum())


def _none_seen(shown: Sequence[Shown]) -> dict[str, np.ndarray]:
    """(time,) int64 for each group: how many files hold each step."""
    return {group.path: np.zeros(len(group.times), np.int64) for group in shown}


def _same_type(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    """Equal but for the byte order; strings of variable length come as more than one type."""
    return {a.kind, b.kind} <= set("OUT") or a.newbyteorder("=") == b.newbyteorder("=")


def _structure(pair: _Pair) -> Iterator[Check]:
    """Variables, their dimensions and types, and what their numbers mean."""
    truth = pair.truth
    shown = pair.group.dataset
    there = set(map(str, truth.variables))
    here = set(map(str, shown.variables))
    detail = (
        f"missing {sorted(there - here)}, too many {sorted(here - there)}"
        if there != here
        else f"{len(there)}"
    )
    yield Check("variables", pair.file.name, there == here, detail)
    for name in sorted(there & here):
        a = truth.variables[name]
        b = shown.variables[name]
        if a.dims != b.dims:
            yield Check(
                "dimensions", pair.of(name), False, f"{b.dims} are shown, the file has {a.dims}"
            )
        if name in pair.time_names:
            continue
        numbers = {a.dtype.kind, b.dtype.kind} <= set("iuf")
        if pair.time not in a.dims and numbers and pair.time is not None:
            continue  # of fixed fields one file's type is shown: all are asked in the end
        if not _same_type(a.dtype, b.dtype):
            yield Check("type", pair.of(name), False, f"{b.dtype} is shown, the file has {a.dtype}")
        if pair.time in a.dims and (other := sorted(unlike(a.attrs, b.attrs, a.dtype))):
            yield Check(
                "attributes", pair.of(name), False, f"its numbers mean something else by {other}"
            )


def _counts(
    pairs: Sequence[_Pair], name: str, stated: Stated, stored: Mapping[str, Counted]
) -> Counts:
    """A variable of one file, over all groups that show its steps."""
    file = pairs[0].file
    variable = pairs[0].truth.variables[name]
    axis = variable.dims.index(pairs[0].time) if pairs[0].time in variable.dims else None
    found = size = inline = copied = 0
    for pair in (pair for pair in pairs if name in pair.group.dataset.variables):
        steps = pair.shown_steps
        chunk_shape = pair.group.chunk_shape(name)
        place = (file.url, place_of(pair.group.path, name))
        chunks = stated.inline_within(
            pair.group.path, name, axis, (steps.start, steps.stop), chunk_shape
        )
        inline = inline + chunks
        copied = copied + chunks * math.prod(chunk_shape) * variable.dtype.itemsize
        found = found + stated.chunks.get(place, 0)
        size = size + stated.sizes.get(place, 0)
    return Counts(
        url=file.url,
        subject=pairs[0].of(name),
        found=found,
        size=size,
        inline=inline,
        copied=copied,
        shape=variable.shape,
        chunk_shape=tuple(variable.encoding.get("chunksizes") or variable.shape),
        axis=axis,
        itemsize=variable.dtype.itemsize,
        stored=stored.get(name),
    )


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


def _stretch(shown: np.ndarray, times: np.ndarray) -> tuple[int, int]:
    """Where the longest part of ``times`` begins that is shown from their first on, and how long it
    is.
    """
    longest = (0, 0)
    for begin in np.flatnonzero(shown == times[0]).tolist():
        part = shown[begin : begin + len(times)]
        unequal = np.flatnonzero(part != times[: len(part)])
        count = int(unequal[0]) if len(unequal) else len(part)
        longest = max(longest, (begin, count), key=lambda place: place[1])
    return longest


def _stretches(mask: np.ndarray) -> list[slice]:
    """The parts in which ``mask`` is true throughout."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))).tolist()
    return [slice(*edge) for edge in zip(edges[::2], edges[1::2], strict=True)]
