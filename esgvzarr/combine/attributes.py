"""Choose the attributes that are shown for several files or datasets: those that are equal in all
(rule 16).
"""

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
_NUMBERS = "biuf"


def variable_attrs(versions: Sequence[Variable | Array]) -> dict[str, Any]:
    """Return the attributes of a variable that are equal in all files (rule 16). Attributes that
    name other variables, or that unpack numbers, are those of the first file.
    """
    common = equal_attrs([version.attrs for version in versions])
    first = versions[0].attrs
    return {
        name: common.get(name, first[name])
        for name in first
        if name in common or name in _STRUCTURAL
    }


def equal_attrs(all_attrs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attributes that all have, with equal values."""
    first, *others = all_attrs
    equal = {}
    for name, value in first.items():
        if all(name in attrs and same_value(value, attrs[name]) for attrs in others):
            equal[name] = value
    return equal


def same_value(a: Any, b: Any) -> bool:
    """Whether two attributes are equal: equal numbers of any type, NaN equal to NaN, or equal
    texts. A number never equals a text.
    """
    one = np.ravel(np.asarray(a))
    other = np.ravel(np.asarray(b))
    if one.dtype.kind in _NUMBERS and other.dtype.kind in _NUMBERS:
        floats = one.dtype.kind == other.dtype.kind == "f"
        return bool(np.array_equal(one, other, equal_nan=floats))
    if one.dtype.kind in _NUMBERS or other.dtype.kind in _NUMBERS:
        return one.size == other.size == 0
    return [str(item) for item in one.tolist()] == [str(item) for item in other.tolist()]
