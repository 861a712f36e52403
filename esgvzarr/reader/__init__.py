"""For search users: open a published reference.

xarray finds the same by ``engine="esgvzarr"``. Imports nothing of what makes references, nor of
esgcet.
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
    """Open a reference file lazily, its segments as one array for each variable.

    Args:
        href: URL or path of ``<DSID>.json``, ``<DSID>.json.zst``, ``<DSID>.parq`` or
            ``<DSID>.icechunk``; or what `open_named` opened.
        group: which one of a document of several groups, for example ``sfc``.
        storage_options: of fsspec's reference file system, for example ``{"remote_options":
            {...}}``.
        chunks: as in ``xarray.open_dataset``; ``"auto"`` takes stored chunks together to tasks of
            16 to 64 MiB, where dask is installed and the file says how.
        options: ``decode_times``, ``mask_and_scale`` and the like, as in ``xarray.open_dataset``.

    Returns:
        One dataset. The numbers are those of the files, each segment unpacked with its own packing.

    Raises:
        SourceError: the file holds no references, or groups and not the one asked for.
        SettingsError: a package is missing that reads this output.
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
    """Open the document of a dataset, once for all that is read of it.

    Args:
        place: the id of a dataset, with or without its version; or the URL or path of references
            or of a STAC item.

    Raises:
        SourceError: there is no such dataset, or what is there is no references.
        SettingsError: a package is missing that reads this output.
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
    """Open kerchunk references that are in memory, as `open_dataset` opens a file of them.

    Args:
        references: the parsed document.
        chunks: as in `open_dataset`.
        options: as in `open_dataset`.

    Raises:
        SourceError: they are no references.
    """
    import xarray

    from .backends import EsgvzarrBackend
    from .source import open_references

    source = open_references(references)
    return xarray.open_dataset(
        source, engine=EsgvzarrBackend, chunks=_chunks(chunks, source), **options
    )


def open_datatree(
    href: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    chunks: Any = "auto",
    **options: Any,
) -> xarray.DataTree:
    """Open a document of several groups lazily, each group's segments as one array.

    Args:
        href: URL or path of ``<name>.json``.
        storage_options: as in `open_dataset`.
        chunks: as in `open_dataset`.
        options: as in `open_dataset`.

    Returns:
        A tree with a node for each group; of references of one dataset, the root alone.

    Raises:
        SourceError: the file holds no references.
        SettingsError: a package is missing that reads this output.
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
    """Where nothing else was asked for and dask is there: what the maker of the references advises,
    or the stored chunks.
    """
    from importlib.util import find_spec

    if asked != "auto":
        return asked
    return dict(source.steps) if find_spec("dask") else None
