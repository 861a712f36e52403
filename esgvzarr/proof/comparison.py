"""Compare what a reference file shows with its source files, one after the other. Facts about all
files are judged at the end.

Describing a file changes no state, because netCDF-C may have to read the file again; ``accept``
then stores what was found. The chunks to compare become jobs, which ``boxes`` reads for many files
at once.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cf import time_name
from ..model import Check, FileRecord
from .counts import Counts, judge
from .dates import date_names
from .file_side import Counted, Work
from .jobs import Job, Values
from .pair import (
    Pair,
    Place,
    check_places,
    check_shown,
    check_structure,
    check_variable,
    count_chunks,
    find_places,
)
from .reference_side import ShownGroup, StatedChunks, described, times_of
from .sample import Box, choose

if TYPE_CHECKING:
    import xarray

_WHOLE = 2**20
"""The most bytes per file of a variable that is not data and is compared whole."""


@dataclass(frozen=True, slots=True, eq=False)
class DescribedFile:
    """Everything that is found out about one file, except the values of its data."""

    file: FileRecord
    names: tuple[str, ...]
    checks: tuple[Check, ...]
    places: tuple[Place, ...] = ()
    attrs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Variable -> attributes; ``""`` for the global ones."""
    fixed: Sequence[tuple[str, str]] = ()
    """For each group: variables without time, and how close each is to what is shown."""
    types: Sequence[tuple[str, bool]] = ()
    """For each group: variables without time, and whether the type of each is the type that is
    shown.
    """
    counts: tuple[Counts, ...] = ()
    jobs: tuple[Job, ...] = ()
    times: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    """(time,) int64: the times of the file, in microseconds."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How much of each data variable is compared."""

    seed: str
    count: int
    """Random chunks per data variable and file."""
    full: bool
    """Whether all chunks are compared."""


class Comparison:
    """One run of the proof over all files of a dataset and the groups that show it."""

    def __init__(
        self,
        shown: Sequence[ShownGroup],
        places: StatedChunks,
        sampling: Sampling,
        *,
        alone: bool = True,
    ) -> None:
        """Begin a comparison.

        Args:
            shown: the groups.
            places: where the references say that chunks lie.
            sampling: how much is compared.
            alone: whether the groups show no other dataset. Otherwise only the variables of the
                first file are compared.
        """
        self._shown = shown
        self._stated = places
        self._sampling = sampling
        self._full = sampling.full
        self._alone = alone
        self.attrs: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
        """Variable -> its attributes in each file; ``""`` for the global ones."""
        self.fixed: defaultdict[str, list[str]] = defaultdict(list)
        """Variable without time -> for each file, how close it is to what is shown."""
        self.types: defaultdict[str, list[bool]] = defaultdict(list)
        """Variable without time -> for each file, whether its type is the type that is shown."""
        self._seen = _none_seen(shown)
        self._times_of_files: list[np.ndarray] = []
        self._places: dict[str, tuple[FileRecord, Sequence[Place]]] = {}
        self._counted: list[Counts] = []

    @property
    def timed(self) -> bool:
        """Whether the files follow each other in time."""
        return any(group.time for group in self._shown)

    def describe(self, file: FileRecord, dropped: Sequence[str] = ()) -> Work[DescribedFile]:
        """Return the work that netCDF-C does with a file.

        Args:
            file: a file of the dataset.
            dropped: variables of the file that the document leaves out according to its provenance.
        """

        def work(truth: xarray.Dataset, stored: Mapping[str, Counted]) -> DescribedFile:
            return self._describe(file, truth.drop_vars(dropped, errors="ignore"), stored)

        return work

    def accept(self, found: DescribedFile) -> None:
        """Store what was found about a file."""
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
    ) -> DescribedFile:
        names = tuple(map(str, truth.variables))
        shown = self._shown if self._alone else [group.only(names) for group in self._shown]
        if not shown:
            return DescribedFile(file, names, (check_shown(file),))
        time = time_name(described(truth))
        if time is not None and not truth.sizes[time]:
            empty = Check("time", file.name, passed=True, detail="no time steps")
            return DescribedFile(file, names, (empty,))
        times = times_of(truth, time)
        places = find_places(shown, times) if len(times) or time is None else []
        found = check_places(file, places, len(times), timed=time is not None)
        if not places:
            return DescribedFile(file, names, (found,))
        pairs = []
        for place in places:
            dates = date_names(truth, place.group.dataset, time)
            pairs.append(Pair(file, truth, place, time, *dates))
        checks, fixed, types = _compared(pairs)
        jobs = itertools.chain.from_iterable(self._jobs(pair, full=self._full) for pair in pairs)
        return DescribedFile(
            file,
            names,
            (found, *checks),
            tuple(places),
            _attrs_of(truth),
            fixed,
            types,
            tuple(count_chunks(pairs, name, self._stated, stored) for name in names),
            tuple(jobs),
            times,
        )

    def shared(self) -> list[FileRecord]:
        """Return the files that share time steps with other files and that were compared by
        samples.
        """
        if self._full:
            return []
        return [file for file, places in self._places.values() if self._are_shared(places)]

    def _are_shared(self, places: Sequence[Place]) -> bool:
        return any((self._times_seen(place) > 1).any() for place in places)

    def repeated(self, file: FileRecord, dropped: Sequence[str] = ()) -> Work[list[Job]]:
        """Return the jobs for all values of a file at the steps that other files hold too.

        Whichever file is shown at a step, its values must equal those of all these files.
        """

        def work(truth: xarray.Dataset, _: Mapping[str, Counted]) -> list[Job]:
            return self._repeated(file, truth.drop_vars(dropped, errors="ignore"))

        return work

    def _repeated(self, file: FileRecord, truth: xarray.Dataset) -> list[Job]:
        time = time_name(described(truth))
        jobs: list[Job] = []
        for place in self._places[file.url][1]:
            for span in _stretches(self._times_seen(place) > 1):
                part = Place(
                    place.group,
                    place.first + span.start,
                    place.begin + span.start,
                    span.stop - span.start,
                )
                dates = date_names(truth, part.group.dataset, time)
                pair = Pair(file, truth, part, time, *dates)
                jobs += self._jobs(pair, full=True)
        return jobs

    def check_times(self) -> Iterator[Check]:
        """Check that every time shown comes from a file, that no time is shown twice, and that the
        references state all chunks of the files.
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

    def _times_seen(self, place: Place) -> np.ndarray:
        return self._seen[place.group.path][place.begin : place.begin + place.count]

    def _jobs(self, pair: Pair, *, full: bool) -> Iterator[Job]:
        """Return the chosen chunks of all data variables."""
        for name in pair.names():
            if not pair.is_data(name):
                continue
            variable = pair.truth.variables[name]
            boxes = self._choose(pair, name, full=full)
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

    def _choose(self, pair: Pair, name: str, *, full: bool) -> list[Box]:
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

    def _copied(self, pair: Pair, name: str, axis: int) -> Iterator[Box]:
        """Return the chunks of a file that were encoded anew and stored in the output itself.

        All of them are compared. Steps count from the first one that is shown.
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


def _compared(
    pairs: Sequence[Pair],
) -> tuple[list[Check], list[tuple[str, str]], list[tuple[str, bool]]]:
    """Check the structure and the variables of a file at its places.

    Returns:
        The checks; for each fixed variable how close it is to what is shown; and whether its type
            is the type that is shown.
    """
    checks: list[Check] = []
    fixed: list[tuple[str, str]] = []
    types: list[tuple[str, bool]] = []
    for pair in pairs:
        checks += check_structure(pair)
        for name in pair.names():
            checks += check_variable(pair, name, fixed, types)
    return checks, fixed, types


def _attrs_of(truth: xarray.Dataset) -> dict[str, Mapping[str, Any]]:
    """Return the attributes of each variable, and under the empty name those of the file."""
    attrs: dict[str, Mapping[str, Any]] = {
        str(name): variable.attrs for name, variable in truth.variables.items()
    }
    return {**attrs, "": truth.attrs}


def _none_seen(shown: Sequence[ShownGroup]) -> dict[str, np.ndarray]:
    """Return (time,) int64 zeros for each group: the number of files that hold each step."""
    return {group.path: np.zeros(len(group.times), np.int64) for group in shown}


def _shown_again(steps: np.ndarray, files: Sequence[np.ndarray]) -> int:
    """Count the steps that are shown more often than any single file has them."""
    times, counts = np.unique(steps, return_counts=True)
    allowed = np.ones(len(times), np.int64)
    for own in files:
        own_times, own_counts = np.unique(own, return_counts=True)
        if (own_counts > 1).any():
            known = np.isin(own_times, times)
            np.maximum.at(allowed, np.searchsorted(times, own_times[known]), own_counts[known])
    return int(np.maximum(counts - allowed, 0).sum())


def _stretches(mask: np.ndarray) -> list[slice]:
    """Return the slices in which ``mask`` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))).tolist()
    return [slice(*edge) for edge in zip(edges[::2], edges[1::2], strict=True)]
