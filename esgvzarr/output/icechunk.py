"""An Icechunk repository of virtual chunks: Zarr version 3, snapshots, and a check that source
files are those of old.

Rules: Icechunk specification version 1, which releases 1 and 2 read; Zarr specification version 3;
    xarray's encoding of
``_FillValue`` in it. Each reference carries the Last-Modified of its file: readers ask the server
for bytes of the file as it was then (If-Unmodified-Since), and get an error in place of other
bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import orjson

from ..errors import FormatError, StoreError
from .kerchunk import provenance

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


def write_icechunk(document: bytes, path: Path, present: Path | None = None) -> None:
    """Make a repository of a kerchunk JSON document, or one more snapshot of one.

    Args:
        document: kerchunk references, version 1, as `kerchunk.encode` writes them.
        path: of the directory, which is not there yet.
        present: a repository to go on from. It is not touched; where it shows the same already, the
            new one is its copy.

    Raises:
        FormatError: xarray cannot read an array's ``_FillValue`` from Zarr version 3.
        StoreError: a reference was not taken, or what is there is damaged.
    """
    import icechunk

    icechunk.set_logs_filter(
        "error"
    )  # it warns that directories are not safe for several writers; ours hold a claim
    refs = orjson.loads(document)["refs"]
    said = provenance(document)
    digest = _digest(document, said)
    if present is not None and present.exists():
        shutil.copytree(present, path, copy_function=_link)
    config = icechunk.RepositoryConfig.default()
    config.inline_chunk_threshold_bytes = INLINE
    # kept for readers, who would else ask HTTP as one asks a disk: 4 KiB, and once
    config.storage = icechunk.StorageSettings(
        concurrency=icechunk.StorageConcurrencySettings(_AT_ONCE, _PART),
        retries=icechunk.StorageRetriesSettings(
            max_tries=4, initial_backoff_ms=100, max_backoff_ms=10_000
        ),
    )
    for prefix, store in _containers(
        {value[0] for value in refs.values() if isinstance(value, list)}
    ):
        config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(prefix, store))
    storage = icechunk.local_filesystem_storage(str(path))
    try:
        if path.exists():
            repository = icechunk.Repository.open(storage, config)
            if _metadata(repository).get("sha256") == digest:
                return
            repository.save_config()
        else:
            repository = icechunk.Repository.create(storage, config, spec_version=1)
        session = repository.writable_session(BRANCH)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # zarr: these codecs and types are in no specification yet
            _write_groups(session.store, refs, _changed(said))
        session.commit(
            f"{said['generator']}: {said['dataset_id']}", {"sha256": digest, "provenance": said}
        )
    except icechunk.IcechunkError as error:
        raise StoreError(
            str(present or path),
            f"Icechunk cannot write there: {error.message}",
            expected="a whole repository, or none",
            todo=(
                "If the repository is damaged, take it away with esgvzarr unpublish, and publish "
                "again."
            ),
            code="store-failed",
        ) from error


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


def read_icechunk(href: str) -> bytes:
    """What a repository shows as a kerchunk JSON document, without the chunks, of which Icechunk
    tells nobody where they are.

    Raises:
        ValueError: not there, or no repository.
    """
    import zarr

    repository = open_repository(href)
    root = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
    refs = {".zgroup": '{"zarr_format":2}'}
    for name, array in root.members(max_depth=None):
        if isinstance(array, zarr.Array):
            meta = {"shape": array.shape, "chunks": array.chunks, "dtype": array.dtype.str}
            refs[f"{name}/.zarray"] = orjson.dumps(meta).decode()
    said = _metadata(repository).get("provenance", {})
    return orjson.dumps({"version": 1, "refs": refs, "provenance": orjson.dumps(said).decode()})


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


def _digest(document: bytes, said: Mapping[str, Any]) -> str:
    """Of all that readers see: the references, and which state of the files they are of."""
    references = document[: document.rfind(b'},"provenance":')]
    return hashlib.sha256(references + orjson.dumps(sorted(_changed(said).items()))).hexdigest()


def _changed(said: Mapping[str, Any]) -> dict[str, Any]:
    """URL -> when the file was last modified, as its server said."""
    return {
        file["url"]: parsedate_to_datetime(file["last_modified"])
        for file in said["files"]
        if file.get("last_modified") and "://" in file["url"]
    }


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


def _link(source: str, target: str) -> None:
    """The same file under another name; Icechunk never changes a file in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _write_groups(store: Any, refs: Mapping[str, Any], changed: Mapping[str, Any]) -> None:
    import zarr

    zarr.create_group(store, overwrite=True, zarr_format=3)
    chunks: dict[str, dict[str, Any]] = {}
    for key, value in refs.items():
        name, _, last = key.rpartition("/")
        if not last.startswith(".z"):
            chunks.setdefault(name, {})[last] = value
        elif last == ".zattrs" and f"{name}/.zarray".lstrip("/") not in refs:
            zarr.create_group(
                store, path=name, overwrite=True, attributes=orjson.loads(value), zarr_format=3
            )
    for key in refs:
        if key.endswith("/.zarray"):
            name = key.removesuffix("/.zarray")
            meta = orjson.loads(refs[key])
            attrs = orjson.loads(refs[f"{name}/.zattrs"])
            _create_array(store, name, meta, attrs)
            _write_chunks(store, name, len(meta["shape"]), chunks.get(name, {}), changed)


def _create_array(store: Any, name: str, meta: Mapping[str, Any], attrs: dict[str, Any]) -> None:
    import zarr
    from zarr.codecs import BytesCodec, VLenUTF8Codec

    dtype = np.dtype(meta["dtype"])
    fill = meta["fill_value"]
    text = dtype.kind == "O"
    if fill is not None:
        if dtype.kind == "S":
            raise FormatError(
                name,
                "is text of single bytes with a _FillValue",
                expected="what xarray reads of Zarr version 3",
                todo="Use another output for this dataset.",
                code="file-output-unsupported",
            )
        fill = fill if text else np.asarray(fill).astype(dtype)[()]
        attrs["_FillValue"] = _encoded(fill, dtype)
    zarr.create_array(
        store,
        name=name,
        shape=meta["shape"],
        chunks=tuple(max(1, n) for n in meta["chunks"]),
        dtype=str if text else dtype.newbyteorder("="),
        attributes={k: v for k, v in attrs.items() if k != "_ARRAY_DIMENSIONS"},
        dimension_names=attrs["_ARRAY_DIMENSIONS"],
        fill_value=("" if text else 0) if fill is None else fill,
        filters=(),
        serializer=VLenUTF8Codec()
        if text
        else BytesCodec(endian="big" if dtype.byteorder == ">" else "little"),
        compressors=[
            _codec(codec) for codec in meta["filters"] or () if codec["id"] != "vlen-utf8"
        ],
        zarr_format=3,
    )


def _codec(config: Mapping[str, Any]) -> Any:
    """HDF5's filters as Zarr version 3 has them: those of numcodecs, which work on bytes, in the
    same order.
    """
    from zarr.codecs import numcodecs

    name = {"bz2": "BZ2"}.get(config["id"], config["id"].capitalize())
    return getattr(numcodecs, name)(**{key: value for key, value in config.items() if key != "id"})


def _encoded(fill: Any, dtype: np.dtype[Any]) -> Any:
    """``_FillValue`` as xarray writes it into attributes of version 3: floating point numbers bit
    for bit.
    """
    if dtype.kind == "f":
        return base64.b64encode(struct.pack("<d", float(fill))).decode()
    return str(fill) if dtype.kind == "O" else int(fill)


def _write_chunks(
    store: Any, name: str, dimensions: int, chunks: Mapping[str, Any], changed: Mapping[str, Any]
) -> None:
    """Virtual chunks as references, inline ones as they are."""
    import icechunk
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    specs = []
    for key, value in chunks.items():
        place = [int(part) for part in key.split(".")] if dimensions else []
        if isinstance(value, str):
            data = default_buffer_prototype().buffer.from_bytes(
                base64.b64decode(value.removeprefix("base64:"))
            )
            sync(store.set("/".join([name, "c", *map(str, place)]), data))
        else:
            url, offset, size = value
            where = url if "://" in url else Path(url).as_uri()
            specs.append(
                icechunk.VirtualChunkSpec(
                    place, where, offset, size, last_updated_at_checksum=changed.get(url)
                )
            )
    for first in range(0, len(specs), _BATCH):
        refused = store.set_virtual_refs(f"/{name}", specs[first : first + _BATCH])
        if refused:
            raise StoreError(
                name,
                f"Icechunk did not take {len(refused)} references, first {refused[0]}",
                code="store-failed",
            )
