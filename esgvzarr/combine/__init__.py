"""Many files as one: time rebased, chunks put one after the other, fixed fields stored once. Pure,
and the same every time.

``MultiZarrToZarr`` is not used: it takes coordinates from file names or first files and fills what
does not fit, without a word. Here the checks have passed before, and everything is arithmetic on
chunk keys.
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
"""Bytes up to which a fixed field is copied into the reference file."""
INLINE_MOVING = 8 * 2**20
"""Bytes, over all files, up to which what changes with time and is no data is copied."""


def borders(series: Series) -> list[Border]:
    """Where the files of a series cannot stand in one grid, and why. Empty where they are one
    array.
    """
    found: list[Border] = []
    split(series, _inlined(series, common_references(series)), found.append)
    return found


def combine(series: Series, dataset_id: DatasetId | str) -> ReferenceSet:
    """The references of a whole dataset.

    Files that form one grid become one root group. Others become one group per run of files,
    ``seg-000``, ``seg-001``...; the root then holds no arrays, so that no part is ever taken for
    the whole.

    Raises:
        FormatError: a file's data cannot be stated.
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
"""Global attributes by which readers know segments. Files that state them, such as copies of what
was read from references, do not mean theirs.
"""


def _global_attrs(series: Series) -> dict[str, Any]:
    """What all files state, but for our own facts (rule 16)."""
    common = equal_attrs([file.attrs for file in series.files])
    return {name: value for name, value in common.items() if name not in _OURS}


def _each_file_once(references: ReferenceSet) -> ReferenceSet:
    """The same, where several stretches are of one file: the file is in the list once."""
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
    """An array in chunks that fit the tasks of readers; the times themselves stay whole."""
    if time not in array.dims or array.dims == (array.name,):
        return array
    return in_pieces(array, time, steps)


def _inlined(series: Series, rebased: Mapping[str, Reference]) -> set[str]:
    """The variables whose values go into the reference file: no data, and small, or impossible to
    refer to.
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
    """Bytes of the values that were read."""
    return sum(version.values.nbytes for version in versions if version.values is not None)


def _is_unreferable(variable: Variable) -> bool:
    """Whether there are values, and no chunks that hold them."""
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
    """What does not change with time: the first file's, in all segments (rules 1 and 14)."""
    first = series.files[0]
    variable = first.variables[name]
    attrs = variable_attrs([file.variables[name] for file in series.files])
    if name in inlined and variable.values is not None:
        return inline_array(variable, variable.values, attrs)
    return referenced_array([(0, first, variable)], None, None, attrs)


def _without_fill(versions: Sequence[Variable], *, rebased: bool) -> Variable:
    """Time has no missing values: a _FillValue that only some files state, or in other units, is
    dropped.
    """
    same = len({str(version.fill_value) for version in versions}) == 1
    return versions[0] if same and not rebased else replace(versions[0], fill_value=None)


def _provenance(
    series: Series, dataset_id: DatasetId | str, common: Mapping[str, Any]
) -> dict[str, Any]:
    """What the references were made from. Nothing in it changes from run to run over the same
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
    """Each file once, with all of its steps that are served."""
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
