"""A reference file in its place: made anew, or that of an earlier run."""

from __future__ import annotations

from pathlib import Path

import pytest

from esgvzarr.link.add import access_link
from esgvzarr.link.attempt import Attempt
from esgvzarr.link.lifecycle import carry_on
from esgvzarr.link.states import State
from esgvzarr.model import ReferenceFile
from esgvzarr.outcome import Linked, Outcome

from .shelf import Shelf


def written(outcome: Outcome) -> bool:
    assert isinstance(outcome, Linked), outcome
    assert outcome.reference is not None
    return outcome.reference.written


def resumed(shelf: Shelf) -> Outcome:
    attempt = Attempt(shelf.task(), shelf.ledger, resumed=True)
    attempt.resume()
    return carry_on(attempt, shelf.means)


def test_what_was_not_there_before_is_written(shelf: Shelf) -> None:
    assert written(shelf.link())


def test_what_was_there_with_equal_bytes_is_not_written(shelf: Shelf) -> None:
    assert written(shelf.link())
    assert not written(shelf.link())
    assert len(shelf.staged) == 2


def test_by_force_other_bytes_are_replaced(shelf: Shelf) -> None:
    shelf.place.write_text("{}")
    refused = shelf.link()
    assert (refused.state, refused.code) == (State.FAILED, "store-bytes-differ")
    assert shelf.place.read_text() == "{}"
    assert shelf.shown() == []
    assert written(shelf.link(force=True))
    assert shelf.shown() == [str(shelf.place)]


def test_what_a_killed_run_had_written_is_taken_and_counts_as_written(shelf: Shelf) -> None:
    shelf.write()
    assert written(resumed(shelf))
    assert len(shelf.staged) == 1
    assert shelf.shown() == [str(shelf.place)]


def test_equal_bytes_that_a_killed_run_left_count_as_written_where_the_work_begins_anew(
    shelf: Shelf,
) -> None:
    shelf.write()
    assert written(shelf.link())
    assert len(shelf.staged) == 2


@pytest.mark.parametrize("change", ["file", "references"])
def test_what_a_killed_run_had_written_is_made_anew_where_a_file_changed(
    shelf: Shelf, change: str
) -> None:
    shelf.write()
    path = Path(shelf.record.files[0].url)
    if change == "file":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        shelf.place.write_text("{}")
    resumed(shelf)
    assert len(shelf.staged) == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"refs": {}}', b"\xff\xfe", b"{"])
def test_a_file_that_does_not_say_how_it_is_read_is_linked_without_advice(
    shelf: Shelf, content: bytes
) -> None:
    shelf.place.write_bytes(content)
    reference = ReferenceFile(str(shelf.place), str(shelf.place), 1, "ab" * 32, written=True)
    link = access_link(shelf.record, reference, shelf.settings)
    assert link.href == str(shelf.place)
    shelf.place.unlink()
    assert access_link(shelf.record, reference, shelf.settings) == link
