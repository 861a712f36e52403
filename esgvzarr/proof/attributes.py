"""Compare the attributes that readers see with the attributes of the files. No input or output."""

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
"""Attributes that esgvzarr adds, or that xarray removes from files as it opens them."""
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
"""Attributes of time and its bounds that hold numbers or dates in the units of one file."""
MARKS = ("_FillValue", "missing_value")
"""Attributes that have no effect if no value of the variable equals theirs."""
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
"""Attributes that turn a number into a quantity. They must equal those of each single file."""


def unlike(
    attrs: Mapping[str, Any], shown: Mapping[str, Any], dtype: np.dtype[Any]
) -> Iterator[str]:
    """Describe the attributes that give the numbers of one file another meaning than they are shown
    with.
    """
    for name in _MEANING:
        a, b = (
            None if _says_nothing(name, x.get(name), dtype) else x.get(name) for x in (attrs, shown)
        )
        if (a is None) != (b is None) or (a is not None and not _same_role(name, a, b)):
            yield name


def _same_role(name: str, a: Any, b: Any) -> bool:
    """Whether two values of one of these attributes turn a number into the same quantity."""
    if name == "units" and same_units(a, b):
        return True
    if name in ("standard_name", "positive") and isinstance(a, str) and isinstance(b, str):
        return a.split() == b.split()
    return same(a, b)


def _says_nothing(name: str, value: Any, dtype: np.dtype[Any]) -> bool:
    """Whether an attribute marks NaN as missing: NaN is missing in floating-point data in any
    case.
    """
    return name in MARKS and dtype.kind == "f" and _all_nan(value)


def _all_nan(value: Any) -> bool:
    items = [_plain(item) for item in _items(value)]
    return bool(items) and all(item == "NaN" for item in items)


def wrong_attrs(
    shown: Mapping[str, Any], versions: Sequence[Mapping[str, Any]], *, but: Collection[str] = ()
) -> Iterator[str]:
    """Describe attributes that are shown with a value that no file has, and attributes that all
    files have and that are not shown.

    Args:
        shown: the attributes of one variable as readers see them, or the global attributes.
        versions: the same attributes in each file.
        but: names of attributes to leave out.
    """
    for name in set(shown).union(*versions).difference(_APART, but):
        values = [attrs[name] for attrs in versions if name in attrs]
        if name in shown:
            if not any(same(shown[name], value) for value in values):
                yield name
        elif len(values) == len(versions) and _is_lost(name, values):
            yield name


def _is_lost(name: str, values: Sequence[Any]) -> bool:
    """Whether information is lost if an attribute with these values in the files is not shown."""
    if name in MARKS and _all_nan(values[0]):
        return False
    return all(same(values[0], value) for value in values[1:])


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal in strict JSON.

    An array equals a list, a number of one type equals that number in another type, and numbers
    that are not finite equal the words ``NaN``, ``Infinity`` and ``-Infinity``. No other text
    equals a number.
    """
    ours = [_plain(item) for item in _items(a)]
    theirs = [_plain(item) for item in _items(b)]
    return len(ours) == len(theirs) and all(map(_same_item, ours, theirs))


def not_finite(value: Any) -> bool:
    """Whether an attribute of a file has numbers that strict JSON can state only as words."""
    items = [item for item in _items(value) if isinstance(item, (float, np.floating))]
    return bool(items) and not np.isfinite(np.asarray(items, np.float64)).all()


def _items(value: Any) -> list[Any]:
    """Return an attribute as a flat list. JSON may hold lists of unequal length, which form no
    array.
    """
    if isinstance(value, (list, tuple)):
        return list(itertools.chain.from_iterable(map(_items, value)))
    return value.ravel().tolist() if isinstance(value, np.ndarray) else [value]


def _plain(item: Any) -> Any:
    """Return one value as JSON states it."""
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
