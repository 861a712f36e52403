"""Will these files be one array? What modelling centres ask before anything is published.

Only metadata are read, and no dataset id is needed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import cf
from .combine import borders
from .combine.rules import check
from .combine.several import by_variable
from .errors import FormatError, RefusedError
from .formats import scan
from .formats.opening import Opening, measure_opening
from .model import FileRecord, FileReferences, Series, Variable
from .transport import Transport, is_url

LEAST_CHUNK = 4 * 2**20
"""Bytes, decoded, that a chunk of data should have at least: the rule of CMOR 3.14 and of CMIP7."""
_SUBJECT = "these files"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands in the way of one array."""

    file: str
    code: str
    """That of the rule; ``segments`` where the file can be referenced, in a segment of its own."""
    text: str


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How one file is laid out."""

    file: str
    steps: int
    """Time steps; 0 where there is no time."""
    chunk_steps: int
    """Time steps in a chunk of the data; 0 where there is no time."""
    chunk_bytes: int
    """Bytes in a chunk of the data, decoded."""
    time_in_one_chunk: bool
    bounds_in_one_chunk: bool
    metadata_together: bool
    requests: int
    """That a reader needs to open the file over HTTP."""


@dataclass(frozen=True, slots=True)
class VariableInspection:
    """What the files of one variable are, in a dataset that holds several."""

    name: str
    segments: int
    """Arrays that the files form; 0 where they cannot be referenced."""
    chunk_steps: int
    """The chunk length along time that would make them one array; 0 where none is needed, or none
    exists.
    """
    repacking: tuple[str, ...]
    """What programs that repack files would change."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the files are, and what would make them better."""

    files: tuple[FileLayout, ...]
    obstacles: tuple[Obstacle, ...]
    notes: tuple[str, ...]
    """What is right, and yet makes reading slower."""
    segments: int
    """Arrays that the files form, those of a variable if they hold several; 0 where they cannot be
    referenced.
    """
    chunk_steps: int
    """The chunk length along time that would make them one array; 0 where none is needed, or none
    exists, and where the variables differ in it.
    """
    repacking: tuple[str, ...]
    """What programs that repack files would change; of several variables, see ``variables``."""
    variables: tuple[VariableInspection, ...] = ()
    """Each variable by itself, where each has files of its own, as in CMIP5; else nothing."""

    @property
    def one_array(self) -> bool:
        """Whether the files are one array as they are, or each variable is."""
        return self.segments == 1


def inspect(places: Sequence[str], transport: Transport) -> Inspection:
    """Look at the files of one dataset.

    Args:
        places: URLs or paths of all its files.
        transport: reads URLs.

    Raises:
        TransportError: a file cannot be read.
    """
    records = [_record(place) for place in places]
    scanned, obstacles = _scan(records, transport)
    layouts = tuple(_layout(file, transport) for file in scanned)
    notes = tuple(_notes(layouts))
    if obstacles or not scanned:
        return Inspection(layouts, tuple(obstacles), notes, 0, 0, ())
    found = [
        _inspect_variable(name, files, obstacles)
        for name, files in _of_each_variable(scanned).items()
    ]
    whole = all(one.segments for one in found)
    lengths = {one.chunk_steps for one in found}
    return Inspection(
        layouts,
        tuple(obstacles),
        notes,
        max(one.segments for one in found) if whole else 0,
        max(lengths) if len(lengths) == 1 else 0,
        found[0].repacking if len(found) == 1 else (),
        tuple(found) if len(found) > 1 else (),
    )


def _of_each_variable(
    scanned: Sequence[FileReferences],
) -> dict[str, Sequence[FileReferences]]:
    """Variables -> their files, where each has files of its own. All files under no name where one
    variable is all that they hold, or where they cannot be told apart.
    """
    whole: dict[str, Sequence[FileReferences]] = {"": scanned}
    if len({file.attrs.get("variable_id") for file in scanned} - {None}) > 1:
        return whole  # of ids that name a variable: several datasets
    try:
        found = by_variable(scanned, _SUBJECT)
    except RefusedError:
        return whole
    return {**found} if len(found) > 1 else whole


def _inspect_variable(
    name: str, files: Sequence[FileReferences], obstacles: list[Obstacle]
) -> VariableInspection:
    """What the files of one variable are; what stands in the way is added to ``obstacles``."""
    series = _checked(files, obstacles)
    if series is None:
        return VariableInspection(name, 0, 0, ())
    found = borders(series)
    for border in found:
        url = series.files[border.file].file.url
        obstacles.append(Obstacle(url, "segments", f"{border.variable}: {border.difference}"))
    segments = len({border.file for border in found}) + 1
    if segments == 1:
        return VariableInspection(name, 1, 0, ())
    steps = suggested_chunk(series)
    return VariableInspection(name, segments, steps, tuple(_repacking(series, steps)))


def _checked(scanned: Sequence[FileReferences], obstacles: list[Obstacle]) -> Series | None:
    """The files in their order; None where a rule refuses them, which is one obstacle more."""
    try:
        return check(scanned, _SUBJECT)
    except RefusedError as error:
        obstacles += [Obstacle(one.file, one.code, one.details) for one in error.findings]
    except FormatError as error:
        obstacles.append(_obstacle(error.subject, error))
    return None


def _obstacle(file: str, error: FormatError) -> Obstacle:
    """What an error says of a file, without the name of the file."""
    text = error.details if error.subject == file else str(error)
    return Obstacle(file, error.code, text)


def _record(place: str) -> FileRecord:
    name = place.rstrip("/").rpartition("/")[2]
    if is_url(place):
        return FileRecord(name, place)
    return FileRecord(name, os.path.abspath(place))


def _scan(
    records: Sequence[FileRecord], transport: Transport
) -> tuple[list[FileReferences], list[Obstacle]]:
    """All files that can be referenced, and why others cannot."""
    try:
        return scan(records, transport), []
    except FormatError:
        pass
    scanned = []
    obstacles = []
    for record in records:
        try:
            scanned += scan([record], transport)
        except FormatError as error:
            obstacles.append(_obstacle(record.url, error))
    return scanned, obstacles


def _layout(file: FileReferences, transport: Transport) -> FileLayout:
    time = _time_of(file)
    data = _largest(file, time)
    bounds = str(file.variables[time].attrs.get("bounds", "")) if time else ""
    steps = _length(data, time) if data else 0
    opening = _opening(file, transport)
    return FileLayout(
        file.file.url,
        steps,
        data.chunk_shape[data.dims.index(time)] if data and time else 0,
        math.prod(data.chunk_shape) * data.dtype.itemsize if data else 0,
        _in_one_chunk(file, time),
        _in_one_chunk(file, bounds),
        opening.metadata_together,
        opening.requests,
    )


def _opening(file: FileReferences, transport: Transport) -> Opening:
    """NetCDF-3 has its metadata in front; a reader fetches them, and coordinates in their place."""
    if file.format == "hdf5":
        return measure_opening(file.file.url, transport)
    return Opening(2, 0, metadata_together=True)


def _time_of(file: FileReferences) -> str:
    return cf.time_name(file.variables) or ""


def _largest(file: FileReferences, time: str) -> Variable | None:
    """The variable that chunks matter for."""
    moving = [one for one in file.variables.values() if not time or time in one.dims]
    return max(moving, key=lambda one: math.prod(one.shape) * one.dtype.itemsize, default=None)


def _length(variable: Variable, time: str) -> int:
    return variable.shape[variable.dims.index(time)] if time in variable.dims else 0


def _in_one_chunk(file: FileReferences, name: str) -> bool:
    """Whether a variable is stored in one piece; true where there is none."""
    variable = file.variables.get(name)
    if variable is None or not len(variable.chunk_shape):
        return True
    pairs = zip(variable.shape, variable.chunk_shape, strict=True)
    return all(size <= chunk for size, chunk in pairs)


def _notes(layouts: Sequence[FileLayout]) -> Iterator[str]:
    total = len(layouts)
    parts = {
        "time in many chunks": sum(not one.time_in_one_chunk for one in layouts),
        "bounds of time in many chunks": sum(not one.bounds_in_one_chunk for one in layouts),
        "metadata in several places": sum(not one.metadata_together for one in layouts),
        "chunks of data below 4 MiB": sum(_is_small(one) for one in layouts),
    }
    for text, count in parts.items():
        if count:
            yield f"{count} of {total} files: {text}"


def _is_small(layout: FileLayout) -> bool:
    return 0 < layout.chunk_bytes < LEAST_CHUNK and layout.chunk_steps < layout.steps


def suggested_chunk(series: Series) -> int:
    """The chunk length along time with which all files end where a chunk ends: it divides the
    lengths of all files but the last, and has 4 MiB where that can be. 0 without time.
    """
    if series.time is None:
        return 0
    data = _largest(series.files[0], series.time)
    lengths = [len(times) for times in series.times]
    if data is None or not lengths:
        return 0
    return dividing_chunk(lengths, _step_bytes(data, series.time))


def dividing_chunk(lengths: Sequence[int], step_bytes: int) -> int:
    """The least divisor of the files' lengths, but the last one's, that makes chunks of 4 MiB; the
    largest divisor where none does.
    """
    common = math.gcd(*lengths[:-1]) if len(lengths) > 1 else lengths[0]
    wanted = -(-LEAST_CHUNK // step_bytes)
    divisors = [number for number in range(1, common + 1) if common % number == 0]
    return next((number for number in divisors if number >= wanted), common)


def cmor_chunk(length: int, step_bytes: int) -> int:
    """The chunk length that CMOR 3.14 and cmip7repack choose for a file."""
    return min(length, max(1, LEAST_CHUNK // step_bytes))


def _step_bytes(data: Variable, time: str) -> int:
    sizes = [size for size, dim in zip(data.shape, data.dims, strict=True) if dim != time]
    return math.prod(sizes) * data.dtype.itemsize


def _repacking(series: Series, steps: int) -> Iterator[str]:
    """What two programs would make of the files."""
    data = _largest(series.files[0], str(series.time))
    if data is None or not steps:
        return
    step_bytes = _step_bytes(data, str(series.time))
    size = steps * step_bytes / 2**20
    lengths = ",".join(
        f"{dim}/{steps if dim == series.time else size}"
        for dim, size in zip(data.dims, data.shape, strict=True)
    )
    yield (
        f"nccopy -c {lengths} IN OUT: one array, in chunks of {steps} time steps, {size:.1f} MiB. "
        "All files that are to be one array need the same chunks and filters."
    )
    own = [cmor_chunk(len(times), step_bytes) for times in series.times]
    fits = len(set(own)) == 1 and all(len(times) % own[0] == 0 for times in series.times[:-1])
    yield (
        f"cmip7repack IN: time and its bounds in one chunk, metadata together, chunks of {own[0]} "
        f"time steps: {'one array' if fits else 'segments as before'}."
    )
