"""Compare attributes: what a reader is shown of them with what the files have. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

_APART = ("esgvzarr_segments", "esgvzarr_recipe", "least_significant_digit")
"""Attributes that are ours, or that xarray takes away from the files' side as it opens them."""
OF_FILES = (
    "units",
    "calendar",
    "_FillValue",
    "missing_value",
    "valid_min",
    "valid_max",
    "valid_range",
    "actual_range",
)
"""Attributes of time and its bounds that say numbers or dates in the units of one file."""
MARKS = ("_FillValue", "missing_value")
"""Attributes that say nothing where no value is theirs."""
_MEANING = (
    "scale_factor",
    "add_offset",
    "_FillValue",
    "missing_value",
    "_Unsigned",
    "units",
    "standard_name",
    "positive",
)
"""By these a number becomes a quantity: they have to be those of each single file."""


def unlike(
    attrs: Mapping[str, Any], shown: Mapping[str, Any], dtype: np.dtype[Any]
) -> Iterator[str]:
    """The attributes by which the numbers of one file mean something else than they are shown to
    mean.
    """
    for name in _MEANING:
        a, b = (
            None if _says_nothing(name, x.get(name), dtype) else x.get(name) for x in (attrs, shown)
        )
        if (a is None) != (b is None) or (a is not None and not same(a, b)):
            yield name


def _says_nothing(name: str, value: Any, dtype: np.dtype[Any]) -> bool:
    """NaN is missing in floating point data whether an attribute says so or not."""
    return name in MARKS and dtype.kind == "f" and _all_nan(value)


def _all_nan(value: Any) -> bool:
    numbers = _array(value)
    return bool(numbers.size) and (
        (numbers.dtype.kind == "f" and bool(np.isnan(numbers).all())) or str(value) == "NaN"
    )


def wrong_attrs(
    shown: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], *, but: Collection[str] = ()
) -> Iterator[str]:
    """Attributes shown with another value than any file has, or that all files have and are not
    shown.

    Args:
        shown: of one variable, or global.
        versions: the same of each file.
        but: not these.
    """
    for name in {*shown, *(key for attrs in versions for key in attrs)}:
        if name in _APART or name in but:
            continue
        values = [attrs[name] for attrs in versions if name in attrs]
        in_all = len(values) == len(versions) and all(
            same(values[0], value) for value in values[1:]
        )
        if name in shown:
            if not any(same(shown[name], value) for value in values):
                yield name
        elif in_all and not (name in MARKS and _all_nan(values[0])):
            yield name


def same(a: Any, b: Any) -> bool:
    """Equal as strict JSON has them: a list for an array, text for NaN and infinities."""
    a = _array(a)
    b = _array(b)
    if a.dtype.kind in "OSUT" or b.dtype.kind in "OSUT":
        return [_text(x) for x in a.ravel().tolist()] == [_text(x) for x in b.ravel().tolist()]
    return bool(np.array_equal(a.ravel(), b.ravel(), equal_nan=True))


def _array(value: Any) -> np.ndarray:
    """JSON may hold lists of unequal length, which are no array: as text."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.asarray(str(value))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value), str(value))
    return str(value)
