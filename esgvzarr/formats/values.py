"""Read the small variables of scanned files: those that must be compared between files, and those
that will be inlined.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .. import cf, inflate
from ..errors import FormatError
from ..model import FileReferences, Variable
from ..transport import COALESCE_GAP
from .content import SparseContent

SMALL = 64 * 1024
"""A variable of up to this many bytes per file is read, and inlined if it fits with those of the
other files.
"""
SMALL_TIME = 4 * 2**20
"""The same for the bounds of time, in bytes per file: as references, one for each step, they would
take more room than as numbers.
"""
LARGEST_WHOLE = 2**30
"""The largest variable that is compared whole, in bytes; it is in memory several times."""
_ROOM = 64 * 2**20
"""The most bytes of values that are read where almost nothing is stored."""
_MOST_COMPRESSED = 1100
"""The highest compression ratio of deflate; other filters reach at least this ratio at best."""
FEW_READS = 64
"""The most requests per file. A variable that is spread over more places, such as bounds stored
step by step, stays a reference.
"""


def wanted(files: Sequence[FileReferences], *, bounds: bool = False) -> list[set[str]]:
    """Choose the variables of each file whose values are needed.

    These are: time; its bounds, if requested or if units differ between the files; coordinates of
    one dimension; small variables that are not data. With several files also all variables that do
    not change with time, because they must be equal in all files, and variables that files with
    time and fixed fields both hold, because they must be equal in both.
    """
    times = [cf.time_name(file.variables) for file in files]
    bounds = bounds or _stated_differently(files, times)
    shared = _in_fixed_files_too(files, times)
    names = []
    for file, time in zip(files, times, strict=True):
        companions = _dates_beside(file, time, other_references=bounds)
        fixed = {name for name, one in file.variables.items() if time not in one.dims}
        needed = {name for name, one in file.variables.items() if one.dims == (name,)}
        if bounds:
            needed |= set(companions)
        needed |= shared & fixed
        others = file.variables.keys() - cf.data_names(file.variables, time)
        if len(files) > 1:
            needed |= others & fixed
        names.append(needed | _quickly_read(file, others - needed, companions))
    return names


def _quickly_read(
    file: FileReferences, names: Collection[str], companions: Collection[str]
) -> set[str]:
    """Return those variables that take few bytes and few requests; companions of time may take
    more.
    """
    found = set()
    for name in names:
        limit = SMALL_TIME if name in companions else SMALL
        if _is_quickly_read(file.variables[name], limit):
            found.add(name)
    return found


def check_sizes(files: Sequence[FileReferences]) -> None:
    """Refuse variables that must be compared whole and are too large for that: coordinates of one
    dimension, and variables that do not change with time. No memory is allocated for them.

    Raises:
        FormatError: ``file-variable-large``.
    """
    for file in files:
        time = cf.time_name(file.variables)
        for name, variable in file.variables.items():
            whole = time not in variable.dims or variable.dims == (name,)
            if whole and _bytes(variable) > LARGEST_WHOLE:
                raise FormatError(
                    file.file.url,
                    f"{name!r} has the shape {variable.shape} and {_bytes(variable)} "
                    "bytes; coordinates and variables without time are compared whole",
                    expected=f"at most {LARGEST_WHOLE} bytes",
                    todo="Publish it as a separate dataset that has a time dimension, or in parts.",
                    code="file-variable-large",
                )


def _is_quickly_read(variable: Variable, limit: int) -> bool:
    """Whether a variable has at most this many bytes, in few places of the file."""
    return _bytes(variable) <= limit and len(spans(variable)) <= FEW_READS


def _dates_beside(
    file: FileReferences, time: str | None, *, other_references: bool
) -> tuple[str, ...]:
    """Return the dates along time besides time itself; if files state time with different reference
    dates, also variables that may be dates.
    """
    if time is None:
        return ()
    named = cf.dates_along(file.variables, time)[1:]
    return (*named, *cf.unnamed_bounds(file.variables, time)) if other_references else named


def _stated_differently(files: Sequence[FileReferences], times: Sequence[str | None]) -> bool:
    """Whether time or other dates along it have more than one unit or calendar in all files."""
    timed = [(file.variables, time) for file, time in zip(files, times, strict=True) if time]
    names = set[tuple[str, str]]()
    for variables, time in timed:
        names.update((time, name) for name in cf.dates_along(variables, time))
    for time, name in names:
        same_axis = [variables for variables, own in timed if own == time and name in variables]
        if len(cf.time_references(same_axis, time, name)) > 1:
            return True
    return False


def _in_fixed_files_too(files: Sequence[FileReferences], times: Sequence[str | None]) -> set[str]:
    """Return the variables that some files with time and some files without time hold."""
    held: tuple[set[str], set[str]] = (set(), set())
    for file, time in zip(files, times, strict=True):
        held[time is None].update(file.variables)
    return held[0] & held[1]


def _bytes(variable: Variable) -> int:
    return math.prod(variable.shape) * variable.dtype.itemsize


def _chunk_bytes(variable: Variable) -> int:
    """Return the size of a decoded chunk in bytes."""
    return math.prod(variable.chunk_shape) * variable.dtype.itemsize


def spans(variable: Variable) -> list[tuple[int, int]]:
    """Return the (start, stop) of the bytes that hold a variable, with near chunks joined."""
    if variable.values is not None or not len(variable.chunks):
        return []
    order = np.argsort(variable.chunks.offsets)
    starts = variable.chunks.offsets[order]
    stops = starts + variable.chunks.sizes[order]
    breaks = np.flatnonzero(starts[1:] - stops[:-1] > COALESCE_GAP)
    return list(
        zip(starts[[0, *(breaks + 1)]].tolist(), stops[[*breaks, -1]].tolist(), strict=True)
    )


def shown_text(data: bytes) -> str:
    """Return the characters of an attribute as the netCDF libraries for Python show them: without
    NULs, and with bytes that are not UTF-8, such as Latin-1, replaced by U+FFFD.
    """
    return data.decode("utf-8", "replace").replace("\0", "")


def check_fill(fill: Any, dtype: np.dtype[Any], name: str, subject: str) -> Any:
    """Return the ``_FillValue`` if Zarr can state it: readers take it as a number of the variable's
    type.

    Args:
        fill: the attribute; None if the file has none.
        dtype: type of the variable.
        name: name of the variable, for messages.
        subject: the file's URL or path, for messages.

    Raises:
        FormatError: the attribute holds several values, or no value of the type.
    """
    if fill is None or dtype.kind == "O":
        return fill
    value = np.asarray(fill)
    if dtype.kind == "S":
        fits = (
            value.size == 1
            and len(fill if isinstance(fill, bytes) else str(fill).encode()) <= dtype.itemsize
        )
    else:
        with np.errstate(all="ignore"):
            fits = value.size == 1 and value.dtype.kind in "iuf" and _exact(value, dtype)
    if not fits:
        raise FormatError(
            subject,
            f"{name!r} is of type {dtype} and has the _FillValue {fill!r} of type {value.dtype}",
            expected="one value of the variable's type",
            todo="Write the attribute again: readers would mask other values than the file states.",
            code="file-fill-invalid",
        )
    return fill


def _exact(value: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Whether the type holds the value exactly."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        number = value.item()
        return bool(
            np.isfinite(value).all()
            and number == int(number)
            and limits.min <= number <= limits.max
        )
    return bool(
        np.array_equal(
            value.astype(dtype).astype(np.float64), value.astype(np.float64), equal_nan=True
        )
    )


def fill_in(file: FileReferences, names: Iterable[str], content: SparseContent) -> FileReferences:
    """Return the file with the values of the named variables, whose ``spans`` are in ``content``.

    Raises:
        FormatError: a chunk cannot be decoded.
    """
    variables = dict(file.variables)
    for name in names:
        variable = variables[name]
        if variable.values is None:
            variables[name] = replace(variable, values=_read(variable, content, file.file.url))
    return replace(file, variables=variables)


def _read(variable: Variable, content: SparseContent, subject: str) -> np.ndarray:
    """Return the values of a whole variable."""
    size = _chunk_bytes(variable)
    plain = not variable.codecs and _stacked(variable) and (variable.chunks.sizes == size).all()
    if not plain:
        return decode(variable, _stored(variable, content), subject)
    check_room(variable, subject)
    # A variable that is chunked step by step has many thousands of chunks: they are joined at once.
    places = spans(variable)
    lengths = [stop - start for start, stop in places]
    held = np.frombuffer(b"".join(content.read(*place) for place in places), np.uint8)
    firsts = np.array([start for start, _ in places], np.int64)
    owners = np.searchsorted(firsts, variable.chunks.offsets, "right") - 1
    begins = variable.chunks.offsets - firsts[owners] + (np.cumsum(lengths) - lengths)[owners]
    chunks = sliding_window_view(held, size)[begins]
    values = np.frombuffer(chunks.tobytes(), variable.dtype)
    return values.reshape(-1, *variable.shape[1:])[: variable.shape[0]]


def _stored(variable: Variable, content: SparseContent) -> list[memoryview]:
    """Return the bytes of each chunk, in the order of the chunk table."""
    places = spans(variable)
    held = [memoryview(content.read(*place)) for place in places]
    firsts = np.array([start for start, _ in places], np.int64)
    owners = np.searchsorted(firsts, variable.chunks.offsets, "right") - 1
    begins = variable.chunks.offsets - firsts[owners] if len(firsts) else variable.chunks.offsets
    ends = begins + variable.chunks.sizes
    return [
        held[owner][begin:end]
        for owner, begin, end in zip(owners.tolist(), begins.tolist(), ends.tolist(), strict=True)
    ]


def decode(variable: Variable, stored: Sequence[Any], subject: str) -> np.ndarray:
    """Return the values of a whole variable, as stored numbers, from its chunks.

    Elements that were never written get the fill value.
    """
    check_room(variable, subject)
    if _stacked(variable):
        whole = b"".join(_decode_chunk(data, variable, subject) for data in stored)
        return np.frombuffer(whole, variable.dtype).reshape(-1, *variable.shape[1:])[
            : variable.shape[0]
        ]
    values = np.full(variable.shape, variable.unwritten, variable.dtype)
    pieces = [*zip(map(tuple, variable.chunks.keys), stored, strict=True), *variable.inline.items()]
    for key, data in pieces:
        block = np.frombuffer(_decode_chunk(data, variable, subject), variable.dtype).reshape(
            variable.chunk_shape
        )
        region = tuple(
            slice(k * c, min((k + 1) * c, n))
            for k, c, n in zip(key, variable.chunk_shape, variable.shape, strict=True)
        )
        values[region] = block[tuple(slice(0, part.stop - part.start) for part in region)]
    return values


def _stacked(variable: Variable) -> bool:
    """Whether all chunks exist, and follow each other along the first dimension only."""
    if (
        not variable.shape
        or not all(variable.shape)
        or variable.inline
        or variable.chunk_shape[1:] != variable.shape[1:]
    ):
        return False
    return len(variable.chunks) == -(-variable.shape[0] // variable.chunk_shape[0])


def _decode_chunk(data: Any, variable: Variable, subject: str) -> Any:
    """Return the bytes of one decoded chunk, of the size that its shape states."""
    expected = _chunk_bytes(variable)
    return decode_chunk(data, variable.codecs, expected, f"{subject}, {variable.name!r}")


def decode_chunk(
    data: Any, codecs: Sequence[Mapping[str, Any]], expected: int, subject: str
) -> Any:
    """Decode one chunk, and stop if there are more bytes than expected.

    Args:
        data: the bytes as stored.
        codecs: the codecs in the order of encoding.
        expected: size of the decoded chunk in bytes.
        subject: the chunk's file and variable, for messages.

    Raises:
        FormatError: ``file-chunk-expands`` if the chunk decodes to more bytes; ``file-unreadable``
            if it cannot be decoded, or decodes to fewer.
    """
    try:
        decoded = inflate.decode(data, codecs, expected)
    except inflate.ExpandsError as error:
        raise FormatError(
            subject,
            f"a chunk {error}",
            expected="as many bytes as its shape says",
            todo="The chunk is damaged, or was made to fill the memory of its readers: do not "
            "publish the file.",
            code="file-chunk-expands",
        ) from error
    except inflate.DECODING_ERRORS as error:
        raise _undecodable(subject, str(error)) from error
    size = memoryview(decoded).nbytes
    if size != expected:
        raise _undecodable(subject, f"{size} bytes, not {expected}")
    return decoded


def _undecodable(subject: str, reason: str) -> FormatError:
    return FormatError(
        subject,
        f"a chunk cannot be decoded: {reason}",
        todo="Compare the file's checksum with that of the record.",
        code="file-unreadable",
    )


def check_room(variable: Variable, subject: str) -> None:
    """Refuse to allocate memory for values that the file does not hold.

    Raises:
        FormatError: ``file-unreadable``; the shape is far larger than what is stored.
    """
    size = math.prod(variable.shape) * variable.dtype.itemsize
    held = int(variable.chunks.sizes.sum()) + sum(map(len, variable.inline.values()))
    if size > max(_ROOM, _MOST_COMPRESSED * held):
        raise FormatError(
            subject,
            f"{variable.name!r} has the shape {variable.shape}, but only {held} bytes of "
            "it are stored",
            expected=f"at most {_ROOM} bytes of values that were never written",
            todo="The file or the size of its dimensions is damaged: write it again.",
            code="file-unreadable",
        )
