"""Check that all files belong to one dataset, and to the dataset that their document names (rule
32).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .. import drs
from ..model import Check


def check_identity(
    versions: Mapping[str, Sequence[Mapping[str, Any]]], dataset_id: str
) -> Iterator[Check]:
    """Check what the files' attributes say about the dataset.

    Args:
        versions: variable -> its attributes in each file; under the empty name the global ones.
        dataset_id: the dataset that the references name; empty if they name none, or a text that is
            no id of a known project.
    """
    wrong = [*_mixed(versions), *_other(versions.get("", ()), dataset_id)]
    detail = "; ".join(wrong) or f"{len(versions.get('', ()))} files of one dataset"
    yield Check("identity", dataset_id or "all files", not wrong, detail)


def _mixed(versions: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """Describe identifying attributes with different values in the files."""
    for name in drs.IDENTIFYING:
        known = ""
        for attrs in versions.get("", ()):
            found = drs.stated(name, attrs)
            if known and found and not drs.same_identity(known, found):
                yield f"{name} is {known!r} and {found!r}"
                break
            known = known or found
    for variable, all_attrs in versions.items():
        methods = {drs.plain_methods(attrs) for attrs in all_attrs} - {None}
        if variable and len(methods) > 1:
            yield f"{variable}:cell_methods are {sorted(map(str, methods))}"


def _other(all_attrs: Sequence[Mapping[str, Any]], dataset_id: str) -> Iterator[str]:
    """Describe attributes that contradict the dataset's id."""
    expected = drs.facets(dataset_id) or {}
    found = {conflict for attrs in all_attrs for conflict in drs.conflicts(expected, attrs)}
    for conflict in sorted(found, key=str):
        yield f"{conflict.attribute} is {conflict.found!r}, not {conflict.expected!r}"
