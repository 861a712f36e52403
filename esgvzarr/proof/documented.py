"""Open references as the documentation tells readers to, with everything that stock xarray decodes.

The proof itself compares what is not decoded. That a group opens so does not say that it opens by
the documented call, which decodes times, packing and coordinates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..model import Check
from ..output import ICECHUNK, output_of
from ..output.icechunk import open_store
from .reference_side import UNREADABLE

DECODED = "decoded"
"""The name of this check."""


def check_documented(
    references: str | dict[str, Any], paths: Sequence[str], options: Mapping[str, Any]
) -> Iterator[Check]:
    """Whether each group opens by the call of docs/how-to/read.md, decoded.

    Args:
        references: as parsed, or the path or URL of an output.
        paths: of the groups that hold arrays.
        options: of fsspec's reference file system.
    """
    for path in paths:
        try:
            with warnings.catch_warnings(action="ignore"):
                _open(references, path, options)
        except UNREADABLE as error:
            found = f"stock xarray does not open it: {type(error).__name__}: {error}"
            yield Check(DECODED, f"/{path}", passed=False, detail=found)
        else:
            yield Check(DECODED, f"/{path}", passed=True, detail="opens as documented")


def _open(references: str | dict[str, Any], path: str, options: Mapping[str, Any]) -> None:
    import xarray

    if isinstance(references, str) and output_of(references) == ICECHUNK:
        store = open_store(references)
        xarray.open_zarr(store, group=path or None, consolidated=False, chunks={}).close()
        return
    if not path:
        xarray.open_dataset(
            references,  # type: ignore[arg-type]
            engine="kerchunk",
            storage_options=dict(options),
            chunks={},
        ).close()
        return
    remote = {"asynchronous": True, **options.get("remote_options", {})}
    xarray.open_dataset(
        f"reference://{path}",
        engine="zarr",
        consolidated=False,
        zarr_format=2,
        chunks={},
        storage_options={"fo": references, **options, "remote_options": remote},
    ).close()
