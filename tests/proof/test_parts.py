"""Which files the groups of a document show, by what the document says."""

from __future__ import annotations

from typing import Any

import pytest

from esgvzarr import FileRecord, ProofError
from esgvzarr.proof.parts import check_all_named, check_listing, groups_of

from .in_memory import dataset, group

FILES = [FileRecord(f"{name}.nc", f"https://node.example/{name}.nc") for name in ("a", "b", "fx")]
URLS = [file.url for file in FILES]
GROUPS = [group(dataset([15.5]), path) for path in ("tas/seg-000", "tas/seg-001", "task")]


def named(**changes: Any) -> dict[str, Any]:
    """The provenance of a document of two groups: the first shows two datasets."""
    return {
        "groups": {"tas": ["A", "FX"], "task": ["B"]},
        "datasets": {
            "A": {"files": URLS[:1], "dropped": ["height"], "time": True},
            "FX": {"files": URLS[2:], "dropped": [], "time": False},
            "B": {"files": URLS[1:2], "dropped": [], "time": True},
        },
        **changes,
    }


def test_a_document_of_one_dataset_shows_all_files_in_all_groups() -> None:
    for provenance, name in (({"dataset_id": "A"}, "A"), ({"dataset_id": 3}, ""), ({}, "")):
        (document_group,) = groups_of(provenance, GROUPS, FILES, "a document")
        (part,) = document_group.parts
        assert (part.files, part.shown, part.name) == (tuple(FILES), tuple(GROUPS), name)
        assert not document_group.named


def test_a_document_of_several_datasets_shows_each_in_its_group_and_segments() -> None:
    first, second = groups_of(named(), GROUPS, FILES, "a document")
    assert [one.path for one in first.shown] == ["tas/seg-000", "tas/seg-001"]
    assert [one.path for one in second.shown] == ["task"]
    found = [
        (part.name, [file.name for file in part.files], len(part.shown), part.dropped)
        for part in (*first.parts, *second.parts)
    ]
    assert found == [
        ("A", ["a.nc"], 2, ("height",)),
        ("FX", ["fx.nc"], 1, ()),  # whole in each segment
        ("FX", ["fx.nc"], 1, ()),
        ("B", ["b.nc"], 1, ()),
    ]
    assert first.named
    assert second.named


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": {"tas": ["C"]}},
        {"groups": {"tas": 1}},
        {"groups": ["tas"]},
        {"groups": None},
        {"datasets": None},
        {"datasets": {}},
        {"datasets": {"A": None, "FX": None}},
        {"datasets": {"A": {"files": URLS, "dropped": []}, "FX": {}}},
        {"datasets": {"A": {"files": 1, "dropped": [], "time": True}, "FX": {}}},
    ],
)
def test_a_document_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ProofError) as caught:
        groups_of(named(**changes), GROUPS, FILES, "a document")
    assert caught.value.code == "proof-groups"


@pytest.mark.parametrize(
    ("changes", "subjects"),
    [
        ({}, []),
        ({"groups": {"tas": ["A", "FX"]}}, ["/task", "b.nc"]),
        ({"groups": {"": ["A", "FX", "B"]}}, []),  # all groups are below the root
        ({"groups": {"tas": ["A", "FX"], "task": ["B"], "gone": ["B"]}}, [""]),
        ({"groups": {"tas/seg-000": ["A", "FX"], "task": ["B"]}}, ["/tas/seg-001"]),
    ],
)
def test_each_group_and_each_file_has_its_place(changes: Any, subjects: list[str]) -> None:
    found = groups_of(named(**changes), GROUPS, FILES, "a document")
    checks = list(check_all_named(found, GROUPS, FILES))
    assert [check.subject for check in checks] == subjects
    assert not any(check.passed for check in checks)


def test_a_dataset_none_of_whose_files_is_there_is_told() -> None:
    found = groups_of(named(), GROUPS, FILES[1:], "a document")
    (check,) = check_all_named(found, GROUPS, FILES[1:])
    assert check.subject == "/tas/seg-000, /tas/seg-001"


ATTRS = '{"units": "K"}'
KEYS = {".zgroup": "{}", "a/b/.zarray": "{}", "a/b/.zattrs": ATTRS, "a/b/0": "base64:"}
LISTED = '{"metadata": {".zgroup": {}, "a/b/.zarray": {}, "a/b/.zattrs": {"units": "K"}}}'


@pytest.mark.parametrize(
    ("more", "passed"),
    [
        ({}, []),
        ({".zmetadata": LISTED}, [True]),
        ({".zmetadata": LISTED, "a/.zgroup": "{}"}, [False]),
        ({".zmetadata": LISTED.replace("K", "degC")}, [False]),
        ({".zmetadata": "{}"}, [False]),
        ({".zmetadata": "[]"}, [False]),
        ({".zmetadata": "no JSON"}, [False]),
        ({".zmetadata": None}, [False]),
        ({".zmetadata": LISTED, "a/b/.zattrs": "no JSON"}, [False]),
        ({".zmetadata": LISTED, "a/b/.zattrs": ["https://node.example/a.nc", 0, 1]}, [False]),
        ({"//a/b": ""}, [True]),
        ({"//a/b": "", "//a/c": ""}, [False]),
        ({"//a/c": ""}, [False]),
        ({".zmetadata": LISTED, "//a/c": ""}, [True, False]),
    ],
)
def test_what_readers_find_listed_is_what_there_is(
    more: dict[str, Any], passed: list[bool]
) -> None:
    assert [check.passed for check in check_listing({**KEYS, **more})] == passed
