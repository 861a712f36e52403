"""Compare one source file with the groups that show it: where its steps are shown, and everything
except the data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model import Check, FileRecord
from ..transport.fsspec_guard import raise_transport_error
from .attributes import unlike
from .closeness import closeness
from .counts import Counts
from .dates import Steps, check_dates, same_fixed_calendar
from .file_side import Counted
from .reference_side import UNREADABLE, ShownGroup, StatedChunks, place_of
from .sample import Box

if TYPE_CHECKING:
    import xarray

_MOST_PLACES = 1000
"""The most stretches in which the steps of one file may be shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where some steps of a file are shown."""

    group: ShownGroup
    first: int
    """The first step in the file."""
    begin: int
    """The first step in the group."""
    count: int
    """The number of steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One source file, and the group that shows it or some of its steps."""

    file: FileRecord
    truth: xarray.Dataset
    place: Place
    time: str | None
    time_names: tuple[str, ...]
    """Time and other dates along it in the file; they are not data."""
    unclear_names: tuple[str, ...] = ()
    """Variables that may be dates although no attribute says so."""

    @property
    def group(self) -> ShownGroup:
        """The group that readers open."""
        return self.place.group

    @property
    def steps(self) -> slice:
        """The steps in the file."""
        return slice(self.place.first, self.place.first + self.place.count)

    @property
    def shown_steps(self) -> slice:
        """The same steps in the group."""
        return slice(self.place.begin, self.place.begin + self.place.count)

    def names(self) -> list[str]:
        """The variables that file and group both have."""
        return [str(name) for name in self.truth.variables if name in self.group.dataset.variables]

    def of(self, name: str) -> str:
        """Return the name of a variable of the file for a check."""
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
        """Return the box of the group that shows a box of the file."""
        axis = self.truth.variables[name].dims.index(self.time)
        shift = self.place.begin - self.place.first
        return (
            *box[:axis],
            slice(box[axis].start + shift, box[axis].stop + shift),
            *box[axis + 1 :],
        )


def find_places(shown: Sequence[ShownGroup], times: np.ndarray) -> list[Place]:
    """Find where these times are shown: as stretches of one group or of several.

    Empty if some times are not shown or are shown in another order, or if there is no group.
    """
    if not shown:
        return []
    if not len(times):
        return [Place(group, 0, 0, 0) for group in shown if not len(group.times)][:1]
    places: list[Place] = []
    first = 0
    while first < len(times) and len(places) <= _MOST_PLACES:
        found = [Place(group, first, *_stretch(group.times, times[first:])) for group in shown]
        best = max(found, key=lambda place: place.count)
        if not best.count:
            break
        places.append(best)
        first += best.count
    return places if first == len(times) else []


def _stretch(shown: np.ndarray, times: np.ndarray) -> tuple[int, int]:
    """Find the longest part of ``times`` that the group shows from its first time on; return where
    it begins and its length.
    """
    longest = (0, 0)
    for begin in np.flatnonzero(shown == times[0]).tolist():
        part = shown[begin : begin + len(times)]
        unequal = np.flatnonzero(part != times[: len(part)])
        count = int(unequal[0]) if len(unequal) else len(part)
        longest = max(longest, (begin, count), key=lambda place: place[1])
    return longest


def check_shown(file: FileRecord) -> Check:
    """Make the failed check for a file that no group shows."""
    found = f"no group shows it: the document has no arrays of {file.name}"
    return Check("groups", file.name, passed=False, detail=found)


def check_places(file: FileRecord, places: Sequence[Place], count: int, *, timed: bool) -> Check:
    """Check that all time steps of a file are shown in their order.

    Args:
        file: a file of the dataset.
        places: where its steps are shown; empty if some are not shown, or not in their order.
        count: number of its time steps.
        timed: whether it has a time dimension.
    """
    if not places:
        found = f"its {count} time steps are not all shown in their order"
        return Check("time", file.name, passed=False, detail=found)
    if not timed:
        return Check("time", file.name, passed=True, detail="fixed fields")
    where = ", ".join(f"from step {place.begin} of /{place.group.path}" for place in places)
    return Check("time", file.name, passed=True, detail=f"{count} steps, {where}")


def check_structure(pair: Pair) -> Iterator[Check]:
    """Check variables, their dimensions and types, and the attributes that give their numbers a
    meaning.
    """
    truth = pair.truth
    shown = pair.group.dataset
    there = set(map(str, truth.variables))
    here = set(map(str, shown.variables))
    detail = (
        f"missing {sorted(there - here)}, not in the file {sorted(here - there)}"
        if there != here
        else f"{len(there)}"
    )
    yield Check("variables", pair.file.name, there == here, detail)
    for name in sorted(there & here):
        a = truth.variables[name]
        b = shown.variables[name]
        if a.dims != b.dims:
            yield Check(
                "dimensions",
                pair.of(name),
                passed=False,
                detail=f"dimensions {b.dims} are shown, the file has {a.dims}",
            )
        if name in pair.time_names:
            continue
        numbers = {a.dtype.kind, b.dtype.kind} <= set("iuf")
        if pair.time not in a.dims and numbers and pair.time is not None:
            # Fixed fields are shown with the type of one file: their types are checked at the end.
            continue
        if not _same_type(a.dtype, b.dtype):
            yield Check(
                "type",
                pair.of(name),
                passed=False,
                detail=f"type {b.dtype} is shown, the file has {a.dtype}",
            )
        if pair.time in a.dims and (other := sorted(unlike(a.attrs, b.attrs, a.dtype))):
            yield Check(
                "attributes",
                pair.of(name),
                passed=False,
                detail=f"its numbers are shown with another meaning, by {other}",
            )


def check_variable(
    pair: Pair, name: str, fixed: list[tuple[str, str]], types: list[tuple[str, bool]]
) -> Iterator[Check]:
    """Compare a variable that is not data: times as dates, and variables without time.

    Args:
        pair: the file and the group.
        name: the variable.
        fixed: receives the name of a variable without time, and how close it is to what is shown.
        types: receives the name, and whether its type is the type that is shown.
    """
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
            found = (
                "may be dates, but no attribute says so, and time is shown with another "
                "reference date"
            )
            yield Check("values", pair.of(name), passed=False, detail=found)
        elif pair.time not in variable.dims:
            if not same_fixed_calendar(variable, shown):
                found = "dates, shown with another calendar"
                yield Check("values", pair.of(name), passed=False, detail=found)
            fixed.append((name, closeness(variable, shown)))
            types.append((name, _same_type(variable.dtype, shown.dtype)))
    except UNREADABLE as error:
        raise_transport_error(error)
        yield Check(
            "values",
            pair.of(name),
            passed=False,
            detail=f"cannot be read: {type(error).__name__}: {error}",
        )


def _same_type(a: np.dtype[Any], b: np.dtype[Any]) -> bool:
    """Whether two types are equal apart from byte order. Strings of variable length have more than
    one type.
    """
    return {a.kind, b.kind} <= set("OUT") or a.newbyteorder("=") == b.newbyteorder("=")


def count_chunks(
    pairs: Sequence[Pair], name: str, stated: StatedChunks, stored: Mapping[str, Counted]
) -> Counts:
    """Count the chunks of a variable of one file, over all groups that show its steps.

    Args:
        pairs: the file with each of the groups.
        name: the variable.
        stated: the chunks that the references state.
        stored: the chunks of the file, as libhdf5 counts them.
    """
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
        if place not in counted:  # A group may show several stretches of the file.
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
