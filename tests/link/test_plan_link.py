"""When a dataset may be linked, by what index and ledger show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from esgvzarr.errors import EsgvzarrError
from esgvzarr.link.attempt import Attempt
from esgvzarr.link.planning import Plan, is_from_here, plan_link
from esgvzarr.link.states import State, Verb
from esgvzarr.link.task import Task
from esgvzarr.model import AccessLink

from .shelf import ID, NODE, Shelf


def plan(shelf: Shelf, task: Task, *, registered: bool = True) -> Plan:
    attempt = Attempt(task, shelf.ledger, resumed=True)
    return plan_link(attempt, shelf.index, shelf.settings, registered=registered)


def refusal(shelf: Shelf, task: Task) -> str:
    with pytest.raises(EsgvzarrError) as caught:
        plan(shelf, task)
    return caught.value.code


def elsewhere(shelf: Shelf, **changes: Any) -> Task:
    """The same dataset in another index, or of another data node."""
    task = shelf.task()
    if "data_node" in changes:
        return replace(task, record=replace(task.record, **changes))
    return replace(task, index=replace(task.index, **changes))


def test_a_registered_dataset_may_be_linked(shelf: Shelf) -> None:
    found = plan(shelf, shelf.task())
    assert found.hindrance is None
    assert found.record == shelf.index.find(ID)
    assert plan(shelf, shelf.task(), registered=False).record is None


def test_a_dataset_that_is_not_registered_may_not(shelf: Shelf) -> None:
    shelf.item().unlink()
    hindrance = plan(shelf, shelf.task()).hindrance
    assert hindrance is not None
    assert hindrance.state is State.ABSENT
    assert plan(shelf, shelf.task(), registered=False).hindrance is None


@pytest.mark.parametrize("said", [True, "true", ["true"]])
def test_a_retracted_dataset_is_never_linked(shelf: Shelf, said: object) -> None:
    shelf.change_item(retracted=said)
    assert refusal(shelf, shelf.task(force=True)) == "source-retracted"
    shelf.change_item(retracted=False)
    assert plan(shelf, shelf.task()).hindrance is None


def test_a_link_that_is_live_elsewhere_is_not_forgotten(shelf: Shelf) -> None:
    shelf.link()
    assert plan(shelf, shelf.task()).hindrance is None
    assert refusal(shelf, elsewhere(shelf, location="another")) == "index-live-elsewhere"
    assert refusal(shelf, elsewhere(shelf, data_node="another")) == "index-live-elsewhere"
    forced = replace(elsewhere(shelf, location="another"), force=True)
    assert plan(shelf, forced).hindrance is None


def test_a_live_link_of_which_an_old_ledger_kept_no_task_hinders_nothing(shelf: Shelf) -> None:
    shelf.link()
    with shelf.ledger._file.connected() as connection:
        connection.execute("UPDATE decision SET task = NULL")
        connection.commit()
    assert plan(shelf, elsewhere(shelf, location="another")).hindrance is None


def show(shelf: Shelf, href: str) -> None:
    shelf.index.add_link(ID, AccessLink(href, NODE, "application/json", ("virtual",), 0, "", {}))


def test_a_link_of_other_origin_is_replaced_only_by_force(shelf: Shelf) -> None:
    show(shelf, f"https://stranger.example/{ID}.json")
    assert refusal(shelf, shelf.task()) == "index-link-foreign"
    assert plan(shelf, shelf.task(force=True)).hindrance is None
    shelf.config.write_text("data_node: another.example\n")
    assert refusal(shelf, shelf.task(force=True)) == "index-link-foreign"
    published = shelf.task(Verb.PUBLISH, force=True)  # esgcet registers for that data node
    assert plan(shelf, published).hindrance is None


def test_a_link_whose_removal_may_still_come_is_waited_for(shelf: Shelf) -> None:
    shelf.link()
    Attempt(replace(shelf.task(), verb=Verb.UNPUBLISH), shelf.ledger).decide()
    hindrance = plan(shelf, shelf.task()).hindrance
    assert hindrance is not None
    assert hindrance.code == "index-earlier-change"


@pytest.mark.parametrize(
    ("href", "own", "known"),
    [
        ("https://node/a.json", "https://node/a.json", True),
        ("https://node/old.json", "https://node/a.json", True),  # of the same host
        ("https://other/a.json", "https://node/a.json", False),
        ("/data/old.json", "https://node/a.json", False),
        ("https://node/old.json", "/data/a.json", False),
        ("https://other/a.json", "", True),  # nothing is put in its place
        ("https://other/a.icechunk", "https://node/a.json", True),
    ],
)
def test_a_link_is_from_here_by_its_host_or_by_the_ledger(
    shelf: Shelf, href: str, own: str, known: bool
) -> None:
    attempt = Attempt(replace(shelf.task(), href=own), shelf.ledger)
    assert is_from_here(attempt, href) is known
    Attempt(replace(shelf.task(), href=href), shelf.ledger).decide()
    assert is_from_here(Attempt(attempt.task, shelf.ledger), href)
