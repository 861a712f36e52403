"""Open references as the documentation tells readers to, with everything that stock xarray decodes.

The proof itself compares what is not decoded. That a group opens so does not say that it opens by
the documented call, which decodes times, packing and coordinates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from ..model import Check
from ..output import Artefact
from .reference_side import UNREADABLE

DECODED = "decoded"
"""The name of this check."""


def check_documented(artefact: Artefact, options: Mapping[str, Any]) -> Iterator[Check]:
    """Whether each group opens by the call of docs/how-to/read.md, decoded.

    Args:
        artefact: what is proved.
        options: of fsspec's reference file system.
    """
    open_group = artefact.opener(options)
    for path in artefact.contents.groups():
        try:
            with warnings.catch_warnings(action="ignore"):
                open_group(path, chunks={}).close()
        except UNREADABLE as error:
            found = f"stock xarray does not open it: {type(error).__name__}: {error}"
            yield Check(DECODED, f"/{path}", passed=False, detail=found)
        else:
            yield Check(DECODED, f"/{path}", passed=True, detail="opens as documented")
