"""Which attributes are shown for several files or datasets: those that they agree on (rule 16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..model import Array, Variable

_STRUCTURAL = (
    "bounds",
    "climatology",
    "coordinates",
    "grid_mapping",
    "formula_terms",
    "calendar",
    "units",
    "scale_factor",
    "add_offset",
    "missing_value",
    "_Unsigned",
)


def variable_attrs(versions: Sequence[Variable | Array]) -> dict[str, Any]:
    """What all files say of a variable (rule 16); what ties variables together, or unpacks numbers,
    is the first file's.
    """
    common = equal_attrs([version.attrs for version in versions])
    first = versions[0].attrs
    return {
        name: common.get(name, first[name])
        for name in first
        if name in common or name in _STRUCTURAL
    }


def equal_attrs(all_attrs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The attributes that are in all, and equal."""
    first, *others = all_attrs
    return {
        name: value
        for name, value in first.items()
        if all(name in attrs and _same(value, attrs[name]) for attrs in others)
    }


def _same(a: Any, b: Any) -> bool:
    a = np.asarray(a)
    b = np.asarray(b)
    numbers = a.dtype.kind in "f" and b.dtype.kind in "f"
    return a.dtype.kind == b.dtype.kind and bool(np.array_equal(a, b, equal_nan=numbers))
