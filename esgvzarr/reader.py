"""For search users: open a published reference. Imports nothing of esgcet.

Readers of ordinary references need nothing of ours: ``xarray.open_dataset(href, engine="kerchunk", chunks={})``. This room is for
references in segments, which it joins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import SourceError

if TYPE_CHECKING:
    import xarray


def open_dataset(
    href: str, *, storage_options: Mapping[str, Any] | None = None, chunks: Any = "auto", **decode: Any
) -> xarray.Dataset:
    """Open a reference file lazily, its segments joined along time.

    Args:
        href: URL or path of ``<DSID>.json``.
        storage_options: of fsspec's reference file system, for example ``{"remote_options": {...}}``.
        chunks: as in ``xarray.open_dataset``; ``"auto"`` keeps the stored chunks and gives dask arrays where there are segments.
        decode: ``decode_times``, ``mask_and_scale`` and the like, as in ``xarray.open_dataset``.

    Returns:
        One dataset. The numbers are those of the files, each segment unpacked with its own packing.

    Raises:
        SourceError: the file holds no references.
    """
    import fsspec
    import xarray

    options = {"skip_instance_cache": True, **(storage_options or {})}
    own = {"chunks": {} if chunks == "auto" else chunks, **decode}
    try:
        root = xarray.open_dataset(href, engine="kerchunk", storage_options=dict(options), open_dataset_options=own)
    except (FileNotFoundError, fsspec.FSTimeoutError, ValueError) as error:
        raise SourceError(
            href, f"cannot be opened: {error}", expected="kerchunk references", code="source-not-references"
        ) from error
    names = root.attrs.pop("esgvzarr_segments", None)
    recipe = root.attrs.pop("esgvzarr_recipe", "")
    if not names:
        return root
    time = recipe.split("along ", 1)[1].split(":", 1)[0].strip("'") if "along " in recipe else "time"
    parts = [_open_segment(href, name, options, own) for name in names]
    if len({part[time].dtype.kind for part in parts}) > 1:
        own["decode_times"] = xarray.coders.CFDatetimeCoder(use_cftime=True)
        parts = [_open_segment(href, name, options, own) for name in names]
    return xarray.concat(
        parts, dim=time, data_vars="minimal", coords="minimal", compat="override", join="override", combine_attrs=_agreed
    )  # type: ignore[call-overload, no-any-return, unused-ignore]  # fmt: skip


def _open_segment(href: str, name: str, options: Mapping[str, Any], own: Mapping[str, Any]) -> xarray.Dataset:
    """One group, by a way that all versions of zarr-python list (kerchunk's ``group=`` shows nothing with 3.1)."""
    import xarray

    remote = {"asynchronous": True, **options.get("remote_options", {})}  # zarr's store and the file system below it must agree
    return xarray.open_dataset(
        f"reference://{name}", engine="zarr", consolidated=False, zarr_format=2,
        storage_options={"fo": href, **options, "remote_options": remote}, **own,
    )  # fmt: skip


def _agreed(all_attrs: Sequence[Mapping[str, Any]], context: object) -> dict[str, Any]:
    """The attributes that are the same in all segments."""
    first, *others = all_attrs
    return {name: value for name, value in first.items() if all(name in attrs and attrs[name] == value for attrs in others)}
