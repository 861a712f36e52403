"""The output ``icechunk``: a repository of virtual chunks. Zarr version 3, snapshots, and a check
that source files are those of old.

Rules: Icechunk specification version 1, which releases 1 and 2 read; Zarr specification version 3;
    xarray's encoding of
``_FillValue`` in it. Each reference carries the Last-Modified of its file: readers ask the server
for bytes of the file as it was then (If-Unmodified-Since), and get an error in place of other
bytes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from ..errors import ProofError, SettingsError, StoreError
from ..model import ICECHUNK_TYPE, Array, ReferenceSet
from . import kerchunk, zarr_v3
from .contents import Contents, ContentsBuilder
from .protocol import ROLES, UNREADABLE, Artefact, Form, no_file
from .reading import NO_ADVICE, OURS, Reading
from .requirements import require
from .stock import OpenGroup

if TYPE_CHECKING:
    import xarray

    from ..transport import Transport

BRANCH = "main"
INLINE = 32 * 1024
"""Bytes of a chunk up to which it is in the manifest, and needs no request of its own: most
coordinates.
"""
_AT_ONCE = 8
_PART = 8 * 2**20
"""Requests for parts of one object at a time, and bytes from which on it is fetched in parts."""
_BATCH = 100_000
"""References that are handed over at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Repository:
    """A repository that is there."""

    contents: Contents
    location: str

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """By xarray and Zarr through an Icechunk store; ``options`` are of no use to it."""
        return _opener(self.location)


class IcechunkRepository:
    """An Icechunk repository, whose directory is served like any other."""

    name = "icechunk"
    suffix = ".icechunk"
    form = Form.REPOSITORY
    directory = True
    keeps_snapshots = True
    joins_segments = True
    media_type = ICECHUNK_TYPE
    asset_key = "icechunk"
    asset_fields: Mapping[str, Any] = {
        "title": "Virtual Zarr (Icechunk repository)",
        "description": "Icechunk Link",
        "cloud_format": "icechunk",
    }
    roles = ROLES

    def check_installed(self) -> None:
        """It needs Icechunk 2."""
        module = require(self.name, "icechunk", "icechunk")
        if not hasattr(module, "http_storage"):
            raise SettingsError(
                f"output {self.name!r}",
                "Icechunk 1 takes the port out of URLs, and reads no repository over HTTP",
                expected="icechunk >= 2, which needs Python 3.12",
                todo="pip install 'esgvzarr[icechunk]'",
                code="settings-output",
            )

    def write(self, references: ReferenceSet, staged: Path, present: Path | None = None) -> None:
        """A repository, or one more snapshot of the one that is present. Where that shows the same
        already, the staged one is its copy.

        Raises:
            FormatError: xarray cannot read an array's ``_FillValue`` from Zarr version 3.
            StoreError: a reference was not taken, or what is there is damaged.
        """
        import icechunk

        icechunk.set_logs_filter(
            "error"
        )  # it warns that directories are not safe for several writers; ours hold a claim
        if present is not None and present.exists():
            shutil.copytree(present, staged, copy_function=_link)
        try:
            _write(references, staged)
        except icechunk.IcechunkError as error:
            raise StoreError(
                str(present or staged),
                f"Icechunk cannot write there: {error.message}",
                expected="a whole repository, or none",
                todo=(
                    "If the repository is damaged, take it away with esgvzarr unpublish, and "
                    "publish again."
                ),
                code="store-failed",
            ) from error

    def staged(self, place: Path, references: ReferenceSet) -> Repository:
        """The newest snapshot. It tells which chunks it has of each array, and which files they
        lie in, but not where: that is taken from the references, after both were compared.
        """
        return Repository(_compared(str(place), references), str(place))

    def read(self, location: str, transport: Transport) -> Repository:
        """The newest snapshot, without the places of its chunks. Icechunk asks servers by itself:
        only where it may.
        """
        from ..transport import is_url

        self.check_installed()
        transport.check_allowed(location)
        try:
            for place in named_places(location):
                if is_url(place):
                    transport.check_allowed(place)
                elif is_url(location):
                    raise ProofError(
                        location,
                        f"leads readers to {place}",
                        expected="HTTP",
                        code="proof-place-refused",
                    )
            return Repository(_read_contents(location), location)
        except UNREADABLE as error:
            raise ProofError(
                location,
                f"cannot be read: {error}",
                expected="an Icechunk repository",
                code="proof-not-references",
            ) from error

    def parse(self, data: bytes, location: str) -> Artefact:
        """It is a directory."""
        raise no_file(self.name, location)

    def same(self, a: Path, b: Path) -> bool:
        """The newest snapshots show the same."""
        try:
            said = [_metadata(open_repository(str(place))).get("sha256") for place in (a, b)]
        except ValueError:  # damaged
            return False
        return said[0] is not None and said[0] == said[1]

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """None: it is not read through fsspec."""
        return {}

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Of a store that has to be made of the address before, or by our engine where there are
        segments.
        """
        if reading.segments:
            return dict(OURS)
        return {"engine": "zarr", "consolidated": False, "chunks": reading.chunks}

    def provenance(self, place: Path) -> dict[str, Any]:
        """Of the newest snapshot."""
        return dict(_metadata(open_repository(str(place))).get("provenance", {}))


def _opener(href: str) -> OpenGroup:
    store = open_store(href)

    def open_group(path: str, **decode: Any) -> xarray.Dataset:
        import xarray

        with zarr_v3.rectilinear_allowed():
            opened: xarray.Dataset = xarray.open_zarr(
                store, group=path or None, consolidated=False, **decode
            )
        return opened

    return open_group


def _write(references: ReferenceSet, path: Path) -> None:
    """Make the repository, or a snapshot more; nothing where the newest shows the same."""
    import icechunk

    digest = _digest(references)
    config = _config(references)
    storage = icechunk.local_filesystem_storage(str(path))
    needed = 2 if _has_lengths(references) else 1
    if path.exists():
        repository = icechunk.Repository.open(storage, config)
        if _metadata(repository).get("sha256") == digest:
            return
        repository.save_config()
        if repository.spec_version < needed:
            icechunk.upgrade_icechunk_repository(
                repository, dry_run=False, delete_unused_v1_files=False
            )
            repository = icechunk.Repository.open(storage, config)
    else:
        repository = icechunk.Repository.create(storage, config, spec_version=needed)
    session = repository.writable_session(BRANCH)
    _write_groups(session.store, references)
    said = kerchunk.json_value(references.provenance)
    session.commit(
        f"{said['generator']}: {said['dataset_id']}", {"sha256": digest, "provenance": said}
    )


def _has_lengths(references: ReferenceSet) -> bool:
    """Whether chunks of an array differ in length, which takes specification version 2."""
    arrays = chain.from_iterable(group.arrays for group in references.groups)
    return any(array.lengths for array in arrays)


def _config(references: ReferenceSet) -> Any:
    """What readers are told: how they ask servers, and which they may ask."""
    import icechunk

    config = icechunk.RepositoryConfig.default()
    config.inline_chunk_threshold_bytes = INLINE
    # kept for readers, who would else ask HTTP as one asks a disk: 4 KiB, and once
    config.storage = icechunk.StorageSettings(
        concurrency=icechunk.StorageConcurrencySettings(_AT_ONCE, _PART),
        retries=icechunk.StorageRetriesSettings(
            max_tries=4, initial_backoff_ms=100, max_backoff_ms=10_000
        ),
    )
    for prefix, store in _containers(_urls_in_use(references)):
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, store))
    return config


def _urls_in_use(references: ReferenceSet) -> set[str]:
    """The files that at least one chunk lies in."""
    numbers: set[int] = set()
    for group in references.groups:
        for array in group.arrays:
            numbers.update(np.unique(array.file_index).tolist())
    return {references.files[number].file.url for number in numbers}


def open_store(href: str) -> Any:
    """A repository by path or URL, as it is now, for ``xarray.open_zarr(store,
    consolidated=False)``.

    All hosts and directories that the repository names are read from. What cannot be read then is
    an OSError.

    Raises:
        ValueError: not there, or no repository.
    """
    import icechunk
    from zarr.storage import WrapperStore

    class Store(WrapperStore):  # type: ignore[type-arg]
        """Speaks of files as others do."""

        async def get(self, *place: Any, **how: Any) -> Any:
            try:
                return await super().get(*place, **how)
            except icechunk.IcechunkError as error:
                raise OSError(error.message) from error

    return Store(open_repository(href).readonly_session(BRANCH).store)


def open_repository(href: str) -> Any:
    """A repository by path or URL, with access to all that its configuration names."""
    import icechunk

    storage = (
        icechunk.http_storage(href)
        if "://" in href
        else icechunk.local_filesystem_storage(os.path.abspath(href))
    )
    access = icechunk.credentials
    try:
        config = icechunk.Repository.fetch_config(storage)
        named = list((config.virtual_chunk_containers if config else None) or ())
        granted = {
            name: access.LocalFileSystemAccess if name.startswith("file:") else access.HttpAccess
            for name in named
        }
        return icechunk.Repository.open(storage, authorize_virtual_chunk_access=granted)
    except icechunk.IcechunkError as error:
        raise ValueError(f"no Icechunk repository: {error.message}") from error


def _read_contents(href: str) -> Contents:
    """What a repository shows, without the chunks, of which Icechunk tells nobody where they are.

    Raises:
        ValueError: not there, or no repository.
    """
    import zarr

    repository = open_repository(href)
    builder = ContentsBuilder(3)
    with zarr_v3.rectilinear_allowed():
        root = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
        for name, array in root.members(max_depth=None):
            if isinstance(array, zarr.Array):
                described = _described(array.shape, _longest(array), array.dtype)
                builder.add_metadata({f"{name}/zarr.json": described})
    said = _metadata(repository).get("provenance", {})
    return builder.finish(said, counted=False)


def _longest(array: Any) -> list[int]:
    """The shape of an array's largest chunk."""
    grid = array.metadata.to_dict()["chunk_grid"]["configuration"]
    if "chunk_shape" in grid:
        return list(grid["chunk_shape"])
    longest = []
    for lengths in grid["chunk_shapes"]:
        parts = lengths if isinstance(lengths, list | tuple) else [lengths]
        flat = [part[0] if isinstance(part, list | tuple) else part for part in parts]
        longest.append(max(flat))
    return longest


def _described(shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype[Any]) -> str:
    """As much of an array's metadata as the proof asks for."""
    facts = {"node_type": "array", "shape": shape, "chunks": chunks, "dtype": np.dtype(dtype).str}
    return orjson.dumps(facts).decode()


def _compared(href: str, references: ReferenceSet) -> Contents:
    """The contents of a repository that was just written.

    Raises:
        ProofError: it has other chunks, or leads to other files, than the references.
    """
    session = open_repository(href).readonly_session(BRANCH)
    builder = ContentsBuilder(3)
    urls = [file.file.url for file in references.files]
    numbers = np.array([builder.file_number(url) for url in urls], np.int64)
    for group in references.groups:
        for array in group.arrays:
            path = f"{group.path}/{array.name}" if group.path else array.name
            described = _described(array.shape, array.chunk_shape, array.dtype)
            builder.add_metadata({f"{path}/zarr.json": described})
            rank = len(array.dims)
            inline = np.array(list(array.inline), np.int64).reshape(len(array.inline), rank)
            _check_chunks(session, path, np.concatenate([array.chunks.keys, inline]))
            keys = array.chunks.keys if array.dims else np.zeros((len(array.chunks), 1), np.int64)
            places = inline if array.dims else np.zeros((len(array.inline), 1), np.int64)
            builder.add_rows(
                path,
                keys,
                numbers[array.file_index],
                array.chunks.offsets,
                array.chunks.sizes,
            )
            builder.add_inline(path, places)
    expected = {_location(url) for url in _urls_in_use(references)}
    found = set(session.all_virtual_chunk_locations())
    if found != expected:
        other = sorted(found ^ expected)
        raise _other(href, f"leads to {len(found)} files, {other[0]} differs", len(expected))
    return builder.finish(references.provenance)


def _check_chunks(session: Any, path: str, expected: np.ndarray) -> None:
    """Compare the chunks that a snapshot has of an array with those that it should have."""
    from zarr.core.sync import sync

    async def read() -> list[tuple[int, ...]]:
        return [place async for place in session.chunk_coordinates(f"/{path}", _BATCH)]

    places = sync(read())
    found = np.array(places, np.int64).reshape(len(places), expected.shape[1])
    same = len(found) == len(expected)
    if same and len(found) and expected.shape[1]:
        same = np.array_equal(_sorted(found), _sorted(expected))
    if not same:
        raise _other(path, f"has {len(found)} chunks", f"{len(expected)} chunks")


def _sorted(keys: np.ndarray) -> np.ndarray:
    return keys[np.lexsort(keys.T[::-1])]


def _other(subject: str, found: str, expected: object) -> ProofError:
    return ProofError(
        subject,
        f"{found} in the repository that was written",
        expected=str(expected),
        todo="Nothing was published. Please report this as a bug.",
        code="proof-not-written",
    )


def read_provenance(href: str) -> dict[str, Any]:
    """What a repository says of the files that it was made from.

    Raises:
        ValueError: not there, or no repository.
    """
    return dict(_metadata(open_repository(href)).get("provenance", {}))


def named_places(href: str) -> list[str]:
    """The hosts and directories that a repository has its readers ask: ``https://host/``."""
    return list((open_repository(href).config.virtual_chunk_containers) or ())


def _metadata(repository: Any) -> dict[str, Any]:
    """What the newest snapshot says of itself."""
    return dict(repository.lookup_snapshot(repository.lookup_branch(BRANCH)).metadata)


def _digest(references: ReferenceSet) -> str:
    """Of all that readers see: the references, and which state of the files they are of."""
    digest = hashlib.sha256()
    said = [(file.file.url, file.last_modified) for file in references.files]
    digest.update(orjson.dumps(said))
    for group in references.groups:
        for key, value in kerchunk.metadata(group, {}):
            digest.update(orjson.dumps([key, value]))
        for array in group.arrays:
            digest.update(repr(sorted(array.lengths.items())).encode())
            table = array.chunks
            for column in (table.keys, table.offsets, table.sizes, array.file_index):
                digest.update(np.ascontiguousarray(column, "<i8").data)
            for place, data in array.inline.items():
                digest.update(repr(place).encode() + data)
    return digest.hexdigest()


def _changed(references: ReferenceSet) -> list[datetime | None]:
    """When each file was last modified, as its server said."""
    return [
        parsedate_to_datetime(file.last_modified)
        if file.last_modified and "://" in file.file.url
        else None
        for file in references.files
    ]


def _containers(urls: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """What the references lead to: each host, and the directory that has all files of this
    machine.
    """
    import icechunk

    hosts = {
        f"{parts.scheme}://{parts.netloc}/"
        for url in urls
        if "://" in url and (parts := urlsplit(url))
    }
    for host in sorted(hosts):
        yield host, icechunk.http_store({"allow_http": "true"} if host.startswith("http:") else {})
    paths = [os.path.dirname(url) for url in urls if "://" not in url]
    if paths:
        directory = os.path.commonpath(paths)
        yield f"{Path(directory).as_uri()}/", icechunk.local_filesystem_store(directory)


def _location(url: str) -> str:
    """Of a file, as Icechunk names it."""
    return url if "://" in url else Path(url).as_uri()


def _link(source: str, target: str) -> None:
    """The same file under another name; Icechunk never changes a file in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_groups(store: Any, references: ReferenceSet) -> None:
    changed = _changed(references)
    locations = [_location(file.file.url) for file in references.files]
    zarr_v3.create_groups(store, references, {})
    for group in references.groups:
        for array in group.arrays:
            name = zarr_v3.path_of(group.path, array)
            _write_inline(store, name, array)
            _write_chunks(store, name, array, lambda index: (locations[index], changed[index]))


def _write_inline(store: Any, name: str, array: Array) -> None:
    """Chunks whose bytes are held here, as they are."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    make = default_buffer_prototype().buffer.from_bytes
    for place, data in array.inline.items():
        sync(store.set("/".join([name, "c", *map(str, place)]), make(data)))


def _write_chunks(
    store: Any, name: str, array: Array, source: Callable[[int], tuple[str, datetime | None]]
) -> None:
    """References, some at a time. ``source`` says of a file's number where it is, and its state."""
    import icechunk

    for first in range(0, len(array.chunks), _BATCH):
        part = slice(first, first + _BATCH)
        rows = zip(
            array.chunks.keys[part].tolist(),
            array.file_index[part].tolist(),
            array.chunks.offsets[part].tolist(),
            array.chunks.sizes[part].tolist(),
            strict=True,
        )
        specs = []
        for key, file, offset, size in rows:
            where, changed = source(file)
            specs.append(
                icechunk.VirtualChunkSpec(
                    key, where, offset, size, last_updated_at_checksum=changed
                )
            )
        _check_taken(name, store.set_virtual_refs(f"/{name}", specs))


def _check_taken(name: str, refused: Sequence[Any] | None) -> None:
    if refused:
        raise StoreError(
            name,
            f"Icechunk did not take {len(refused)} references, first {refused[0]}",
            code="store-failed",
        )
