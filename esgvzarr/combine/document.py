"""Combine several datasets into one document: a group for each, or for several that are shown
together. No input or output.

Each dataset was checked and combined by itself, and the datasets of one group fit each other
(``misfits``). Here their arrays move below the paths of their groups, and file numbers are shifted.
The root shows no arrays, unless it is the only group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..model import Array, DatasetId, FileReferences, Finding, Group, Member, ReferenceSet
from ..version import __version__
from .attributes import equal_attrs, variable_attrs

_OURS = ("esgvzarr_segments", "esgvzarr_concat_dim", "coordinates")
"""Group attributes that belong to no dataset, or not to every group."""


def join(name: DatasetId | str, groups: Mapping[str, Sequence[Member]]) -> ReferenceSet:
    """Make the references of one document.

    Args:
        name: name of the document, or the dataset whose variables the members are.
        groups: path -> the datasets that the group shows together. One of them may be in segments,
            if all others are without time. A dataset may be in several groups. The path is empty if
            the only group is the root.
    """
    members = _members_once(groups)
    begins = {}
    files = list[FileReferences]()
    warnings = list[Finding]()
    for member in members:
        begins[id(member)] = len(files)
        files += member.references.files
        warnings += member.references.warnings
    shown = list[Group]()
    for path, group in groups.items():
        shown += _group(path, group, begins)
    if "" not in groups:
        common = equal_attrs([_own_attrs(part) for part in shown])
        root = Group("", {"esgvzarr_groups": list(groups), **common}, ())
        above = [Group(path, {}, ()) for path in _parents(groups)]
        shown = [root, *above, *shown]
    return ReferenceSet(
        name,
        tuple(files),
        tuple(shown),
        {**_provenance(str(name), groups, members), **_reading(shown)},
        tuple(warnings),
    )


def _reading(shown: Sequence[Group]) -> dict[str, Any]:
    """Return the advice for readers of a document of several groups: the groups, and which of them
    are in segments. None if the root shows everything.
    """
    groups = shown[0].attrs.get("esgvzarr_groups")
    if groups is None:
        return {}
    reading = {"groups": list(groups)}
    segmented = [group.path for group in shown if "esgvzarr_segments" in group.attrs]
    if segmented:
        reading["segmented"] = segmented
    return {"reading": reading}


def _members_once(groups: Mapping[str, Sequence[Member]]) -> list[Member]:
    """Return the datasets of all groups, each once, in the order of the groups."""
    members: dict[int, Member] = {}
    for group in groups.values():
        for member in group:
            members.setdefault(id(member), member)
    return list(members.values())


def _own_attrs(group: Group) -> dict[str, Any]:
    return {key: value for key, value in group.attrs.items() if key not in _OURS}


def _parents(paths: Iterable[str]) -> list[str]:
    """Return the groups above these that hold no arrays: ``a`` and ``a/b`` for ``a/b/c``."""
    parents: dict[str, None] = {}
    for path in paths:
        names = path.split("/")
        for depth in range(1, len(names)):
            parents["/".join(names[:depth])] = None
    return list(parents)


def _group(path: str, members: Sequence[Member], begins: Mapping[int, int]) -> Iterator[Group]:
    """Return the group itself, and the segments below it."""
    first = next((member for member in members if len(member.references.groups) > 1), members[0])
    others = [member for member in members if member is not first]
    root, *segments = first.references.groups
    beside = [(other.references.groups[0], begins[id(other)]) for other in others]
    attrs = equal_attrs(
        [member.references.groups[0].attrs for member in members if member.series.time]
        or [root.attrs]
    )
    if not segments:
        arrays, indices = _side_by_side([(root, begins[id(first)]), *beside])
        yield Group(path, {**attrs, **_coordinates(attrs, arrays, members)}, arrays, indices)
        return
    names = [f"{path}/{segment.path}".lstrip("/") for segment in segments]
    facts = {"esgvzarr_segments": names, "esgvzarr_concat_dim": first.series.time}
    own = {key: value for key, value in attrs.items() if key not in facts}
    yield Group(path, {**facts, **own}, ())
    for name, segment in zip(names, segments, strict=True):
        arrays, indices = _side_by_side([(segment, begins[id(first)]), *beside])
        yield Group(
            name,
            {**segment.attrs, **_coordinates(attrs, arrays, members)},
            arrays,
            indices,
        )


def _side_by_side(groups: Sequence[tuple[Group, int]]) -> tuple[tuple[Array, ...], tuple[int, ...]]:
    """Return all arrays, and the numbers in the document of all files shown. An array that several
    datasets have is taken once, from the first.
    """
    versions: dict[str, list[Array]] = {}
    indices = list[int]()
    for group, begin in groups:
        indices += [index + begin for index in group.file_indices]
        for array in group.arrays:
            shifted = replace(array, file_index=array.file_index + begin)
            versions.setdefault(array.name, []).append(shifted)
    arrays = [replace(same[0], attrs=variable_attrs(same)) for same in versions.values()]
    return tuple(arrays), tuple(indices)


def _coordinates(
    attrs: Mapping[str, Any], arrays: Sequence[Array], members: Sequence[Member]
) -> dict[str, Any]:
    """Make cell measures coordinates, if a dataset of the group holds a field that a variable names
    as its cell measure.

    They are listed in the group's attribute ``coordinates``, as xarray writes it, so that the
    attributes of variables stay those of the files. Rule: CF conventions 1.11, section 7.2,
    ``cell_measures = "area: areacello"``.
    """
    fixed = set[str]()
    for member in members:
        if member.series.time is None:
            fixed.update(member.series.files[0].variables)
    names = dict.fromkeys(str(attrs.get("coordinates", "")).split())
    for array in arrays:
        for word in str(array.attrs.get("cell_measures", "")).split():
            if word in fixed:
                names[word] = None
    return {"coordinates": " ".join(names)} if names else {}


def _provenance(
    name: str, groups: Mapping[str, Sequence[Member]], members: Sequence[Member]
) -> dict[str, Any]:
    """Describe what each dataset was made from, and which datasets each group shows."""
    lists: dict[str, list[Any]] = {"files": [], "left_out": [], "warnings": []}
    for member in members:
        for key, together in lists.items():
            together += member.references.provenance[key]
    shown_in = {}
    for path, group in groups.items():
        shown_in[path] = [member.name for member in group]
    return {
        "generator": f"esgvzarr {__version__}",
        "dataset_id": name,
        **lists,
        "datasets": {member.name: _dataset(member) for member in members},
        "groups": shown_in,
    }


def _dataset(member: Member) -> dict[str, Any]:
    attrs = {
        key: value
        for key, value in member.references.groups[0].attrs.items()
        if not key.startswith("esgvzarr_")
    }
    files = [file.file.url for file in (*member.references.files, *member.series.left_out)]
    return {
        "files": files,
        "time": member.series.time,
        "dropped": list(member.dropped),
        "attributes": attrs,
    }
