"""Open kerchunk references as stock readers do: with xarray, Zarr and fsspec."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from .zarr_settings import rectilinear_allowed

if TYPE_CHECKING:
    import xarray

UNDECODED: Mapping[str, Any] = {"decode_cf": False, "chunks": None}
"""Options of ``xarray.open_dataset`` that decode nothing, and make nothing lazy a second time."""


class OpenGroup(Protocol):
    """Opens the groups of references, one after the other."""

    def __call__(self, path: str, **decode: Any) -> xarray.Dataset:
        """Open one group.

        Args:
            path: path of the group, empty for the root.
            decode: options of ``xarray.open_dataset``.
        """
        ...


def opener(fo: str | dict[str, Any], options: Mapping[str, Any], zarr_format: int = 2) -> OpenGroup:
    """Return a function that opens the groups of references. The references are loaded once for all
    groups except the root.

    Args:
        fo: URL or path of the references, or the parsed document.
        options: options of fsspec's reference file system.
        zarr_format: version of Zarr of the references.
    """
    shared: list[Any] = []

    def open_group(path: str, **decode: Any) -> xarray.Dataset:
        if not path and zarr_format == 2:
            return _open_root(fo, options, decode)
        if not shared:
            shared.append(_file_system(fo, options))
        return _open_below(shared[0], path, zarr_format, decode)

    return open_group


def _open_root(
    fo: str | dict[str, Any], options: Mapping[str, Any], decode: Mapping[str, Any]
) -> xarray.Dataset:
    """Open the root by the documented call."""
    import xarray

    return xarray.open_dataset(
        fo,  # type: ignore[arg-type]
        engine="kerchunk",
        storage_options={"skip_instance_cache": True, **options},
        open_dataset_options=dict(decode),
    )


def _file_system(fo: str | dict[str, Any], options: Mapping[str, Any]) -> Any:
    """Make fsspec's file system over the references. Zarr's store requires the file system below it
    to be asynchronous if it is asynchronous itself.
    """
    import fsspec

    remote = {"asynchronous": True, **options.get("remote_options", {})}
    own = {"skip_instance_cache": True, **options, "remote_options": remote}
    return fsspec.filesystem("reference", fo=fo, asynchronous=True, **own)


def _open_below(
    files: Any, path: str, zarr_format: int, decode: Mapping[str, Any]
) -> xarray.Dataset:
    """Open one group. kerchunk's ``group=`` is not used: with it zarr-python 3.1 lists no arrays,
    and shows an empty dataset.
    """
    from zarr.storage import FsspecStore

    store = FsspecStore(files, read_only=True, path=path)
    if zarr_format == 3:
        with rectilinear_allowed():
            return _open_store(store, zarr_format, decode)
    return _open_store(store, zarr_format, decode)


def _open_store(store: Any, zarr_format: int, decode: Mapping[str, Any]) -> xarray.Dataset:
    import xarray

    with warnings.catch_warnings():
        # fsspec lists the metadata of a parquet group as if they were its arrays.
        warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component")
        return xarray.open_dataset(
            store,
            engine="zarr",
            consolidated=False,
            zarr_format=zarr_format,
            **decode,
        )
