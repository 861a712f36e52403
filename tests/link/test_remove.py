"""A link is taken back before its file is, and nothing else is taken."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from esgvzarr import pages
from esgvzarr.errors import LinkError, SettingsError
from esgvzarr.link.remove import WITHDRAWN, may_come, plan_withdrawal, reference_paths
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.model import AccessLink
from esgvzarr.output import kerchunk

from .shelf import ID, NODE, Shelf

NAME = f"{ID}.json"


def link_to(href: str, data_node: str = NODE) -> AccessLink:
    return AccessLink(href, data_node, "application/json", ("virtual",), 0, "", {})


def test_a_link_is_taken_back_and_its_file_moved_away(shelf: Shelf) -> None:
    shelf.link()
    outcome = shelf.unlink()
    assert outcome.state is State.WITHDRAWN, outcome
    assert shelf.shown() == []
    assert not shelf.place.exists()
    assert (shelf.root / WITHDRAWN / NAME).exists()
    assert [step.step for step in shelf.ledger.entries()][-3:] == [
        Step.DECIDED,
        Step.UNLINKED,
        Step.DONE,
    ]
    assert shelf.ledger.live() == []


def test_a_link_is_taken_back_and_its_file_deleted(shelf: Shelf) -> None:
    shelf.link()
    assert shelf.unlink(delete=True).state is State.DELETED
    assert not shelf.place.exists()
    assert not (shelf.root / WITHDRAWN).exists()
    again = shelf.unlink(delete=True)
    assert again.state is State.DELETED
    assert "no reference file was there" in again.detail


def led_to(page: Path) -> str:
    """The page with a map that a page names."""
    (entry,) = re.findall(r'id="entry">(.*?)</script>', page.read_text(), re.DOTALL)
    return str(json.loads(entry)["page_with_map"])


def test_the_page_of_another_output_leads_no_longer_to_the_page_that_went(shelf: Shelf) -> None:
    pytest.importorskip("zstandard")
    shelf.link()
    other = shelf.place.with_suffix(".json.zst")
    other.write_bytes(kerchunk.compress(shelf.place.read_bytes()))
    for reference in (shelf.place, other):
        pages.write_page(reference, f"https://{NODE}/{reference.name}")
    page = pages.page_path(other)
    assert led_to(page) == pages.page_path(shelf.place).name
    assert shelf.unlink().state is State.WITHDRAWN
    assert not pages.page_path(shelf.place).exists()
    assert led_to(page) == ""
    assert f"https://{NODE}/{other.name}" in page.read_text()


def test_links_of_other_data_nodes_stay(shelf: Shelf) -> None:
    shelf.link()
    item = json.loads(shelf.item().read_text())
    for asset in item["assets"].values():
        asset["alternate"] = {"other.example": {"href": "https://other.example/a.nc"}}
    shelf.item().write_text(json.dumps(item))
    shelf.index.add_link(ID, link_to("https://other.example/a.json", "other.example"))
    assert len(shelf.shown()) == 2
    assert shelf.unlink().state is State.WITHDRAWN
    assert shelf.shown() == ["https://other.example/a.json"]


def test_nothing_is_done_before_an_earlier_change_cannot_come_any_more(shelf: Shelf) -> None:
    until = datetime(2026, 11, 29, 14, 20, tzinfo=UTC)
    outcome = may_come(shelf.task(), "the link", until)
    assert (outcome.state, outcome.code) == (State.PENDING, "index-earlier-change")
    assert "until 2026-11-29 14:20:00 UTC" in outcome.detail
    assert outcome.retryable
    assert not outcome.unsure  # this attempt has sent nothing


def test_a_link_that_a_killed_run_may_have_sent_is_waited_for(shelf: Shelf) -> None:
    attempt = shelf.write()
    resumed = type(attempt)(attempt.task, shelf.ledger, resumed=True)
    plan = plan_withdrawal(resumed, shelf.index, shelf.settings)
    assert plan.hindrance is not None
    assert plan.hindrance.code == "index-earlier-change"
    outcome = shelf.unlink()
    assert outcome.state is State.PENDING
    assert shelf.place.exists()


def paths(shelf: Shelf, *hrefs: str) -> list[str]:
    settings = shelf.settings.model_copy(
        update={"data_paths": {str(shelf.root / "data"): f"https://{NODE}/data"}}
    )
    return reference_paths([link_to(href) for href in hrefs], shelf.task(Verb.LINK), settings)


def test_the_files_of_all_links_are_removed(shelf: Shelf) -> None:
    here = str(shelf.place)
    assert paths(shelf) == [here]
    assert paths(shelf, here) == [here]
    twin = f"{ID}.twin.json"
    assert paths(shelf, here, f"https://{NODE}/data/{twin}") == [
        here,
        str(shelf.root / "data" / twin),
    ]
    assert paths(shelf, f"https://{NODE}/data/a/{NAME}", here, f"https://{NODE}/data/b/{NAME}") == [
        here,
        str(shelf.root / "data" / "a" / NAME),
        str(shelf.root / "data" / "b" / NAME),
    ]


def test_what_was_written_in_other_places_is_removed_too(shelf: Shelf) -> None:
    shelf.outputs = ("json", "twin")
    shelf.link()
    twin = str(shelf.place.with_suffix(".twin.json"))
    assert sorted(paths(shelf)) == sorted([str(shelf.place), twin])


def test_a_link_to_what_is_no_reference_file_of_the_dataset_removes_nothing(shelf: Shelf) -> None:
    with pytest.raises(LinkError) as caught:
        paths(shelf, f"https://{NODE}/data/{shelf.record.files[0].name}")
    assert caught.value.code == "index-link-foreign"


def test_a_link_of_which_no_path_is_known_removes_nothing(shelf: Shelf) -> None:
    with pytest.raises(SettingsError) as caught:
        paths(shelf, f"https://elsewhere.example/{NAME}")
    assert caught.value.code == "settings-reference-dir"
