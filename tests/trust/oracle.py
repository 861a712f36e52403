"""The truth of these tests: each file opened alone by stock xarray and netCDF4, against what a
stock reader of references sees.

Nothing of esgvzarr takes part in the comparison, least of all ``esgvzarr.proof``, which is judged
by it.
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
from esgvzarr.output import Artefact, named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify
from esgvzarr.testing import DATASET_ID
from esgvzarr.testing.truth import (
    CFTIME,
    dates_of,
    equal,
    joined_differences,
    places_of,
    steps_of,
)
from esgvzarr.testing.truth import open_alone as truths

__all__ = ["CFTIME", "joined_differences", "truths"]

_OURS = {"esgvzarr_segments", "esgvzarr_recipe", "esgvzarr_concat_dim"}
_TIES = {"units", "calendar", "bounds", "coordinates"}
"""What ties variables together or may be rebased is one file's; all else that is shown, all files
have.
"""


def record_of(paths: Sequence[Path], dataset_id: str = DATASET_ID) -> DatasetRecord:
    """A dataset of local files; the references state their paths."""
    files = tuple(FileRecord(path.name, str(path), size=path.stat().st_size) for path in paths)
    return DatasetRecord(DatasetId.parse(dataset_id), "", files)


def make(paths: Sequence[Path], dataset_id: str = DATASET_ID) -> tuple[ReferenceSet, bytes]:
    """References of the files, and the document that is written of them."""
    with Transport() as transport:
        references = make_references(record_of(paths, dataset_id), transport)
    return references, encode(references)


def proof(document: bytes, paths: Sequence[Path], **options: Any) -> Report:
    """What ``esgvzarr.proof`` says of a document."""
    with Transport() as transport:
        artefact = named("json").parse(document, "test", transport)
    return proof_of(artefact, paths, **options)


def proof_of(artefact: Artefact, paths: Sequence[Path], **options: Any) -> Report:
    """What ``esgvzarr.proof`` says of any output."""
    with Transport() as transport:
        return verify(
            artefact,
            record_of(paths).files,
            transport,
            location="test",
            **{"dataset_id": DATASET_ID, **options},
        )


def groups(document: bytes) -> list[str]:
    """Paths of the groups with arrays."""
    refs = orjson.loads(document)["refs"]
    return sorted(
        {
            key.removesuffix("/.zarray").rpartition("/")[0]
            for key in refs
            if key.endswith("/.zarray")
        }
    )


def shown(document: bytes, group: str = "", **options: Any) -> xarray.Dataset:
    """One group as stock xarray and kerchunk read it."""
    references = orjson.loads(document)
    if group:
        where = {"fo": references, "skip_instance_cache": True}
        return xarray.open_dataset(
            f"reference://{group}",
            engine="zarr",
            consolidated=False,
            chunks=None,
            storage_options=where,
            **options,
        )
    return xarray.open_dataset(
        references,
        engine="kerchunk",
        storage_options={"skip_instance_cache": True},
        open_dataset_options={"chunks": None, **options},
    )  # type: ignore[arg-type]


def differences(
    document: bytes,
    paths: Sequence[Path],
    time: str = "time",
    show: Callable[..., xarray.Dataset] = shown,
) -> list[str]:
    """Everything in which a reader sees other than the files hold: decoded, and as stored. Each
    step of each file is compared.

    ``show`` opens a group of the document, or of what else shows the same.
    """
    decoded = {group: show(document, group, decode_times=CFTIME) for group in groups(document)}
    as_stored = {group: show(document, group, decode_cf=False) for group in decoded}
    files_decoded = truths(paths, decode_times=CFTIME)
    files_as_stored = [
        xarray.open_dataset(file.encoding["source"], engine="netcdf4", decode_cf=False)
        for file in files_decoded
    ]
    places = {group: places_of(dataset, files_decoded, time) for group, dataset in decoded.items()}
    steps = [(group, steps_of(dataset, time)) for group, dataset in decoded.items()]
    found = [f"/{group} shows a step twice" for group, own in steps if len(set(own)) != len(own)]
    served = _served(document)
    for datasets, files in ((decoded, files_decoded), (as_stored, files_as_stored)):
        raw = files is files_as_stored
        times_shown = [0] * len(files)
        for group, dataset in datasets.items():
            covered = set[int]()
            for number, (here, there) in places[group].items():
                times_shown[number] += len(here)
                covered |= set(here)
                differing = _compare(dataset, files[number], (here, there), time, raw)
                found += [
                    f"/{group} {files[number].encoding['source']}: {text}" for text in differing
                ]
            if len(covered) != dataset.sizes.get(time, 0):
                found.append(
                    f"/{group} shows {dataset.sizes.get(time, 0)} steps, its files have "
                    f"{len(covered)}"
                )
            of_group = served[group] or {files[n].encoding["source"] for n in places[group]}
            own = [file for file in files if file.encoding["source"] in of_group]
            every = [file for file in files if file.encoding["source"] in served["all"]]
            found += _compare_attrs(dataset, own, every, raw, time)
        for file, count in zip(files, times_shown, strict=True):
            if count != file.sizes.get(time, 0):
                found.append(
                    f"{count} of {file.sizes.get(time, 0)} steps of {file.encoding['source']} "
                    "are shown"
                )
    return found


def _served(document: bytes) -> dict[str, set[str]]:
    """Group -> the files that it refers to, none where all is inline; and under ``all`` those that
    the provenance names.
    """
    parsed = orjson.loads(document)
    stated = {one["url"] for one in orjson.loads(parsed["provenance"])["files"]}
    found: dict[str, set[str]] = {group: set() for group in groups(document)}
    for key, value in parsed["refs"].items():
        group = key.rpartition("/")[0].rpartition("/")[0]
        if isinstance(value, list) and group in found:
            found[group].add(value[0])
    return {**found, "all": stated}


def _compare(
    dataset: xarray.Dataset,
    file: xarray.Dataset,
    steps: tuple[list[int], list[int]],
    time: str,
    raw: bool,
) -> Iterator[str]:
    if set(dataset.variables) != set(file.variables):
        yield f"variables {set(dataset.variables) ^ set(file.variables)}"
    if set(dataset.coords) != set(file.coords):
        yield f"coordinates {set(dataset.coords) ^ set(file.coords)}"
    rebased = (
        {time, "time_bnds", "average_T1"}
        | {file.variables[time].attrs.get(role) for role in ("bounds", "climatology")}
        if time in file.variables
        else set()
    )
    for name in set(dataset.variables) & set(file.variables):
        here = dataset.variables[name]
        there = file.variables[name]
        here = here.isel({time: steps[0]}) if time in here.dims else here
        there = there.isel({time: steps[1]}) if time in there.dims else there
        if here.dims != there.dims or here.shape != there.shape:
            yield f"{name} is {here.dims} {here.shape}, not {there.dims} {there.shape}"
            continue
        if raw and name in rebased:
            continue
        a = np.asarray(here.values)
        b = np.asarray(there.values)
        decoded = "units" in file.variables[time].encoding if time in file.variables else False
        if name == "time_bnds" and decoded and a.dtype.kind == b.dtype.kind == "f":
            a, b = (dates_of(part, of, time) for part, of in ((a, dataset), (b, file)))
        static = time not in here.dims
        if not _same_type(a, b) and not (static and a.dtype.kind == b.dtype.kind == "f"):
            yield f"{name} is of {a.dtype}, not {b.dtype} (raw: {raw})"
        elif not equal(a, b, static=static):
            yield f"{name} has other values (raw: {raw})"


def _same_type(a: np.ndarray, b: np.ndarray) -> bool:
    if {a.dtype.kind, b.dtype.kind} <= set("OUT"):
        return True
    return a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")


def _compare_attrs(
    dataset: xarray.Dataset,
    files: Sequence[xarray.Dataset],
    every: Sequence[xarray.Dataset],
    raw: bool,
    time: str,
) -> Iterator[str]:
    """Those of variables along time against the group's files, all others against all files."""
    pairs = [("global", dataset.attrs, [file.attrs for file in every])]
    pairs += [
        (
            str(name),
            variable.attrs,
            [file.variables[name].attrs for file in (files if time in variable.dims else every)],
        )
        for name, variable in dataset.variables.items()
        if all(name in file.variables for file in every)
    ]
    for name, here, all_attrs in pairs:
        for key in {key for attrs in all_attrs for key in attrs} | set(here):
            versions = [_plain(attrs[key]) for attrs in all_attrs if key in attrs]
            agreed = len(versions) == len(all_attrs) and all(
                version == versions[0] for version in versions
            )
            if raw and key in ("units", "calendar") and name in ("time", "time_bnds", "average_T1"):
                continue
            known = [version for version in versions if key in _TIES or agreed]
            if key in here and _plain(here[key]) not in known and key not in _OURS:
                yield (
                    f"{name}:{key} = {here[key]!r} is shown, the files have {versions} (raw: {raw})"
                )
            hidden = key in _OURS or _nothing(key, versions[0]) if agreed else True
            if key not in here and not hidden:
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
    if isinstance(value, str) and value not in ("NaN", "Infinity", "-Infinity"):
        return f"the text {value}"
    return value.decode() if isinstance(value, bytes) else str(value)
