"""Rules about what does not change with time: the sets of variables, dimensions, coordinates. No
input or output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from .. import cf
from ..model import FileReferences, Finding, Series, Variable
from .rounding import tolerance, usual_step


def check_variables(series: Series) -> Iterator[Finding]:
    """Rule 13: all files have the same variables, with the same dimensions."""
    if not series.files:
        return
    everywhere: dict[str, tuple[FileReferences, Variable]] = {}
    for file in series.files:
        for name, variable in file.variables.items():
            everywhere.setdefault(name, (file, variable))
    for file in series.files:
        for name in everywhere.keys() - file.variables.keys():
            yield Finding(
                "variable-missing",
                13,
                file.file.url,
                f"{name!r}, as in {everywhere[name][0].file.name}",
                "no such variable",
                "Write the variable to all files, or publish this file as another dataset.",
            )
        for name, variable in file.variables.items():
            first, known = everywhere[name]
            if variable.dims != known.dims:
                yield Finding(
                    "dimension-differs",
                    14,
                    file.file.url,
                    f"{name!r} with dimensions {known.dims}, as in {first.file.name}",
                    str(variable.dims),
                )


def of_several_variables(series: Series) -> Iterator[Finding]:
    """Rule 39: the files do not hold several variables, each in its own files."""
    if series.time is None:
        return
    data = [frozenset(cf.data_names(file.variables, series.time)) for file in series.files]
    distinct = list(dict.fromkeys(data))
    everything = frozenset[str]().union(*distinct)
    apart = all(distinct) and sum(map(len, distinct)) == len(everything)
    if len(distinct) < 2 or not apart:
        return
    first = series.files[0]
    unequal = _unequal_steps(series, data)
    for names in distinct[1:]:
        file = series.files[data.index(names)]
        yield Finding(
            "variable-missing",
            39,
            file.file.url,
            f"{sorted(distinct[0])}, as in {first.file.name}",
            f"{sorted(names)}: the files seem to hold several variables, each in its own files",
            f"{unequal}Give each variable an id of its own, or show them side by side: in the spec "
            "of `esgvzarr combine`, list one {dataset: ID, sources: FILES} for each variable.",
        )


def _unequal_steps(series: Series, data: Sequence[frozenset[str]]) -> str:
    """Describe that several variables have different numbers of time steps; empty if the numbers
    are equal.

    Args:
        series: the files of all variables.
        data: for each file, the names of its data variables.
    """
    steps = Counter[str]()
    for names, times in zip(data, series.times, strict=True):
        steps[", ".join(sorted(names))] += len(times)
    if len(set(steps.values())) == 1:
        return ""
    counts = ", ".join(f"{count} of {name}" for name, count in sorted(steps.items()))
    return f"A file may be missing: the files hold different numbers of time steps, {counts}. "


def check_dimensions(series: Series) -> Iterator[Finding]:
    """Rule 14: each dimension except time has one size."""
    for first, file in with_first(series):
        for name, size in file.dimensions.items():
            known = first.dimensions.get(name, size)
            if name != series.time and size != known:
                yield Finding(
                    "dimension-differs",
                    14,
                    file.file.url,
                    f"{name} = {known}, as in {first.file.name}",
                    f"{name} = {size}",
                    _of_other_size(name, file),
                )


def _of_other_size(name: str, file: FileReferences) -> str:
    """Return what to do about a dimension of another size."""
    users = [variable for variable in file.variables.values() if name in variable.dims]
    texts = [user.name for user in users if user.dtype.kind == "S" and user.dims[-1] == name]
    if texts and len(texts) == len(users):
        return (
            f"It is the length of the texts {texts}: write all files with one length, and "
            "fill shorter texts with NUL. An array of characters has one shape for all "
            "files."
        )
    return "The files are on different grids: publish them as separate datasets."


def check_fixed(series: Series) -> Iterator[Finding]:
    """Rules 1 and 14: unpacked values that do not change with time are equal in all files, except
    for rounding. Types may differ: the first file's values are served.
    """
    for first, file in with_first(series):
        for name, variable in file.variables.items():
            known = first.variables.get(name)
            if known is None or series.time in variable.dims or variable.shape != known.shape:
                continue
            finding = _unlike(known, variable, file.file.url, f"{name!r} as in {first.file.name}")
            if finding is not None:
                yield finding


def _unlike(known: Variable, variable: Variable, file: str, expected: str) -> Finding | None:
    """Compare a fixed field of two files; return the finding, or None if the fields are equal."""
    if known.values is None or variable.values is None:
        return Finding("coordinate-differs", 1, file, f"values to compare, {expected}", "none read")
    if {known.dtype.kind, variable.dtype.kind} - set("iuf"):
        return (
            None if _texts(known) == _texts(variable) else _other_grid(file, expected, "other text")
        )
    a = _unpacked(known)
    b = _unpacked(variable)
    if _same_numbers(known, variable) and np.array_equal(a, b, equal_nan=True):
        return None
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return _other_grid(file, expected, "missing values at other places")
    with np.errstate(invalid="ignore"):  # infinity less infinity
        apart = np.where(np.isnan(a) | (a == b), 0.0, np.abs(a - b))
    near = np.isfinite(apart) & (apart <= tolerance(a, b, cf.meaning(known)))
    near |= apart == 0  # The tolerance of missing values is NaN.
    if known.dtype.kind == variable.dtype.kind == "f" and near.all():
        return Finding(
            "coordinate-rounding",
            14,
            file,
            expected,
            f"differences of at most {apart.max():.3g}, which is rounding",
            "The values of the first file are served.",
            refuse=False,
        )
    step = usual_step(a, cf.meaning(known))
    return _other_grid(
        file,
        expected,
        f"differences of up to {apart.max():.6g}, where the step between neighbours is {step:.3g}",
    )


def _other_grid(file: str, expected: str, found: str) -> Finding:
    todo = "The files are not on one grid: publish them as separate datasets."
    return Finding("coordinate-differs", 1, file, expected, found, todo)


def _same_numbers(known: Variable, variable: Variable) -> bool:
    """Whether stored integers are equal, which double precision cannot always tell. True for other
    numbers.
    """
    both_whole = known.dtype.kind in "iu" and variable.dtype.kind in "iu"
    packed = {"scale_factor", "add_offset"} & (known.attrs.keys() | variable.attrs.keys())
    if not both_whole or packed:
        return True
    absent = cf.missing(np.asarray(known.values), cf.meaning(known))
    return bool(np.array_equal(np.asarray(known.values)[~absent], variable.values[~absent]))  # type: ignore[index]


def _texts(variable: Variable) -> list[str] | None:
    """Return characters and strings as text; None for numbers."""
    if variable.dtype.kind in "iuf":
        return None
    return [
        item.decode("utf-8", "replace").rstrip("\0") if isinstance(item, bytes) else str(item)
        for item in np.asarray(variable.values).ravel().tolist()
    ]


def _unpacked(variable: Variable) -> np.ndarray:
    return np.asarray(cf.unpacked(np.asarray(variable.values), cf.meaning(variable)))


def with_first(series: Series) -> Iterator[tuple[FileReferences, FileReferences]]:
    """Return the first file with each other file."""
    return ((series.files[0], file) for file in series.files[1:])
