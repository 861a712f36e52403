"""What is told of a dataset while it is staged: steps, and how much of each is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.settings import Settings
from esgvzarr.stage import Detailed, Doing, Work, stage_with, staging_places, telling
from esgvzarr.testing import DATASET_ID, ThreddsServer, write_monthly

ID = DatasetId.parse(DATASET_ID)


@pytest.mark.parametrize("read", ["http", "local"])
def test_scanning_and_proving_tell_how_much_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """Proving ends with all of it, and never goes back; a round of scanning counts its answers."""
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
            stage_with(work, way, progress=Detailed(lambda _, step: told.append(step)))
        with staging_places(ID, tmp_path / "out", settings) as places:
            work = Work(record, places, settings)
            stage_with(work, way, progress=lambda _, step: once.append(step))
    scanning, proving = once
    shares = [(step, step.done, step.total) for step in told if isinstance(step, Doing)]
    assert {str(step) for step, _, _ in shares} == {scanning, proving}
    assert all(0 < done <= total for _, done, total in shares)
    proved = [done / total for step, done, total in shares if step == proving]
    assert proved == sorted(proved)
    assert proved[-1] == 1
    assert [step for step in told if not isinstance(step, Doing)] == once
