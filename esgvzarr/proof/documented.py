"""Decode opened groups as the documented call does: times, packing and coordinates.

The proof itself compares values that are not decoded. A group that opens undecoded may still fail
in the documented call, which decodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from ..model import Check
from .reference_side import UNREADABLE, ShownGroup

DECODED = "decoded"
"""The name of this check."""


def check_documented(shown: Iterable[ShownGroup]) -> Iterator[Check]:
    """Check that xarray decodes each group as the call in docs/how-to/read.md does.

    The groups were opened by the same engine. The documented call also makes lazy dask arrays,
    which do not depend on the dataset.

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
