"""Many files as one: time rebased, chunks put one after the other, fixed fields stored once. Pure, and the same every time.

``MultiZarrToZarr`` is not used: it takes coordinates from file names or first files and fills what does not fit, without a word.
Here the checks have passed before, and everything is arithmetic on chunk keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import cf
from ..model import Array, DatasetId, FileReferences, Group, ReferenceSet, Series, Variable
from ..version import __version__
from .arrays import inline_array, referenced_array
from .runs import Run, split

INLINE_FIXED = 64 * 1024
"""Bytes up to which a fixed field is copied into the reference file."""
INLINE_MOVING = 8 * 2**20
"""Bytes, over all files, up to which what changes with time and is no data is copied."""
_STRUCTURAL = ("bounds", "climatology", "coordinates", "grid_mapping", "formula_terms", "calendar", "units")


def combine(series: Series, dataset_id: DatasetId) -> ReferenceSet:
    """The references of a whole dataset.

    Files that form one grid become one root group. Others become one group per run of files, ``seg-000``, ``seg-001``...; the root
    then holds no arrays, so that no part is ever taken for the whole.

    Raises:
        FormatError: a file's data cannot be stated.
    """
    inlined = _inlined(series)
    runs = split(series, inlined)
    units = _common_units(series)
    common = _equal_attrs([file.attrs for file in series.files])
    if len(runs) == 1:
        groups = (Group("", common, _arrays(series, runs[0], inlined, units), runs[0].files),)
    else:
        names = [f"seg-{number:03}" for number in range(len(runs))]
        segments = tuple(
            Group(name, common, _arrays(series, run, inlined, units), run.files) for name, run in zip(names, runs, strict=True)
        )
        recipe = {"esgvzarr_segments": names, "esgvzarr_recipe": _RECIPE.format(time=series.time)}
        groups = (Group("", {**common, **recipe}, ()), *segments)
    return ReferenceSet(dataset_id, series.files, groups, _provenance(series, dataset_id, common), series.warnings)


_RECIPE = (
    "The files of this dataset do not form one grid. Open each group named in esgvzarr_segments and join them along {time!r}: "
    "esgvzarr.open_dataset(href) does, or xarray.concat([xarray.open_dataset(f'reference://{{name}}', engine='zarr', "
    "consolidated=False, storage_options={{'fo': href}}) for name in names], dim={time!r}, data_vars='minimal', coords='minimal', "
    "compat='override', join='override', combine_attrs='drop_conflicts')."
)


def _inlined(series: Series) -> set[str]:
    """The variables whose values go into the reference file: no data, and small, or impossible to refer to."""
    first = series.files[0]
    data = cf.data_names(first.variables, series.time)
    names = set()
    for name, variable in first.variables.items():
        versions = [file.variables[name] for file in series.files] if series.time in variable.dims else [variable]
        if any(version.values is None for version in versions):
            continue
        size = sum(version.values.nbytes for version in versions if version.values is not None)
        unreferable = any(version.values is not None and version.values.size and not len(version.chunks) for version in versions)
        limit = INLINE_MOVING if series.time in variable.dims else INLINE_FIXED
        if unreferable or variable.dims == (name,) or (name not in data and size <= limit) or _rebased(series, name):
            names.add(name)
    return names


def _rebased(series: Series, name: str) -> bool:
    """Whether the variable shares time's units, and these differ between the files."""
    if series.time is None or name not in cf.time_companions(series.files[0].variables, series.time):
        return False
    return len({str(file.variables[series.time].attrs.get("units")) for file in series.files}) > 1


def _arrays(series: Series, run: Run, inlined: set[str], units: str | None) -> tuple[Array, ...]:
    files = [series.files[number] for number in run.files]
    companions = cf.time_companions(files[0].variables, series.time) if series.time else ()
    arrays = []
    for name, variable in files[0].variables.items():
        moving = series.time is not None and series.time in variable.dims
        versions = [file.variables[name] for file in files] if moving else [variable]
        attrs = _variable_attrs(versions)
        if name in inlined and (name == series.time or name in companions):
            values, attrs = _time_values(files, name, series.time or "", units or "", attrs)
            arrays.append(inline_array(_without_fill(variable, versions), values, attrs))
        elif name in inlined:
            axis = variable.dims.index(series.time or "") if moving else None
            arrays.append(inline_array(variable, _joined(versions, axis), attrs))
        else:
            parts = [(number, file, file.variables[name]) for number, file in zip(run.files, files, strict=True)]
            axis = variable.dims.index(series.time or "") if moving else None
            arrays.append(referenced_array(parts if moving else parts[:1], axis, run.steps.get(name), attrs))
    return tuple(arrays)


def _joined(versions: Sequence[Variable], axis: int | None) -> np.ndarray:
    values = [version.values for version in versions if version.values is not None]
    return values[0] if axis is None else np.concatenate(values, axis)


def _without_fill(variable: Variable, versions: Sequence[Variable]) -> Variable:
    """Time has no missing values: a _FillValue that only some files state is dropped."""
    return variable if len({str(version.fill_value) for version in versions}) == 1 else replace(variable, fill_value=None)


def _common_units(series: Series) -> str | None:
    """Units in which the times of all files, and their bounds, can be said to the microsecond."""
    if series.time is None:
        return None
    units = list(dict.fromkeys(str(file.variables[series.time].attrs.get("units")) for file in series.files))
    if len(units) == 1:
        return units[0]
    since = units[0].split("since", 1)[1].strip()
    candidates = [*units, *(f"{unit} since {since}" for unit in ("hours", "minutes", "seconds", "microseconds"))]
    names = (series.time, *cf.time_companions(series.files[0].variables, series.time))
    return next(target for target in candidates if all(_moved(file, name, series.time, target) is not None for file in series.files for name in names))


def _moved(file: FileReferences, name: str, time: str, target: str) -> np.ndarray | None:
    """The values of time, or of a companion, in ``target`` units; as they are where the units are the same."""
    variable, attrs = file.variables[name], file.variables[time].attrs
    units = str(variable.attrs.get("units", attrs.get("units")))
    if variable.values is None or units == target:
        return variable.values
    return cf.rebase(variable.values, units, target, cf.calendar_of(attrs))


def _time_values(
    files: Sequence[FileReferences], name: str, time: str, units: str, attrs: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The values over all files in one unit, and attributes that say so (rule 5)."""
    parts = [moved for file in files if (moved := _moved(file, name, time, units)) is not None]
    dtype = parts[0].dtype if len({part.dtype for part in parts}) == 1 else np.result_type(*parts)
    rebased = {**attrs, "units": units} if "units" in files[0].variables[name].attrs else dict(attrs)
    return np.concatenate([part.astype(dtype) for part in parts], files[0].variables[name].dims.index(time)), rebased


def _variable_attrs(versions: Sequence[Variable]) -> dict[str, Any]:
    """What all files say of a variable (rule 16); what ties variables together is the first file's."""
    common = _equal_attrs([version.attrs for version in versions])
    first = versions[0].attrs
    return {name: common.get(name, first[name]) for name in first if name in common or name in _STRUCTURAL}


def _equal_attrs(all_attrs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = all_attrs[0]
    return {name: value for name, value in first.items() if all(name in attrs and _same(value, attrs[name]) for attrs in all_attrs[1:])}


def _same(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    numbers = a.dtype.kind in "f" and b.dtype.kind in "f"
    return a.dtype.kind == b.dtype.kind and bool(np.array_equal(a, b, equal_nan=numbers))


def _provenance(series: Series, dataset_id: DatasetId, common: Mapping[str, Any]) -> dict[str, Any]:
    """What the references were made from. Nothing in it changes from run to run over the same files."""
    return {
        "generator": f"esgvzarr {__version__}",
        "dataset_id": str(dataset_id),
        "files": [
            _file_provenance(file, times, series, common) for file, times in zip(series.files, series.times, strict=True)
        ],
        "left_out": [file.file.url for file in series.left_out],
        "warnings": [str(finding) for finding in series.warnings],
    }  # fmt: skip


def _file_provenance(file: FileReferences, times: np.ndarray, series: Series, common: Mapping[str, Any]) -> dict[str, Any]:
    record = file.file
    facts: dict[str, Any] = {
        "url": record.url, "size": file.size, "checksum": record.checksum, "checksum_type": record.checksum_type,
        "tracking_id": record.tracking_id or file.attrs.get("tracking_id"), "etag": file.etag, "last_modified": file.last_modified,
    }  # fmt: skip
    if len(times) and series.time:
        calendar = cf.calendar_of(file.variables[series.time].attrs)
        facts |= {"time_start": cf.date_text(times[0], calendar), "time_end": cf.date_text(times[-1], calendar)}
    facts["attributes"] = {name: value for name, value in file.attrs.items() if name not in common}
    return {name: value for name, value in facts.items() if value is not None}
