"""The expected values for references: each file opened alone by stock xarray and netCDF4, compared
with what a reader of references sees.

The comparison uses nothing else of esgvzarr, in particular not ``esgvzarr.proof``, which is tested
with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cftime
import numpy as np
import xarray

CFTIME = xarray.coders.CFDatetimeCoder(use_cftime=True)
UNNAMED_BOUNDS = "time_bnds"
"""Names of bounds that are dates in the units of time, even if time does not name them."""


def open_alone(paths: Sequence[Path], **options: Any) -> list[xarray.Dataset]:
    """Open each file with time steps alone, in time order; a file listed twice is opened once."""
    opened = []
    for path in sorted(set(paths)):
        dataset = xarray.open_dataset(path, engine="netcdf4", decode_times=CFTIME)
        is_timed = "time" in dataset.variables and dataset["time"].size
        first = str(dataset["time"].values[0]) if is_timed else ""
        is_empty = "time" in dataset.dims and not dataset.sizes["time"]
        if is_empty or options != {"decode_times": CFTIME}:
            dataset.close()
        if is_empty:
            continue
        if options != {"decode_times": CFTIME}:
            dataset = xarray.open_dataset(path, engine="netcdf4", **options)
        opened.append((first, dataset))
    return [dataset for _, dataset in sorted(opened, key=lambda pair: pair[0])]


def joined_differences(
    joined: xarray.Dataset, paths: Sequence[Path], time: str = "time"
) -> list[str]:
    """Yield every difference between a dataset opened from references and the decoded files in time
    order, each step once. Each text begins with the name of what differs.
    """
    files = open_alone(paths, decode_times=CFTIME)
    places = places_of(joined, files, time)
    found = list(_misplaced_steps(joined, files, places, time))
    for number, (here, there) in places.items():
        for name in files[number].variables:
            if _differs(str(name), joined.isel({time: here} if here else {}), files[number], time):
                found.append(f"{name} at step {here[0] if here else 0}")
        missing = files[number].sizes.get(time, 0) - len(there)
        if missing:
            found.append(f"{time}: {missing} steps of {files[number].encoding['source']} not shown")
    return found


def _misplaced_steps(
    joined: xarray.Dataset,
    files: Sequence[xarray.Dataset],
    places: dict[int, tuple[list[int], list[int]]],
    time: str,
) -> Iterator[str]:
    """Yield steps that no file has, that are shown twice, or that are not in time order."""
    shown = steps_of(joined, time)
    if len(set(shown)) != len(shown):
        yield f"{time} shows a step twice"
    covered = set[int]()
    for number, file in enumerate(files):
        here = places[number][0] if number in places else []
        covered |= set(here)
        if here != sorted(here):
            yield f"{time} is not in the order of {file.encoding['source']}"
        if number not in places:
            yield f"{time}: no step of {file.encoding['source']} is shown"
    if len(covered) != len(shown):
        yield f"{time}: {len(shown)} steps, the files have {len(covered)}"
    timed = [dataset.variables[time] for dataset in files if time in dataset.variables]
    ordered = all(_rises(variable.values) for variable in timed)
    if ordered and time in joined.variables and not _rises(joined.variables[time].values):
        yield f"{time} does not rise"


def _rises(values: np.ndarray) -> bool:
    """Whether dates increase; false if one is missing."""
    try:
        return bool(np.all(values[1:] > values[:-1])) if values.ndim else True
    except TypeError:
        return False


def _differs(name: str, shown: xarray.Dataset, file: xarray.Dataset, time: str) -> bool:
    """Whether a variable has other values than in the file; a wider type may hold them."""
    if name not in shown.variables:
        return True
    here = shown.variables[name]
    there = file.variables[name]
    if here.shape != there.shape:
        return True
    a = np.asarray(here.values)
    b = np.asarray(there.values)
    if name == UNNAMED_BOUNDS and a.dtype.kind == b.dtype.kind == "f":
        a = dates_of(a, shown, time)
        b = dates_of(b, file, time)
    if b.dtype.kind in "iuf" and a.dtype.kind in "iuf":
        b = b.astype(a.dtype)
    return not equal(a, b, static=time not in there.dims)


def steps_of(dataset: xarray.Dataset, time: str) -> list[str]:
    """Return each step as text that is the same in references and files."""
    if time not in dataset.variables:
        return []
    values = dataset.variables[time].values
    if values.dtype.kind in "iu":  # Another file may state the same number in floating point.
        values = values.astype(np.float64)
    return [str(step) for step in np.atleast_1d(values)]


def places_of(
    dataset: xarray.Dataset, files: Sequence[xarray.Dataset], time: str
) -> dict[int, tuple[list[int], list[int]]]:
    """Return, for each file, the steps of the dataset and of the file with equal times; without
    time, all steps of all files.
    """
    where = {step: at for at, step in enumerate(steps_of(dataset, time))}
    places = {}
    for number, file in enumerate(files):
        own = steps_of(file, time)
        pairs = [(where[step], at) for at, step in enumerate(own) if step in where]
        if pairs or not own:
            places[number] = ([here for here, _ in pairs], [there for _, there in pairs])
    return places


def dates_of(values: np.ndarray, dataset: xarray.Dataset, time: str) -> np.ndarray:
    """Convert bounds that time does not name, which xarray leaves as numbers, by the units of
    time.
    """
    stated = dataset.variables[time].encoding
    if "units" not in stated:
        return values
    dates = cftime.num2date(values, stated["units"], stated["calendar"])
    texts: np.ndarray = np.vectorize(str, otypes=[object])(dates)
    return texts


def equal(a: np.ndarray, b: np.ndarray, *, static: bool) -> bool:
    """Whether values are equal; values without time may be rounded to single precision."""
    if a.dtype.kind in "OSUT":
        return [str(x) for x in a.ravel().tolist()] == [str(x) for x in b.ravel().tolist()]
    if static and a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=2**-23, atol=1e-12, equal_nan=True))
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM"))
