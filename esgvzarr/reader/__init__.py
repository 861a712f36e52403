"""Open a published reference, for people who use data.

xarray finds the same functions by ``engine="esgvzarr"``. This room imports neither the rooms that
make references nor esgcet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray

    from .source import Source


def open_dataset(
    href: str | Source,
    *,
    group: str = "",
    storage_options: Mapping[str, Any] | None = None,
    chunks: Any = "auto",
    **options: Any,
) -> xarray.Dataset:
    """Open a reference file lazily, with its segments joined into one array for each variable.

    Args:
        href: URL or path of ``<DSID>.json``, ``<DSID>.json.zst``, ``<DSID>.parq`` or
            ``<DSID>.icechunk``; or the result of `open_named`.
        group: the group to open, for a document of several groups, for example ``sfc``.
        storage_options: options of fsspec's reference file system, for example ``{"remote_options":
            {...}}``.
        chunks: as in ``xarray.open_dataset``; ``"auto"`` combines stored chunks to tasks of 16 to
            64 MiB, if dask is installed and the file states how.
        options: ``decode_times``, ``mask_and_scale`` and others, as in ``xarray.open_dataset``.

    Returns:
        One dataset with the numbers of the files; each segment is unpacked with its own packing.

    Raises:
        SourceError: the file holds no references, or holds groups and not the requested one.
        SettingsError: a package that reads this output is missing.
    """
    import xarray

    from .backends import EsgvzarrBackend
    from .source import open_source

    source = open_source(href, storage_options) if isinstance(href, str) else href
    return xarray.open_dataset(
        source,
        engine=EsgvzarrBackend,
        chunks=_chunks(chunks, source),
        group=group or None,
        **options,
    )


def open_named(place: str) -> Source:
    """Open the document of a dataset, once for several calls that read it.

    Args:
        place: the id of a dataset, with or without its version; or the URL or path of references or
            of a STAC item.

    Raises:
        SourceError: the dataset does not exist, or the place holds no references.
        SettingsError: a package that reads this output is missing.
    """
    from ..errors import SourceError, TransportError
    from .backends import EsgfBackend
    from .esgf import is_item_at, open_by_id
    from .source import open_source

    if EsgfBackend().guess_can_open(place):
        return open_by_id(place)
    try:
        return open_source(place)
    except (SourceError, TransportError):
        if is_item_at(place):
            return open_by_id(place)
        raise


def open_parsed(
    references: Mapping[str, Any], *, chunks: Any = "auto", **options: Any
) -> xarray.Dataset:
    """Open kerchunk references in memory, as `open_dataset` opens a file of them.

    Args:
        references: the parsed document.
        chunks: as in `open_dataset`.
        options: as in `open_dataset`.

    Raises:
        SourceError: they are not references.
    """
    import xarray

    from .backends import EsgvzarrBackend
    from .source import InMemory, open_references

    source = open_references(references)
    place: Any = InMemory(source)  # xarray hands it to the engine as it is
    return xarray.open_dataset(
        place, engine=EsgvzarrBackend, chunks=_chunks(chunks, source), **options
    )


def open_datatree(
    href: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    chunks: Any = "auto",
    **options: Any,
) -> xarray.DataTree:
    """Open a document of several groups lazily, with each group's segments joined into one array.

    Args:
        href: URL or path of ``<name>.json``.
        storage_options: as in `open_dataset`.
        chunks: as in `open_dataset`.
        options: as in `open_dataset`.

    Returns:
        A tree with a node for each group; for references of one dataset, only the root.

    Raises:
        SourceError: the file holds no references.
        SettingsError: a package that reads this output is missing.
    """
    import xarray

    from .backends import EsgvzarrBackend
    from .source import open_source

    source = open_source(href, storage_options)
    return xarray.open_datatree(
        source,
        engine=EsgvzarrBackend,
        chunks=_chunks(chunks, source),
        **options,
    )


def _chunks(asked: Any, source: Source) -> Any:
    """Return the requested chunks; without a request and with dask installed, those that the
    references advise, or the stored chunks.
    """
    from importlib.util import find_spec

    if asked != "auto":
        return asked
    return dict(source.steps) if find_spec("dask") else None
