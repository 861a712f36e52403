"""Compute the checksum of a whole file, by URL or path, and compare it with its record. Only a
checksum shows that no byte changed.
"""

from __future__ import annotations

import hashlib
import re

from ..errors import TransportError
from ..model import FileRecord
from . import Range, Transport

ALGORITHMS = {"SHA256": "sha256", "MD5": "md5", "SHA1": "sha1", "SHA512": "sha512"}
"""``checksum_type`` of a record -> name in hashlib."""
_BLOCK = 4 * 2**20
_AT_ONCE = 4
"""Number of blocks that are read together, each by its own request."""


def can_be_checked(file: FileRecord) -> bool:
    """Whether the record has a checksum of a type that is supported here."""
    return bool(file.checksum) and _algorithm(file) is not None


def is_well_formed(file: FileRecord) -> bool:
    """Whether the checksum of the record can be one of its type; true for unknown types."""
    algorithm = _algorithm(file)
    if algorithm is None or not file.checksum:
        return True
    digits = hashlib.new(algorithm, usedforsecurity=False).digest_size * 2
    return re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", str(file.checksum)) is not None


def check_checksum(file: FileRecord, location: str, transport: Transport) -> None:
    """Read a whole file, and compare its checksum with its record.

    Args:
        file: a file whose record has a checksum of a supported type.
        location: where to read it: its URL, or its local path.
        transport: reads the file; its threads must not be the caller's.

    Raises:
        TransportError: ``transport-checksum-differs``; ``transport-checksum-invalid`` if the
            record's text is not a checksum of the stated type; or the file cannot be read.
    """
    algorithm = _algorithm(file)
    if algorithm is None:
        raise ValueError(f"{file.checksum_type} cannot be checked")
    digest = hashlib.new(algorithm, usedforsecurity=False)
    if not is_well_formed(file):
        raise TransportError(
            location,
            f"has {file.checksum!r} as {file.checksum_type} in its record",
            expected=f"{digest.digest_size * 2} hexadecimal digits",
            todo="The record is wrong: correct its checksum.",
            code="transport-checksum-invalid",
        )
    size = transport.read_heads([location], 1)[0].size
    for start in range(0, size, _BLOCK * _AT_ONCE):
        stop = min(start + _BLOCK * _AT_ONCE, size)
        for body in transport.read_ranges(
            [Range(location, at, min(at + _BLOCK, stop)) for at in range(start, stop, _BLOCK)]
        ):
            digest.update(body)
    if digest.hexdigest() != str(file.checksum).lower():
        raise TransportError(
            location,
            f"has the {file.checksum_type} {digest.hexdigest()}",
            expected=f"{file.checksum}, as its record states",
            todo="The file was replaced or damaged, or the record is wrong: restore the file, "
            "or register it again.",
            code="transport-checksum-differs",
        )


def _algorithm(file: FileRecord) -> str | None:
    return ALGORITHMS.get((file.checksum_type or "").upper().replace("-", ""))
