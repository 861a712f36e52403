"""Open the references of one document, of any output.

A `Source` is small and can be pickled: another process reads the document again, once, and checks
that it is unchanged.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import orjson

from ..errors import SourceError
from ..output import Form, of_place
from ..output.zarr_settings import rectilinear_allowed

if TYPE_CHECKING:
    from zarr.abc.store import Store

IN_MEMORY = "references in memory"
_OPEN: dict[tuple[str, str], Source] = {}
"""(href, digest) -> the document that this process read for tasks from other processes."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An opened document."""

    href: str
    options: Mapping[str, Any]
    """Options of fsspec's reference file system: ``target_options``, ``remote_options``."""
    store: Store
    """The store that zarr-python reads: metadata, and chunks from the NetCDF files."""
    digest: str
    """SHA-256 of the document, or of the metadata of tables; or the snapshot of a repository."""
    zarr_format: Literal[2, 3]
    steps: Mapping[str, int] = field(default_factory=dict)
    """Chunks of dask that the references advise; None without advice."""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """URL of a file -> the URLs of the same bytes on other hosts."""
    found: dict[str, Any] = field(default_factory=dict)
    """Group -> its metadata, so that they are read once."""
    is_told_apart: bool = True
    """Whether references to other chunks have another digest. Tables of other tools may have the
    same metadata.
    """

    def read_keys(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return values of metadata, read all at once; None for missing keys."""
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        prototype = default_buffer_prototype()

        async def read() -> list[Any]:
            return list(await asyncio.gather(*(self.store.get(key, prototype) for key in keys)))

        found = sync(read())
        return [None if value is None else value.to_bytes() for value in found]

    def read_metadata(self, paths: Sequence[str]) -> dict[str, tuple[bytes | None, ...]]:
        """Path of an array -> its ``.zarray`` and ``.zattrs``, or its ``zarr.json``."""
        names = (".zarray", ".zattrs") if self.zarr_format == 2 else ("zarr.json",)
        keys = [f"{path}/{name}" for path, name in itertools.product(paths, names)]
        values = iter(self.read_keys(keys))
        return {path: tuple(itertools.islice(values, len(names))) for path in paths}

    def open_array(self, path: str) -> Any:
        """Open one array by zarr-python."""
        import zarr

        with rectilinear_allowed():
            return zarr.open_array(
                store=self.store, path=path, mode="r", zarr_format=self.zarr_format
            )

    def read_variables(self, path: str) -> dict[str, Any]:
        """Return the variables of one group as xarray shows them before decoding."""
        from xarray.backends import ZarrStore

        with rectilinear_allowed():
            group = ZarrStore.open_group(
                self.store,
                group=path or None,
                mode="r",
                consolidated=False,
                zarr_format=self.zarr_format,
            )
            return {str(name): variable for name, variable in group.get_variables().items()}

    def array_names(self, path: str) -> list[str]:
        """Return the arrays of one group, in the order of the document."""
        return list(self.read_variables(path))

    def __reduce__(self) -> tuple[Any, ...]:
        from .store import ReferenceStore

        if self.href == IN_MEMORY and isinstance(self.store, ReferenceStore):
            return (open_references, (dict(self.store.references),))
        return (_again, (self.href, dict(self.options), self.digest, dict(self.mirrors)))

    def __dask_tokenize__(self) -> tuple[str, str]:
        return (self.href, self.digest)

    def __fspath__(self) -> str:
        return self.href

    def __str__(self) -> str:
        return self.href


def open_source(
    href: str,
    options: Mapping[str, Any] | None = None,
    mirrors: Mapping[str, tuple[str, ...]] | None = None,
) -> Source:
    """Open the document at a URL or path. A JSON document takes one request.

    Args:
        href: URL or path of ``<DSID>.json``, ``.json.zst``, ``.parq`` or ``.icechunk``.
        options: options of fsspec's reference file system, for example ``{"remote_options":
            {...}}``.
        mirrors: URL of a file -> the URLs of the same bytes on other hosts.

    Raises:
        SourceError: the document does not exist, or holds no references.
        TransportError: the server answers with an error, or its answer is incomplete.
        SettingsError: a package that reads this output is missing.
    """
    output = of_place(href)
    output.check_installed()
    given = dict(options or {})
    place = href if "://" in href else os.path.abspath(href)
    try:
        if output.form is Form.REPOSITORY:
            return _open_icechunk(place, given)
        if output.form is Form.TABLES:
            return _open_parquet(place, given, mirrors or {})
        return _open_json(place, given, mirrors or {})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            href,
            f"cannot be opened: {error or type(error).__name__}",
            expected="kerchunk references, or an Icechunk repository",
            todo="Check the address, and that the server answers.",
            code="source-not-references",
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class InMemory:
    """A document that was never written, as xarray gets it.

    It is not a path: xarray 2025.1 asks the file system when a path that is no URL was modified.
    """

    source: Source

    def __dask_tokenize__(self) -> tuple[str, str]:
        return self.source.__dask_tokenize__()


def open_references(parsed: Mapping[str, Any], href: str = IN_MEMORY) -> Source:
    """Open references that were parsed already, as from xpystac.

    Raises:
        SourceError: they are not references.
    """
    try:
        return _of_json(parsed, orjson.dumps(parsed), href, {}, {})
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            href, str(error), expected="kerchunk references", code="source-not-references"
        ) from error


def _again(
    href: str,
    options: Mapping[str, Any],
    digest: str,
    mirrors: Mapping[str, tuple[str, ...]],
) -> Source:
    """Open the source in another process."""
    key = (href, digest)
    if key not in _OPEN:
        source = open_source(href, options, mirrors)
        if source.digest != digest:
            raise SourceError(
                href,
                "changed after the dataset was opened",
                expected=f"SHA-256 {digest}",
                todo="Open the dataset again.",
                code="source-changed",
            )
        _OPEN[key] = source
    return _OPEN[key]


def json_of(text: bytes | str) -> Any:
    """Parse JSON as stock readers do, with the NaN that kerchunk and VirtualiZarr write in
    attributes and strict JSON does not have.

    Raises:
        ValueError: the text is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def _open_json(
    href: str, options: dict[str, Any], mirrors: Mapping[str, tuple[str, ...]]
) -> Source:
    from ..output.kerchunk import read

    raw = _read_whole(href, options)
    return _of_json(json_of(read(raw)), raw, href, options, mirrors)


def _of_json(
    parsed: Mapping[str, Any],
    raw: bytes,
    href: str,
    options: Mapping[str, Any],
    mirrors: Mapping[str, tuple[str, ...]],
) -> Source:
    from .store import ReferenceStore

    if not isinstance(parsed, Mapping):
        raise ValueError("it is not a JSON object")
    refs = parsed.get("refs", parsed)
    if "templates" in parsed or "gen" in parsed:
        refs = _expanded(parsed)
    zarr_format: Literal[2, 3] = 3 if "zarr.json" in refs else 2
    if zarr_format == 2 and ".zgroup" not in refs:
        raise ValueError("it holds no Zarr group")
    return Source(
        href,
        options,
        ReferenceStore(refs, href, options.get("remote_options", {}), mirrors=mirrors),
        hashlib.sha256(raw).hexdigest(),
        zarr_format,
        _advice(parsed.get("provenance")),
        mirrors,
    )


def _advice(provenance: Any) -> dict[str, int]:
    """Return the steps of a dask chunk that the references advise, by dimension."""
    if not isinstance(provenance, str):
        return {}
    try:
        said = orjson.loads(provenance).get("reading", {})
        return {str(said["dimension"]): int(said["steps"])}
    except (ValueError, KeyError, TypeError, AttributeError):  # Another tool wrote the provenance.
        return {}


def _open_parquet(
    href: str, options: dict[str, Any], mirrors: Mapping[str, tuple[str, ...]]
) -> Source:
    from fsspec.core import url_to_fs

    from ..output.reference_tables import ReferenceTables
    from .store import ReferenceStore

    files, root = url_to_fs(href, **_target(options))
    refs = ReferenceTables(root, files)
    store = ReferenceStore(
        refs,
        href,
        options.get("remote_options", {}),
        listed=list(refs),
        mirrors=mirrors,
    )
    return Source(
        href,
        options,
        store,
        refs.digest,
        2,
        mirrors=mirrors,
        is_told_apart=refs.tells_tables,
    )


def _open_icechunk(href: str, options: dict[str, Any]) -> Source:
    from ..output.icechunk import open_store

    store = open_store(href)
    return Source(href, options, store, store.snapshot, 3)


def _read_whole(href: str, options: Mapping[str, Any]) -> bytes:
    """Fetch a document by one GET."""
    from fsspec.core import url_to_fs

    from ..output.whole_files import read_whole

    if "://" not in href:
        with open(href, "rb") as file:
            return file.read()
    files, path = url_to_fs(href, **_target(options))
    return read_whole(files, path)


def _target(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the file system that holds the document."""
    target = dict(options.get("target_options", {}))
    target.pop("compression", None)  # The first bytes show whether it is compressed.
    return target


def _expanded(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the templates of references that another tool wrote."""
    import fsspec

    return dict(fsspec.filesystem("reference", fo=dict(parsed)).references)
