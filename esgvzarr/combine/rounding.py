"""Decide whether two fields differ only by rounding (rule 14). No input or output.

The tolerance is derived from valid numbers only, so that a filler such as 1e20 among latitudes
cannot widen it. Each place of the field has its own tolerance, the larger of

* one step of single precision of the number itself, but at most a hundredth of the usual step of
  the field, and
* a millionth of the usual step of the field.

The usual step is the median of the differences of unequal neighbours, along the axis where it is
smallest, and at most the median size of the numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_SINGLE = 2.0**-23
"""One step of single precision, as a fraction of the number."""
_PART_OF_STEP = 1e-6
_MOST_OF_STEP = 1e-2
_MOST_DEGREES = 720.0
"""A number of degrees above this size is a filler."""


def usual_step(values: np.ndarray, attrs: Mapping[str, Any]) -> float:
    """Return the usual distance between neighbours; 0.0 if there is none.

    Args:
        values: unpacked values; missing ones are NaN.
        attrs: attributes of the variable; values that they exclude are left out.
    """
    valid = np.where(_valid(values, attrs), values, np.nan)
    medians = []
    for axis in range(valid.ndim):
        steps = np.abs(np.diff(valid, axis=axis)).ravel()
        steps = steps[steps > 0]
        if len(steps):
            medians.append(float(np.median(steps)))
    if not medians:
        return 0.0
    sizes = np.abs(valid[np.isfinite(valid)])
    return min(*medians, float(np.median(sizes))) if sizes.any() else min(medians)


def tolerance(a: np.ndarray, b: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Return how far ``b`` may differ from ``a`` at each place. The usual step is that of ``a``."""
    step = usual_step(a, attrs)
    single = _SINGLE * np.maximum(np.abs(a), np.abs(b))
    if step > 0:
        single = np.minimum(single, _MOST_OF_STEP * step)
    return np.asarray(np.maximum(single, _PART_OF_STEP * step))


def _valid(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Return where numbers are valid according to the file, and possible for their units."""
    low, high = _valid_range(attrs)
    valid = np.isfinite(values) & (values >= low) & (values <= high)
    if str(attrs.get("units", "")).startswith("degree"):
        valid &= np.abs(values) <= _MOST_DEGREES
    return np.asarray(valid)


def _valid_range(attrs: Mapping[str, Any]) -> tuple[float, float]:
    """Return ``valid_range``, or ``valid_min`` and ``valid_max``. Those of packed numbers are in
    other units, and are ignored.
    """
    low = -np.inf
    high = np.inf
    if "scale_factor" in attrs or "add_offset" in attrs:
        return low, high
    both = np.ravel(attrs.get("valid_range", ()))
    if both.size == 2 and both.dtype.kind in "iuf":
        low = float(both[0])
        high = float(both[1])
    least = np.ravel(attrs.get("valid_min", ()))
    if least.size == 1 and least.dtype.kind in "iuf":
        low = float(least[0])
    most = np.ravel(attrs.get("valid_max", ()))
    if most.size == 1 and most.dtype.kind in "iuf":
        high = float(most[0])
    return low, high
