"""What is decided for a dataset."""

from __future__ import annotations

from pathlib import Path

from esgvzarr.link.decision import decide
from esgvzarr.link.states import Verb
from esgvzarr.settings import Settings

from .test_ledger import TASK


def test_a_dataset_without_a_place_is_decided_all_the_same_and_its_file_has_no_path(
    tmp_path: Path,
) -> None:
    nowhere = Settings(ledger=tmp_path / "ledger.sqlite")
    task = decide(Verb.LINK, TASK.record, TASK.index, nowhere, force=False)
    assert (task.path, task.href, task.record) == ("", "", TASK.record)


def test_the_place_of_a_reference_file_is_that_of_the_settings(tmp_path: Path) -> None:
    settings = Settings(
        ledger=tmp_path / "ledger.sqlite", reference_dir=tmp_path, reference_url="https://a/refs"
    )
    task = decide(Verb.LINK, TASK.record, TASK.index, settings, force=True)
    assert (task.path, task.force) == (str(tmp_path / f"{TASK.record.id}.json"), True)
    assert task.href == f"https://a/refs/{TASK.record.id}.json"


def test_what_lies_in_the_place_is_replaced_only_by_force(tmp_path: Path) -> None:
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    assert not decide(Verb.LINK, TASK.record, TASK.index, settings).force
