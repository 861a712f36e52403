"""Several datasets as one document, from their references alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from esgvzarr.combine import combine
from esgvzarr.combine.document import join
from esgvzarr.combine.several import misfits_in, place
from esgvzarr.model import Group, Member, Variable

from .in_memory import DAYS, file, series, variable


def member(name: str, *variables: Variable, begin: float = 0.0, **attrs: Any) -> Member:
    """A dataset of one file with two steps."""
    days = np.array([begin, begin + 1])
    data = variable(name, "time x", np.zeros((2, 3), "f4"), units="K", **attrs)
    found = file(variable("time", "time", days, **DAYS), data, *variables, attrs={"title": name})
    own = series(found, time="time")
    return Member(name, own, combine(own, name))


def fixed(name: str) -> Member:
    own = series(file(variable(name, "x", np.arange(3.0)), attrs={"title": name}))
    return Member(name, own, combine(own, name))


def arrays(group: Group) -> list[str]:
    return [array.name for array in group.arrays]


def test_datasets_that_stand_side_by_side_are_one_group() -> None:
    document = join("both", {"": [member("tas"), member("pr")]})
    (root,) = document.groups
    assert arrays(root) == ["time", "tas", "pr"]
    assert root.file_indices == (0, 1)
    assert [array.file_index.tolist() for array in root.arrays if array.name != "time"] == [
        [0],
        [1],
    ]
    assert "reading" not in document.provenance


def test_each_group_has_its_own_datasets_and_the_root_names_them() -> None:
    shared = fixed("areacella")
    document = join("all", {"a/b": [member("tas"), shared], "a/c": [member("pr"), shared]})
    assert [(group.path, arrays(group)) for group in document.groups] == [
        ("", []),
        ("a", []),
        ("a/b", ["time", "tas", "areacella"]),
        ("a/c", ["time", "pr", "areacella"]),
    ]
    assert document.groups[0].attrs["esgvzarr_groups"] == ["a/b", "a/c"]
    assert document.provenance["reading"] == {"groups": ["a/b", "a/c"]}
    assert len(document.files) == 3  # the shared one once
    assert document.provenance["groups"] == {
        "a/b": ["tas", "areacella"],
        "a/c": ["pr", "areacella"],
    }


def test_cell_measures_are_coordinates_where_a_dataset_beside_them_holds_them() -> None:
    measured = {"cell_measures": "area: areacella volume: volcello"}
    data = member("tas", **measured)
    (root,) = join("x", {"": [data, fixed("areacella")]}).groups
    assert root.attrs["coordinates"] == "areacella"
    (root,) = join("x", {"": [data, member("pr")]}).groups
    assert "coordinates" not in root.attrs
    (root,) = join("x", {"": [member("tas"), fixed("areacella")]}).groups
    assert "coordinates" not in root.attrs


def test_a_dataset_goes_into_the_first_group_that_it_fits_into() -> None:
    groups: dict[str, list[Member]] = {}
    paths: list[str] = []
    names = ["one", "two", "three"]
    assert place(member("tas"), groups, paths, names) == []
    assert place(member("pr"), groups, paths, names) == []
    (finding,) = place(member("ps", begin=5.0), groups, paths, names)
    assert (finding.code, finding.rule, finding.refuse) == ("variable-apart", 39, False)
    assert "time-differs" in finding.found
    assert place(member("psl", begin=5.0), groups, paths, names) == []
    assert {path: [one.name for one in found] for path, found in groups.items()} == {
        "one": ["tas", "pr"],
        "two": ["ps", "psl"],
    }


def test_a_dataset_in_segments_has_no_other_with_time_beside_it() -> None:
    parts = []
    for number, units in enumerate(("f4", "f8")):
        days = variable("time", "time", np.arange(2.0) + 2 * number, **DAYS)
        data = variable("uas", "time x", np.zeros((2, 3), units), units="K")
        parts.append(file(days, data, number=number))
    own = series(*parts, time="time")
    segmented = Member("uas", own, combine(own, "uas"))
    assert len(segmented.references.groups) == 3
    codes = {finding.code for finding in misfits_in([segmented], fixed("areacella"))}
    assert "chunks-segmented" not in codes
    codes = {finding.code for finding in misfits_in([member("tas")], segmented)}
    assert "chunks-segmented" in codes
    codes = {finding.code for finding in misfits_in([member("tas")], member("pr"))}
    assert codes == set()
