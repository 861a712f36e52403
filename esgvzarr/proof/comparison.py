"""Compare what a reference file shows with one source file after the other. Facts about all files
are judged at the end.

A file is described in one go, and nothing is changed by it: the judge may have to look again. What
it found is then accepted. The chunks to compare are jobs, which ``boxes`` does for many files at
once.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cf import dates_along, time_name
from ..inflate import chunks_of
from ..model import Check, FileRecord
from ..transport.fsspec_guard import raise_transport_error
from .attributes import MARKS, OF_FILES, not_finite, unlike, wrong_attrs
from .closeness import EQUAL, ROUNDING, closeness
from .counts import Counts, judge
from .dates import Steps, check_dates, date_names
from .file_side import Counted, Work, equal
from .reference_side import UNREADABLE, Shown, Stated, described, place_of, times_of
from .sample import Box, choose

if TYPE_CHECKING:
    import xarray

_MOST_PLACES = 1000
"""Stretches in which the steps of one file are shown at most."""
_WHOLE = 2**20
"""Bytes per file up to which a variable that is no data is compared whole."""


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


@dataclass(slots=True, eq=False)
class Values:
    """What is to be found of the chosen boxes of one variable of one file."""

    subject: str
    size: int
    """Of the variable in the file."""
    count: int = 0
    boxes: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self) -> Check:
        """After all boxes were compared."""
        detail = f"{self.count} of {self.size} values in {self.boxes} boxes"
        if self.wrong:
            detail += f", {len(self.wrong)} of them wrong, first {self.wrong[0]}"
        return Check("values", self.subject, not self.wrong, detail)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A box of a file that is read through the references and from the file."""

    url: str
    """Of the file."""
    name: str
    box: Box
    """In the file."""
    group: Shown
    shown_box: Box
    """Where the group shows it."""
    size: int
    """Bytes, decoded."""
    values: Values

    def read_shown(self) -> np.ndarray:
        """What a reader gets. No chunk of it may be larger, decoded, than its shape says."""
        variable = self.group.dataset.variables[self.name]
        if variable.dtype.kind == "O":
            return np.asarray(variable[self.shown_box].values)
        with chunks_of(math.prod(self.group.chunk_shape(self.name)) * variable.dtype.itemsize):
            return np.asarray(variable[self.shown_box].values)

    def unlike(self, truth: xarray.Dataset, part: np.ndarray | Exception) -> list[str]:
        """In what the part that a reader gets is not the file's. The file is read first: where it
        is damaged, both sides fail, and the fault is the file's.
        """
        there = np.asarray(truth.variables[self.name][self.box].values)
        if isinstance(part, Exception):
            return [f"{self.box} cannot be read: {type(part).__name__}: {part}"]
        return [] if equal(there, part) else [f"{self.box} differs"]


def values_of(jobs: Sequence[Job]) -> Iterator[Check]:
    """What was found, variable by variable and file by file."""
    for values in dict.fromkeys(job.values for job in jobs):
        yield values.check()


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """All that can be said of one file but the values of its data."""

    file: FileRecord
    names: tuple[str, ...]
    checks: tuple[Check, ...]
    places: tuple[_Place, ...] = ()
    attrs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Variable -> attributes; ``""`` for the global ones."""
    fixed: Sequence[tuple[str, str]] = ()
    """Variable without time, and how near it is to what is shown; for each group."""
    types: Sequence[tuple[str, bool]] = ()
    """Variable without time, and whether its type is the one that is shown; for each group."""
    counts: tuple[Counts, ...] = ()
    jobs: tuple[Job, ...] = ()
    times: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """(time,) of the file, in microseconds."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of each data variable is compared."""

    seed: str
    count: int
    """Random chunks per data variable and file."""
    full: bool
    """All chunks."""


class Comparison:
    """One run of the proof over all files of a dataset, and the groups that show it."""

    def __init__(
        self,
        shown: Sequence[Shown],
        places: Stated,
        sampling: Sampling,
        *,
        alone: bool = True,
    ) -> None:
        """Args: ``alone``: the groups show no other dataset; else only what is in the first file's
        variables is looked at.
        """
        self._shown = shown
        self._stated = places
        self._sampling = sampling
        self._full = sampling.full
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

    @property
    def timed(self) -> bool:
        """Whether its files follow each other in time."""
        return any(group.time for group in self._shown)

    def describe(self, file: FileRecord, dropped: Sequence[str] = ()) -> Work[Described]:
        """What the judge has to do with a file.

        Args:
            file: one of the dataset.
            dropped: its variables that the document leaves out, as it says.
        """

        def work(truth: xarray.Dataset, stored: Mapping[str, Counted]) -> Described:
            return self._describe(file, truth.drop_vars(dropped, errors="ignore"), stored)

        return work

    def accept(self, found: Described) -> None:
        """Take what was found of a file into account."""
        if not self._alone:
            self._shown = [group.only(found.names) for group in self._shown]
            self._alone = True
            self._seen = _none_seen(self._shown)
        self._times_of_files.append(found.times)
        if not found.places:
            return
        if found.file.url not in self._places:
            for place in found.places:
                self._times_seen(place)[:] += 1
        self._places[found.file.url] = found.file, found.places
        self._counted += found.counts
        for name, attrs in found.attrs.items():
            self.attrs[name].append(attrs)
        for name, near in found.fixed:
            self.fixed[name].append(near)
        for name, equal_type in found.types:
            self.types[name].append(equal_type)

    def _describe(
        self, file: FileRecord, truth: xarray.Dataset, stored: Mapping[str, Counted]
    ) -> Described:
        names = tuple(map(str, truth.variables))
        shown = self._shown if self._alone else [group.only(names) for group in self._shown]
        time = time_name(described(truth))
        times = times_of(truth, time)
        if time is not None and not truth.sizes[time]:
            return Described(file, names, (Check("time", file.name, True, "no time steps"),))
        places = _find(shown, times) if len(times) or time is None else []
        checks = [_check_places(file, places, len(times), timed=time is not None)]
        if not places:
            return Described(file, names, tuple(checks))
        pairs = []
        for place in places:
            dates = date_names(truth, place.group.dataset, time)
            pairs.append(_Pair(file, truth, place, time, *dates))
        fixed: list[tuple[str, str]] = []
        types: list[tuple[str, bool]] = []
        jobs: list[Job] = []
        attrs = {str(name): variable.attrs for name, variable in truth.variables.items()}
        for pair in pairs:
            checks += _structure(pair)
            for name in pair.names():
                checks += _description(pair, name, fixed, types)
            jobs += self._jobs(pair, full=self._full)
        return Described(
            file,
            names,
            tuple(checks),
            tuple(places),
            {**attrs, "": truth.attrs},
            fixed,
            types,
            tuple(_counts(pairs, name, self._stated, stored) for name in names),
            tuple(jobs),
            times,
        )

    def shared(self) -> list[FileRecord]:
        """The files some of whose steps other files hold too, and that were compared by samples."""
        if self._full:
            return []
        return [file for file, places in self._places.values() if self._are_shared(places)]

    def _are_shared(self, places: Sequence[_Place]) -> bool:
        return any((self._times_seen(place) > 1).any() for place in places)

    def repeated(self, file: FileRecord, dropped: Sequence[str] = ()) -> Work[list[Job]]:
        """All numbers of a file at the steps that other files hold too: whichever is shown, it has
        to be that of all of them.
        """

        def work(truth: xarray.Dataset, _: Mapping[str, Counted]) -> list[Job]:
            return self._repeated(file, truth.drop_vars(dropped, errors="ignore"))

        return work

    def _repeated(self, file: FileRecord, truth: xarray.Dataset) -> list[Job]:
        time = time_name(described(truth))
        jobs: list[Job] = []
        for place in self._places[file.url][1]:
            for span in _stretches(self._times_seen(place) > 1):
                part = _Place(
                    place.group,
                    place.first + span.start,
                    place.begin + span.start,
                    span.stop - span.start,
                )
                dates = date_names(truth, part.group.dataset, time)
                pair = _Pair(file, truth, part, time, *dates)
                jobs += self._jobs(pair, full=True)
        return jobs

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

    def _jobs(self, pair: _Pair, *, full: bool) -> Iterator[Job]:
        """The chosen chunks of all data variables."""
        for name in pair.names():
            if not pair.is_data(name):
                continue
            variable = pair.truth.variables[name]
            boxes = self._choose(pair, name, full)
            counts = [math.prod(part.stop - part.start for part in box) for box in boxes]
            values = Values(pair.of(name), variable.size, sum(counts), len(boxes))
            itemsize = max(variable.dtype.itemsize, 1)
            for box, count in zip(boxes, counts, strict=True):
                yield Job(
                    pair.file.url,
                    name,
                    box,
                    pair.group,
                    pair.shown_box(name, box),
                    count * itemsize,
                    values,
                )

    def _choose(self, pair: _Pair, name: str, full: bool) -> list[Box]:
        variable = pair.truth.variables[name]
        axis = variable.dims.index(pair.time)
        shape = (*variable.shape[:axis], pair.place.count, *variable.shape[axis + 1 :])
        stored = pair.group.chunk_shape(name, pair.place.begin)
        chunks = stored if variable.nbytes > _WHOLE or full else shape
        seed = f"{self._sampling.seed} {pair.file.name} {name}"
        first = pair.place.first
        boxes = choose(shape, chunks, samples=self._sampling.count, seed=seed, full=full)
        if chunks is stored and pair.group.is_irregular(name):
            known = set(map(str, boxes))
            copied = self._copied(pair, name, axis)
            boxes += [box for box in copied if str(box) not in known]
        return [
            (*b[:axis], slice(b[axis].start + first, b[axis].stop + first), *b[axis + 1 :])
            for b in boxes
        ]

    def _copied(self, pair: _Pair, name: str, axis: int) -> Iterator[Box]:
        """The chunks of a file that were encoded anew: the output itself holds them. All of them
        are compared. Steps count from the first one that is shown.
        """
        sizes = pair.truth.variables[name].shape
        ends = [pair.group.chunk_ends(name, n) for n in range(len(sizes))]
        steps = pair.shown_steps
        for key in self._stated.held(pair.group.path, name).tolist():
            box = []
            for n, place in enumerate(key):
                begin = int(ends[n][place - 1]) if place else 0
                box.append(slice(begin, min(int(ends[n][place]), sizes[n])))
            place = key[axis]
            begin = max(int(ends[axis][place - 1]) if place else 0, steps.start)
            end = min(int(ends[axis][key[axis]]), steps.stop)
            if begin < end:
                box[axis] = slice(begin - steps.start, end - steps.start)
                yield tuple(box)


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
    timed = [one for one in compared if one.timed]
    for one in compared:
        for name, found in one.fixed.items():
            results[name] += found
            types[name] += one.types[name]
        for name, versions in one.attrs.items():
            # fixed fields beside data along time have no say in global attributes
            if name or one.timed or not timed:
                attrs[name] += versions
    yield from _judge_fixed(results, types)
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


def _judge_fixed(
    results: Mapping[str, Sequence[str]], types: Mapping[str, Sequence[bool]]
) -> Iterator[Check]:
    """Whether variables without time are those of a file, in type and values.

    Args:
        results: variable -> how near that of each file is to what is shown.
        types: variable -> whether the type of each file is the one that is shown.
    """
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
        dates_shown = dates_along(described(group.dataset), group.time) if group.time else ()
        dates = name in dates_shown
        shown = variable.attrs
        known = OF_FILES if dates else (() if group.time in variable.dims else MARKS)
    wrong = sorted(wrong_attrs(shown, versions, but=known))
    yield Check(
        "attributes",
        f"{name or 'global'} in /{group.path}",
        not wrong,
        f"differ: {wrong}" if wrong else _told(shown, versions),
    )


def _told(shown: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> str:
    """How many attributes are shown; and which of them are numbers in the files and words here."""
    words = set[str]()
    for attrs in versions:
        words |= {key for key in shown if not_finite(attrs.get(key))}
    words -= set(MARKS)
    return (
        f"{len(shown)}; NaN or infinity shown as text: {sorted(words)}"
        if words
        else f"{len(shown)}"
    )


def _none_seen(shown: Sequence[Shown]) -> dict[str, np.ndarray]:
    """(time,) int64 for each group: how many files hold each step."""
    return {group.path: np.zeros(len(group.times), np.int64) for group in shown}


def _shown_again(steps: np.ndarray, files: Sequence[np.ndarray]) -> int:
    """How many steps are shown more often than any single file has them."""
    times, counts = np.unique(steps, return_counts=True)
    allowed = np.ones(len(times), np.int64)
    for own in files:
        own_times, own_counts = np.unique(own, return_counts=True)
        if (own_counts > 1).any():
            known = np.isin(own_times, times)
            np.maximum.at(allowed, np.searchsorted(times, own_times[known]), own_counts[known])
    return int(np.maximum(counts - allowed, 0).sum())


def _check_places(file: FileRecord, places: Sequence[_Place], count: int, *, timed: bool) -> Check:
    """That all of a file's time steps are shown in their order, and where."""
    if not places:
        found = f"its {count} time steps are not all shown in their order"
        return Check("time", file.name, False, found)
    if not timed:
        return Check("time", file.name, True, "fixed fields")
    where = ", ".join(f"from step {place.begin} of /{place.group.path}" for place in places)
    return Check("time", file.name, True, f"{count} steps, {where}")


def _find(shown: Sequence[Shown], times: np.ndarray) -> list[_Place]:
    """Where these times are shown: as stretches of one group or of several; empty if some are not,
    or are shown in another order.
    """
    if not len(times):
        return [_Place(group, 0, 0, 0) for group in shown if not len(group.times)][:1]
    places: list[_Place] = []
    first = 0
    while first < len(times) and len(places) <= _MOST_PLACES:
        found = [_Place(group, first, *_stretch(group.times, times[first:])) for group in shown]
        best = max(found, key=lambda place: place.count)
        if not best.count:
            break
        places.append(best)
        first += best.count
    return places if first == len(times) else []


def _description(
    pair: _Pair, name: str, fixed: list[tuple[str, str]], types: list[tuple[str, bool]]
) -> Iterator[Check]:
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
            fixed.append((name, closeness(variable, shown)))
            types.append((name, _same_type(variable.dtype, shown.dtype)))
    except UNREADABLE as error:
        raise_transport_error(error)
        yield Check(
            "values", pair.of(name), False, f"cannot be read: {type(error).__name__}: {error}"
        )


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
    counted = set[tuple[str, str]]()
    for pair in (pair for pair in pairs if name in pair.group.dataset.variables):
        steps = pair.shown_steps
        chunk_shape = pair.group.chunk_shape(name, steps.start)
        ends = np.empty(0, np.int64) if axis is None else pair.group.chunk_ends(name, axis)
        place = (file.url, place_of(pair.group.path, name))
        chunks = stated.inline_within(pair.group.path, name, axis, (steps.start, steps.stop), ends)
        inline = inline + chunks
        copied = copied + chunks * math.prod(chunk_shape) * variable.dtype.itemsize
        if place not in counted:  # a group may show several stretches of the file
            found = found + stated.chunks.get(place, 0)
            size = size + stated.sizes.get(place, 0)
        counted.add(place)
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
