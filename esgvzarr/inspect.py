"""Find out whether NetCDF files form one array, before they are published.

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
"""The least size of a decoded chunk of data, in bytes: the rule of CMOR 3.14 and of CMIP7."""
_SUBJECT = "these files"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason why the files do not form one array."""

    file: str
    code: str
    """Code of the rule that the file breaks; ``segments`` if the file can be referenced, in a
    segment of its own.
    """
    text: str


@dataclass(frozen=True, slots=True)
class FileLayout:
    """The layout of one file."""

    file: str
    steps: int
    """Time steps of the file; 0 if it has no time."""
    chunk_steps: int
    """Time steps in a chunk of the data; 0 if the file has no time."""
    chunk_bytes: int
    """Bytes in a decoded chunk of the data."""
    time_in_one_chunk: bool
    bounds_in_one_chunk: bool
    metadata_together: bool
    requests: int
    """Requests that a reader needs to open the file over HTTP."""


@dataclass(frozen=True, slots=True)
class VariableInspection:
    """The files of one variable, in a dataset of several variables."""

    name: str
    segments: int
    """Number of arrays that the files form; 0 if they cannot be referenced."""
    chunk_steps: int
    """The chunk length along time that would make the files one array; 0 if they are one array, or
    no such length exists.
    """
    repacking: tuple[str, ...]
    """Commands of programs that repack files, and what they would change."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of an inspection: the layout of the files, obstacles to one array, and
    improvements.
    """

    files: tuple[FileLayout, ...]
    obstacles: tuple[Obstacle, ...]
    notes: tuple[str, ...]
    """Findings that are not errors but make reading slower."""
    segments: int
    """Number of arrays that the files, or the files of each variable, form; 0 if they cannot be
    referenced.
    """
    chunk_steps: int
    """The chunk length along time that would make the files one array; 0 if they are one array, no
    such length exists, or the variables need different lengths.
    """
    repacking: tuple[str, ...]
    """Commands of programs that repack files, and what they would change; for several variables,
    see ``variables``.
    """
    variables: tuple[VariableInspection, ...] = ()
    """Each variable by itself, if each variable has its own files, as in CMIP5; else empty."""

    @property
    def one_array(self) -> bool:
        """Whether the files, or the files of each variable, form one array as they are."""
        return self.segments == 1


def inspect(places: Sequence[str], transport: Transport) -> Inspection:
    """Inspect the files of one dataset.

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
    """Return the files of each variable, if each variable has its own files.

    All files are returned under an empty name if they hold one variable, or if the files of the
    variables cannot be told apart.
    """
    whole: dict[str, Sequence[FileReferences]] = {"": scanned}
    if len({file.attrs.get("variable_id") for file in scanned} - {None}) > 1:
        return whole  # These ids name a variable: the files are several datasets.
    try:
        found = by_variable(scanned, _SUBJECT)
    except RefusedError:
        return whole
    return {**found} if len(found) > 1 else whole


def _inspect_variable(
    name: str, files: Sequence[FileReferences], obstacles: list[Obstacle]
) -> VariableInspection:
    """Inspect the files of one variable, and append the obstacles found to ``obstacles``."""
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
    """Return the files in time order; None if a rule refuses them, after appending the obstacle."""
    try:
        return check(scanned, _SUBJECT)
    except RefusedError as error:
        obstacles += [Obstacle(one.file, one.code, one.details) for one in error.findings]
    except FormatError as error:
        obstacles.append(_obstacle(error.subject, error))
    return None


def _obstacle(file: str, error: FormatError) -> Obstacle:
    """Make the obstacle that an error describes, without the name of the file."""
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
    """Scan all files. Return those that can be referenced, and the obstacles of the others."""
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
    """Find what a reader has to fetch to open a file.

    NetCDF-3 holds its metadata at the front of the file; a reader fetches them, and each coordinate
    where it lies.
    """
    if file.format == "hdf5":
        return measure_opening(file.file.url, transport)
    return Opening(2, 0, metadata_together=True)


def _time_of(file: FileReferences) -> str:
    return cf.time_name(file.variables) or ""


def _largest(file: FileReferences, time: str) -> Variable | None:
    """Return the largest variable along time, whose chunks decide how fast the file can be read."""
    moving = [one for one in file.variables.values() if not time or time in one.dims]
    return max(moving, key=lambda one: math.prod(one.shape) * one.dtype.itemsize, default=None)


def _length(variable: Variable, time: str) -> int:
    return variable.shape[variable.dims.index(time)] if time in variable.dims else 0


def _in_one_chunk(file: FileReferences, name: str) -> bool:
    """Whether a variable is stored in one chunk; true if the file does not have it."""
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
    """Return the chunk length along time with which all files end at the end of a chunk.

    It divides the lengths of all files but the last one, and makes chunks of at least 4 MiB if
    possible. 0 if the files have no time.
    """
    if series.time is None:
        return 0
    data = _largest(series.files[0], series.time)
    lengths = [len(times) for times in series.times]
    if data is None or not lengths:
        return 0
    return dividing_chunk(lengths, _step_bytes(data, series.time))


def dividing_chunk(lengths: Sequence[int], step_bytes: int) -> int:
    """Return the least common divisor of all lengths but the last that makes chunks of 4 MiB or
    more.

    If no divisor makes chunks of this size, return the largest one.
    """
    common = math.gcd(*lengths[:-1]) if len(lengths) > 1 else lengths[0]
    wanted = -(-LEAST_CHUNK // step_bytes)
    divisors = [number for number in range(1, common + 1) if common % number == 0]
    return next((number for number in divisors if number >= wanted), common)


def cmor_chunk(length: int, step_bytes: int) -> int:
    """Return the chunk length that CMOR 3.14 and cmip7repack choose for a file."""
    return min(length, max(1, LEAST_CHUNK // step_bytes))


def _step_bytes(data: Variable, time: str) -> int:
    sizes = [size for size, dim in zip(data.shape, data.dims, strict=True) if dim != time]
    return math.prod(sizes) * data.dtype.itemsize


def _repacking(series: Series, steps: int) -> Iterator[str]:
    """Describe the files that nccopy and cmip7repack would make."""
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
        f"nccopy -c {lengths} IN OUT: one array, in chunks of {steps} time steps, "
        f"{size:.1f} MiB. To form one array, all files need the same chunks and filters."
    )
    own = [cmor_chunk(len(times), step_bytes) for times in series.times]
    fits = len(set(own)) == 1 and all(len(times) % own[0] == 0 for times in series.times[:-1])
    yield (
        f"cmip7repack IN: time and its bounds in one chunk, metadata together, chunks of {own[0]} "
        f"time steps: {'one array' if fits else 'segments as before'}."
    )
