"""Rules about identity: the files belong to one dataset, and to the one that its id names (rule
32). No input or output.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import drs
from ..model import Finding, Series
from .fixed import with_first

_MIXED = "The files belong to several datasets: give each dataset its own id."


def check_identity(series: Series) -> Iterator[Finding]:
    """Rule 32: attributes that identify the dataset are equal in all files that state them."""
    for first, file in with_first(series):
        for name in drs.IDENTIFYING:
            here = drs.stated(name, first.attrs)
            there = drs.stated(name, file.attrs)
            expected = f"{name} = {here or 'absent'!r}, as in {first.file.name}"
            if here and there and not drs.same_identity(here, there):
                yield Finding("dataset-mixed", 32, file.file.url, expected, repr(there), _MIXED)
            elif bool(here) != bool(there):
                yield Finding(
                    "identity-absent",
                    32,
                    file.file.url,
                    expected,
                    repr(there or "absent"),
                    "Nothing shows that this file belongs to the dataset.",
                    refuse=False,
                )


def check_methods(series: Series) -> Iterator[Finding]:
    """Rule 32: ``cell_methods`` of a variable are equal in all files, except for comments."""
    for first, file in with_first(series):
        for name, variable in file.variables.items():
            known = first.variables.get(name)
            here = drs.plain_methods(known.attrs) if known is not None else None
            there = drs.plain_methods(variable.attrs)
            if here is not None and there is not None and here != there:
                expected = f"{name}:cell_methods = {here!r}, as in {first.file.name}"
                yield Finding("dataset-mixed", 32, file.file.url, expected, repr(there), _MIXED)


def confirm_id(series: Series, dataset_id: str) -> Iterator[Finding]:
    """Rule 32: the files state the same as the dataset's id.

    Args:
        series: the files.
        dataset_id: the id with its version or without.
    """
    expected = drs.facets(dataset_id)
    if expected is None:
        yield Finding(
            "dataset-id-unknown",
            32,
            dataset_id,
            "an id by the DRS of a known project",
            "an id of another form",
            "Nothing shows that the files belong to this dataset.",
            refuse=False,
        )
        return
    for file in series.files:
        for conflict in drs.conflicts(expected, file.attrs):
            yield Finding(
                "dataset-id-differs",
                32,
                file.file.url,
                f"{conflict.attribute} = {conflict.expected!r}, as in {dataset_id}",
                repr(conflict.found),
                "Correct the dataset's id, or remove the file from the dataset.",
            )
    for file in series.files[:1]:
        missing = drs.absent(expected, file.attrs)
        if missing:
            yield Finding(
                "identity-absent",
                32,
                file.file.url,
                f"the attributes {missing}, by which {dataset_id} can be confirmed",
                "none of these attributes",
                "Nothing shows that the file belongs to this dataset.",
                refuse=False,
            )
