"""The version that URLs and paths lead to: references must never show another version's numbers.

A data node's ``latest`` is a link that moves. What is published from it gets the version's own
address, if the same bytes are there; a path that names another version is refused.
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
"""Digits of a version that is a date; shorter ones are versions only near the file."""
_NEAR = 2
"""Directories above a file in which a short version may stand: CMIP5 has the variable between."""
_COMPARED = 128 * 1024
"""Bytes from the start of a file, and from its end."""


def of_own_version(record: DatasetRecord, transport: Transport) -> DatasetRecord:
    """The record with no address that leads through ``latest``.

    Raises:
        SourceError: ``source-version-differs``: an address names another version than the DSID.
            ``source-version-moves``: the version's own address does not serve the same bytes.
        TransportError: it cannot be found out.
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
    """The record with ``latest`` replaced by the version in every URL; nothing is looked up."""
    files = (replace(file, url=_own_address(file.url, record.id)) for file in record.files)
    return replace(record, files=tuple(files))


def _segments(place: str) -> list[str]:
    path = unquote(urlsplit(place).path) if is_url(place) else place
    return path.split("/")[:-1]


def _moves(place: str) -> bool:
    return _MOVES in _segments(place)


def _own_address(place: str, dataset_id: DatasetId) -> str:
    """``latest`` replaced by the version, wherever it is a directory of its own."""
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
            f"has the file {place}, which is of version v{stated[0]}",
            expected=f"files of v{dataset_id.version}",
            todo="Give the version that the files are of, or the files of this version.",
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
    """The version's own path on this machine; the path itself where it leads through no link."""
    if not _moves(path):
        return path
    real = os.path.realpath(path)
    _check_version(real, dataset_id)
    own = _own_address(path, dataset_id)
    if os.path.exists(own) and os.path.exists(path) and os.path.samefile(own, path):
        return own
    if _moves(real):
        raise _moving(path, own, dataset_id, "is no link to the version's own directory")
    return real


def _check_same(url: str, own: str, dataset_id: DatasetId, transport: Transport) -> None:
    """Refuse to take the version's own URL for a file if other bytes are there."""
    try:
        served = [_ends(place, transport) for place in (own, url)]
    except TransportError as error:
        if error.retryable:
            raise
        raise _moving(url, own, dataset_id, f"cannot be had there: {error.found}") from error
    if served[0] != served[1]:
        raise _moving(url, own, dataset_id, "is another file there")


def _ends(url: str, transport: Transport) -> tuple[int, bytes, bytes]:
    """Size, first and last bytes of a file."""
    head = transport.read_head(url, _COMPARED)
    start = max(head.size - _COMPARED, len(head.data))
    (tail,) = transport.read_ranges([Range(url, start, head.size)])
    return head.size, head.data, tail


def _moving(place: str, own: str, dataset_id: DatasetId, reason: str) -> SourceError:
    return SourceError(
        str(dataset_id),
        f"leads through `latest`, which will lead to another version: {place} {reason} ({own})",
        expected="the version's own address",
        todo="Publish the dataset from the directory of its version, not from `latest`.",
        code="source-version-moves",
    )
