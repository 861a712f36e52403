"""Whose fault it is that a file cannot be read, or that references do not read back: the whole file
is compared with its record, or with what is served, before anybody is told what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import COPY_AGAIN, FormatError, Obstacle, TransportError
from ..formats import location_of
from ..model import FileRecord
from ..transport import Range, Transport, is_url
from ..transport.checksums import can_be_checked, check_checksum, is_well_formed

LARGEST = 2**30
"""Bytes of a file that is read whole to find out whose fault it is."""
_BLOCK = 4 * 2**20


def explained(
    error: FormatError, files: Sequence[FileRecord], transport: Transport, read: str
) -> FormatError:
    """A copy of an error, with what to do about the file as its checksum says, if it has one.

    Args:
        error: a file cannot be read.
        files: of the dataset.
        transport: reads.
        read: as the setting of that name.
    """
    todo = error.todo
    if todo.startswith(COPY_AGAIN):
        for file in files:
            if error.subject in (file.url, file.path):
                todo = _todo(file, location_of(file, read), transport) or todo
    return FormatError(
        error.subject, error.found, expected=error.expected, todo=todo, code=error.code
    )


def _todo(file: FileRecord, location: str, transport: Transport) -> str:
    if not can_be_checked(file):
        return (
            "Its record has no checksum that could say whether it is damaged: compare it with the "
            "original file."
        )
    if not is_well_formed(file):
        return (
            f"{file.checksum!r} of its record is no {file.checksum_type}: correct the record, and "
            "compare the file with the original."
        )
    if file.size is None or file.size > LARGEST:
        return ""
    try:
        check_checksum(file, location, transport)
    except TransportError as error:
        if error.obstacle is not Obstacle.OTHER_BYTES:
            return ""
        return f"It {error.found}, its record says {file.checksum}: copy it to the node again."
    return (
        f"Its {file.checksum_type} is that of its record, so it was published like this: write it "
        "anew, and publish a new version."
    )


def check_served_bytes(files: Sequence[FileRecord], transport: Transport) -> None:
    """Look whether files that were read from disk are served with the same bytes.

    Raises:
        TransportError: ``transport-path-differs``.
    """
    for file in files:
        if file.path is None or not is_url(file.url):
            continue
        place = _first_difference(file.path, file.url, transport)
        if place is not None:
            raise TransportError(
                file.url,
                f"is served with other bytes than {file.path} has, first in those from {place} on",
                expected="the same file on disk and by its URL",
                todo="Is `data_paths` right? Correct it, or set `read: http`.",
                code="transport-path-differs",
            )


def _first_difference(path: str, url: str, transport: Transport) -> int | None:
    """Where the first block of bytes begins that differs; at most ``LARGEST`` bytes are read."""
    for start, stop in _blocks(transport.read_heads([path], 1)[0].size):
        here, there = transport.read_ranges([Range(path, start, stop), Range(url, start, stop)])
        if here != there:
            return start
    return None


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, min(size, LARGEST), _BLOCK):
        yield start, min(start + _BLOCK, size)
