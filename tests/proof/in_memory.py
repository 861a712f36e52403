"""Datasets, groups and references that are in memory alone, for tests of what the proof works out
before any data are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray

from esgvzarr import FileRecord
from esgvzarr.cf import time_name
from esgvzarr.output.contents import Contents, StoredChunks
from esgvzarr.proof.reference_side import ShownGroup, StatedChunks, described, stated, times_of

FILE = FileRecord("tas_1.nc", "https://node.example/tas_1.nc")
DAYS = {"units": "days since 2000-01-01", "calendar": "noleap"}


def dataset(
    days: Sequence[float], *, lat: int = 4, data: Any = None, **time_attrs: Any
) -> xarray.Dataset:
    """Air temperature at some days and latitudes, not decoded."""
    shape = (len(days), lat)
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape) if data is None else data
    return xarray.Dataset(
        {"tas": (("time", "lat"), values, {"units": "K"})},
        {
            "time": ("time", np.asarray(days, "f8"), {**DAYS, **time_attrs}),
            "lat": ("lat", np.linspace(-60.0, 60.0, lat), {"units": "degrees_north"}),
        },
    )


def group(opened: xarray.Dataset, path: str = "", chunks: Any = None) -> ShownGroup:
    """A group that shows a dataset. ``chunks`` are those of its data."""
    if chunks is not None:
        opened.variables["tas"].encoding["chunks"] = chunks
    time = time_name(described(opened))
    return ShownGroup(path, opened, time, times_of(opened, time))


def references(
    keys: Mapping[str, Iterable[Sequence[int]]] | None = None,
    inline: Mapping[str, Iterable[Sequence[int]]] | None = None,
    *,
    size: int = 16,
) -> StatedChunks:
    """What references state: array -> keys of the chunks in the file, one after the other, and of
    those that the output holds.
    """
    arrays = {}
    for name in {**(keys or {}), **(inline or {})}:
        places = _table((keys or {}).get(name, ()))
        count = len(places)
        arrays[name] = StoredChunks(
            places,
            np.zeros(count, np.int64),
            np.arange(count, dtype=np.int64) * size,
            np.full(count, size),
            _table((inline or {}).get(name, ())),
        )
    return stated(Contents((FILE.url,), arrays, {}, {}))


def _table(keys: Iterable[Sequence[int]]) -> np.ndarray:
    rows = [tuple(key) for key in keys]
    return np.array(rows, np.int64).reshape(len(rows), -1 if rows else 2)
