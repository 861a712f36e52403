"""Compare a fixed field of one file with the field that is shown, within the tolerance of the
proof.

The rule is rule 14 of docs/explanation/trust.md, as ``combine`` applies it too. The two share no
code, so that an error in one is not repeated in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import cf
from .file_side import equal

EQUAL = "equal"
ROUNDING = "rounding"
DIFFERENT = "different"
OTHER_SHAPE = "of another shape"
_FILLER_DEGREES = 720
"""Numbers of degrees above this one are not directions."""


def closeness(variable: Any, shown: Any) -> str:
    """Describe how close a fixed field of one file is to the field that is shown. Their types may
    differ.
    """
    if variable.shape != shown.shape:
        return OTHER_SHAPE
    a = np.asarray(variable.values)
    b = np.asarray(shown.values)
    if {a.dtype.kind, b.dtype.kind} - set("iuf"):
        return EQUAL if equal(a, b) else DIFFERENT
    numbers = cf.unpacked(a, variable.attrs)
    others = cf.unpacked(b, shown.attrs)
    if _whole(a, b, variable.attrs) and not equal(a, b):
        return DIFFERENT
    if equal(numbers, others):
        return EQUAL
    absent = np.isnan(numbers)
    if a.dtype.kind + b.dtype.kind != "ff" or not np.array_equal(absent, np.isnan(others)):
        return DIFFERENT
    numbers = numbers[~absent]
    allowed = _allowed(others, shown.attrs)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        apart = np.abs(numbers - others[~absent])
    same = numbers == others[~absent]
    single = np.fmax(np.abs(numbers), np.abs(others[~absent])) * np.finfo(np.float32).eps
    near = np.isfinite(apart) & (apart <= np.fmax(np.fmin(single, allowed[1]), allowed[0]))
    return ROUNDING if (same | near).all() else DIFFERENT


def _whole(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> bool:
    """Whether a field holds integers that are neither packed nor masked; they are compared
    exactly.
    """
    marked = attrs.keys() & {"scale_factor", "add_offset", "_FillValue", "missing_value"}
    return a.dtype.kind in "iu" and b.dtype.kind in "iu" and not marked


def _allowed(shown: np.ndarray, attrs: Mapping[str, Any]) -> tuple[float, float]:
    """Return the difference that is always rounding, and the largest one that can be: a millionth
    and a hundredth of the step between valid neighbours.
    """
    field = shown.copy()
    field[_invalid(field, attrs)] = np.nan
    steps = []
    for axis in range(field.ndim):
        ahead = np.moveaxis(field, axis, 0)
        apart = np.abs(ahead[1:] - ahead[:-1])
        apart = apart[apart > 0]
        if apart.size:
            steps.append(np.median(apart))
    if not steps:
        return 0.0, np.inf
    size = np.nanmedian(np.abs(field))
    step = float(min([*steps, size] if np.nanmax(np.abs(field)) > 0 else steps))
    return step / 1e6, (step / 100 if step else np.inf)


def _invalid(field: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Return where numbers are outside the valid range that the file states, or are not degrees."""
    wrong = ~np.isfinite(field)
    if not attrs.keys() & {"scale_factor", "add_offset"}:
        limits = np.asarray(attrs.get("valid_range", ()))
        least = attrs.get("valid_min", limits[0] if limits.shape == (2,) else None)
        most = attrs.get("valid_max", limits[1] if limits.shape == (2,) else None)
        for limit, beyond in ((least, np.less), (most, np.greater)):
            if isinstance(limit, (int, float, np.integer, np.floating)):
                wrong |= beyond(field, limit)
    if str(attrs.get("units", "")).startswith("degree"):
        wrong |= np.abs(field) > _FILLER_DEGREES
    return np.asarray(wrong)
