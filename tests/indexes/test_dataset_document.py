"""What becomes of a Dataset document."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from esgvzarr.errors import LinkError
from esgvzarr.indexes.dataset_document import (
    apply,
    check_link,
    document_id,
    is_copy,
    plan,
    plan_removal,
    read_links,
)
from esgvzarr.testing.conformance import CHANGED, DATASET, LINK, MOVED, NODE

URL = f"{LINK.href}|application/vnd.zarr+kerchunk|VirtualZarr"
XLINK = f"{LINK.href}|Virtual Zarr (kerchunk) reference|supdata"
CITATION = "http://cera-www.dkrz.de/x.json|Citation|citation"
LAS = "https://las.example.org/x|application/las|LAS"
ICECHUNK = "https://data-node.example.org/x.icechunk|application/vnd.icechunk|VirtualZarr"


def document(**fields: Any) -> dict[str, Any]:
    return {"id": document_id(DATASET, NODE), "type": "Dataset", "data_node": NODE, **fields}


def linked(before: dict[str, Any]) -> dict[str, Any]:
    change = plan(before, LINK)
    assert change is not None
    return apply(before, change)


def test_each_data_node_has_a_document_of_its_own() -> None:
    """A replica's document is another one."""
    assert document_id(DATASET, NODE) == f"{DATASET}|{NODE}"


def test_three_lists_show_the_link() -> None:
    """What was there comes first, and is left as it is."""
    assert plan(document(access=["HTTPServer", "Globus"], url=[LAS], xlink=[CITATION]), LINK) == {
        "access": ["HTTPServer", "Globus", "VirtualZarr"],
        "url": [LAS, URL],
        "xlink": [CITATION, XLINK],
    }


def test_a_document_without_lists_gets_them() -> None:
    """esgcet writes one value bare, and neither url nor xlink."""
    assert plan(document(access="HTTPServer"), LINK) == {
        "access": ["HTTPServer", "VirtualZarr"],
        "url": [URL],
        "xlink": [XLINK],
    }


@pytest.mark.parametrize("link", [LINK, CHANGED], ids=["the-same", "other-bytes"])
def test_a_link_that_is_there_needs_nothing(link: Any) -> None:
    """The document has no place for a checksum: the same place is the same link."""
    assert plan(linked(document(access=["HTTPServer"])), link) is None


@pytest.mark.parametrize("field", ["access", "url", "xlink"])
def test_what_is_missing_or_doubled_is_put_right(field: str) -> None:
    """Only the field that is wrong changes; ours is there once afterwards."""
    whole = linked(document(access=["HTTPServer"], url=[LAS], xlink=[CITATION]))
    ours = whole[field][-1]
    for wrong in (whole[field][:-1], [*whole[field], ours]):
        assert plan({**whole, field: wrong}, LINK) == {field: whole[field]}


def test_an_older_link_of_the_data_node_goes() -> None:
    """Its url and its xlink are replaced; `access` stays as it is."""
    before = linked(document(access=["HTTPServer"], url=[LAS], xlink=[CITATION]))
    change = plan(before, MOVED)
    assert change is not None
    assert list(change) == ["url", "xlink"]
    assert change["url"] == [LAS, f"{MOVED.href}|application/vnd.zarr+kerchunk|VirtualZarr"]
    assert change["xlink"] == [CITATION, f"{MOVED.href}|Virtual Zarr (kerchunk) reference|supdata"]


def test_links_of_another_kind_stay() -> None:
    """The service name is not ours alone: an Icechunk store may have it too."""
    before = document(access=["VirtualZarr"], url=[ICECHUNK], xlink=[])
    after = linked(before)
    assert after["url"] == [ICECHUNK, URL]
    assert after["access"] == ["VirtualZarr"]
    change = plan_removal(after, LINK)
    assert change == {"url": [ICECHUNK], "xlink": []}
    assert apply(after, change)["access"] == ["VirtualZarr"]


@pytest.mark.parametrize(
    "before",
    [
        document(access=["HTTPServer"]),
        document(access=["HTTPServer"], url=[LAS, "a|b|c|d", ""], xlink=[CITATION]),
    ],
    ids=["without-lists", "with-others"],
)
def test_removal_brings_back_what_was(before: dict[str, Any]) -> None:
    """A list that had nothing else is gone again."""
    after = linked(before)
    change = plan_removal(after, LINK)
    assert change is not None
    assert apply(after, change) == before


def test_removal_of_what_is_not_there_is_nothing() -> None:
    """Neither another href nor a document without a link changes."""
    assert plan_removal(document(access=["HTTPServer"]), LINK) is None
    assert plan_removal(linked(document()), MOVED) is None


def test_half_a_link_is_removed() -> None:
    """What a failed run left behind goes too."""
    assert plan_removal(document(access=["HTTPServer"], xlink=[CITATION, XLINK]), LINK) == {
        "xlink": [CITATION]
    }


def test_planning_changes_nothing() -> None:
    """The document that was read stays as it was read."""
    before = document(access=["HTTPServer"], url=[LAS])
    kept = repr(before)
    plan_removal(linked(before), LINK)
    assert repr(before) == kept


def test_links_are_read_from_three_part_urls_only() -> None:
    """Whatever else the list holds is no link."""
    links = read_links(document(url=[LAS, "VirtualZarr", "a|b|c|VirtualZarr", URL]))
    assert links == (replace(LINK, roles=(), size=0, sha256="", open_kwargs={}, local_path=None),)


def test_tells_an_older_document_from_the_one_that_was_sent() -> None:
    """By a link that was not sent, and by esgcet's stamp where it is sent; an index may write the
    rest in its own way.
    """
    sent = document(
        access="HTTPServer", xlink="https://x.org/a?b&amp;c|Citation|citation", replica="False"
    )
    shown = document(
        access=["HTTPServer"],
        xlink=["https://x.org/a?b&c|Citation|citation"],
        replica=False,
        _timestamp="2026",
    )
    assert is_copy(shown, sent)
    assert not is_copy(linked(shown), sent)
    assert is_copy(shown, {**sent, "_timestamp": "2026"})
    assert not is_copy(shown, {**sent, "_timestamp": "2027"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("href", "https://data-node.example.org/a|b.json"),
        ("href", "/data/x.json"),
        ("href", "https://data-node.example.org/a b.json"),
        ("media_type", "application/json|HTTPServer"),
        ("data_node", "a|b"),
        ("data_node", ""),
        ("sha256", "ABC"),
    ],
)
def test_a_wrong_link_is_not_sent(field: str, value: str) -> None:
    """A url value has three parts, whatever the link holds."""
    with pytest.raises(LinkError, match=field) as caught:
        check_link(replace(LINK, **{field: value}))
    assert caught.value.code == "index-asset-invalid"
