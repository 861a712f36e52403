"""The truth of these tests: each file opened alone by stock xarray and netCDF4, against what a stock reader of references sees.

Nothing of esgvzarr takes part in the comparison, least of all ``esgvzarr.verify``, which is judged by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import xarray

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.generate import make_references
from esgvzarr.model import ReferenceSet, Report
from esgvzarr.outputs.kerchunk import encode
from esgvzarr.testing import DATASET_ID
from esgvzarr.verify import verify

CFTIME = xarray.coders.CFDatetimeCoder(use_cftime=True)
_OURS = {"esgvzarr_segments", "esgvzarr_recipe"}
_TIES = {"units", "calendar", "bounds", "coordinates"}
"""What ties variables together or may be rebased is one file's; all else that is shown, all files have."""


def record_of(paths: Sequence[Path]) -> DatasetRecord:
    """A dataset of local files; the references state their paths."""
    files = tuple(FileRecord(path.name, str(path), size=path.stat().st_size) for path in paths)
    return DatasetRecord(DatasetId.parse(DATASET_ID), "", files)


def make(paths: Sequence[Path]) -> tuple[ReferenceSet, bytes]:
    """References of the files, and the document that is written of them."""
    with Transport() as transport:
        references = make_references(record_of(paths), transport)
    return references, encode(references)


def proof(document: bytes, paths: Sequence[Path], **options: Any) -> Report:
    """What ``esgvzarr.verify`` says of them."""
    with Transport() as transport:
        return verify(document, record_of(paths).files, transport, location="test", dataset_id=DATASET_ID, **options)


def groups(document: bytes) -> list[str]:
    """Paths of the groups with arrays."""
    refs = orjson.loads(document)["refs"]
    return sorted({key.removesuffix("/.zarray").rpartition("/")[0] for key in refs if key.endswith("/.zarray")})


def shown(document: bytes, group: str = "", **options: Any) -> xarray.Dataset:
    """One group as stock xarray and kerchunk read it."""
    references = orjson.loads(document)
    if group:
        where = {"fo": references, "skip_instance_cache": True}
        return xarray.open_dataset(
            f"reference://{group}", engine="zarr", consolidated=False, chunks=None, storage_options=where, **options
        )
    return xarray.open_dataset(
        references,
        engine="kerchunk",
        storage_options={"skip_instance_cache": True},
        open_dataset_options={"chunks": None, **options},
    )  # type: ignore[arg-type]


def truths(paths: Sequence[Path], **options: Any) -> list[xarray.Dataset]:
    """Each file with time steps alone, in time order, a file listed twice once."""
    opened = []
    for path in sorted(set(paths)):
        with xarray.open_dataset(path, engine="netcdf4", decode_times=CFTIME) as times:
            first = str(times["time"].values[0]) if "time" in times.variables and times["time"].size else ""
            empty = "time" in times.dims and not times.sizes["time"]
        if not empty:
            opened.append((first, xarray.open_dataset(path, engine="netcdf4", **options)))
    return [dataset for _, dataset in sorted(opened, key=lambda pair: pair[0])]


def differences(
    document: bytes, paths: Sequence[Path], time: str = "time", show: Callable[..., xarray.Dataset] = shown
) -> list[str]:
    """Everything in which a reader sees other than the files hold: decoded, and as stored.

    ``show`` opens a group of the document, or of what else shows the same.
    """
    found: list[str] = []
    for options in ({"decode_times": CFTIME}, {"decode_cf": False}):
        raw = "decode_cf" in options
        every = truths(paths, **options)
        files = [*every]
        for group in groups(document):
            dataset, begin = show(document, group, **options), 0
            own: list[xarray.Dataset] = []
            while files and (begin < dataset.sizes.get(time, 0) or not own):
                file = files.pop(0)
                length = file.sizes.get(time, 0)
                found += [
                    f"/{group} step {begin}: {text}" for text in _compare(dataset, file, slice(begin, begin + length), time, raw)
                ]
                begin += length
                own.append(file)
            if begin != dataset.sizes.get(time, 0):
                found.append(f"/{group} shows {dataset.sizes.get(time, 0)} steps, its files have {begin}")
            found += _compare_attrs(dataset, own, every, raw, time)
        found += [f"{len(files)} files are not shown"] if files else []
    return found


def joined_differences(joined: xarray.Dataset, paths: Sequence[Path], time: str = "time") -> list[str]:
    """Everything in which segments joined along time are not the decoded files put one after the other."""
    begin, found = 0, []
    for file in truths(paths, decode_times=CFTIME):
        steps = slice(begin, begin + file.sizes[time])
        for name in file.variables:
            there = file.variables[name].values
            part = joined.variables[name]
            here = (part.isel({time: steps}) if time in part.dims else part).values
            promoted = there.astype(here.dtype) if there.dtype.kind in "iuf" else there
            if here.shape != there.shape or not _equal(here, promoted, static=time not in part.dims):
                found.append(f"{name} at step {begin}")
        begin = steps.stop
    return found if begin == joined.sizes[time] else [*found, f"{joined.sizes[time]} steps, the files have {begin}"]


def _compare(dataset: xarray.Dataset, file: xarray.Dataset, steps: slice, time: str, raw: bool) -> Iterator[str]:
    if set(dataset.variables) != set(file.variables):
        yield f"variables {set(dataset.variables) ^ set(file.variables)}"
    if set(dataset.coords) != set(file.coords):
        yield f"coordinates {set(dataset.coords) ^ set(file.coords)}"
    rebased = (
        {time, *(file.variables[time].attrs.get(role) for role in ("bounds", "climatology"))} if time in file.variables else set()
    )
    for name in set(dataset.variables) & set(file.variables):
        here, there = dataset.variables[name], file.variables[name]
        here = here.isel({time: steps}) if time in here.dims else here
        if here.dims != there.dims or here.shape != there.shape:
            yield f"{name} is {here.dims} {here.shape}, not {there.dims} {there.shape}"
            continue
        if raw and name in rebased:
            continue
        a, b = np.asarray(here.values), np.asarray(there.values)
        if not _same_type(a, b):
            yield f"{name} is of {a.dtype}, not {b.dtype} (raw: {raw})"
        elif not _equal(a, b, static=time not in here.dims):
            yield f"{name} has other values (raw: {raw})"


def _same_type(a: np.ndarray, b: np.ndarray) -> bool:
    if {a.dtype.kind, b.dtype.kind} <= set("OUT"):
        return True
    return a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")


def _equal(a: np.ndarray, b: np.ndarray, static: bool) -> bool:
    if a.dtype.kind in "OSUT":
        return [str(x) for x in a.ravel().tolist()] == [str(x) for x in b.ravel().tolist()]
    if static and a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=0, atol=1e-12, equal_nan=True))
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM"))


def _compare_attrs(
    dataset: xarray.Dataset, files: Sequence[xarray.Dataset], every: Sequence[xarray.Dataset], raw: bool, time: str
) -> Iterator[str]:
    """Those of variables along time against the group's files, all others against all files."""
    pairs = [("global", dataset.attrs, [file.attrs for file in every])]
    pairs += [
        (str(name), variable.attrs, [file.variables[name].attrs for file in (files if time in variable.dims else every)])
        for name, variable in dataset.variables.items() if all(name in file.variables for file in every)
    ]  # fmt: skip
    for name, here, all_attrs in pairs:
        for key in {key for attrs in all_attrs for key in attrs} | set(here):
            versions = [_plain(attrs[key]) for attrs in all_attrs if key in attrs]
            agreed = len(versions) == len(all_attrs) and all(version == versions[0] for version in versions)
            if raw and key in ("units", "calendar") and name.startswith("time"):
                continue
            known = [version for version in versions if key in _TIES or agreed]
            if key in here and _plain(here[key]) not in known and key not in _OURS:
                yield f"{name}:{key} = {here[key]!r} is shown, the files have {versions} (raw: {raw})"
            if agreed and key not in here and not _nothing(key, versions[0]):
                yield f"{name}:{key} = {versions[0]!r} is not shown (raw: {raw})"


def _nothing(key: str, value: Any) -> bool:
    """A missing_value of NaN says nothing of data whose NaNs are NaN anyway."""
    return key in ("missing_value", "_FillValue") and set(value) == {"NaN"}


def _plain(value: Any) -> list[str]:
    """As JSON has it: numbers without a type, words for what is not finite."""
    return [_word(x) for x in np.ravel(value).tolist()]


def _word(value: Any) -> str:
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(str(value)) or str(
            int(value) if value.is_integer() else value
        )
    return value.decode() if isinstance(value, bytes) else str(value)
