"""Read the operator's SOURCE into a ``DatasetRecord``. Its content shows its kind, and the reader
of that kind parses it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from ..errors import SourceError
from ..model import DatasetId, DatasetRecord
from ..transport import Transport, host_of, is_url
from .names import is_netcdf_name
from .plain_files import from_locations
from .versions import named_by_version as named_by_version
from .versions import of_own_version as of_own_version

Kind = Literal["netcdf", "catalogue", "records", "item", "mapfile"]

_MAGIC = (b"CDF", b"\x89HDF")
_CATALOG = re.compile(rb"<(\w+:)?catalog[\s>]")


def read_source(
    sources: Sequence[str],
    dataset_id: DatasetId | None,
    transport: Transport,
    data_paths: Mapping[str, str],
) -> DatasetRecord:
    """Return the one dataset that the operator's sources describe.

    Hosts of sources given as URLs are allowed from then on: the operator named them.

    Args:
        sources: one catalogue, record file, STAC item or mapfile, or any number of NetCDF files and
            directories; URLs or paths.
        dataset_id: required for plain files; otherwise it selects a dataset, or confirms the only
            one.
        transport: reads the source.
        data_paths: local directory -> public URL prefix of the same files.

    Raises:
        SourceError: the sources do not describe exactly one whole dataset, or not the requested
            one.
        TransportError: a source cannot be read.
    """
    for source in filter(is_url, sources):
        transport.allow(host_of(source), named=True)
    if all(map(is_plain, sources)):
        record = from_locations(sources, dataset_id, data_paths=data_paths)
        return of_own_version(with_local_paths(record, data_paths), transport)
    if len(sources) != 1:
        raise SourceError(
            ", ".join(sources),
            f"{len(sources)} sources",
            expected="plain NetCDF files only, or exactly one of another kind",
            todo="Run the command once for each catalogue, record file, item or mapfile.",
            code="source-several",
        )
    record = _read_one(sources[0], dataset_id, transport, data_paths)
    return of_own_version(with_local_paths(record, data_paths), transport)


def _read_one(
    source: str, dataset_id: DatasetId | None, transport: Transport, data_paths: Mapping[str, str]
) -> DatasetRecord:
    # Plain files need none of these modules, which take long to import.
    from .records import from_mapfile, from_records, from_stac_item
    from .thredds import read_catalogue

    if _is_catalogue_page(source):
        return read_catalogue(source, transport, dataset_id)
    content = transport.read_document(source)
    match recognise(content, source):
        case "netcdf":
            return from_locations([source], dataset_id, data_paths=data_paths)
        case "catalogue":
            return read_catalogue(source, transport, dataset_id)
        case "mapfile":
            return from_mapfile(_text(content, source), data_paths, dataset_id, name=source)
        case "item":
            return from_stac_item(_json(content, source), dataset_id)
        case "records":
            return from_records(_json(content, source), dataset_id=dataset_id)


def recognise(content: bytes, subject: str) -> Kind:
    """Return the kind of a document, from its content.

    Raises:
        SourceError: the document does not describe a dataset.
    """
    if content.startswith(_MAGIC):
        return "netcdf"
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<") and _CATALOG.search(start):
        return "catalogue"
    if start.startswith((b"[", b"{")):
        return _kind_of_json(_json(content, subject), subject)
    if b"|" in start.partition(b"\n")[0] and b"\0" not in start:
        return "mapfile"
    raise SourceError(
        subject,
        f"begins with {start[:20]!r}",
        expected="a THREDDS catalogue, publication records, a STAC item, a mapfile or NetCDF",
        code="source-unrecognised",
    )


def from_index(documents: Sequence[Mapping[str, Any]], dataset_id: DatasetId) -> DatasetRecord:
    """Return the dataset that an index describes by an item, or by documents.

    Raises:
        SourceError: the documents do not describe one whole dataset, or it is retracted.
    """
    from .records import from_records, from_stac_item

    if len(documents) == 1 and documents[0].get("type") == "Feature":
        return from_stac_item(documents[0], dataset_id)
    return from_records(documents, dataset_id=dataset_id)


def dataset_ids(source: str, transport: Transport) -> list[DatasetId]:
    """Return all datasets that one catalogue page or mapfile states, sorted by name; empty for
    another kind of source.

    Raises:
        SourceError, TransportError: the source cannot be read.
    """
    if is_url(source):
        transport.allow(host_of(source), named=True)
    if is_plain(source):
        return []
    from .thredds import catalogue_address
    from .thredds_page import parse_catalogue

    page = catalogue_address(source)
    content = transport.read_document(page)
    kind = recognise(content, source)
    if kind == "catalogue":
        return sorted(parse_catalogue(content, page).dataset_ids, key=str)
    lines = _text(content, source).splitlines() if kind == "mapfile" else []
    return sorted({DatasetId.parse(line.split("|")[0]) for line in lines if line.strip()}, key=str)


def with_local_paths(record: DatasetRecord, data_paths: Mapping[str, str]) -> DatasetRecord:
    """Return the record with the local paths that `data_paths` gives for the files' URLs. The disk
    is not read.
    """
    files = (
        file if file.path else replace(file, path=local_path(file.url, data_paths))
        for file in record.files
    )
    return replace(record, files=tuple(files))


def local_path(url: str, data_paths: Mapping[str, str]) -> str | None:
    """Return the local path that `data_paths` gives for the file at a URL; None if it gives
    none.
    """
    for directory, prefix in sorted(
        data_paths.items(), key=lambda pair: len(pair[1].rstrip("/")), reverse=True
    ):
        root = f"{prefix.rstrip('/')}/"
        relative = unquote(url.removeprefix(root)) if url.startswith(root) else ""
        if relative and ".." not in relative.split("/") and "\0" not in relative:
            return os.path.join(os.path.normpath(directory), relative.lstrip("/"))
    return None


def is_plain(source: str) -> bool:
    """Whether a source is a NetCDF file or a directory. A URL is not fetched to find out."""
    path = urlsplit(source).path if is_url(source) else source
    if is_netcdf_name(path) or os.path.isdir(source):
        return True
    if is_url(source) or not os.path.isfile(source):
        return False
    with open(source, "rb") as file:
        return file.read(4).startswith(_MAGIC)


def _is_catalogue_page(source: str) -> bool:
    """Whether a URL is a catalogue page: TDS shows every ``catalog.xml`` as ``catalog.html`` too,
    and people copy that address.
    """
    return is_url(source) and urlsplit(source).path.endswith(".html")


def _kind_of_json(document: object, subject: str) -> Kind:
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection":
        todo = "Give the URL of the item."
        raise SourceError(
            subject,
            "a STAC FeatureCollection, which may hold several items",
            expected="one item",
            todo=todo,
            code="source-unrecognised",
        )
    return "item" if kind == "Feature" else "records"


def _text(content: bytes, subject: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            subject, f"byte {error.start} is not UTF-8", expected="a text file", code="source-text"
        ) from error


def _json(content: bytes, subject: str) -> Any:
    try:
        return json.loads(_text(content, subject))
    except json.JSONDecodeError as error:
        raise SourceError(
            f"{subject}, line {error.lineno}", f"is not JSON: {error.msg}", code="source-json"
        ) from error
    except ValueError as error:  # A number with thousands of digits.
        raise SourceError(subject, f"is not JSON: {error}", code="source-json") from error
    except RecursionError as error:
        raise SourceError(
            subject, "is nested too deeply", expected="records or an item", code="source-json"
        ) from error
