"""What an attempt knows of changes that earlier runs sent, and that the index may still make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from esgvzarr.link.attempt import Attempt
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import Change, Verb
from esgvzarr.link.task import Task
from esgvzarr.model import ReferenceFile
from esgvzarr.outcome import Failed, Linked, Pending, Written
from esgvzarr.output.parts import measure

from .test_ledger import ID, TASK

A_DAY_S = 1440.0
"""A poll timeout, sixty of which are a day."""
REFERENCE = ReferenceFile(TASK.path, TASK.href, 1, "ab" * 32, written=True)
WRITTEN = Written(str(ID), Verb.LINK, "detail", REFERENCE)
REMOVAL = replace(TASK, verb=Verb.UNPUBLISH)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.sqlite")


def decided(ledger: Ledger, task: Task) -> Attempt:
    """A run that has kept its decision."""
    attempt = Attempt(task, ledger)
    attempt.decide()
    return attempt


def linked(ledger: Ledger) -> None:
    attempt = decided(ledger, TASK)
    attempt.written(WRITTEN)
    attempt.finish(Linked(str(ID), Verb.PUBLISH, "", REFERENCE))


def may_come(ledger: Ledger, change: Change, poll_timeout_s: float = A_DAY_S) -> bool:
    """As the next run sees it."""
    return Attempt(TASK, ledger, resumed=True).may_come(change, poll_timeout_s) is not None


def test_nothing_may_come_of_a_run_that_was_killed_before_the_file_was_written(
    ledger: Ledger,
) -> None:
    decided(ledger, TASK)
    assert not may_come(ledger, Change.LINK)


def test_a_run_that_was_killed_after_the_file_was_written_may_have_sent_the_link(
    ledger: Ledger,
) -> None:
    decided(ledger, TASK).written(WRITTEN)
    assert may_come(ledger, Change.LINK)
    assert not may_come(ledger, Change.UNLINK)


def test_a_resumed_run_that_was_killed_may_have_sent_the_link(ledger: Ledger) -> None:
    decided(ledger, TASK)
    Attempt(TASK, ledger, resumed=True).resume()
    assert may_come(ledger, Change.LINK)


def test_a_withdrawal_that_was_killed_at_once_may_have_sent_the_removal(ledger: Ledger) -> None:
    linked(ledger)
    decided(ledger, REMOVAL)
    assert may_come(ledger, Change.UNLINK)
    assert not may_come(ledger, Change.LINK)


def test_a_later_run_does_not_change_what_a_killed_one_may_have_sent(ledger: Ledger) -> None:
    decided(ledger, TASK).written(WRITTEN)
    decided(ledger, TASK)
    assert may_come(ledger, Change.LINK)


def test_a_change_that_the_index_has_not_shown_yet_may_come(ledger: Ledger) -> None:
    attempt = decided(ledger, TASK)
    attempt.written(WRITTEN)
    attempt.finish(Pending(str(ID), Verb.PUBLISH, "", reference=REFERENCE))
    assert may_come(ledger, Change.LINK)


def test_a_change_that_the_index_refused_does_not_come(ledger: Ledger) -> None:
    attempt = decided(ledger, TASK)
    attempt.written(WRITTEN)
    attempt.finish(Failed(str(ID), Verb.PUBLISH, "refused", "index-refused"))
    assert not may_come(ledger, Change.LINK)


def test_a_change_that_the_index_shows_does_not_come_again(ledger: Ledger) -> None:
    linked(ledger)
    assert not may_come(ledger, Change.LINK)


def test_after_sixty_poll_timeouts_a_change_is_taken_for_lost(ledger: Ledger) -> None:
    decided(ledger, TASK).written(WRITTEN)
    assert not may_come(ledger, Change.LINK, poll_timeout_s=0)


def in_place(directory: Path, content: bytes) -> tuple[Task, Written]:
    """A task whose reference file lies in its place, and the outcome of having written it."""
    path = directory / f"{ID}.json"
    path.write_bytes(content)
    size, sha256 = measure(path)
    reference = ReferenceFile(str(path), TASK.href, size, sha256, written=True)
    return replace(TASK, path=str(path)), Written(str(ID), Verb.PUBLISH, "", reference)


def test_a_resumed_run_takes_the_file_that_was_written_if_it_is_still_the_same(
    ledger: Ledger, tmp_path: Path
) -> None:
    task, written = in_place(tmp_path, b"{}")
    decided(ledger, task).written(written)
    assert Attempt(task, ledger).reusable() is None
    found = Attempt(task, ledger, resumed=True).reusable()
    assert found is not None
    assert (found.path, found.size, found.sha256) == (task.path, 2, written.reference.sha256)
    other_files = replace(task.record, files=task.record.files[:1])
    assert Attempt(replace(task, record=other_files), ledger, resumed=True).reusable() is None
    Path(task.path).write_bytes(b"[]")
    assert Attempt(task, ledger, resumed=True).reusable() is None
    Path(task.path).unlink()
    assert Attempt(task, ledger, resumed=True).reusable() is None


def test_a_run_after_one_that_was_killed_knows_what_lay_in_the_place_before_both(
    ledger: Ledger, tmp_path: Path
) -> None:
    task, _ = in_place(tmp_path, b"older")
    older = measure(task.path)[1]
    first = decided(ledger, task)
    assert first.task.before == older
    Path(task.path).write_bytes(b"of the killed run")
    assert decided(ledger, task).task.before == older


def test_a_run_after_one_that_ended_takes_what_it_finds_in_the_place(
    ledger: Ledger, tmp_path: Path
) -> None:
    task, written = in_place(tmp_path, b"linked")
    attempt = decided(ledger, task)
    attempt.written(written)
    attempt.finish(Linked(str(ID), Verb.PUBLISH, "", written.reference))
    Path(task.path).write_bytes(b"other")
    assert decided(ledger, task).task.before == measure(task.path)[1]


def test_an_outcome_that_cannot_be_kept_is_a_failure_that_says_both(
    ledger: Ledger, tmp_path: Path
) -> None:
    attempt = decided(ledger, TASK)
    for file in tmp_path.glob("ledger.sqlite*"):
        file.write_bytes(b"damaged " * 1000)
    outcome = attempt.finish(Linked(str(ID), Verb.PUBLISH, "shown", REFERENCE))
    assert isinstance(outcome, Failed)
    assert outcome.retryable
    assert "linked: shown" in outcome.detail
    assert "could not store this outcome" in outcome.detail


def test_a_live_link_is_the_one_of_a_task_if_it_leads_to_the_same_place_for_the_same_files(
    ledger: Ledger,
) -> None:
    linked(ledger)
    attempt = Attempt(TASK, ledger)
    (live,) = attempt.live()
    assert attempt.is_about(live)
    assert not attempt.is_about(replace(live, task=None))
    assert not attempt.is_about(replace(live, href="https://node/other.json"))
    other_files = replace(TASK.record, files=TASK.record.files[:1])
    assert not Attempt(replace(TASK, record=other_files), ledger).is_about(live)
