"""Variables as a scan leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from esgvzarr.model import ChunkTable, Variable

NO_CHUNKS = ChunkTable(np.empty((0, 0), "i8"), np.empty(0, "i8"), np.empty(0, "i8"))


def variable(
    name: str,
    dims: tuple[str, ...] = (),
    values: Any = None,
    *,
    attrs: Mapping[str, Any] | None = None,
    fill_value: Any = None,
    dtype: str = "f8",
    shape: tuple[int, ...] | None = None,
) -> Variable:
    """A variable whose values, if there are any, were read."""
    array = None if values is None else np.asarray(values)
    size = shape or (array.shape if array is not None else (2,) * len(dims))
    kind = array.dtype if array is not None else np.dtype(dtype)
    return Variable(
        name, dims, size, kind, dict(attrs or {}), fill_value, size, (), NO_CHUNKS, values=array
    )


def named(*variables: Variable) -> dict[str, Variable]:
    """By their names."""
    return {one.name: one for one in variables}
