"""Time steps that several files hold: served once, after all stored numbers were compared bit for
bit (rule 11).

Nothing is read where no times overlap. NaNs are equal where their bits are, and the sign of zero
counts. Numbers of another type, packing or fill value are not taken for equal: whether they mean
the same is not judged here. Which file a step is served from makes no difference to readers, so it
is decided by where chunks begin.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .. import cf
from ..formats import location_of
from ..formats.values import decode
from ..model import ChunkTable, FileReferences, Finding, Series, Variable
from ..transport import Range, Transport
from .chunks import cut, cut_shape
from .runs import can_cut, packing

_AT_ONCE = 32 * 2**20
"""Bytes of each file that are compared at a time; more where a single chunk is larger."""
_Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A file, or the steps of it that are to be served."""

    file: FileReferences
    times: np.ndarray
    """(time,) int64 microseconds since 1970-01-01 of the calendar."""

    def between(self, first: int, last: int) -> slice:
        """Its steps from one time to another, both included."""
        return slice(
            int(np.searchsorted(self.times, first)), int(np.searchsorted(self.times, last, "right"))
        )


def serve_once(series: Series, transport: Transport, *, read: str = "auto") -> Series:
    """The series with each time step in one file only, as far as the repeated ones are equal.

    Args:
        series: in the order of first times.
        transport: reads the repeated steps, where there are any.
        read: ``http``, ``local`` or ``auto``, as the setting of that name.

    Returns:
        Files without the steps that others show; ``left_out`` are those of which nothing remains.
        ``warnings`` say what was repeated; those with ``refuse``, which steps differ: such files
        are as they were.

    Raises:
        FormatError, TransportError: repeated steps cannot be read.
    """
    if series.time is None or not _overlapping(series.times):
        return series
    kept: list[_Part] = []
    findings = []
    for part in map(_Part, series.files, series.times):
        earlier = [
            known
            for known in kept
            if known.times[0] <= part.times[-1] and known.times[-1] >= part.times[0]
        ]
        finding = (
            _judge(part, earlier, series.time, partial(_unlike, transport, read))
            if earlier
            else None
        )
        kept = _join(kept, part, series.time) if finding and not finding.refuse else [*kept, part]
        findings += [finding] if finding else []
    shown = {part.file.file.url for part in kept}
    return replace(
        series,
        files=tuple(part.file for part in kept),
        times=tuple(part.times for part in kept),
        warnings=tuple(findings),
        left_out=tuple(file for file in series.files if file.file.url not in shown),
    )


def _overlapping(times: Sequence[np.ndarray]) -> bool:
    """Whether some times may be in several files. Times that go back are refused whatever they are
    compared with.
    """
    if not times or any((np.diff(steps) <= 0).any() for steps in times):
        return False
    ends = np.maximum.accumulate([steps[-1] for steps in times])
    return any(steps[0] <= end for steps, end in zip(times[1:], ends, strict=False))


_Unlike = Callable[["_Stored", "_Stored", int], "int | None"]


def _judge(part: _Part, earlier: Sequence[_Part], time: str, unlike: _Unlike) -> Finding:
    """Whether the steps that earlier files have too are the same there."""

    def date(step: int) -> str:
        return cf.date_text(int(part.times[step]), cf.calendar_of(part.file.variables[time].attrs))

    count = part.between(part.times[0], max(known.times[-1] for known in earlier)).stop
    spans = [known.between(part.times[0], part.times[-1]) for known in earlier]
    again = np.concatenate([known.times[span] for known, span in zip(earlier, spans, strict=True)])
    names = ", ".join(known.file.file.name for known in earlier)
    if not np.array_equal(again, part.times[:count]):
        return _overlap(
            part, f"the steps of {names} from {date(0)} to {date(count - 1)}", "other steps"
        )
    begin = 0
    for known, span in zip(earlier, spans, strict=True):
        stop = begin + span.stop - span.start
        name, reason = _difference(known, span, part, slice(begin, stop), time, unlike)
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
        "They are equal in all variables, bit for bit, and served once.",
        refuse=False,
    )


def _overlap(part: _Part, expected: str, found: str) -> Finding:
    return Finding(
        "time-overlap",
        11,
        part.file.file.url,
        expected,
        found,
        "Two files state the same time: retract one of them.",
    )


def _difference(
    known: _Part, span: slice, part: _Part, own: slice, time: str, unlike: _Unlike
) -> tuple[str, str | int]:
    """The first variable that is not the same in both files, and why, or the step from where on;
    empty if there is none.
    """
    one = known.file
    other = part.file
    for name in sorted(one.variables.keys() | other.variables.keys()):
        a = one.variables.get(name)
        b = other.variables.get(name)
        if a is None or b is None:
            return name, "no such variable"
        if name == time or (time not in a.dims and time not in b.dims):
            continue  # compared already, or by the rules for what does not change with time
        if a.dims != b.dims or _beside(a, time) != _beside(b, time):
            return name, f"dimensions {b.dims} of {b.shape}"
        if name in cf.dates_along(one.variables, time):
            same = _same_dates([(one, span), (other, own)], name, time)
            if same:
                continue
            if (
                len(cf.time_references([one.variables, other.variables], time, name)) > 1
            ):  # equal numbers mean other dates
                return name, "other dates" if same is False else "dates that cannot be compared"
        if a.dtype.newbyteorder("=") != b.dtype.newbyteorder("=") or packing(a) != packing(b):
            return name, "another type, packing or fill value"
        axis = a.dims.index(time)
        step = unlike(
            _Stored(a, axis, span.start, one),
            _Stored(b, axis, own.start, other),
            own.stop - own.start,
        )
        if step is not None:
            return name, step
    return "", ""


def _beside(variable: Variable, time: str) -> tuple[int, ...]:
    return tuple(
        size for size, dim in zip(variable.shape, variable.dims, strict=True) if dim != time
    )


def _same_dates(
    places: Sequence[tuple[FileReferences, slice]], name: str, time: str
) -> bool | None:
    """Whether bounds of time mean the same dates, in whatever units; None where they cannot be
    decoded.
    """
    dates = []
    for file, span in places:
        variable = file.variables[name]
        attrs = cf.companion_attrs(file.variables, name, time)
        if variable.values is None:
            return None
        values = np.moveaxis(variable.values, variable.dims.index(time), 0)[span]
        try:
            dates.append(cf.to_microseconds(values, str(attrs.get("units")), cf.calendar_of(attrs)))
        except ValueError:
            return None
    return all(np.array_equal(dates[0], found) for found in dates)


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """A variable in a file, whose steps are counted from ``begin``."""

    variable: Variable
    axis: int
    begin: int
    file: FileReferences

    def chunks_of(self, box: _Box) -> tuple[Variable, _Box]:
        """The chunks that hold a box, as a variable of their own, and where the box is in it."""
        moved = [
            (s.start + self.begin * (dim == self.axis), s.stop + self.begin * (dim == self.axis))
            for dim, s in enumerate(box)
        ]
        if self.variable.values is not None:
            return self.variable, tuple(slice(*places) for places in moved)
        starts, stops = np.array(moved, np.int64).T
        size = np.maximum(self.variable.chunk_shape, 1)
        low = starts // size
        high = -(-stops // size)
        table = self.variable.chunks
        inline = self.variable.inline.items()
        inside = ((table.keys >= low) & (table.keys < high)).all(axis=1)
        own = replace(
            self.variable,
            shape=tuple((np.minimum(high * size, self.variable.shape) - low * size).tolist()),
            chunks=ChunkTable(table.keys[inside] - low, table.offsets[inside], table.sizes[inside]),
            inline={
                tuple((key - low).tolist()): data
                for key, data in inline
                if ((key >= low) & (key < high)).all()
            },
        )
        return own, tuple(map(slice, (starts - low * size).tolist(), (stops - low * size).tolist()))


def _unlike(transport: Transport, read: str, a: _Stored, b: _Stored, count: int) -> int | None:
    """The first of ``count`` steps at which two variables hold other numbers; None if there is
    none.
    """
    a, b = (replace(one, variable=_in_pieces(one.variable)) for one in (a, b))
    for steps, boxes in itertools.groupby(_boxes(a, b, count), key=lambda box: box[a.axis].start):
        found = []
        for box in boxes:
            one, other = (
                _by_step(values, a.axis) for values in _read([a, b], box, transport, read)
            )
            found += np.flatnonzero((one != other).any(axis=1))[:1].tolist()
        if found:
            return int(steps + min(found))
    return None


def _in_pieces(variable: Variable) -> Variable:
    """What is stored in one large piece is read by parts."""
    if not can_cut(variable, 0) or variable.values is not None:
        return variable
    smaller = cut_shape(variable.chunk_shape, variable.dtype.itemsize)
    return replace(
        variable,
        chunk_shape=smaller,
        chunks=cut(variable.chunks, variable.chunk_shape, smaller, variable.shape),
    )


def _boxes(a: _Stored, b: _Stored, count: int) -> Iterator[_Box]:
    """The repeated steps of both in parts of as many chunks as are read at once, in the order of
    time.
    """
    shape = [count if dim == a.axis else size for dim, size in enumerate(a.variable.shape)]
    box = [
        min(max(sizes), n)
        for *sizes, n in zip(a.variable.chunk_shape, b.variable.chunk_shape, shape, strict=True)
    ]
    others = [dim for dim in range(len(shape)) if dim != a.axis]
    for dim in (*reversed(others), a.axis):
        room = _AT_ONCE // max(math.prod(box) * a.variable.dtype.itemsize, 1)
        box[dim] = min(box[dim] * max(room, 1), shape[dim])
    parts = [_slices(shape[dim], box[dim]) for dim in (a.axis, *others)]
    for first, *rest in itertools.product(*parts):
        yield (*rest[: a.axis], first, *rest[a.axis :])


def _slices(length: int, part: int) -> list[slice]:
    return [slice(first, min(first + part, length)) for first in range(0, length, max(part, 1))]


def _read(
    stored: Sequence[_Stored], box: _Box, transport: Transport, read: str
) -> Iterator[np.ndarray]:
    """The numbers of a box as they are stored; all in one batch of requests."""
    chosen = [one.chunks_of(box) for one in stored]
    wanted = []
    for one, (own, _) in zip(stored, chosen, strict=True):
        if own.values is None:
            location = location_of(one.file.file, read)
            starts = own.chunks.offsets.tolist()
            sizes = own.chunks.sizes.tolist()
            for start, size in zip(starts, sizes, strict=True):
                wanted.append(Range(location, start, start + size))
    bodies = iter(transport.read_ranges(wanted))
    for one, (own, within) in zip(stored, chosen, strict=True):
        values = own.values
        if values is None:
            values = decode(own, list(itertools.islice(bodies, len(own.chunks))), one.file.file.url)
        yield values[within]


def _by_step(values: np.ndarray, axis: int) -> np.ndarray:
    """(step, byte) in this machine's byte order; strings as they are."""
    moved = np.moveaxis(values, axis, 0)
    rows = np.ascontiguousarray(moved.astype(moved.dtype.newbyteorder("="))).reshape(len(moved), -1)
    return rows if rows.dtype.kind == "O" else rows.view(np.uint8)


def _join(kept: Sequence[_Part], part: _Part, time: str) -> list[_Part]:
    """The kept parts and a new one, which begins where its chunks allow it; earlier ones end
    there.
    """
    repeated = part.between(part.times[0], max(known.times[-1] for known in kept)).stop
    if repeated == len(part.times):
        return list(kept)
    step = _chunk_length(part, time)
    begins = np.arange(repeated - repeated % step, -1, -step)
    last = kept[-1]
    fits = np.searchsorted(last.times, part.times[begins]) % _chunk_length(last, time) == 0
    begin = int(
        begins[np.argmax(fits)]
    )  # the latest that ends the last file with a whole chunk, else the latest
    parts = [
        _cut(known, time, 0, int(np.searchsorted(known.times, part.times[begin]))) for known in kept
    ]
    return [
        *(known for known in parts if len(known.times)),
        _cut(part, time, begin, len(part.times)),
    ]


def _chunk_length(part: _Part, time: str) -> int:
    """Steps of which a file has to begin at a multiple, so that no chunk has to be cut that cannot
    be.
    """
    moving = [
        (variable, variable.dims.index(time))
        for variable in part.file.variables.values()
        if time in variable.dims
    ]
    fixed = [v.chunk_shape[axis] for v, axis in moving if v.values is None and not can_cut(v, axis)]
    return math.lcm(*(max(length, 1) for length in fixed))


def _cut(part: _Part, time: str, start: int, stop: int) -> _Part:
    """A file as if it had only the steps from ``start`` to ``stop``."""
    count = len(part.times)
    if (start, stop) == (0, count):
        return part
    variables = {
        name: _cut_variable(variable, variable.dims.index(time), start, stop)
        if time in variable.dims
        else variable
        for name, variable in part.file.variables.items()
    }
    file = replace(
        part.file,
        variables=variables,
        dimensions={**part.file.dimensions, time: stop - start},
        repeated=part.file.repeated + count - (stop - start),
    )
    return _Part(file, part.times[start:stop])


def _cut_variable(variable: Variable, axis: int, start: int, stop: int) -> Variable:
    """The steps from ``start`` to ``stop``: chunks from there on, cut where they can be, else the
    values that were read.
    """
    values = (
        None
        if variable.values is None
        else variable.values[(slice(None),) * axis + (slice(start, stop),)]
    )
    shape = (*variable.shape[:axis], stop - start, *variable.shape[axis + 1 :])
    table = variable.chunks
    chunk_shape = variable.chunk_shape
    if start % max(chunk_shape[axis], 1) and can_cut(variable, axis):
        smaller = (
            *chunk_shape[:axis],
            math.gcd(chunk_shape[axis], start),
            *chunk_shape[axis + 1 :],
        )
        table = cut(table, chunk_shape, smaller, variable.shape)
        chunk_shape = smaller
    length = max(chunk_shape[axis], 1)
    if start % length and (
        len(table) or variable.inline
    ):  # no chunk begins there, so the values were read: see _chunk_length
        whole = {(0,) * len(shape): np.ascontiguousarray(values).tobytes()}
        return replace(
            variable,
            shape=shape,
            chunk_shape=shape,
            codecs=(),
            chunks=_no_chunks(len(shape)),
            inline=whole,
            values=values,
        )
    shift = np.array([start // length * (dim == axis) for dim in range(len(shape))], np.int64)
    inside = (table.keys[:, axis] >= shift[axis]) & (table.keys[:, axis] * length < stop)
    chunks = ChunkTable(table.keys[inside] - shift, table.offsets[inside], table.sizes[inside])
    inline = {
        tuple((np.array(key) - shift).tolist()): data
        for key, data in variable.inline.items()
        if shift[axis] <= key[axis] and key[axis] * length < stop
    }
    return replace(
        variable, shape=shape, chunk_shape=chunk_shape, chunks=chunks, inline=inline, values=values
    )


def _no_chunks(rank: int) -> ChunkTable:
    return ChunkTable(np.empty((0, rank), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
