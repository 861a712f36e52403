"""Read what the NetCDF files hold. netCDF-C reads them; it is not used to make references.

netCDF-C reads local files from disk, and files over HTTP from an `Image` of the bytes that were
fetched. libhdf5, through h5py, counts the chunks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from traceback import format_tb
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import FormatError
from ..formats import Fetched
from ..formats.content import PAGE, SparseContent, SparseFile
from ..model import FileRecord, FileReferences
from ..transport import Range, Transport
from .file_failures import ReadFailedError, filter_missing, locked, unreadable
from .netcdf_files import OpenFiles as OpenFiles
from .netcdf_files import OpenImage
from .reference_side import UNREADABLE

if TYPE_CHECKING:
    import xarray

Counted = tuple[int, int, bool]
"""Number of chunks of a variable, their bytes, and whether they are filtered."""
_MOST_ROUNDS = 64
"""The most rounds of fetching missed bytes. A file that needs more is damaged: each round fetches
what one chain of addresses in the file points to.
"""
_MOST_MISSED = 8 * 2**20
"""The most bytes of one request."""
_WORD = 8
"""Size of the largest unsigned integer, in bytes."""
_LARGEST_BUILT_IN = 255
"""The largest number of a filter that libhdf5 itself has; other filters are plugins."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where netCDF-C reads one file: at a path, or from bytes that were fetched."""

    subject: str
    """URL of the file, for messages."""
    path: str | None = None
    content: SparseContent | None = None
    hint: FileReferences | None = None
    """Where a scan found the chunks of the file; used only to decide what to fetch."""

    def with_more(self) -> Source:
        """Return the same file with a copy of its content, to which more can be added."""
        content = self.content.copy() if self.content is not None else None
        return Source(self.subject, self.path, content, self.hint)


@dataclass(frozen=True, slots=True)
class MissedRanges:
    """Ranges that netCDF-C read and that were not fetched. The result of such a read is
    discarded.
    """

    ranges: tuple[tuple[int, int], ...]


def local_path(file: FileRecord) -> str | None:
    """Return the path of the file on this machine."""
    return next((place for place in (file.path, file.url) if place and os.path.exists(place)), None)


def sources_of(files: Sequence[FileRecord], fetched: Mapping[str, Fetched]) -> dict[str, Source]:
    """Return where netCDF-C reads each file, by URL."""
    found = {}
    for file in files:
        path = local_path(file)
        if path is not None:
            found[file.url] = Source(file.url, path)
        else:
            known = fetched[file.url]
            found[file.url] = Source(file.url, None, known.content, known.hint)
    return found


Work = Callable[["xarray.Dataset", Mapping[str, Counted]], _T]
"""Reads one file: its undecoded dataset, and HDF5's own count of chunks. It may run several times,
so it must change no state.
"""


def judge_all(
    works: Sequence[tuple[Source, Work[_T]]],
    transport: Transport,
    open_files: OpenFiles | None = None,
    *,
    counts: bool = False,
) -> Iterator[_T]:
    """Do the work of each file, and give the results in the order of the files.

    Bytes that netCDF-C read and that were not fetched are then fetched, for all files in one batch,
    and the work of these files is done again.

    Args:
        works: the work of each file.
        transport: fetches bytes.
        open_files: keeps files open between two reads; without it they are closed.
        counts: whether the first of two reads counts the chunks.

    Raises:
        FormatError: netCDF-C cannot read a file.
        TransportError: bytes cannot be fetched.
    """
    done: dict[int, _T] = {}
    waiting = list(range(len(works)))
    given = 0
    for _ in range(_MOST_ROUNDS):
        ranges: list[Range] = []
        again = []
        for number in waiting:
            source, work = works[number]
            found = _judge(source, work, open_files, counts=counts)
            if isinstance(found, MissedRanges):
                ranges += [Range(source.subject, *part) for part in found.ranges]
                again.append(number)
                continue
            done[number] = found
            while given in done:
                yield done.pop(given)
                given += 1
        if not again:
            return
        contents = {works[number][0].subject: works[number][0].content for number in again}
        fetch(ranges, contents, transport)
        waiting = again
    source = works[waiting[0]][0]
    raise unreadable(
        source.subject, "its internal addresses lead from one place to the next without end"
    )


def fetch(
    ranges: Sequence[Range],
    contents: Mapping[str, SparseContent | None],
    transport: Transport,
) -> None:
    """Fetch ranges of several files in one batch, and add them to the known bytes of each file.

    Only whole pages that are not known yet are fetched.
    """
    gaps: list[Range] = []
    for one in ranges:
        content = contents[one.location]
        if content is not None:
            for start, stop in content.page_gaps(one.start, min(one.stop, content.size)):
                gaps.append(Range(one.location, start, stop))
    wanted = [piece for run in _merged(gaps) for piece in _pieces(run)]
    for one, body in zip(wanted, transport.read_ranges(wanted), strict=True):
        content = contents[one.location]
        if content is not None:
            content.add(one.start, body)


def _merged(ranges: Sequence[Range]) -> list[Range]:
    """Merge ranges that overlap or touch, so that each byte is fetched once and answers need not be
    copied in parts.
    """
    runs: list[Range] = []
    for one in sorted(ranges):
        last = runs[-1] if runs else None
        if last is not None and last.location == one.location and one.start <= last.stop:
            runs[-1] = Range(last.location, last.start, max(last.stop, one.stop))
        else:
            runs.append(one)
    return runs


def _pieces(run: Range) -> Iterator[Range]:
    for start in range(run.start, run.stop, _MOST_MISSED):
        yield Range(run.location, start, min(start + _MOST_MISSED, run.stop))


def _judge(
    source: Source, work: Work[_T], open_files: OpenFiles | None, *, counts: bool
) -> _T | MissedRanges:
    """Do the work of one file, or return the ranges that it missed."""
    if source.path is not None:
        return _judge_path(source.subject, source.path, work, open_files, counts=counts)
    content = source.content
    if content is None:
        raise ValueError(f"{source.subject} is neither on this machine nor fetched")
    stored = {}
    if counts:
        counted = _counted(source, content)
        if isinstance(counted, MissedRanges):
            return counted
        stored = counted
    keep = counts and open_files is not None
    files = open_files or OpenFiles()
    with files.image_of(source.subject, content, keep=keep) as opened:
        return _judge_image(source, content, opened, lambda truth: work(truth, stored))


def _judge_path(
    subject: str, path: str, work: Work[_T], open_files: OpenFiles | None, *, counts: bool
) -> _T:
    """Let netCDF-C read a local file. Errors of the work itself are passed on."""
    with ExitStack() as stack:
        try:
            stored = _stored_chunks(path) if counts else {}
            keep = counts and open_files is not None
            files = open_files or OpenFiles()
            truth = stack.enter_context(files.opened(path, keep=keep))
        except BlockingIOError as error:
            raise locked(subject) from error
        except UNREADABLE as error:
            if _is_locked(path):
                raise locked(subject) from error
            raise unreadable(subject, error) from error
        try:
            return work(truth, stored)
        except ReadFailedError as error:
            raise _not_read(subject, error, path) from error


def _is_locked(path: str) -> bool:
    """Whether another process holds a lock that libhdf5 would need; netCDF-C reports no reason."""
    import h5py

    try:
        with h5py.File(path, "r"):
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _judge_image(
    source: Source,
    content: SparseContent,
    opened: OpenImage,
    work: Callable[[xarray.Dataset], _T],
) -> _T | MissedRanges:
    """Let netCDF-C read an image, and keep the result only if all bytes that it read were
    fetched.
    """
    failure: Exception | None = None
    result: _T | None = None
    try:
        result = work(opened.dataset())
    except UNREADABLE as error:
        error.add_note("".join(format_tb(error.__traceback__)))
        # The frames of the traceback would hold the buffer.
        failure = error.with_traceback(None)
    missed = tuple(opened.image.missed())
    opened.is_sound = failure is None and not missed
    if missed:
        return MissedRanges(missed)
    if isinstance(failure, ReadFailedError):
        raise _not_read(source.subject, failure, SparseFile(content)) from failure
    if failure is not None and not opened.is_open:
        raise unreadable(source.subject, failure) from failure
    if failure is not None:
        raise failure  # The work itself raised this; the file is not the cause.
    return result  # type: ignore[return-value]


def _not_read(subject: str, error: ReadFailedError, source: str | SparseFile) -> FormatError:
    """Make the error for an array that netCDF-C did not read: the file is damaged, or a filter is
    missing.
    """
    if error.lacks_filter:
        return filter_missing(subject, error.variable, _plugins_of(source, error.variable))
    return unreadable(subject, error)


def _plugins_of(source: str | SparseFile, variable: str) -> str:
    """Return the names and numbers of the filters of a variable that are not part of libhdf5."""
    import h5py

    found = []
    with h5py.File(source, "r") as opened:
        node = opened.get(f"_nc4_non_coord_{variable}")
        node = opened[variable] if node is None else node
        properties = node.id.get_create_plist()
        for index in range(properties.get_nfilters()):
            number, _, _, name = properties.get_filter(index)
            if number > _LARGEST_BUILT_IN:
                found.append(f"{name.decode('utf-8', 'replace') or 'filter'} ({number})")
    return ", ".join(found)


def _counted(source: Source, content: SparseContent) -> dict[str, Counted] | MissedRanges:
    """Return HDF5's own counts for a file that was fetched in part, or the ranges that were
    missed.
    """
    if not content.has(0, min(8, content.size)):
        return MissedRanges(((0, min(PAGE, content.size)),))
    content.missed.clear()
    try:
        found = _stored_chunks(SparseFile(content))
    except UNREADABLE as error:
        missed = tuple(content.take_missed())
        if not missed:
            raise unreadable(source.subject, error) from error
        return MissedRanges(missed)
    missed = tuple(content.take_missed())
    return MissedRanges(missed) if missed else found


def _stored_chunks(source: str | SparseFile) -> dict[str, Counted]:
    """Return (chunks, bytes, filtered) of each variable by HDF5's own count.

    Empty for netCDF-3, whose size follows from its shapes.
    """
    import h5py

    if not h5py.is_hdf5(source) if isinstance(source, str) else not _is_hdf5(source):
        return {}
    found = {}
    with h5py.File(source, "r") as opened:
        for link in opened.id:
            # A link without a target is no variable.
            with suppress(KeyError):
                node = h5py.h5o.open(opened.id, link)
                if isinstance(node, h5py.h5d.DatasetID):
                    name = link.decode("utf-8", "surrogateescape")
                    found[name.removeprefix("_nc4_non_coord_")] = _count(node)
    return found


def _is_hdf5(source: SparseFile) -> bool:
    """Whether a file is HDF5, which may begin after a user block; netCDF-3 begins at byte 0."""
    source.seek(0)
    magic = source.read(3)
    source.seek(0)
    return magic != b"CDF"


def _count(node: Any) -> Counted:
    import h5py

    properties = node.get_create_plist()
    size = node.get_storage_size()
    if properties.get_layout() != h5py.h5d.CHUNKED:
        return (1 if size else 0), size, False
    return node.get_num_chunks(), size, properties.get_nfilters() > 0


def equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether arrays are equal, number for number. NaN equals NaN, and text equals text in any
    array type.
    """
    if a.shape != b.shape:
        return False
    if _same_bytes(a, b):
        return True
    if a.dtype.kind in "OSUT" or b.dtype.kind in "OSUT":
        return [_text(x) for x in a.ravel().tolist()] == [_text(x) for x in b.ravel().tolist()]
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def _same_bytes(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether numbers of one type are equal bit for bit.

    This takes a quarter of the time of comparing numbers. Numbers with different bits, such as -0.0
    and 0.0, are compared as numbers afterwards.
    """
    if a.dtype != b.dtype or a.dtype.kind not in "iuf" or a.dtype.itemsize > _WORD:
        return False
    bits = f"u{a.dtype.itemsize}"
    return bool(np.array_equal(a.view(bits), b.view(bits)))


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace").rstrip("\0") if isinstance(value, bytes) else str(value)
