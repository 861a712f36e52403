"""Read plain NetCDF files, which no record describes, into ``DatasetRecord``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from ..directories import entries, exists
from ..errors import SourceError, TransportError
from ..model import DatasetId, DatasetRecord, FileRecord
from ..transport import host_of, is_url
from ..transport.urls import parse_url
from .names import check_all_netcdf, is_netcdf_name


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
    return dataset_of_files(dataset_id, files_at(locations, data_paths or {}))


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
            file_of_path(str(path), data_paths, path.stat().st_size)
            for path in paths
            if is_netcdf_name(path.name) and not path.name.startswith(".")
        ]
    if os.path.isfile(location):
        return [file_of_path(location, data_paths, os.path.getsize(location))]
    raise SourceError(
        location,
        "no such file or directory",
        expected="an http(s) URL or a path",
        code="source-none",
    )


def _file_of_url(url: str) -> FileRecord:
    try:
        return FileRecord(name_of_url(url), checked_url(url))
    except ValueError as error:
        raise SourceError(url, str(error), code="source-url") from error


def file_of_path(path: str, data_paths: Mapping[str, str], size: int) -> FileRecord:
    """Return the record of a local file, under its published URL if `data_paths` gives one."""
    absolute = os.path.abspath(path)
    return FileRecord(
        os.path.basename(absolute), _published_url(absolute, data_paths), size, path=absolute
    )


def _published_url(path: str, data_paths: Mapping[str, str]) -> str:
    """Return the published URL of a local file, or its path if `data_paths` gives none."""
    for directory, prefix in sorted(
        data_paths.items(), key=lambda pair: len(pair[0].rstrip("/")), reverse=True
    ):
        root = os.path.normpath(directory).rstrip("/") + "/"
        if path.startswith(root):
            return f"{prefix.rstrip('/')}/{quote(path.removeprefix(root))}"
    return path


def name_of_url(url: str) -> str:
    """Return the name of the file at a URL."""
    return unquote(urlsplit(url).path).rpartition("/")[2]


def checked_url(text: str) -> str:
    """Return a URL.

    Raises:
        ValueError: the text is none.
    """
    try:
        parse_url(text)
    except TransportError as error:
        raise ValueError(f"{error.found}: should be {error.expected}") from error
    return text


def dataset_of_files(dataset_id: DatasetId, files: Sequence[FileRecord]) -> DatasetRecord:
    """Return the dataset of files that no record describes; its data node is the host of their
    URLs.

    Raises:
        SourceError: the files are on several hosts, one is there twice, or there are none.
    """
    hosts = sorted({host_of(file.url) if is_url(file.url) else "" for file in files})
    if len(hosts) > 1:
        found = "files are on " + ", ".join(host or "this machine" for host in hosts)
        todo = "Give the files of one data node, or set `data_paths` for all of their directories."
        raise SourceError(
            str(dataset_id), found, expected="one data node", todo=todo, code="source-several"
        )
    return checked_record(DatasetRecord(dataset_id, "".join(hosts), tuple(files)))


def checked_record(record: DatasetRecord) -> DatasetRecord:
    """Return the record if it has files, each of them once. Files are identified by URL, because
    two directories may hold files of the same name.

    Raises:
        SourceError: it has no files, or one of them twice.
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
