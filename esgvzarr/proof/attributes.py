"""Compare attributes: what a reader is shown of them with what the files have. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .units import same_units

_APART = (
    "esgvzarr_segments",
    "esgvzarr_recipe",
    "esgvzarr_concat_dim",
    "least_significant_digit",
)
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
        if (a is None) != (b is None) or (a is not None and not _same_role(name, a, b)):
            yield name


def _same_role(name: str, a: Any, b: Any) -> bool:
    """Whether two values of one of the attributes above make the same quantity."""
    if name == "units" and same_units(a, b):
        return True
    if name in ("standard_name", "positive") and isinstance(a, str) and isinstance(b, str):
        return a.split() == b.split()
    return same(a, b)


def _says_nothing(name: str, value: Any, dtype: np.dtype[Any]) -> bool:
    """NaN is missing in floating point data whether an attribute says so or not."""
    return name in MARKS and dtype.kind == "f" and _all_nan(value)


def _all_nan(value: Any) -> bool:
    items = [_plain(item) for item in _items(value)]
    return bool(items) and all(item == "NaN" for item in items)


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
    for name in set(shown).union(*versions).difference(_APART, but):
        values = [attrs[name] for attrs in versions if name in attrs]
        if name in shown:
            if not any(same(shown[name], value) for value in values):
                yield name
        elif len(values) == len(versions) and _is_lost(name, values):
            yield name


def _is_lost(name: str, values: Sequence[Any]) -> bool:
    """Whether it says something that an attribute of all files, with these values, is not shown."""
    if name in MARKS and _all_nan(values[0]):
        return False
    return all(same(values[0], value) for value in values[1:])


def same(a: Any, b: Any) -> bool:
    """Equal as strict JSON has them: a list for an array, a number whatever its type, and the words
    ``NaN``, ``Infinity`` and ``-Infinity`` for numbers that are not finite. No other text is a
    number.
    """
    ours = [_plain(item) for item in _items(a)]
    theirs = [_plain(item) for item in _items(b)]
    return len(ours) == len(theirs) and all(map(_same_item, ours, theirs))


def not_finite(value: Any) -> bool:
    """Whether a file's attribute has numbers for which strict JSON has words only."""
    items = [item for item in _items(value) if isinstance(item, (float, np.floating))]
    return bool(items) and not np.isfinite(np.asarray(items, np.float64)).all()


def _items(value: Any) -> list[Any]:
    """An attribute as a flat list. JSON may hold lists of unequal length, which are no array."""
    if isinstance(value, (list, tuple)):
        return list(itertools.chain.from_iterable(map(_items, value)))
    return value.ravel().tolist() if isinstance(value, np.ndarray) else [value]


def _plain(item: Any) -> Any:
    """One value as JSON has it."""
    if isinstance(item, np.generic):
        item = item.item()
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace").rstrip("\0")
    if isinstance(item, float) and not np.isfinite(item):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(item)]
    return item


def _same_item(a: Any, b: Any) -> bool:
    if isinstance(a, str) != isinstance(b, str):
        return False
    return bool(a == b)
