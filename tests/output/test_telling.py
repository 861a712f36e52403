"""What is told of a dataset while it is staged: steps, and how much of each is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.settings import Settings
from esgvzarr.stage import DetailedProgress, StepProgress, Work, stage_with, staging_places, telling
from esgvzarr.testing import DATASET_ID, ThreddsServer, write_monthly

ID = DatasetId.parse(DATASET_ID)


@pytest.mark.parametrize("read", ["http", "local"])
def test_scanning_and_proving_tell_how_much_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Neither goes back, and each ends with all of it."""
    monkeypatch.setattr(telling, "INTERVAL_S", 0)
    paths = write_monthly(tmp_path / "files")
    told: list[str] = []
    once: list[str] = []
    with ThreddsServer(tmp_path / "files") as server, Transport(allowed_hosts=[server.host]) as way:
        files = [
            FileRecord(path.name, server.url_of(path), path.stat().st_size, path=str(path))
            for path in paths
        ]
        record = DatasetRecord(ID, server.host, tuple(files))
        settings = Settings(read=read, ledger=tmp_path / "ledger.sqlite")
        with staging_places(ID, tmp_path / "out", settings) as places:
            work = Work(record, places, settings)
            stage_with(work, way, progress=DetailedProgress(lambda _, step: told.append(step)))
        with staging_places(ID, tmp_path / "out", settings) as places:
            work = Work(record, places, settings)
            stage_with(work, way, progress=lambda _, step: once.append(step))
    scanning, proving = once
    shares = [(step, step.done, step.total) for step in told if isinstance(step, StepProgress)]
    assert {str(step) for step, _, _ in shares} == {scanning, proving}
    assert all(0 < done <= total for _, done, total in shares)
    scanned = [done / total for step, done, total in shares if step == scanning]
    assert scanned == sorted(scanned)
    assert scanned[-1] == 1
    proved = [done / total for step, done, total in shares if step == proving]
    assert proved == sorted(proved)
    assert proved[-1] == 1
    assert [step for step in told if not isinstance(step, StepProgress)] == once


def test_each_round_of_requests_counts_for_half_of_what_was_left() -> None:
    told: list[float] = []
    tell = telling.over_rounds(lambda done, total: told.append(done / total))
    for answers, requests in ((1, 2), (2, 2), (1, 1), (1, 1), (1, 4)):
        tell(answers, requests)
    assert told == [0.25, 0.5, 0.75, 0.875, 0.875 + 1 / 64]


def test_a_fraction_that_falls_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the values of repeated steps are compared after all others."""
    monkeypatch.setattr(telling, "INTERVAL_S", 0)
    told: list[str] = []
    tell = telling.begin(DetailedProgress(lambda _, step: told.append(step)), "tas", "proving")
    for done in (1, 3, 2, 4, 1, 4):
        tell(done, 4)
    assert [step.done for step in told if isinstance(step, StepProgress)] == [1, 3, 4, 4]
