"""Check the version in URLs and paths: references must never show the numbers of another version.

A data node's ``latest`` is a link that changes its target. A dataset published through it gets the
version's own address, if the same bytes are there; a path that names another version is refused.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from ..errors import SourceError, TransportError
from ..model import DatasetId, DatasetRecord, FileRecord
from ..transport import Range, Transport, is_url
from ..transport.hosts import allow_hosts

_MOVES = "latest"
_VERSION = re.compile(r"v([0-9]+)")
_DATE = 8
"""Number of digits of a version that is a date; shorter versions count only near the file."""
_NEAR = 2
"""Number of directories above a file in which a short version may stand: CMIP5 has the variable
between.
"""
_COMPARED = 128 * 1024
"""Bytes that are compared at the start and at the end of a file."""


def of_own_version(record: DatasetRecord, transport: Transport) -> DatasetRecord:
    """Return the record without addresses through ``latest``.

    Raises:
        SourceError: ``source-version-differs``: an address names another version than the DSID.
            ``source-version-moves``: the version's own address does not serve the same bytes.
        TransportError: a file cannot be read to find out.
    """
    for file in record.files:
        for place in filter(None, (file.url, file.path)):
            _check_version(place, record.id)
    if not any(_moves(file.url) or _moves(file.path or "") for file in record.files):
        return record
    allow_hosts(transport, record)
    files = tuple(_fixed(file, record.id, transport) for file in record.files)
    return replace(record, files=files)


def named_by_version(record: DatasetRecord) -> DatasetRecord:
    """Return the record with ``latest`` replaced by the version in every URL. No file is read."""
    files = (replace(file, url=_own_address(file.url, record.id)) for file in record.files)
    return replace(record, files=tuple(files))


def _segments(place: str) -> list[str]:
    path = unquote(urlsplit(place).path) if is_url(place) else place
    return path.split("/")[:-1]


def _moves(place: str) -> bool:
    return _MOVES in _segments(place)


def _own_address(place: str, dataset_id: DatasetId) -> str:
    """Replace ``latest`` by the version, wherever it is a directory name."""
    return re.sub(rf"/{_MOVES}(?=/)", f"/v{dataset_id.version}", place)


def _check_version(place: str, dataset_id: DatasetId) -> None:
    directories = _segments(place)
    stated = [
        found[1]
        for number, name in enumerate(reversed(directories))
        if (found := _VERSION.fullmatch(name)) and (len(found[1]) == _DATE or number < _NEAR)
    ]
    if stated and int(stated[0]) != int(dataset_id.version):
        raise SourceError(
            str(dataset_id),
            f"has the file {place}, which belongs to version v{stated[0]}",
            expected=f"files of v{dataset_id.version}",
            todo="Correct the version in the dataset id, or give the files of this version.",
            code="source-version-differs",
        )


def _fixed(file: FileRecord, dataset_id: DatasetId, transport: Transport) -> FileRecord:
    if not is_url(file.url):
        path = _fixed_path(file.url, dataset_id)
        return replace(file, url=path, path=path)
    url = _own_address(file.url, dataset_id) if _moves(file.url) else file.url
    if url != file.url:
        _check_same(file.url, url, dataset_id, transport)
    local = _fixed_path(file.path, dataset_id) if file.path else None
    return replace(file, url=url, path=local)


def _fixed_path(path: str, dataset_id: DatasetId) -> str:
    """Return the version's own local path; the path itself if it leads through no link."""
    if not _moves(path):
        return path
    real = os.path.realpath(path)
    _check_version(real, dataset_id)
    own = _own_address(path, dataset_id)
    if os.path.exists(own) and os.path.exists(path) and os.path.samefile(own, path):
        return own
    if _moves(real):
        raise _moving(path, own, dataset_id, "does not link to the directory of the version")
    return real


def _check_same(url: str, own: str, dataset_id: DatasetId, transport: Transport) -> None:
    """Refuse to replace the URL of a file by the version's own URL if other bytes are there."""
    try:
        served = [_ends(place, transport) for place in (own, url)]
    except TransportError as error:
        if error.retryable:
            raise
        raise _moving(
            url, own, dataset_id, f"cannot be read at the version's address: {error.found}"
        ) from error
    if served[0] != served[1]:
        raise _moving(url, own, dataset_id, "holds another file than the version's address")


def _ends(url: str, transport: Transport) -> tuple[int, bytes, bytes]:
    """Return size, first and last bytes of a file."""
    head = transport.read_head(url, _COMPARED)
    start = max(head.size - _COMPARED, len(head.data))
    (tail,) = transport.read_ranges([Range(url, start, head.size)])
    return head.size, head.data, tail


def _moving(place: str, own: str, dataset_id: DatasetId, reason: str) -> SourceError:
    return SourceError(
        str(dataset_id),
        f"uses `latest`, which will later point to another version: {place} {reason} ({own})",
        expected="the address of the version itself",
        todo="Publish the dataset from the directory of its version, not from `latest`.",
        code="source-version-moves",
    )
