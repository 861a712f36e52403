"""The engines that xarray finds by entry point. xarray imports this module whenever it looks for an
engine, so it imports as little as possible.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from xarray.backends import BackendEntrypoint

if TYPE_CHECKING:
    import xarray

    from .source import Source

DSID = re.compile(r"[A-Za-z][\w-]*(\.[\w-]+){4,}\.v\d+")
"""A dataset id with its version: ``CMIP6.CMIP...gn.v20190323``."""
_DATASET = re.compile(
    r"(CMIP[35]|CMIP6|CMIP6Plus|CMIP7|MIP-DRS7|CORDEX(-CMIP6)?|input4MIPs|obs4MIPs|obs4REF)"
    r"(\.[\w-]+){4,}?(\.v\d+)?",
    re.IGNORECASE,
)
"""A dataset id of an ESGF project, with or without its version."""
_SUFFIXES = (".json", ".json.zst", ".parq", ".icechunk", ".zarr3.json")
_DECODING = (
    "mask_and_scale",
    "decode_times",
    "concat_characters",
    "decode_coords",
    "drop_variables",
    "use_cftime",
    "decode_timedelta",
)


class EsgvzarrBackend(BackendEntrypoint):
    """``engine="esgvzarr"``: open a published reference file with its segments joined."""

    description = "Open a reference file by esgvzarr: one lazy array for each variable"
    url = "https://esgvzarr.readthedocs.io"
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj",
        *_DECODING,
        "group",
        "storage_options",
    )
    supports_groups = True
    _own: ClassVar[tuple[str, ...]] = ("storage_options",)
    """Options that say where the references are; all other options are about decoding."""

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name is that of a published reference file: a dataset id and the suffix of an
        output.
        """
        if not isinstance(filename_or_obj, (str, os.PathLike)):
            return False
        name = os.path.basename(str(filename_or_obj).rstrip("/"))
        return any(
            name.endswith(suffix) and DSID.fullmatch(name.removesuffix(suffix))
            for suffix in _SUFFIXES
        )

    def _source(self, place: Any, *, storage_options: Mapping[str, Any] | None = None) -> Source:
        """Return an opened document, or open the one at a URL or path."""
        from .source import InMemory, Source, open_references, open_source

        if isinstance(place, Source):
            return place
        if isinstance(place, InMemory):
            return place.source
        if isinstance(place, Mapping):
            return open_references(place)
        return open_source(os.fspath(place), storage_options)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        group: str | None = None,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> xarray.Dataset:
        """Return one group as one dataset, not read yet."""
        from .joining import open_group

        source = self._source(filename_or_obj, **self._taken(options))
        dataset = open_group(source, group or "", _told(options))
        return _without(dataset, drop_variables)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        group: str | None = None,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> dict[str, xarray.Dataset]:
        """Return all groups, or those below one: path -> dataset."""
        from .joining import open_groups

        source = self._source(filename_or_obj, **self._taken(options))
        groups = open_groups(source, _told(options), group or "")
        return {path: _without(dataset, drop_variables) for path, dataset in groups.items()}

    def _taken(self, options: dict[str, Any]) -> dict[str, Any]:
        """Remove the options that say where the references are, and return them."""
        return {name: options.pop(name) for name in self._own if name in options}

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xarray.DataTree:
        """Return all groups as a tree."""
        import xarray

        return xarray.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **options))


class EsgfBackend(EsgvzarrBackend):
    """``engine="esgf"``: open a dataset by its id."""

    description = "Open a dataset of ESGF by its id"
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj",
        *_DECODING,
        "group",
        "storage_options",
        "indexes",
    )
    _own = ("storage_options", "indexes")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether this is the id of a dataset, and not a file or URL."""
        if not isinstance(filename_or_obj, str) or os.path.exists(filename_or_obj):
            return False
        is_address = "://" in filename_or_obj and not filename_or_obj.startswith("esgf://")
        if is_address or filename_or_obj.endswith((*_SUFFIXES, ".nc")):
            return False
        return bool(_DATASET.fullmatch(dataset_id_of(filename_or_obj)))

    def _source(
        self,
        place: Any,
        *,
        storage_options: Mapping[str, Any] | None = None,
        indexes: str | Iterable[str] | None = None,
    ) -> Source:
        from .esgf import open_by_id

        return open_by_id(place, indexes, storage_options)


def dataset_id_of(name: str) -> str:
    """Return a dataset id as the user wrote it; xarray puts the working directory before it."""
    return os.path.basename(name.removeprefix("esgf://"))


def _told(decoding: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the user gave; xarray's defaults apply to the others."""
    return {name: value for name, value in decoding.items() if value is not None}


def _without(dataset: xarray.Dataset, drop_variables: str | Iterable[str] | None) -> xarray.Dataset:
    if not drop_variables:
        return dataset
    names = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables)
    return dataset.drop_vars(names, errors="ignore")
