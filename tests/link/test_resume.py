"""What was interrupted is finished, and each dataset has its own outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from esgvzarr.errors import SourceError
from esgvzarr.link import resume as resume_module
from esgvzarr.link.attempt import Attempt
from esgvzarr.link.decision import decide_again
from esgvzarr.link.resume import Selection, resume, unfinished
from esgvzarr.link.states import State, Verb
from esgvzarr.outcome import Linked

from .shelf import ID, Shelf


def test_a_run_that_was_killed_after_the_file_was_written_is_finished(shelf: Shelf) -> None:
    shelf.write()
    (outcome,) = shelf.resume()
    assert isinstance(outcome, Linked), outcome
    assert shelf.shown() == [str(shelf.place)]
    assert shelf.resume() == []


def test_a_withdrawal_that_was_killed_is_finished(shelf: Shelf) -> None:
    shelf.link()
    Attempt(replace(shelf.task(Verb.UNPUBLISH), path=str(shelf.place)), shelf.ledger).decide()
    (outcome,) = shelf.resume()
    assert outcome.state is State.WITHDRAWN, outcome
    assert shelf.shown() == []
    assert shelf.ledger.entries()[-1].verb is Verb.UNPUBLISH


def test_what_another_process_finished_meanwhile_is_skipped(shelf: Shelf) -> None:
    """It did so after this process had looked what there is to do."""
    shelf.write()
    (last,) = unfinished(shelf.ledger)
    assert isinstance(shelf.link(), Linked)
    outcome = resume_module._resume_one(last, shelf.ledger, shelf.means, anew=False)
    assert outcome.state is State.SKIPPED
    assert "another process finished it" in outcome.detail


def test_what_another_process_is_at_work_on_is_skipped(shelf: Shelf) -> None:
    shelf.write()
    with shelf.ledger.claimed(str(ID)):
        (outcome,) = shelf.resume()
    assert (outcome.state, outcome.code) == (State.SKIPPED, "store-busy")


def test_a_dataset_that_cannot_be_gone_on_with_fails_by_itself(shelf: Shelf) -> None:
    """The ledger does not say how it was to be linked."""
    shelf.write()
    with shelf.ledger._file.connected() as connection:
        connection.execute("UPDATE decision SET task = NULL")
        connection.commit()
    (outcome,) = shelf.resume()
    assert (outcome.state, outcome.code) == (State.FAILED, "source-not-in-ledger")


def test_a_dry_run_says_what_would_be_done_and_keeps_nothing(shelf: Shelf) -> None:
    shelf.write()
    before = shelf.ledger.entries()
    shelf.link()
    shelf.unlink()
    assert resume(Selection(), shelf.settings, dry_run=True) == []
    assert shelf.ledger.entries()[: len(before)] == before


def test_what_failed_for_good_is_resumed_only_when_it_is_asked_for(shelf: Shelf) -> None:
    shelf.place.write_text("{}")
    assert shelf.link().code == "store-bytes-differ"
    shelf.place.unlink()
    assert unfinished(shelf.ledger) == []
    assert len(unfinished(shelf.ledger, every=True)) == 1
    assert resume(Selection(every=True, code="another"), shelf.settings) == []
    assert shelf.resume() == []
    (outcome,) = shelf.resume(every=True)
    assert isinstance(outcome, Linked), outcome


def test_a_dataset_that_the_ledger_does_not_know_is_named(shelf: Shelf) -> None:
    with pytest.raises(SourceError) as caught:
        unfinished(shelf.ledger, ["CMIP6.CMIP.A.B.historical.r1i1p1f1.Amon.tas.gn.v20200101"])
    assert caught.value.code == "source-not-in-ledger"


def test_by_name_a_dataset_is_decided_again_by_the_settings_of_today(
    shelf: Shelf, tmp_path: Path
) -> None:
    shelf.write()
    update = {"reference_dir": tmp_path / "zarr", "reference_url": "https://node.example/zarr"}
    again = decide_again(shelf.task(), shelf.settings.model_copy(update=update))
    assert again.path == str(tmp_path / "zarr" / f"{ID}.json")
    assert again.href == f"https://node.example/zarr/{ID}.json"
    assert decide_again(shelf.task(), shelf.settings) == shelf.task()
