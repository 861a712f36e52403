"""Several outputs of a dataset are linked one after the other, without a server."""

from __future__ import annotations

from esgvzarr.link.lifecycle import carry_on
from esgvzarr.link.states import State, Step
from esgvzarr.outcome import Linked

from .shelf import ID, Shelf


def steps(shelf: Shelf) -> list[tuple[Step, str]]:
    """What the ledger keeps of each step, and of which file."""
    return [(step.step, step.path.partition(str(ID))[2]) for step in shelf.ledger.entries()]


WHOLE = [
    (Step.DECIDED, ".json"),
    (Step.WRITTEN, ".json"),
    (Step.SHOWN, ".json"),
    (Step.DECIDED, ".twin.json"),
    (Step.WRITTEN, ".twin.json"),
    (Step.DONE, ".twin.json"),
]


def test_each_output_is_shown_and_the_last_ends_the_work(shelf: Shelf) -> None:
    shelf.outputs = ("json", "twin")
    outcome = shelf.link()
    assert isinstance(outcome, Linked), outcome
    assert steps(shelf) == WHOLE
    assert len(shelf.shown()) == 2
    assert len(shelf.staged) == 1  # one scan for both
    assert {live.output for live in shelf.ledger.live()} == {"json", "twin"}


def test_one_output_is_the_last(shelf: Shelf) -> None:
    assert isinstance(shelf.link(), Linked)
    assert [step for step, _ in steps(shelf)] == [Step.DECIDED, Step.WRITTEN, Step.DONE]


def test_the_outputs_after_one_that_failed_wait(shelf: Shelf) -> None:
    shelf.outputs = ("json", "twin")
    shelf.place.write_text("{}")
    assert shelf.link().state is State.FAILED
    assert steps(shelf) == [(Step.DECIDED, ".json"), (Step.DONE, ".json")]
    assert shelf.shown() == []


def test_the_work_goes_on_with_the_output_at_which_it_failed(shelf: Shelf) -> None:
    shelf.outputs = ("json", "twin")
    twin = shelf.place.with_suffix(".twin.json")
    twin.write_text("{}")
    assert shelf.link().code == "store-bytes-differ"
    assert [output for output in steps(shelf) if output[0] is Step.SHOWN] == [(Step.SHOWN, ".json")]
    assert len(shelf.shown()) == 1
    twin.unlink()
    (outcome,) = shelf.resume(every=True)
    assert isinstance(outcome, Linked), outcome
    assert len(shelf.shown()) == 2


def test_what_is_not_registered_is_not_linked(shelf: Shelf) -> None:
    shelf.item().unlink()
    outcome = shelf.link()
    assert (outcome.state, outcome.code) == (State.ABSENT, "index-item-missing")
    assert not shelf.place.exists()
    assert shelf.staged == []


def test_a_file_whose_link_the_index_refuses_is_taken_away(shelf: Shelf) -> None:
    """Its item is spoilt after the file was made."""
    attempt = shelf.write()
    shelf.item().write_text("{}")
    outcome = carry_on(attempt, shelf.means)
    assert (outcome.state, outcome.code) == (State.FAILED, "index-item-invalid")
    assert shelf.ledger.live() == []
