"""What a dry run says."""

from __future__ import annotations

from dataclasses import replace

from esgvzarr.link.dry_run import PlannedFile, preview
from esgvzarr.link.remove import decide_withdrawal
from esgvzarr.link.states import State
from esgvzarr.model import ReferenceFile
from esgvzarr.output.reading import Reading

from .shelf import ID, Shelf


def test_a_planned_file_says_whether_it_would_be_written() -> None:
    reference = ReferenceFile("/a.json", "https://a/a.json", 12, "ab" * 32, written=True)
    assert str(PlannedFile(reference, Reading())) == "/a.json: 12 bytes would be written"
    there = replace(reference, written=False)
    said = "/a.json: 12 bytes is there already, with equal bytes"
    assert str(PlannedFile(there, Reading())) == said


def test_a_dry_run_of_a_withdrawal_says_what_would_be_taken_and_takes_nothing(
    shelf: Shelf,
) -> None:
    shelf.link()
    task = decide_withdrawal(ID, shelf.config, shelf.settings)
    planned = preview(task, shelf.means)
    assert planned.state is State.PLANNED
    assert f"{shelf.address.location}: would change" in planned.detail
    assert f"{shelf.place}: would be moved away" in planned.detail
    assert f'-   "href": "{shelf.place}"' in planned.detail
    deleted = preview(replace(task, delete=True), shelf.means)
    assert f"{shelf.place}: would be deleted" in deleted.detail
    assert shelf.shown() == [str(shelf.place)]
    assert shelf.place.exists()
    shelf.unlink()
    again = preview(task, shelf.means).detail
    assert "shows no link by esgvzarr" in again
    assert f"{shelf.place}: is not there" in again


def test_a_dry_run_of_a_withdrawal_waits_for_a_change_as_the_act_does(shelf: Shelf) -> None:
    shelf.write()
    planned = preview(decide_withdrawal(ID, shelf.config, shelf.settings), shelf.means)
    assert (planned.state, planned.code) == (State.PENDING, "index-earlier-change")
    assert planned.detail.startswith("dry run: nothing was sent or written\n")
