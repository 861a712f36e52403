"""Find out why a file cannot be read, or why references do not read back as the files do.

The whole file is compared with the checksum of its record, or with the served file, so that the
error names the right remedy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import COPY_AGAIN, FormatError, Obstacle, TransportError
from ..formats import location_of
from ..model import FileRecord
from ..transport import Range, Transport, is_url
from ..transport.checksums import can_be_checked, check_checksum, is_well_formed

LARGEST = 2**30
"""The most bytes of a file that are read to find the cause."""
_BLOCK = 4 * 2**20


def explained(
    error: FormatError, files: Sequence[FileRecord], transport: Transport, read: str
) -> FormatError:
    """Copy an error, and add what to do about the file, which its checksum decides if the record
    has one.

    Args:
        error: a file cannot be read.
        files: the files of the dataset.
        transport: reads the file.
        read: the value of the setting ``read``.
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
            "Its record has no checksum, so esgvzarr cannot tell whether the file is "
            "damaged: compare it with the original file."
        )
    if not is_well_formed(file):
        return (
            f"The checksum {file.checksum!r} in its record is not a valid "
            f"{file.checksum_type}: correct the record, and compare the file with the "
            "original."
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
        f"Its {file.checksum_type} equals that of its record, so the file was published in "
        "this state: write it again from the model output, and publish a new version."
    )


def check_served_bytes(files: Sequence[FileRecord], transport: Transport) -> None:
    """Check that files that were read from disk are served with the same bytes.

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
                f"the server gives other bytes than {file.path} holds; the first "
                f"difference is in the block at byte {place}",
                expected="the same bytes on disk and at its URL",
                todo="Correct the setting `data_paths`, or set `read: http`.",
                code="transport-path-differs",
            )


def _first_difference(path: str, url: str, transport: Transport) -> int | None:
    """Return where the first block of bytes that differs begins; read at most ``LARGEST`` bytes."""
    for start, stop in _blocks(transport.read_heads([path], 1)[0].size):
        here, there = transport.read_ranges([Range(path, start, stop), Range(url, start, stop)])
        if here != there:
            return start
    return None


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, min(size, LARGEST), _BLOCK):
        yield start, min(start + _BLOCK, size)
