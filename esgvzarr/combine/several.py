"""Datasets side by side in groups, and datasets of several variables (rule 39). Pure.

The ids of CMIP5 datasets name no variable: such a dataset has all variables of a table, each in
files of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from .. import cf, drs
from ..model import DatasetId, FileReferences, Finding, Member, ReferenceSet, Series
from . import combine
from .document import join
from .misfits import misfits
from .rules import check


def combine_dataset(
    files: Sequence[FileReferences],
    dataset_id: DatasetId,
    serve_once: Callable[[Series], Series],
) -> ReferenceSet:
    """The checked references of a dataset, whose variables may be in files of their own if its id
    names none of them.

    Args:
        files: scanned, in any order.
        dataset_id: the files have to be of it.
        serve_once: takes out the time steps that several files hold, where they are equal.

    Raises:
        RefusedError: with the findings of all rules that were broken.
    """
    name = str(dataset_id)
    variables = by_variable(files) if _names_no_variable(name) else {}
    if len(variables) < 2:
        return combine(check(files, name, serve_once, dataset_id=name), dataset_id)
    members = []
    for label, own in variables.items():
        series = check(own, name, serve_once, dataset_id=name)
        members.append(Member(label, series, combine(series, dataset_id)))
    return _side_by_side(members, dataset_id)


def _names_no_variable(dataset_id: str) -> bool:
    facets = drs.facets(dataset_id)
    return facets is not None and "table_id" in facets and "variable_id" not in facets


def by_variable(files: Sequence[FileReferences]) -> dict[str, list[FileReferences]]:
    """Names of data variables -> the files that hold them, where no variable is in files of two
    kinds; else nothing.
    """
    found: dict[frozenset[str], list[FileReferences]] = {}
    for file in files:
        time = cf.time_name(file.variables)
        names = frozenset(cf.data_names(file.variables, time)) if time else frozenset[str]()
        found.setdefault(names, []).append(file)
    everything = frozenset[str]().union(*found)
    if not all(found) or sum(map(len, found)) != len(everything):
        return {}
    return {", ".join(sorted(names)): own for names, own in sorted(found.items(), key=_sorted)}


def _sorted(item: tuple[frozenset[str], object]) -> list[str]:
    return sorted(item[0])


def _side_by_side(members: Sequence[Member], dataset_id: DatasetId) -> ReferenceSet:
    """All variables in the root where they fit each other; else each set that fits is a group."""
    table = (drs.facets(str(dataset_id)) or {}).get("table_id", "variables")
    groups: dict[str, list[Member]] = {}
    paths: list[str] = []
    warnings: list[Finding] = []
    for member in members:
        names = (table, f"{table}-{member.name.replace(', ', '-')}")
        warnings += place(member, groups, paths, names)
    if len(groups) == 1:
        groups = {"": groups[table]}
    made = join(dataset_id, groups)
    said = [*made.provenance["warnings"], *map(str, warnings)]
    facts = {**made.provenance, "warnings": said}
    readings = [member.references.provenance.get("reading") for member in members]
    if len(groups) > 1:
        facts["reading"] = {"groups": list(groups)}
    elif readings[0] and all(one == readings[0] for one in readings):
        facts["reading"] = readings[0]
    return ReferenceSet(dataset_id, made.files, made.groups, facts, (*made.warnings, *warnings))


def place(
    member: Member, groups: dict[str, list[Member]], paths: list[str], names: Iterable[str]
) -> list[Finding]:
    """Put a dataset into the first of some groups that it fits into, or begin one.

    Args:
        member: the dataset, or the variable of one.
        groups: path -> what the group shows; changed.
        paths: of the groups that come into question; changed.
        names: what a group that it begins may be called.
    """
    first = list[Finding]()
    for path in paths:
        found = list(misfits_in(groups[path], member))
        if not any(finding.refuse for finding in found):
            groups[path].append(member)
            return found
        first = first or [finding for finding in found if finding.refuse]
    path = next(path for path in names if path not in groups)
    groups[path] = [member]
    paths.append(path)
    return [
        Finding(
            "variable-apart",
            39,
            finding.file,
            f"{member.name} to fit into group {paths[0]}",
            f"{finding.code}: {finding.found}",
            f"It is in group {path}. Readers open the groups with "
            'xarray.open_datatree(href, engine="esgvzarr"); stock readers see an empty root.',
            refuse=False,
        )
        for finding in first[:1]
    ]


def misfits_in(group: Sequence[Member], member: Member) -> Iterator[Finding]:
    """What stands between a dataset and those of a group."""
    for other in group:
        yield from misfits(other.series, member.series)
        if (
            other.series.time
            and member.series.time
            and len(other.references.groups) + len(member.references.groups) > 2
        ):
            yield Finding(
                "chunks-segmented",
                39,
                member.series.files[0].file.url,
                f"one grid of chunks, beside {other.name}",
                "files that form more than one",
                "A dataset in segments has no other dataset with time beside it.",
            )
