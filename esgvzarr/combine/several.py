"""Datasets shown together in groups, and datasets of several variables (rule 39). No input or
output.

The ids of CMIP5 datasets name no variable: such a dataset has all variables of a table, each in its
own files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from .. import cf, drs
from ..errors import RefusedError
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
    """Make the checked references of a dataset. If its id names no variable, each variable may be
    in its own files.

    Args:
        files: scanned files, in any order.
        dataset_id: the dataset to which the files must belong.
        serve_once: removes the time steps that several files hold with equal values.

    Raises:
        RefusedError: with the findings of all rules that were broken.
    """
    name = str(dataset_id)
    variables = of_each_variable(files, name)
    if len(variables) == 1:
        return combine(check(files, name, serve_once, dataset_id=name), dataset_id)
    members = []
    for label, own in variables.items():
        series = check(own, name, serve_once, dataset_id=name)
        members.append(Member(label, series, combine(series, dataset_id)))
    return _side_by_side(members, dataset_id)


def of_each_variable(
    files: Sequence[FileReferences], name: str
) -> Mapping[str, Sequence[FileReferences]]:
    """Return the files of each data variable, for a dataset whose id names no variable.

    All files are returned under an empty name if the id names a variable, or if they hold one.

    Raises:
        RefusedError: the files of the variables cannot be told apart.
    """
    variables = by_variable(files, name) if _names_no_variable(name) else {}
    return variables if len(variables) > 1 else {"": files}


def _names_no_variable(dataset_id: str) -> bool:
    facets = drs.facets(dataset_id)
    return facets is not None and "table_id" in facets and "variable_id" not in facets


def by_variable(files: Sequence[FileReferences], subject: str) -> dict[str, list[FileReferences]]:
    """Return the files of each data variable; fixed fields count as variables. Empty if a file
    lacks the time of its variable.

    Args:
        files: files of one dataset.
        subject: the dataset id, for messages.

    Raises:
        RefusedError: the files of the variables cannot be told apart; the findings name the files.
    """
    found: dict[frozenset[str], list[FileReferences]] = {}
    for file in files:
        names = frozenset(cf.data_names(file.variables, cf.time_name(file.variables)))
        found.setdefault(names, []).append(file)
    kinds = sorted(found.items(), key=_order)
    findings = list(_not_told_apart(kinds)) if len(kinds) > 1 else []
    if findings:
        raise RefusedError(subject, findings)
    everything = frozenset[str]().union(*found)
    if sum(map(len, found)) > len(everything):
        return {}  # One of the files lacks its time; the rules between files report it.
    return {", ".join(sorted(names)): own for names, own in kinds}


def _not_told_apart(
    kinds: Sequence[tuple[frozenset[str], Sequence[FileReferences]]],
) -> Iterator[Finding]:
    """Rule 39: if the dataset's id names no variable, each file holds one variable, or several that
    no other kind of file holds.
    """
    holders: dict[str, FileReferences] = {}
    for names, own in kinds:
        file = own[0]
        if not names:
            yield Finding(
                "variable-missing",
                39,
                file.file.url,
                "a data variable that distinguishes the file from those of other variables",
                f"no data variable, as in {len(own)} of the files",
                "Remove the file from the dataset: it holds coordinates only.",
            )
        shared = [
            name for name in sorted(names & holders.keys()) if _alike_in_time(file, holders[name])
        ]
        if shared:
            other = holders[shared[0]]
            yield Finding(
                "variable-clash",
                39,
                file.file.url,
                f"no variable of {other.file.name}, which holds another set of variables",
                f"{shared} among its variables {sorted(names)}, as in {len(own)} of the files",
                "The dataset id names no variable, so esgvzarr distinguishes variables by "
                "what each file holds: write each variable to its own files, or publish "
                "them as another dataset.",
            )
        for name in names:
            holders.setdefault(name, file)


def _alike_in_time(one: FileReferences, other: FileReferences) -> bool:
    return (cf.time_name(one.variables) is None) == (cf.time_name(other.variables) is None)


def _order(item: tuple[frozenset[str], Sequence[FileReferences]]) -> tuple[bool, list[str]]:
    """Sort by name, with fixed fields last."""
    names, own = item
    return cf.time_name(own[0].variables) is None, sorted(names)


def _side_by_side(members: Sequence[Member], dataset_id: DatasetId) -> ReferenceSet:
    """Show all variables in the root if they fit each other; else each set of variables that fit is
    a group.
    """
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
    readings = [
        member.references.provenance.get("reading") for member in members if member.series.time
    ]
    alike = readings and readings[0] and all(one == readings[0] for one in readings)
    if len(groups) == 1 and alike:
        facts["reading"] = readings[0]
    return ReferenceSet(dataset_id, made.files, made.groups, facts, (*made.warnings, *warnings))


def place(
    member: Member, groups: dict[str, list[Member]], paths: list[str], names: Iterable[str]
) -> list[Finding]:
    """Put a dataset into the first group that it fits into, or begin a new one.

    Args:
        member: the dataset, or the variable of one.
        groups: path -> the datasets that the group shows; is changed.
        paths: paths of the groups to try; is changed.
        names: possible names of a new group.
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
            f"It is shown in group {path}. Readers open the groups with "
            'xarray.open_datatree(href, engine="esgvzarr"); stock readers see an empty '
            "root.",
            refuse=False,
        )
        for finding in first[:1]
    ]


def misfits_in(group: Sequence[Member], member: Member) -> Iterator[Finding]:
    """Yield the reasons why a dataset cannot be shown together with those of a group."""
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
                "files that form more than one grid",
                "A dataset in segments cannot be shown together with another dataset that "
                "has time.",
            )
