"""What becomes of a dataset that esgcet registers, or says that it did not. esgcet itself takes no
part: these are the calls that the hook makes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from esgvzarr.esgpublish import Registration, Unregistered
from esgvzarr.link.states import State, Step
from esgvzarr.link.with_esgcet import _Run
from esgvzarr.outcome import Outcome

from .shelf import ID, Shelf


@pytest.fixture
def shelf(served_shelf: Shelf) -> Shelf:
    return served_shelf


def registration(shelf: Shelf, *, dry_run: bool = False) -> Registration:
    """As esgcet's records describe the dataset."""
    common: dict[str, Any] = {"data_node": shelf.node, "version": ID.version, "replica": "False"}
    (file,) = shelf.record.files
    of_file = {
        "type": "File",
        "title": file.name,
        "dataset_id": f"{ID}|{shelf.node}",
        "size": str(file.size),
        "url": f"{file.url}|application/netcdf|HTTPServer",
    }
    of_dataset = {
        "type": "Dataset",
        "id": f"{ID}|{shelf.node}",
        "instance_id": str(ID),
        "number_of_files": "1",
    }
    return Registration(
        records=({**common, **of_file}, {**common, **of_dataset}),
        paths={file.url: str(file.path)},
        config={},
        index_kind="stac",
        dry_run=dry_run,
    )


def run(shelf: Shelf) -> _Run:
    return _Run(shelf.config, shelf.means, force=False)


def outcome_of(one: _Run) -> Outcome:
    (outcome,) = one.outcomes
    return outcome


def steps(shelf: Shelf) -> list[Step]:
    return [step.step for step in shelf.ledger.entries()]


def test_a_dataset_that_was_announced_and_registered_is_linked(shelf: Shelf) -> None:
    one = run(shelf)
    one.registering(registration(shelf))
    assert steps(shelf) == [Step.ANNOUNCED]
    one.registered(registration(shelf))
    one.close()
    assert outcome_of(one).state is State.LINKED, one.outcomes
    assert steps(shelf) == [Step.ANNOUNCED, Step.DECIDED, Step.WRITTEN, Step.DONE]
    assert shelf.shown() == [outcome_of(one).href]


def test_a_dataset_that_could_not_be_announced_is_linked_all_the_same(shelf: Shelf) -> None:
    one = run(shelf)
    one.registered(registration(shelf))
    assert outcome_of(one).state is State.LINKED, one.outcomes
    assert steps(shelf) == [Step.DECIDED, Step.WRITTEN, Step.DONE]


def test_a_dataset_that_was_announced_and_is_not_in_the_index_is_absent(shelf: Shelf) -> None:
    one = run(shelf)
    one.registering(registration(shelf))
    shelf.item().unlink()
    one.close()
    assert outcome_of(one).state is State.ABSENT
    assert steps(shelf) == [Step.ANNOUNCED, Step.DONE]


def test_a_dataset_that_the_index_shows_although_esgcet_did_not_register_it_is_left_to_resume(
    shelf: Shelf,
) -> None:
    one = run(shelf)
    one.registering(registration(shelf))
    one.close()
    outcome = outcome_of(one)
    assert (outcome.state, outcome.code) == (State.SKIPPED, "publisher-not-registered")
    assert outcome.retryable
    assert shelf.shown() == []


def test_an_index_that_cannot_be_asked_is_a_failure_of_this_dataset_alone(shelf: Shelf) -> None:
    one = run(shelf)
    one.registering(registration(shelf))
    shelf.item().write_text("{}")
    one.close()
    assert (outcome_of(one).state, outcome_of(one).code) == (State.FAILED, "index-item-invalid")


def test_a_link_that_was_live_before_is_still_linked(shelf: Shelf) -> None:
    linked = run(shelf)
    linked.registered(registration(shelf))
    again = run(shelf)
    again.registering(registration(shelf))
    again.close()
    assert outcome_of(again).state is State.LINKED, again.outcomes
    assert "registered nothing new" in outcome_of(again).detail
    assert [live.href for live in shelf.ledger.live()] == shelf.shown()


def test_a_link_of_other_files_is_not_taken_for_that_of_this_registration(shelf: Shelf) -> None:
    linked = run(shelf)
    linked.registered(registration(shelf))
    (file,) = shelf.record.files
    assert file.size is not None
    shelf.record = replace(shelf.record, files=(replace(file, size=file.size + 1),))
    again = run(shelf)
    again.registering(registration(shelf))
    again.close()
    outcome = outcome_of(again)
    assert (outcome.state, outcome.code) == (State.SKIPPED, "publisher-not-registered")
    assert not outcome.retryable
    assert "shows it with a link" in outcome.detail


def test_what_esgcet_did_not_register_is_named_once(shelf: Shelf) -> None:
    one = run(shelf)
    one.registered(registration(shelf))
    one.unregistered(Unregistered("a.map", str(ID), tried=True))
    one.unregistered(Unregistered("b.map", "", tried=True))
    one.unregistered(Unregistered("c.map", "", tried=False))
    assert [(outcome.dataset_id, outcome.code) for outcome in one.outcomes[1:]] == [
        ("b.map", "publisher-not-registered"),
        ("c.map", "publisher-not-tried"),
    ]
    assert [outcome.retryable for outcome in one.outcomes[1:]] == [False, True]
