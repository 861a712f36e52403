"""Scanned files that are in memory alone, for tests of the rules and of what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from esgvzarr import FileRecord
from esgvzarr.model import ChunkTable, FileReferences, Series, Variable

DAYS = {"units": "days since 2000-01-01", "calendar": "noleap"}


def variable(name: str, dims: str, values: Any, **attrs: Any) -> Variable:
    """A variable with its values, stored in one piece. ``dims`` are separated by blanks."""
    held = np.asarray(values)
    fill_value = attrs.pop("_FillValue", None)
    size = np.array([held.nbytes])
    chunks = ChunkTable(np.zeros((1, held.ndim), np.int64), np.zeros(1, np.int64), size)
    return Variable(
        name,
        tuple(dims.split()),
        held.shape,
        held.dtype,
        attrs,
        fill_value,
        held.shape,
        (),
        chunks,
        values=held,
    )


def file(
    *variables: Variable, number: int = 1, attrs: Mapping[str, Any] | None = None
) -> FileReferences:
    """A scanned file."""
    name = f"tas_{number}.nc"
    sizes: dict[str, int] = {}
    for one in variables:
        sizes.update(zip(one.dims, one.shape, strict=True))
    return FileReferences(
        FileRecord(name, f"https://node.example/{name}"),
        "hdf5",
        sizes,
        attrs or {},
        {one.name: one for one in variables},
        1000,
    )


def series(*files: FileReferences, time: str | None = None) -> Series:
    """Files that follow each other: their times are in days since 2000, of a year of 365 days."""
    times: Sequence[np.ndarray] = [np.empty(0, np.int64) for _ in files]
    if time is not None:
        days = [np.asarray(one.variables[time].values) for one in files]
        times = [(numbers * 86_400_000_000).astype(np.int64) for numbers in days]
    return Series(tuple(files), time, tuple(times))
