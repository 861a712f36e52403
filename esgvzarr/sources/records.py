"""Read publication records, STAC items, mapfiles and plain files into ``DatasetRecord``.

pydantic parses data from outside into frozen records. Facts that a source states are never
computed: the URLs are those that were published, not ones built from roots and templates. A source
that describes only a part of a dataset is refused.
"""

from __future__ import annotations

import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ..directories import entries, exists
from ..errors import SourceError, TransportError
from ..model import DatasetId, DatasetRecord, FileRecord
from ..transport import host_of, is_url
from ..transport.urls import parse_url
from .names import check_all_netcdf, is_data_name, is_netcdf_name


def _only(value: object) -> object:
    """Return the value in a list of one, as Globus Search wraps scalars; return any other value
    unchanged.
    """
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _url(text: str) -> str:
    try:
        parse_url(text)
    except TransportError as error:
        raise ValueError(f"{error.found}: should be {error.expected}") from error
    return text


_Text = Annotated[str, BeforeValidator(_only), Field(min_length=1)]
_FileName = Annotated[
    str,
    BeforeValidator(_only),
    Field(pattern=r"^[^/\x00-\x1f\x7f]*[^/.\x00-\x1f\x7f][^/\x00-\x1f\x7f]*$"),
]
_Host = Annotated[
    str,
    BeforeValidator(_only),
    Field(pattern=r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"),
]
_Hex = Annotated[str, BeforeValidator(_only), Field(pattern=r"^[0-9A-Fa-f]{8,}$")]
_Count = Annotated[int, BeforeValidator(_only), Field(ge=0, lt=2**63)]
_Flag = Annotated[bool, BeforeValidator(_only)]
_Url = Annotated[str, AfterValidator(_url)]
_Texts = Annotated[
    tuple[str, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
]


class _ExternalDocument(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _FileDocument(_ExternalDocument):
    title: _FileName
    dataset_id: _Text
    url: _Texts
    size: _Count | None = None
    checksum: _Hex | None = None
    checksum_type: _Text | None = None
    tracking_id: _Text | None = None


class _DatasetDocument(_ExternalDocument):
    id: _Text
    instance_id: _Text
    data_node: _Host
    replica: _Flag = False
    retracted: _Flag = False
    number_of_files: _Count | None = None
    pid: _Text | None = None


class _ItemProperties(_ExternalDocument):
    retracted: bool = False
    size: _Count | None = None


class _Item(_ExternalDocument):
    id: str
    properties: _ItemProperties
    assets: dict[str, Any]


class _Asset(_ExternalDocument):
    href: _Url
    size: _Count | None = Field(default=None, alias="file:size")
    checksum: _Hex | None = Field(default=None, alias="file:checksum")
    data_node: _Host | None = Field(default=None, alias="alternate:name")


class _MapLine(_ExternalDocument):
    path: str = Field(pattern=r"^/[^\x00-\x1f]*[^/\x00-\x1f]$")
    size: _Count
    checksum: _Hex | None = None
    checksum_type: _Text | None = None


_Parsed = TypeVar("_Parsed", bound=_ExternalDocument)


def _parse(model: type[_Parsed], raw: object, subject: str) -> _Parsed:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        what = f"key {key!r}" if key else "document"
        found = (
            f"has no {key!r}"
            if first["type"] == "missing"
            else f"{what} is {reprlib.repr(first['input'])}: {first['msg']}"
        )
        raise SourceError(
            subject, found, todo="Make the record again with the publisher.", code="source-record"
        ) from error


def from_records(
    documents: Sequence[Any] | Mapping[str, Any],
    *,
    dataset_id: DatasetId | None = None,
    paths: Mapping[str, str] | None = None,
) -> DatasetRecord:
    """Read esgcet's publication records, in the form of Solr or of Globus Search.

    Args:
        documents: the list ``[File..., Dataset]``, or documents by id as the indexes keep them.
        dataset_id: the dataset to take; required if there are several.
        paths: local path of the same bytes, by URL.

    Raises:
        SourceError: a record is invalid, the dataset is retracted, or records of some of its files
            are missing.
    """
    datasets, files = _documents(documents)
    by_id: dict[DatasetId, _DatasetDocument] = {}
    for dataset in datasets:
        found = DatasetId.parse(dataset.instance_id)
        if found in by_id and by_id[found] != dataset:
            raise SourceError(
                str(found),
                f"recorded twice, as {by_id[found].id} and as {dataset.id}",
                expected="the records of one data node",
                todo="Remove the record of the other data node.",
                code="source-several",
            )
        by_id[found] = dataset
    chosen = _choose(list(by_id), dataset_id, "the records")
    dataset = by_id[chosen]
    if dataset.retracted:
        raise _retracted(chosen)
    own = [file for file in files if file.dataset_id == dataset.id]
    if dataset.number_of_files not in (None, len(own)):
        raise _incomplete(
            chosen, f"{len(own)} File records", f"number_of_files, {dataset.number_of_files}"
        )
    records = tuple(_file_of(file, paths or {}) for file in own)
    return _whole(
        DatasetRecord(chosen, dataset.data_node, records, replica=dataset.replica, pid=dataset.pid)
    )


def _unwrapped(document: Any) -> Any:
    """Return a document without the key ``file`` or ``dataset`` around it, if it has one."""
    if not isinstance(document, Mapping):
        return document
    inner = [document[key] for key in ("file", "dataset") if key in document]
    return inner[0] if len(inner) == 1 and isinstance(inner[0], Mapping) else document


def _documents(
    documents: Sequence[Any] | Mapping[str, Any],
) -> tuple[list[_DatasetDocument], list[_FileDocument]]:
    """Return Dataset and File documents, without those of other types (aggregations)."""
    numbered = (
        documents.items() if isinstance(documents, Mapping) else enumerate(documents, start=1)
    )
    datasets = []
    files = []
    for number, document in numbered:
        subject = f"record {number}"
        raw = _unwrapped(document)
        if not isinstance(raw, Mapping) or not isinstance(_only(raw.get("type")), str):
            raise SourceError(
                subject,
                f"is {reprlib.repr(raw)}",
                expected="a document with a 'type', as esgcet writes them",
                code="source-record",
            )
        kind = _only(raw["type"])
        if kind == "Dataset":
            datasets.append(_parse(_DatasetDocument, raw, subject))
        elif kind == "File":
            files.append(_parse(_FileDocument, raw, subject))
    return datasets, files


def _file_of(document: _FileDocument, paths: Mapping[str, str]) -> FileRecord:
    """Return the file under its published URL: the triple
    ``<url>|application/netcdf|HTTPServer``.
    """
    triples = [text.split("|") for text in document.url]
    urls = [triple[0] for triple in triples if triple[1:] == ["application/netcdf", "HTTPServer"]]
    try:
        url = _url(urls[0]) if urls else ""
    except ValueError as error:
        raise SourceError(document.title, f"URL {urls[0]!r} {error}", code="source-url") from error
    if not url:
        raise SourceError(
            document.title,
            f"has no HTTPServer URL among {reprlib.repr(list(document.url))}",
            expected="<url>|application/netcdf|HTTPServer",
            todo="esgvzarr can only reference files that are served over HTTP.",
            code="source-url",
        )
    return FileRecord(
        document.title,
        url,
        document.size,
        document.checksum,
        document.checksum_type,
        document.tracking_id,
        paths.get(url),
    )


def from_stac_item(item: Any, dataset_id: DatasetId | None = None) -> DatasetRecord:
    """Read the NetCDF assets of a STAC item as ESGF publishes it, without references, Globus links
    and copies on other nodes.

    Raises:
        SourceError: the document is no such item, the dataset is retracted, or some of its files
            are missing.
    """
    name = item.get("id") if isinstance(item, Mapping) else None
    parsed = _parse(_Item, item, f"item {name}")
    chosen = _choose([DatasetId.parse(parsed.id)], dataset_id, "the item")
    if parsed.properties.retracted:
        raise _retracted(chosen)
    raws = [
        asset
        for asset in parsed.assets.values()
        if isinstance(asset, Mapping) and _is_netcdf_data(asset)
    ]
    _check_all_taken(parsed.assets, raws, chosen)
    assets = [_parse(_Asset, raw, f"{chosen}, asset {raw.get('href')}") for raw in raws]
    _check_size(assets, parsed.properties.size, chosen)
    files = tuple(
        _file_of_asset(asset, _ending(raw, ":tracking_id"))
        for asset, raw in zip(assets, raws, strict=True)
    )
    nodes = {asset.data_node or host_of(asset.href) for asset in assets}
    if len(nodes) > 1:
        raise SourceError(
            str(chosen),
            f"assets are on {', '.join(sorted(nodes))}",
            expected="one data node",
            code="source-several",
        )
    return _whole(
        DatasetRecord(chosen, "".join(nodes), files, pid=_ending(item["properties"], ":pid"))
    )


def _check_size(assets: Sequence[_Asset], stated: int | None, dataset_id: DatasetId) -> None:
    """Check that the sizes of all files add up to that of the dataset, if all are stated."""
    sizes = [asset.size for asset in assets if asset.size is not None]
    if stated is None or not sizes or len(sizes) < len(assets) or stated == sum(sizes):
        return
    raise _incomplete(
        dataset_id, f"{len(assets)} NetCDF assets of {sum(sizes)} bytes", f"{stated} bytes"
    )


def _check_all_taken(
    assets: Mapping[str, Any], taken: Sequence[Mapping[str, Any]], dataset_id: DatasetId
) -> None:
    """Refuse data assets that are not marked as NetCDF but are data by their role and name."""
    for key, asset in assets.items():
        if not isinstance(asset, Mapping) or any(asset is other for other in taken):
            continue
        roles = asset.get("roles")
        place = str(asset.get("href")).partition("?")[0]
        if isinstance(roles, list) and "data" in roles and is_data_name(place):
            raise _incomplete(
                dataset_id, f"the data asset {key!r} of type {asset.get('type')!r}", "NetCDF"
            )


def _is_netcdf_data(asset: Mapping[str, Any]) -> bool:
    roles = asset.get("roles")
    return (
        asset.get("type") in ("application/netcdf", "application/x-netcdf")
        and isinstance(roles, list)
        and "data" in roles
    )


def _file_of_asset(asset: _Asset, tracking_id: str | None) -> FileRecord:
    """Return the file of an asset. The multihash ``1220<hex>`` is a SHA-256; any other checksum is
    kept unchanged.
    """
    checksum = asset.checksum
    kind = "multihash" if asset.checksum else None
    if checksum is not None and checksum.startswith("1220") and len(checksum) == 4 + 64:
        checksum = checksum[4:].lower()
        kind = "SHA256"
    return FileRecord(_name_of(asset.href), asset.href, asset.size, checksum, kind, tracking_id)


def _ending(values: Mapping[str, Any], suffix: str) -> str | None:
    """Return the text under ``<namespace><suffix>``, in the namespace of any project."""
    return next(
        (value for key, value in values.items() if key.endswith(suffix) and isinstance(value, str)),
        None,
    )


def from_mapfile(
    text: str,
    data_paths: Mapping[str, str],
    dataset_id: DatasetId | None = None,
    *,
    name: str = "mapfile",
) -> DatasetRecord:
    """Read one dataset of a mapfile.

    A line is ``<master_id>#<version> | <path> | <size> | mod_time=.. | checksum=.. |
    checksum_type=..``; ``.v<version>`` is accepted too. The URL of a file is its path below the
    longest matching directory of `data_paths`, else the path itself.

    Args:
        text: text of the mapfile.
        data_paths: directory -> URL at which its files are served.
        dataset_id: the dataset to take; required if the mapfile lists several.
        name: name of the mapfile, for messages.

    Raises:
        SourceError: the mapfile is invalid; the message names the mapfile and the line.
    """
    files: dict[DatasetId, list[FileRecord]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found, file = _map_line(line, f"{name}, line {number}", data_paths)
            files.setdefault(found, []).append(file)
    chosen = _choose(list(files), dataset_id, name)
    return _of_files(chosen, files[chosen])


def _map_line(
    line: str, subject: str, data_paths: Mapping[str, str]
) -> tuple[DatasetId, FileRecord]:
    cells = [cell.strip() for cell in line.split("|")]
    pairs = [cell.partition("=")[::2] for cell in cells[3:]]
    if len(cells) < 3 or not all(value for _, value in pairs):
        raise SourceError(
            subject,
            reprlib.repr(line),
            expected="<master_id>#<version> | <path> | <size> | <key>=<value> ...",
            todo="Make the mapfile again with esgmapfile.",
            code="source-mapfile",
        )
    try:
        dataset_id = DatasetId.parse(cells[0])
    except SourceError as error:
        raise SourceError(
            subject, f"{error.subject} is {error.found}", expected=error.expected, code=error.code
        ) from error
    parsed = _parse(_MapLine, {**dict(pairs), "path": cells[1], "size": cells[2]}, subject)
    file = _file_of_path(parsed.path, data_paths, parsed.size)
    return dataset_id, replace(file, checksum=parsed.checksum, checksum_type=parsed.checksum_type)


def from_locations(
    locations: Sequence[str],
    dataset_id: DatasetId | None,
    *,
    data_paths: Mapping[str, str] | None = None,
) -> DatasetRecord:
    """Read plain NetCDF files by URL or path; a directory stands for the NetCDF files in it.

    Raises:
        SourceError: no dataset id is given, a path does not exist, a directory holds no files, or a
            file is named twice.
    """
    if dataset_id is None:
        raise SourceError(
            ", ".join(locations[:3]) or "no files",
            "plain files do not say to which dataset they belong",
            todo="Give --dataset-id <DSID>.",
            code="source-dataset-id-missing",
        )
    return _of_files(dataset_id, files_at(locations, data_paths or {}))


def files_at(locations: Sequence[str], data_paths: Mapping[str, str]) -> list[FileRecord]:
    """Return NetCDF files by URL or path; a directory stands for the NetCDF files in it.

    Raises:
        SourceError: a path does not exist, or a URL is invalid.
    """
    files: list[FileRecord] = []
    for location in locations:
        files += _files_at(location, data_paths)
    return files


def _files_at(location: str, data_paths: Mapping[str, str]) -> list[FileRecord]:
    if is_url(location):
        return [_file_of_url(location)]
    if exists(location) and os.path.isdir(location):
        paths = [path for path in entries(Path(location)) if path.is_file()]
        check_all_netcdf((path.name for path in paths), location)
        return [
            _file_of_path(str(path), data_paths, path.stat().st_size)
            for path in paths
            if is_netcdf_name(path.name) and not path.name.startswith(".")
        ]
    if os.path.isfile(location):
        return [_file_of_path(location, data_paths, os.path.getsize(location))]
    raise SourceError(
        location,
        "no such file or directory",
        expected="an http(s) URL or a path",
        code="source-none",
    )


def _file_of_url(url: str) -> FileRecord:
    try:
        return FileRecord(_name_of(url), _url(url))
    except ValueError as error:
        raise SourceError(url, str(error), code="source-url") from error


def _file_of_path(path: str, data_paths: Mapping[str, str], size: int) -> FileRecord:
    absolute = os.path.abspath(path)
    return FileRecord(
        os.path.basename(absolute), _url_of(absolute, data_paths), size, path=absolute
    )


def _url_of(path: str, data_paths: Mapping[str, str]) -> str:
    """Return the published URL of a local file, or its path if `data_paths` gives none."""
    for directory, prefix in sorted(
        data_paths.items(), key=lambda pair: len(pair[0].rstrip("/")), reverse=True
    ):
        root = os.path.normpath(directory).rstrip("/") + "/"
        if path.startswith(root):
            return f"{prefix.rstrip('/')}/{quote(path.removeprefix(root))}"
    return path


def _name_of(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _choose(found: Sequence[DatasetId], asked: DatasetId | None, subject: str) -> DatasetId:
    """Return the requested dataset, or the only one."""
    names = ", ".join(map(str, found[:10]))
    if len(found) > 10:
        names += f" and {len(found) - 10} more"
    if asked is not None:
        if asked in found:
            return asked
        raise SourceError(
            subject,
            f"describes {names or 'no dataset'}",
            expected=str(asked),
            code="source-mismatch",
        )
    if not found:
        raise SourceError(
            subject, "describes no dataset", expected="one dataset", code="source-none"
        )
    if len(found) > 1:
        raise SourceError(
            subject,
            f"describes {len(found)} datasets: {names}",
            expected="one dataset",
            todo="Give --dataset-id with one of them.",
            code="source-several",
        )
    return found[0]


def _of_files(dataset_id: DatasetId, files: Sequence[FileRecord]) -> DatasetRecord:
    """Return the dataset of files that no record describes; its data node is the host of their
    URLs.
    """
    hosts = sorted({host_of(file.url) if is_url(file.url) else "" for file in files})
    if len(hosts) > 1:
        found = "files are on " + ", ".join(host or "this machine" for host in hosts)
        todo = "Give the files of one data node, or set `data_paths` for all of their directories."
        raise SourceError(
            str(dataset_id), found, expected="one data node", todo=todo, code="source-several"
        )
    return _whole(DatasetRecord(dataset_id, "".join(hosts), tuple(files)))


def _whole(record: DatasetRecord) -> DatasetRecord:
    """Return the record if it has files, each of them once. Files are identified by URL, because
    two directories may hold files of the same name.
    """
    seen: set[str] = set()
    for file in record.files:
        if file.url in seen:
            raise SourceError(
                str(record.id),
                f"has {file.url} twice",
                expected="each file once",
                code="source-duplicate",
            )
        seen.add(file.url)
    if not record.files:
        raise SourceError(
            str(record.id), "has no NetCDF files", expected="at least one", code="source-none"
        )
    return record


def _retracted(dataset_id: DatasetId) -> SourceError:
    return SourceError(
        str(dataset_id),
        "is retracted",
        todo="esgvzarr does not reference retracted data.",
        code="source-retracted",
    )


def _incomplete(dataset_id: DatasetId, found: str, expected: str) -> SourceError:
    todo = (
        "Get the whole record again: references to some of the files would pass for the "
        "whole dataset."
    )
    return SourceError(
        str(dataset_id), f"has {found}", expected=expected, todo=todo, code="source-incomplete"
    )
