"""Decide which datasets are shown together in which group. No input or output.

Datasets are shown together only if their grid and time axis are the same. Nothing is filled, cut or
aligned.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from .. import cf
from ..combine.several import misfits_in, place
from ..errors import RefusedError, SourceError
from ..model import FileReferences, Finding, Member, Variable

_SIMULATION = ("mip_era", "source_id", "model_id", "experiment_id", "variant_label")
"""Global attributes that identify the simulation of a dataset (CMIP6 global attributes document;
``model_id`` is CMIP5's ``source_id``).
"""
_CMIP5_TABLE = re.compile(r"Table (\w+) ")
"""The form of ``table_id`` in CMIP5: ``Table Amon (27 April 2011) <checksum>``."""


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """Groups by path, and findings about them."""

    groups: Mapping[str, Sequence[Member]]
    warnings: tuple[Finding, ...]


def trim(
    file: FileReferences, drop: Collection[str], *, static: bool
) -> tuple[FileReferences, tuple[str, ...]]:
    """Remove variables from a file, and return it with their names.

    From a ``static`` file, a time without meaning is removed too: it has at most one step, and only
    its bounds use it.
    """
    names = set(drop) & set(file.variables)
    time = cf.time_name(file.variables) if static else None
    if time is not None and file.dimensions.get(time, 0) <= 1:
        useless = {time, *cf.time_companions(file.variables, time)}
        if not [
            name
            for name, variable in file.variables.items()
            if time in variable.dims and name not in useless | names
        ]:
            names |= useless
    kept = {name: variable for name, variable in file.variables.items() if name not in names}
    used = _dims_of(kept.values())
    gone = _dims_of(file.variables[name] for name in names) - used
    sizes = {name: size for name, size in file.dimensions.items() if name not in gone}
    return replace(file, variables=kept, dimensions=sizes), tuple(sorted(names))


def _dims_of(variables: Iterable[Variable]) -> set[str]:
    return set(chain.from_iterable(variable.dims for variable in variables))


def by_stream(
    streams: Mapping[str, Sequence[Member]], static: Sequence[Member], companions: Sequence[Member]
) -> Arranged:
    """Make a group for each stream, with all static files in it, and the companions of its grid.

    Raises:
        RefusedError: datasets of one group differ.
    """
    groups = dict[str, list[Member]]()
    warnings = list[Finding]()
    for path, members in streams.items():
        group = groups.setdefault(path, [])
        for member in [*members, *_without_time(static)]:
            found = list(misfits_in(group, member))
            if any(finding.refuse for finding in found):
                raise RefusedError(
                    f"group {path}", [finding for finding in found if finding.refuse]
                )
            group.append(member)
            warnings += found
    return Arranged(groups, (*warnings, *_accompany(companions, groups)))


def by_table(name: str, members: Sequence[Member], companions: Sequence[Member]) -> Arranged:
    """Make a group for each table, or for each realm if the files name no table.

    In the order of their ids, each dataset joins the first group of its table that has its grid and
    time axis. If there is none, it begins a new group, ``<table>`` or ``<table>-<variable>``. Fixed
    fields join all groups of their grid, or begin a new group.

    Raises:
        SourceError: the datasets do not belong to one simulation, or do not state their table.
    """
    _check_one_simulation(name, members)
    groups = dict[str, list[Member]]()
    tables = dict[str, list[str]]()
    warnings = list[Finding]()
    for member in members:
        if member.series.time is not None:
            warnings += place(member, groups, tables.setdefault(_table(member), []), _names(member))
    timed = dict(groups)
    for member in members:
        if member.series.time is None and not _spread(member, timed, warnings):
            warnings += place(member, groups, tables.setdefault(_table(member), []), _names(member))
    return Arranged(groups, (*warnings, *_accompany(companions, timed)))


def _names(member: Member) -> Iterator[str]:
    """Yield possible names for the group that a dataset begins, the shortest first."""
    attrs = member.series.files[0].attrs
    table = _table(member)
    variable, grid = (attrs.get(role, "") for role in ("variable_id", "grid_label"))
    yield from (
        table,
        f"{table}-{variable}",
        f"{table}-{variable}-{grid}",
        f"{table}-{member.name}",
    )


def _accompany(companions: Sequence[Member], groups: Mapping[str, list[Member]]) -> list[Finding]:
    """Put each companion into all groups of its grid. A companion that fits into none is left out,
    with a warning.
    """
    findings = list[Finding]()
    for member in companions:
        if not _spread(member, groups, findings):
            url = member.series.files[0].file.url
            expected = f"a group on the grid of {member.name}"
            findings.append(
                Finding(
                    "variable-apart",
                    0,
                    url,
                    expected,
                    "none",
                    "The fixed field is left out of the document.",
                    refuse=False,
                )
            )
    return findings


def _spread(fixed: Member, groups: Mapping[str, list[Member]], findings: list[Finding]) -> bool:
    """Put a fixed field into all groups that have its grid, as their shared coordinates prove;
    return whether there is one.
    """
    placed = False
    for group in [group for group in groups.values() if _concerns(fixed, group)]:
        found = list(misfits_in(group, fixed))
        if not any(finding.refuse for finding in found):
            group.append(fixed)
            findings += found
            placed = True
    return placed


def _concerns(member: Member, group: Sequence[Member]) -> bool:
    """Whether the group has the dimensions of a fixed field, and variables by which its grid can be
    compared.
    """
    file = member.series.files[0]
    others = [other.series.files[0] for other in group]
    data = cf.data_names(file.variables, None)
    dims = _dims_of(file.variables[name] for name in data)
    there = set(chain.from_iterable(other.variables for other in others))
    sizes = set(chain.from_iterable(other.dimensions for other in others))
    return bool(there & set(file.variables)) and dims <= sizes


def _without_time(static: Sequence[Member]) -> Sequence[Member]:
    for member in static:
        file = member.series.files[0]
        if member.series.time is not None:
            moving = [
                name
                for name, variable in file.variables.items()
                if member.series.time in variable.dims
            ]
            raise RefusedError(
                member.name,
                [
                    Finding(
                        "time-static",
                        0,
                        file.file.url,
                        "a static file without time",
                        f"{moving} along {member.series.time!r}",
                        "Make it a stream, or remove these variables with `drop`.",
                    )
                ],
            )
    return static


def _table(member: Member) -> str:
    attrs = member.series.files[0].attrs
    table = attrs.get("table_id") or attrs.get("realm")
    if not isinstance(table, str):
        raise SourceError(
            member.name,
            "its files name no table and no realm",
            expected="the global attribute table_id or realm",
            todo="Choose the groups yourself: give streams in place of datasets.",
            code="source-table",
        )
    of_cmip5 = _CMIP5_TABLE.match(table)
    if of_cmip5:
        table = of_cmip5[1]
    return table.replace("/", "-").replace(" ", "-")


def _check_one_simulation(name: str, members: Sequence[Member]) -> None:
    """Check that the datasets have one source, experiment and member, as far as the files state
    them.
    """
    for attr in _SIMULATION:
        values = {str(member.series.files[0].attrs.get(attr)): member.name for member in members}
        if len(values) > 1:
            found = ", ".join(f"{value} in {where}" for value, where in sorted(values.items())[:3])
            raise SourceError(
                name,
                f"{attr} is {found}",
                expected="datasets of one simulation",
                todo=(
                    "Make one document for each simulation; or give streams, which may "
                    "come from several."
                ),
                code="source-several",
            )
