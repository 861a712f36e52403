"""Decode what was opened as the documented call does: times, packing and coordinates.

The proof itself compares what is not decoded. That a group opens so does not say that it opens by
the documented call, which decodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from ..model import Check
from .reference_side import UNREADABLE, Shown

DECODED = "decoded"
"""The name of this check."""


def check_documented(shown: Iterable[Shown]) -> Iterator[Check]:
    """Whether xarray decodes each group, as the call of docs/how-to/read.md lets it.

    The groups are open already, by the same engine. That call only makes lazy arrays of dask
    besides, of which nothing depends on the dataset.

    Args:
        shown: groups as readers open them, not decoded.
    """
    import xarray

    for group in shown:
        try:
            with warnings.catch_warnings(action="ignore"):
                xarray.decode_cf(group.dataset)
        except UNREADABLE as error:
            found = f"stock xarray does not open it: {type(error).__name__}: {error}"
            yield Check(DECODED, f"/{group.path}", passed=False, detail=found)
        else:
            yield Check(DECODED, f"/{group.path}", passed=True, detail="opens as documented")
