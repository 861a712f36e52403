"""Checks of a group after all files were compared with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ..cf import dates_along
from ..model import Check
from .attributes import MARKS, OF_FILES, not_finite, wrong_attrs
from .closeness import EQUAL, ROUNDING
from .comparison import Comparison
from .reference_side import ShownGroup, described


def whole(
    shown: Sequence[ShownGroup], compared: Sequence[Comparison], *, but: Sequence[str] = ()
) -> Iterator[Check]:
    """Check fixed fields and attributes, and that every variable shown is in a file.

    Args:
        shown: the groups.
        compared: the datasets that they show; their files were compared before.
        but: global attributes that belong to the document.
    """
    for one in compared:
        yield from one.check_times()
    results = defaultdict[str, list[str]](list)
    types = defaultdict[str, list[bool]](list)
    attrs = defaultdict[str, list[Mapping[str, Any]]](list)
    timed = [one for one in compared if one.timed]
    for one in compared:
        for name, found in one.fixed.items():
            results[name] += found
            types[name] += one.types[name]
        for name, versions in one.attrs.items():
            # Fixed fields beside data along time do not affect the global attributes.
            if name or one.timed or not timed:
                attrs[name] += versions
    yield from _judge_fixed(results, types)
    for group in shown:
        yield from _check_group(group, attrs, but)


def _check_group(
    group: ShownGroup, attrs: Mapping[str, Sequence[Mapping[str, Any]]], but: Sequence[str]
) -> Iterator[Check]:
    """Check that every variable shown is in a file, and the attributes of the group.

    Args:
        group: the group.
        attrs: variable -> its attributes in each file; ``""`` for the global ones.
        but: global attributes that belong to the document.
    """
    there = attrs.keys() - {""}
    here = set(map(str, group.dataset.variables))
    yield Check(
        "variables",
        f"/{group.path}",
        here <= there,
        f"{len(here)} shown; in no file: {sorted(here - there)}",
    )
    dates = dates_along(described(group.dataset), group.time) if group.time else ()
    for name, versions in attrs.items():
        yield from _check_attributes(group, name, versions, but, dates)


def _judge_fixed(
    results: Mapping[str, Sequence[str]], types: Mapping[str, Sequence[bool]]
) -> Iterator[Check]:
    """Check that variables without time equal those of a file, in type and values.

    Args:
        results: variable -> for each file, how close it is to what is shown.
        types: variable -> for each file, whether its type is the type that is shown.
    """
    for name, equal_types in types.items():
        if not any(equal_types):
            yield Check("type", name, passed=False, detail="is shown with a type that no file has")
    for name, found in results.items():
        right = EQUAL in found and set(found) <= {EQUAL, ROUNDING}
        yield Check(
            "values",
            name,
            right,
            f"fixed, compared with {len(found)} files: {', '.join(sorted(set(found)))}",
        )


def _check_attributes(
    group: ShownGroup,
    name: str,
    versions: Sequence[Mapping[str, Any]],
    but: Sequence[str],
    dates: Collection[str],
) -> Iterator[Check]:
    variable = group.dataset.variables.get(name)
    if name and variable is None:
        return  # The checks of the single files have reported it.
    if variable is None:
        shown = group.dataset.attrs
        known = but
    else:
        shown = variable.attrs
        known = OF_FILES if name in dates else (() if group.time in variable.dims else MARKS)
    wrong = sorted(wrong_attrs(shown, versions, but=known))
    yield Check(
        "attributes",
        f"{name or 'global'} in /{group.path}",
        not wrong,
        f"differ: {wrong}" if wrong else _told(shown, versions),
    )


def _told(shown: Mapping[str, Any], versions: Sequence[Mapping[str, Any]]) -> str:
    """Describe the attributes shown: their number, and which hold numbers in the files and words
    here.
    """
    words = set[str]()
    for attrs in versions:
        words |= {key for key in shown if not_finite(attrs.get(key))}
    words -= set(MARKS)
    return (
        f"{len(shown)}; NaN or infinity shown as text: {sorted(words)}"
        if words
        else f"{len(shown)}"
    )
