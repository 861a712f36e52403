"""Write references into an Icechunk repository: its configuration, its groups, its chunks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from ..errors import StoreError
from ..model import Array, ReferenceSet
from . import kerchunk, zarr_v3

BRANCH = "main"
INLINE = 32 * 1024
"""Chunks of up to this many bytes are stored in the manifest and need no request of their own; most
coordinates are.
"""
_AT_ONCE = 8
_PART = 8 * 2**20
"""Parallel requests for parts of one object, and the size in bytes from which on an object is
fetched in parts.
"""
_BATCH = 100_000
"""Number of references that are passed to Icechunk at once."""


def write_repository(references: ReferenceSet, path: Path) -> None:
    """Make the repository, or add a snapshot; do nothing if the newest snapshot shows the same."""
    import icechunk

    digest = _digest(references)
    config = _config(references)
    storage = icechunk.local_filesystem_storage(str(path))
    needed = 2 if _has_lengths(references) else 1
    if path.exists():
        repository = icechunk.Repository.open(storage, config)
        if metadata_of(repository).get("sha256") == digest:
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
    """Whether chunks of an array differ in length, which requires specification version 2."""
    arrays = chain.from_iterable(group.arrays for group in references.groups)
    return any(array.lengths for array in arrays)


def _config(references: ReferenceSet) -> Any:
    """Return the configuration for readers: how they send requests, and to which hosts."""
    import icechunk

    config = icechunk.RepositoryConfig.default()
    config.inline_chunk_threshold_bytes = INLINE
    # Stored for readers, which would otherwise read from HTTP as from a disk: 4 KiB, one request at
    # a time.
    config.storage = icechunk.StorageSettings(
        concurrency=icechunk.StorageConcurrencySettings(_AT_ONCE, _PART),
        retries=icechunk.StorageRetriesSettings(
            max_tries=4, initial_backoff_ms=100, max_backoff_ms=10_000
        ),
    )
    for prefix, store in _containers(urls_in_use(references)):
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, store))
    return config


def urls_in_use(references: ReferenceSet) -> set[str]:
    """Return the files that hold at least one chunk."""
    numbers: set[int] = set()
    for group in references.groups:
        for array in group.arrays:
            numbers.update(np.unique(array.file_index).tolist())
    return {references.files[number].file.url for number in numbers}


def metadata_of(repository: Any) -> dict[str, Any]:
    """Return the metadata of the newest snapshot."""
    return dict(repository.lookup_snapshot(repository.lookup_branch(BRANCH)).metadata)


def _digest(references: ReferenceSet) -> str:
    """Return a digest of all that readers see: the references, and the state of their files."""
    digest = hashlib.sha256()
    said = [(file.file.url, file.last_modified) for file in references.files]
    digest.update(orjson.dumps(said))
    for group in references.groups:
        for key, value in kerchunk.metadata(group, {}):
            digest.update(orjson.dumps([key, value]))
        for array in group.arrays:
            digest.update(repr((sorted(array.lengths.items()), array.is_padded)).encode())
            table = array.chunks
            for column in (table.keys, table.offsets, table.sizes, array.file_index):
                digest.update(np.ascontiguousarray(column, "<i8").data)
            for place, data in array.inline.items():
                digest.update(repr(place).encode() + data)
    return digest.hexdigest()


def _changed(references: ReferenceSet) -> list[datetime | None]:
    """Return when each file was last modified, as its server stated."""
    return [
        parsedate_to_datetime(file.last_modified)
        if file.last_modified and "://" in file.file.url
        else None
        for file in references.files
    ]


def _containers(urls: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield the places to which the references refer: each host, and the common directory of all
    local files.
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


def location_of(url: str) -> str:
    """Return the location of a file as Icechunk writes it."""
    return url if "://" in url else Path(url).as_uri()


def _write_groups(store: Any, references: ReferenceSet) -> None:
    changed = _changed(references)
    locations = [location_of(file.file.url) for file in references.files]
    zarr_v3.create_groups(store, references, {})
    for group in references.groups:
        for array in group.arrays:
            name = zarr_v3.path_of(group.path, array)
            _write_inline(store, name, array)
            _write_chunks(store, name, array, lambda index: (locations[index], changed[index]))


def _write_inline(store: Any, name: str, array: Array) -> None:
    """Write chunks whose bytes the references hold, unchanged."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    make = default_buffer_prototype().buffer.from_bytes
    for place, data in array.inline.items():
        sync(store.set("/".join([name, "c", *map(str, place)]), make(data)))


def _write_chunks(
    store: Any, name: str, array: Array, source: Callable[[int], tuple[str, datetime | None]]
) -> None:
    """Write references in batches. ``source`` gives the location and the state of a file, by its
    number.
    """
    import icechunk

    for first in range(0, len(array.chunks), _BATCH):
        specs = []
        for key, file, offset, size in array.rows(first, first + _BATCH):
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
