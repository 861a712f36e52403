"""What stored numbers mean: missing values and packed values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..model import Variable


def meaning(variable: Variable) -> dict[str, Any]:
    """Return the attributes including ``_FillValue``, as netCDF shows them."""
    return (
        dict(variable.attrs)
        if variable.fill_value is None
        else {**variable.attrs, "_FillValue": variable.fill_value}
    )


def missing(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Return where stored ``values`` are the ``_FillValue``, a ``missing_value`` or NaN."""
    found = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, bool)
    for name in ("_FillValue", "missing_value"):
        for mark in np.ravel(attrs.get(name, ())):
            if np.asarray(mark).dtype.kind in "iuf":
                found = found | (values == mark)
    return found


def unpacked(values: np.ndarray, attrs: Mapping[str, Any]) -> np.ndarray:
    """Return the values of stored numbers: NaN for missing ones, else float64 by their packing.
    Text is returned unchanged.
    """
    if values.dtype.kind not in "iuf":
        return values
    absent = missing(values, attrs)
    if str(attrs.get("_Unsigned", "")).lower() == "true" and values.dtype.kind == "i":
        values = values.view(values.dtype.str.replace("i", "u"))
    numbers = values.astype(np.float64) * float(attrs.get("scale_factor", 1)) + float(
        attrs.get("add_offset", 0)
    )
    return np.where(absent, np.nan, numbers)
