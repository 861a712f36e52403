"""Scan files: find which variables they hold, and where their bytes lie. One module for each file
format.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from ..errors import FormatError, TransportError
from ..model import FileRecord, FileReferences
from ..plugins import registered
from ..transport import Head, Range, Transport, is_url
from . import values
from .content import Needs, SparseContent
from .names import check_any, check_paths, check_scalars

HEAD = 128 * 1024
"""Bytes that are read of each file first. In netCDF-4 files they usually hold all metadata except
the chunk indexes.
"""
_T = TypeVar("_T")
_MAGIC = 8
"""Length of the first bytes that identify a format."""
_USER_BLOCK = 512
"""Size of the smallest user block before an HDF5 file, in bytes."""
_USER_BLOCKS = 8
"""Number of sizes of user blocks that are tried: up to 64 KiB."""


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """What a scan read of a file over HTTP, for the proof to reuse."""

    content: SparseContent
    hint: FileReferences | None
    """The places of chunks that the scan found; used only to decide what to fetch next. None if the
    scan failed.
    """


class Format(Protocol):
    """A file format. To add one, write a module, an entry point in the group ``esgvzarr.formats``,
    and tests.

    The proof reads the files with netCDF-C. Files of a format that netCDF-C cannot read can be
    scanned and looked at (`esgvzarr.references`), but not published: ``file-unreadable``.
    """

    name: str
    magics: tuple[bytes, ...]
    """The first bytes of files of this format; any of them."""
    user_blocks: bool
    """Whether a file may begin after a block of 512, 1024, 2048 ... bytes that is not its own."""

    @staticmethod
    def scan(file: FileRecord, content: SparseContent) -> Generator[Needs, None, FileReferences]:
        """Describe a whole file.

        This generator yields the ranges of bytes that ``content`` lacks, continues when they were
        added, and returns the description.

        Args:
            file: the record of the file.
            content: the first bytes, and all bytes that were requested.

        Raises:
            FormatError: a part of the file cannot be referenced. No variable is left out.
        """
        ...


def known_formats() -> tuple[type[Format], ...]:
    """Return all installed formats."""
    return tuple(point.load() for point in registered("esgvzarr.formats").values())


def recognise(head: bytes, subject: str) -> type[Format]:
    """Return the format of a file, from its first bytes.

    Raises:
        FormatError: the first bytes are those of no known format; the message shows them.
    """
    own = _own_format(head)
    if own is not None:
        return own
    for known in known_formats():
        if head.startswith(known.magics):
            return known
    for known in known_formats():
        if any(head.startswith(known.magics, place) for place in _after_user_block(known, head)):
            return known
    start = head[:16].lstrip()
    found = f"first bytes {head[:8]!r}" if head else "an empty file"
    if start[:1] == b"<":
        found = "an HTML page"
    raise FormatError(
        subject,
        f"is {found}" if found.startswith("an") else f"has {found}",
        expected="netCDF-4 (HDF5) or netCDF-3",
        todo="Open the URL in a browser: it may be a login or error page that was saved as a file.",
        code="file-not-netcdf",
    )


def _own_format(head: bytes) -> type[Format] | None:
    """Return this package's own format of a file; None if it is of another format, or begins after
    a user block.

    To find the formats of other packages takes as long as to scan several files.
    """
    if head.startswith(b"CDF"):
        from .netcdf3 import NetCDF3

        return NetCDF3 if head.startswith(NetCDF3.magics) else None
    from .hdf5 import HDF5

    return HDF5 if head.startswith(HDF5.magics) else None


def _after_user_block(known: type[Format], head: bytes) -> list[int]:
    """Return the bytes after a user block where a file of a format may begin: 512, 1024, 2048 ...

    Rule: HDF5 File Format Specification, II.A.
    """
    if not known.user_blocks:
        return []
    return [_USER_BLOCK * 2**power for power in range(len(head) // _USER_BLOCK)][:_USER_BLOCKS]


@dataclass(frozen=True, slots=True)
class Reading:
    """How files are scanned."""

    read: str = "auto"
    """``http``, ``local`` or ``auto``, as the setting of that name."""
    served: Mapping[str, Head] = field(default_factory=dict)
    """What the server states about files that are read from disk, by URL: the references then do
    not depend on where files were read.
    """
    bounds: bool = False
    """Read the bounds of time whole, at any cost, because several datasets will share them."""


def scan(
    files: Sequence[FileRecord],
    transport: Transport,
    *,
    read: str = "auto",
    served: Mapping[str, Head] | None = None,
    bounds: bool = False,
) -> list[FileReferences]:
    """Scan all files together: each round fetches what all of them need next.

    Args:
        files: the files to scan. The references always hold their URLs.
        transport: reads the bytes.
        read: ``http``, ``local`` or ``auto``, as in `Reading`.
        served: what the server states about files that are read from disk, by URL.
        bounds: whether the bounds of time are read whole.

    Raises:
        FormatError: a file cannot be referenced whole.
        TransportError: a file cannot be read.
    """
    found, _ = scan_and_keep(files, transport, Reading(read, served or {}, bounds))
    return found


def scan_and_keep(
    files: Sequence[FileRecord], transport: Transport, reading: Reading
) -> tuple[list[FileReferences], dict[str, Fetched]]:
    """Return the result of ``scan``, and what was read of each file over HTTP, by its URL.

    Raises:
        FormatError: a file cannot be referenced whole.
        TransportError: a file cannot be read.
    """
    places = [location_of(file, reading.read) for file in files]
    heads = transport.read_heads(places, HEAD)
    for file, head in zip(files, heads, strict=True):
        _check_size(file, head)
    contents = [SparseContent(head.size, head.data) for head in heads]
    scans = [
        recognise(head.data, file.url).scan(file, content)
        for file, head, content in zip(files, heads, contents, strict=True)
    ]
    found = _in_step(scans, contents, places, transport)
    said = [reading.served.get(file.url, head) for file, head in zip(files, heads, strict=True)]
    found = [
        replace(one, etag=head.etag, last_modified=head.last_modified)
        for one, head in zip(found, said, strict=True)
    ]
    kept = {
        place: Fetched(content, one)
        for place, content, one in zip(places, contents, found, strict=True)
        if is_url(place)
    }
    check_any(found)
    values.check_sizes(found)
    check_scalars(found)
    check_paths(found)
    wanted = values.wanted(found, bounds=reading.bounds)
    return _with_values(found, wanted, contents, places, transport), kept


def location_of(file: FileRecord, read: str) -> str:
    """Return the nearest path or URL of a file's bytes. ``read`` is the setting of that name."""
    if read == "http" or file.path is None:
        return file.url
    if read == "local" or (
        file.size is not None
        and os.path.isfile(file.path)
        and os.path.getsize(file.path) == file.size
    ):
        return file.path
    return file.url


def check_served(
    files: Sequence[FileRecord], transport: Transport, *, read: str = "auto"
) -> dict[str, Head]:
    """Check that the server gives readers the files that ``scan`` reads from disk: byte ranges,
    size, first bytes.

    Returns:
        What the server states about each of them, by URL.

    Raises:
        FormatError, TransportError: readers could not follow references to a file.
    """
    others = [file for file in files if is_url(file.url) and location_of(file, read) != file.url]
    heads = transport.read_heads([file.url for file in others], _MAGIC)
    for file, head in zip(others, heads, strict=True):
        _check_size(file, head)
        _check_start(file, head, transport)
    return {file.url: head for file, head in zip(others, heads, strict=True)}


def _check_start(file: FileRecord, head: Head, transport: Transport) -> None:
    """Refuse a file whose first bytes, also after a user block, are those of no NetCDF file."""
    try:
        recognise(head.data, file.url)
    except FormatError:
        recognise(transport.read_heads([file.url], HEAD)[0].data, file.url)


def _check_size(file: FileRecord, head: Head) -> None:
    if file.size is not None and head.size != file.size:
        raise TransportError(
            file.url,
            f"has {head.size} bytes",
            expected=f"{file.size} bytes, as its record states",
            todo="The file was replaced or cut short: restore it, or publish it again.",
            code="transport-size-differs",
        )


def _in_step(
    scans: Sequence[Generator[Needs, None, _T]],
    contents: Sequence[SparseContent],
    places: Sequence[str],
    transport: Transport,
) -> list[_T]:
    """Run the scans of all files, with one batch of reads in each round."""
    found: dict[int, _T] = {}
    running = dict(enumerate(scans))
    while running:
        needs: list[tuple[int, int, int]] = []
        for number, scan_of_file in list(running.items()):
            try:
                for start, stop in next(scan_of_file):
                    gaps = _gaps(contents[number], places[number], start, stop)
                    needs += [(number, *gap) for gap in gaps]
            except StopIteration as stop:
                found[number] = stop.value
                del running[number]
        bodies = transport.read_ranges(
            [Range(places[number], start, stop) for number, start, stop in needs]
        )
        for (number, start, _), body in zip(needs, bodies, strict=True):
            contents[number].add(start, body)
    return [found[number] for number in range(len(scans))]


def _gaps(content: SparseContent, place: str, start: int, stop: int) -> list[tuple[int, int]]:
    """Return the ranges between ``start`` and ``stop`` that are not known yet."""
    return list(content.page_gaps(start, stop) if is_url(place) else content.gaps(start, stop))


def _with_values(
    files: Sequence[FileReferences],
    chosen: Sequence[set[str]],
    contents: Sequence[SparseContent],
    locations: Sequence[str],
    transport: Transport,
) -> list[FileReferences]:
    """Read the values that must be compared or inlined, of all files in one batch."""
    needs = []
    for number, (file, names) in enumerate(zip(files, chosen, strict=True)):
        for name in sorted(names):
            for span in values.spans(file.variables[name]):
                gaps = _gaps(contents[number], locations[number], *span)
                needs += [(number, *gap) for gap in gaps]
    bodies = transport.read_ranges(
        [Range(locations[number], start, stop) for number, start, stop in needs]
    )
    for (number, start, _), body in zip(needs, bodies, strict=True):
        contents[number].add(start, body)
    return [
        values.fill_in(file, names, content)
        for file, names, content in zip(files, chosen, contents, strict=True)
    ]


def fetch_metadata(
    urls: Sequence[str], transport: Transport, known: Mapping[str, Fetched]
) -> dict[str, Fetched]:
    """Fetch what a scan would read of files over HTTP, all files together.

    Files are not judged here. A file that cannot be scanned is fetched up to the point where its
    scan fails.

    Args:
        urls: URLs of the files.
        transport: reads the files.
        known: what a scan read before, which is not read again.

    Raises:
        TransportError: a file cannot be read.
    """
    wanted = [url for url in dict.fromkeys(urls) if url not in known]
    heads = transport.read_heads(wanted, HEAD)
    contents = [SparseContent(head.size, head.data) for head in heads]
    scans = [
        _tolerant(url, head, content)
        for url, head, content in zip(wanted, heads, contents, strict=True)
    ]
    hints = _in_step(scans, contents, wanted, transport)
    found = {url: known[url] for url in urls if url in known}
    for url, content, hint in zip(wanted, contents, hints, strict=True):
        found[url] = Fetched(content, hint)
    return found


def _tolerant(
    url: str, head: Head, content: SparseContent
) -> Generator[Needs, None, FileReferences | None]:
    """Scan a file, and return None if it cannot be scanned."""
    try:
        known = recognise(head.data, url)
        return (yield from known.scan(FileRecord(url.rsplit("/", 1)[-1], url), content))
    except FormatError:
        return None
