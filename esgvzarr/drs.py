"""What identifies a dataset: the parts of its id by the data reference syntax (DRS) of its project,
and the attributes of files that state the same.

Sources: CMIP5 DRS 1.3.1; CMIP6 Global Attributes, DRS, Filenames, Directory Structure, and CVs
(2018); CMIP6Plus follows CMIP6; CMIP7 Global Attributes Guidance 1.0 (MIP-DRS7); CORDEX Archive
Design 3.1; CORDEX-CMIP6 Archive Specifications (2024); input4MIPs controlled vocabularies; obs4MIPs
data specifications 2.1 and 2.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

IDENTIFYING = (
    "source_id",
    "model_id",
    "experiment_id",
    "sub_experiment_id",
    "variant_label",
    "realization",
    "initialization_method",
    "physics_version",
    "table_id",
    "variable_id",
    "branding_suffix",
    "frequency",
    "region",
    "grid_label",
    "CORDEX_domain",
    "domain_id",
    "driving_model_id",
    "driving_source_id",
    "driving_experiment_name",
    "driving_experiment_id",
    "driving_model_ensemble_member",
    "driving_variant_label",
    "rcm_version_id",
    "version_realization",
)
"""Global attributes that are equal in all files of one dataset, in every project."""
PROJECTS = (
    "CMIP3",
    "cmip3",
    "CMIP5",
    "cmip5",
    "CMIP6",
    "CMIP6Plus",
    "CMIP7",
    "MIP-DRS7",
    "CORDEX",
    "cordex",
    "CORDEX-CMIP6",
    "input4MIPs",
    "obs4MIPs",
    "obs4REF",
    "CREATE-IP",
    "E3SM",
    "DRCDP",
)
"""First directory of the paths by a project's DRS: in a directory path, the dataset's id begins
there.
"""
_VERSION = re.compile(r"(\.v|#)\d+(\|.*)?$")
_REMARK = re.compile(r"\([^()]*\)")
_CMIP5_TABLE = re.compile(r"Table (\S+)")


@dataclass(frozen=True, slots=True)
class Conflict:
    """An attribute that contradicts the dataset's id."""

    attribute: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class _Syntax:
    """The parts of the ids of one project."""

    project: str
    """The first part of the id, as the DRS spells it."""
    parts: tuple[str, ...]
    """For each part after the project, the name of the attribute that states it; empty if files
    need not state it in the same words.
    """


_CMIP6_PARTS = (
    "",  # activity_id: a file may list several.
    "",  # institution_id
    "source_id",
    "experiment_id",
    "variant_label",
    "table_id",
    "variable_id",
    "grid_label",
)
_SYNTAXES = (
    _Syntax("CMIP6", _CMIP6_PARTS),
    _Syntax("CMIP6Plus", _CMIP6_PARTS),
    _Syntax(
        "cmip5",
        ("", "", "model_id", "experiment_id", "frequency", "", "table_id", "ensemble"),
    ),
    _Syntax(
        "MIP-DRS7",
        (
            "mip_era",
            "",
            "",
            "source_id",
            "experiment_id",
            "variant_label",
            "region",
            "frequency",
            "variable_id",
            "branding_suffix",
            "grid_label",
        ),
    ),
    _Syntax(
        "cordex",
        (
            "",
            "CORDEX_domain",
            "",
            "driving_model_id",
            "driving_experiment_name",
            "driving_model_ensemble_member",
            "model_id",
            "rcm_version_id",
            "frequency",
            "",
        ),
    ),
    _Syntax(
        "CORDEX-CMIP6",
        (
            "",
            "domain_id",
            "",
            "driving_source_id",
            "driving_experiment_id",
            "driving_variant_label",
            "source_id",
            "version_realization",
            "frequency",
            "variable_id",
        ),
    ),
    _Syntax(
        "input4MIPs",
        ("", "", "", "source_id", "", "frequency", "variable_id", "grid_label"),
    ),
    _Syntax("obs4MIPs", ("", "source_id", "frequency", "variable_id", "grid_label")),
    _Syntax("obs4MIPs", ("", "source_id", "frequency", "variable_id", "", "grid_label")),
)


def facets(dataset_id: str) -> dict[str, str] | None:
    """Return the attributes with the values that the dataset's id implies; None if the id is of no
    known project.

    Args:
        dataset_id: the id with its version or without.
    """
    project, *parts = _VERSION.sub("", dataset_id).split(".")
    for syntax in _SYNTAXES:
        if syntax.project.lower() == project.lower() and len(syntax.parts) == len(parts):
            stated = zip(syntax.parts, parts, strict=True)
            return {name: value for name, value in stated if name}
    return None


def conflicts(expected: Mapping[str, str], attrs: Mapping[str, Any]) -> Iterator[Conflict]:
    """Yield the global attributes of a file that contradict the id of its dataset. Absent ones do
    not.

    Args:
        expected: the facets of the id.
        attrs: global attributes of the file.
    """
    for name, value in expected.items():
        found = stated(name, attrs)
        if found and not _agree(name, value, found):
            yield Conflict(name, value, found)


def absent(expected: Mapping[str, str], attrs: Mapping[str, Any]) -> list[str]:
    """Return the attributes that are needed to confirm the id and that the file does not have."""
    return [name for name in expected if not stated(name, attrs)]


def stated(name: str, attrs: Mapping[str, Any]) -> str:
    """Return what a file states about one part of its dataset's id; empty if nothing."""
    if name == "ensemble":
        numbers = [stated(part, attrs) for part in _ENSEMBLE]
        return "r{}i{}p{}".format(*numbers) if all(numbers) else ""
    value = np.ravel(attrs.get(name, ""))
    if value.size != 1:
        return " ".join(map(str, value.tolist()))
    item = value[0]
    if isinstance(item, np.floating) and float(item).is_integer():
        return str(int(item))
    text = str(item).strip()
    table = _CMIP5_TABLE.match(text) if name == "table_id" else None
    return table[1] if table else text


_ENSEMBLE = ("realization", "initialization_method", "physics_version")


def same_identity(one: str, other: str) -> bool:
    """Whether two values of an identifying attribute mean the same."""
    return _letters(one) == _letters(other)


def _agree(name: str, expected: str, found: str) -> bool:
    """Whether an attribute states the same as the id; punctuation and case may differ, as in
    ``bcc-csm1.1``.
    """
    letters = _letters(found)
    if name == "variant_label" and "-" in expected:
        expected = expected.rsplit("-", 1)[1]  # The part of s1960-r1i1p1f1 after the hyphen.
    if name == "ensemble" and expected == "r0i0p0":
        return True  # Fixed fields belong to no member, and often name one.
    if name == "variable_id" and expected == "multiple":
        return True
    if name == "model_id" and letters.endswith(_letters(expected)):
        return True  # CORDEX: the attribute has the institute before the model.
    return letters == _letters(expected)


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def plain_methods(attrs: Mapping[str, Any]) -> str | None:
    """Return the ``cell_methods`` of a variable without comments in parentheses and extra blanks:
    the operations that made the numbers. None if the attribute is absent, or is not text.
    """
    stated_methods = attrs.get("cell_methods")
    if not isinstance(stated_methods, str):
        return None
    return " ".join(_REMARK.sub(" ", stated_methods).split())
