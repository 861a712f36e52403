"""For search users: open a published reference. Imports nothing of esgcet.

Readers of ordinary references need nothing of ours: ``xarray.open_dataset(href, engine="kerchunk",
    chunks={})``. This room is for
references in segments, which it joins, and for documents of several groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import SourceError
from ..output import ICECHUNK, PARQUET, check_installed, output_of
from ..output import storage_options as reader_options
from ..output.icechunk import open_store
from ..output.parquet import read_protocol

if TYPE_CHECKING:
    import xarray


def open_dataset(
    href: str,
    *,
    group: str = "",
    storage_options: Mapping[str, Any] | None = None,
    chunks: Any = "auto",
    **decode: Any,
) -> xarray.Dataset:
    """Open a reference file lazily, its segments joined along time.

    Args:
        href: URL or path of ``<DSID>.json``, ``<DSID>.json.zst``, ``<DSID>.parq`` or
            ``<DSID>.icechunk``.
        group: which one of a document of several groups, for example ``sfc``.
        storage_options: of fsspec's reference file system, for example ``{"remote_options":
            {...}}``.
        chunks: as in ``xarray.open_dataset``; ``"auto"`` keeps the stored chunks and gives dask
            arrays where there are segments.
        decode: ``decode_times``, ``mask_and_scale`` and the like, as in ``xarray.open_dataset``.

    Returns:
        One dataset. The numbers are those of the files, each segment unpacked with its own packing.

    Raises:
        SourceError: the file holds no references, or groups and not the one asked for.
        SettingsError: a package is missing that reads this output.
    """
    options = _all_options(href, storage_options)
    own = {"chunks": {} if chunks == "auto" else chunks, **decode}
    root = _open_root(href, options, own)
    names = root.attrs.get("esgvzarr_groups", [])
    if group.strip("/") not in (names or [""]):
        raise SourceError(
            href,
            f"has no group {group!r}" if group else "holds several groups",
            expected=f"one of {', '.join(names) or 'none'}",
            todo="Give its name as group=, or use open_datatree.",
            code="source-group",
        )
    if not group and "esgvzarr_segments" not in root.attrs:
        return root
    files = _reference_files(href, options)
    return _joined(_open_group(files, group, own) if group else root, files, own)


def open_datatree(
    href: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    chunks: Any = "auto",
    **decode: Any,
) -> xarray.DataTree:
    """Open a document of several groups lazily, each group's segments joined along time.

    Args:
        href: URL or path of ``<name>.json``.
        storage_options: as in `open_dataset`.
        chunks: as in `open_dataset`.
        decode: as in `open_dataset`.

    Returns:
        A tree with a node for each group; of references of one dataset, the root alone.

    Raises:
        SourceError: the file holds no references.
        SettingsError: a package is missing that reads this output.
    """
    import xarray

    options = _all_options(href, storage_options)
    own = {"chunks": {} if chunks == "auto" else chunks, **decode}
    root = _open_root(href, options, own)
    names = root.attrs.pop("esgvzarr_groups", [])
    files = _reference_files(href, options) if names or "esgvzarr_segments" in root.attrs else None
    groups = {name: _joined(_open_group(files, name, own), files, own) for name in names}
    return xarray.DataTree.from_dict({"/": _joined(root, files, own), **groups})


def _open_root(href: str, options: Mapping[str, Any], own: Mapping[str, Any]) -> xarray.Dataset:
    import fsspec
    import xarray

    try:
        if output_of(href) == ICECHUNK:
            return _open_group(_reference_files(href, options), "", own)
        return xarray.open_dataset(
            href,
            engine="kerchunk",
            storage_options={"skip_instance_cache": True, **options},
            open_dataset_options=dict(own),
        )
    except (FileNotFoundError, fsspec.FSTimeoutError, ValueError) as error:
        raise SourceError(
            href,
            f"cannot be opened: {error}",
            expected="kerchunk references",
            code="source-not-references",
        ) from error


def _reference_files(href: str, options: Mapping[str, Any]) -> Any:
    """The reference file system, or the store, which all groups share: the file is read once for
    them.
    """
    import fsspec

    if output_of(href) == ICECHUNK:
        return open_store(href)
    remote = {
        "asynchronous": True,
        **options.get("remote_options", {}),
    }  # zarr's store and the file system below it must agree
    how = {"skip_instance_cache": True, **options, "remote_options": remote, "asynchronous": True}
    return fsspec.filesystem("reference", fo=href, **how)


def _open_group(files: Any, path: str, own: Mapping[str, Any]) -> xarray.Dataset:
    """One group, by a way that all versions of zarr-python list."""
    import xarray
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore

    if isinstance(files, Store):
        return xarray.open_zarr(files, group=path.strip("/") or None, consolidated=False, **own)  # type: ignore[no-any-return, unused-ignore]
    store = FsspecStore(files, read_only=True, path=path.strip("/"))
    return xarray.open_dataset(store, engine="zarr", consolidated=False, zarr_format=2, **own)  # type: ignore[arg-type]


def _joined(group: xarray.Dataset, files: Any, own: Mapping[str, Any]) -> xarray.Dataset:
    """The group itself, or its segments as one."""
    import xarray

    names = group.attrs.pop("esgvzarr_segments", None)
    recipe = group.attrs.pop("esgvzarr_recipe", "")
    if not names:
        return group
    time = (
        recipe.split("along ", 1)[1].split(":", 1)[0].strip("'") if "along " in recipe else "time"
    )
    parts = [_open_group(files, name, own) for name in names]
    if len({part[time].dtype.kind for part in parts}) > 1:
        own = {**own, "decode_times": xarray.coders.CFDatetimeCoder(use_cftime=True)}
        parts = [_open_group(files, name, own) for name in names]
    return xarray.concat(
        parts,
        dim=time,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs=_agreed,
    )  # type: ignore[call-overload, no-any-return, unused-ignore]


def _all_options(href: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the output wants, by its suffix, and what the user does."""
    output = output_of(href)
    options = dict(given or {})
    check_installed(output)
    protocol = read_protocol(href, **options.get("target_options", {})) if output == PARQUET else ""
    return (
        options
        if output == PARQUET and not protocol
        else {**reader_options(output, protocol), **options}
    )


def _agreed(all_attrs: Sequence[Mapping[str, Any]], context: object) -> dict[str, Any]:
    """The attributes that are the same in all segments."""
    first, *others = all_attrs
    return {
        name: value
        for name, value in first.items()
        if all(name in attrs and attrs[name] == value for attrs in others)
    }
