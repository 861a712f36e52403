"""Combine many files into one dataset: time is rebased, chunks follow each other, fixed fields are
stored once. No input or output; equal input gives equal results.

``MultiZarrToZarr`` is not used: it takes coordinates from file names or from the first file, and
silently fills what does not fit. Here the rules between files are checked first, and combining is
arithmetic on chunk keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import cf
from ..model import Array, DatasetId, FileReferences, Group, ReferenceSet, Series, Variable
from ..version import __version__
from .arrays import inline_array, referenced_array
from .attributes import equal_attrs, variable_attrs
from .reading import in_pieces, steps_together
from .runs import Border, Run, split
from .times import Reference, common_references, joined_times

INLINE_FIXED = 64 * 1024
"""The most bytes of a fixed field that is copied into the reference file."""
INLINE_MOVING = 8 * 2**20
"""The most bytes, over all files, of a variable along time that is not data and is copied."""


def borders(series: Series) -> list[Border]:
    """Return where the files of a series do not continue one grid of chunks, and why. Empty if they
    form one array.
    """
    found: list[Border] = []
    split(series, _inlined(series, common_references(series)), found.append)
    return found


def combine(series: Series, dataset_id: DatasetId | str) -> ReferenceSet:
    """Make the references of a whole dataset.

    Files that form one grid become one root group. Others become one group per run of files,
    ``seg-000``, ``seg-001``...; the root then holds no arrays, so that readers never take a part
    for the whole.

    Raises:
        FormatError: the data of a file cannot be stated.
    """
    references = common_references(series)
    inlined = _inlined(series, references)
    runs = split(series, inlined)
    common = _global_attrs(series)
    reading: dict[str, Any] = {}
    if len(runs) == 1:
        arrays = _arrays(series, runs[0], inlined, references)
        lengths = [len(times) for times in series.times]
        steps = steps_together(arrays, series.time, lengths)
        if steps:
            reading = {"dimension": series.time, "steps": steps}
            arrays = tuple(_for_tasks(array, str(series.time), steps) for array in arrays)
        groups: tuple[Group, ...] = (Group("", common, arrays, runs[0].files),)
    else:
        names = [f"seg-{number:03}" for number in range(len(runs))]
        segments = tuple(
            Group(name, common, _arrays(series, run, inlined, references), run.files)
            for name, run in zip(names, runs, strict=True)
        )
        reading = {"dimension": series.time, "segments": len(names)}
        parts = {"esgvzarr_segments": names, "esgvzarr_concat_dim": series.time}
        groups = (Group("", {**parts, **common}, ()), *segments)
    facts = _provenance(series, dataset_id, common)
    if reading:
        facts["reading"] = reading
    return _each_file_once(ReferenceSet(dataset_id, series.files, groups, facts, series.warnings))


_OURS = ("esgvzarr_segments", "esgvzarr_concat_dim", "esgvzarr_recipe")
"""Global attributes that tell readers of segments. They are dropped from files that have them, such
as copies of what was read from references.
"""


def _global_attrs(series: Series) -> dict[str, Any]:
    """Return the attributes that all files agree on, without those that esgvzarr adds (rule 16)."""
    common = equal_attrs([file.attrs for file in series.files])
    return {name: value for name, value in common.items() if name not in _OURS}


def _each_file_once(references: ReferenceSet) -> ReferenceSet:
    """Return the references with each file once in the list, also if several stretches come from
    one file.
    """
    numbers: dict[str, int] = {}
    for file in references.files:
        numbers.setdefault(file.file.url, len(numbers))
    if len(numbers) == len(references.files):
        return references
    of_stretch = np.array([numbers[file.file.url] for file in references.files], np.int64)
    files = {file.file.url: file for file in references.files}
    groups = []
    for group in references.groups:
        arrays = [replace(one, file_index=of_stretch[one.file_index]) for one in group.arrays]
        indices = dict.fromkeys(of_stretch[list(group.file_indices)].tolist())
        groups.append(replace(group, arrays=tuple(arrays), file_indices=tuple(indices)))
    return replace(references, files=tuple(files[url] for url in numbers), groups=tuple(groups))


def _for_tasks(array: Array, time: str, steps: int) -> Array:
    """Return an array in chunks that fit the tasks of readers; time itself stays in one chunk."""
    if time not in array.dims or array.dims == (array.name,):
        return array
    return in_pieces(array, time, steps)


def _inlined(series: Series, rebased: Mapping[str, Reference]) -> set[str]:
    """Return the variables whose values go into the reference file: they are not data, and are
    small or have no byte range that can be referenced.
    """
    first = series.files[0]
    data = cf.data_names(first.variables, series.time)
    names = set()
    for name, variable in first.variables.items():
        versions = [variable]
        limit = INLINE_FIXED
        if series.time in variable.dims:
            versions = [file.variables[name] for file in series.files]
            limit = INLINE_MOVING
        if any(version.values is None for version in versions):
            continue
        is_small = name not in data and _bytes_of(versions) <= limit
        is_needed = variable.dims == (name,) or name in rebased
        if is_small or is_needed or any(map(_is_unreferable, versions)):
            names.add(name)
    return names


def _bytes_of(versions: Sequence[Variable]) -> int:
    """Return the bytes of the values that were read."""
    return sum(version.values.nbytes for version in versions if version.values is not None)


def _is_unreferable(variable: Variable) -> bool:
    """Whether a variable has values, and no chunks that hold them."""
    return variable.values is not None and variable.values.size > 0 and not len(variable.chunks)


def _arrays(
    series: Series, run: Run, inlined: set[str], rebased: Mapping[str, Reference]
) -> tuple[Array, ...]:
    files = [series.files[number] for number in run.files]
    time = series.time or ""
    arrays = []
    for name, variable in series.files[0].variables.items():
        if time not in variable.dims:
            arrays.append(_fixed(series, name, inlined))
            continue
        versions = [file.variables[name] for file in files]
        attrs = variable_attrs(versions)
        axis = variable.dims.index(time)
        if name in series.dates and name in inlined:
            values, attrs = joined_times(files, name, time, rebased.get(name), attrs)
            like = _without_fill(versions, rebased=name in rebased)
            arrays.append(inline_array(like, values, attrs))
        elif name in inlined:
            read = [version.values for version in versions if version.values is not None]
            arrays.append(inline_array(versions[0], np.concatenate(read, axis), attrs))
        else:
            parts = list(zip(run.files, files, versions, strict=True))
            arrays.append(referenced_array(parts, axis, run.steps.get(name), attrs))
    return tuple(arrays)


def _fixed(series: Series, name: str, inlined: set[str]) -> Array:
    """Return a variable without time: that of the first file, repeated in all segments (rules 1 and
    14).
    """
    first = series.files[0]
    variable = first.variables[name]
    attrs = variable_attrs([file.variables[name] for file in series.files])
    if name in inlined and variable.values is not None:
        return inline_array(variable, variable.values, attrs)
    return referenced_array([(0, first, variable)], None, None, attrs)


def _without_fill(versions: Sequence[Variable], *, rebased: bool) -> Variable:
    """Drop a _FillValue of time that only some files state, or that is in other units: time has no
    missing values.
    """
    same = len({str(version.fill_value) for version in versions}) == 1
    return versions[0] if same and not rebased else replace(versions[0], fill_value=None)


def _provenance(
    series: Series, dataset_id: DatasetId | str, common: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe what the references were made from. It is the same in each run over the same
    files.
    """
    return {
        "generator": f"esgvzarr {__version__}",
        "dataset_id": str(dataset_id),
        "files": [
            _file_provenance(file, times, series, common) for file, times in _whole_files(series)
        ],
        "left_out": [file.file.url for file in series.left_out],
        "warnings": [str(finding) for finding in series.warnings],
    }


def _whole_files(series: Series) -> Iterator[tuple[FileReferences, np.ndarray]]:
    """Return each file once, with the times of all of its steps that are served."""
    found: dict[str, tuple[FileReferences, list[np.ndarray]]] = {}
    for file, times in zip(series.files, series.times, strict=True):
        found.setdefault(file.file.url, (file, []))[1].append(times)
    for file, stretches in found.values():
        yield file, np.concatenate(stretches)


def _file_provenance(
    file: FileReferences, times: np.ndarray, series: Series, common: Mapping[str, Any]
) -> dict[str, Any]:
    record = file.file
    facts: dict[str, Any] = {
        "url": record.url,
        "size": file.size,
        "checksum": record.checksum,
        "checksum_type": record.checksum_type,
        "tracking_id": record.tracking_id or file.attrs.get("tracking_id"),
        "etag": file.etag,
        "last_modified": file.last_modified,
    }
    times = times[times != cf.NO_DATE]
    if len(times) and series.time:
        calendar = cf.calendar_of(file.variables[series.time].attrs)
        facts |= {
            "time_start": cf.date_text(times.min(), calendar),
            "time_end": cf.date_text(times.max(), calendar),
        }
    if file.repeated:
        facts["repeated_steps"] = file.repeated
    facts["attributes"] = {name: value for name, value in file.attrs.items() if name not in common}
    return {name: value for name, value in facts.items() if value is not None}
