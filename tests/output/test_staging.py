"""What is proved is what is placed: one artefact, written once, proved through itself, renamed."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.errors import EsgvzarrError, ProofError, SettingsError, StoreError
from esgvzarr.generate import generate, place_staged
from esgvzarr.model import ReferenceSet
from esgvzarr.outcome import Verb
from esgvzarr.output import known_outputs, named
from esgvzarr.output.kerchunk import compress, read
from esgvzarr.settings import Settings
from esgvzarr.stage import Work, stage, staging_places
from esgvzarr.stage.sending import receive, stage_and_send
from esgvzarr.testing import DATASET_ID, write_monthly

from . import skip_unless_installed

ID = DatasetId.parse(DATASET_ID)


def disturb_json(place: Path) -> None:
    """The first chunk of ``tas`` four bytes further on."""
    place.write_bytes(_shifted(place.read_bytes()))


def disturb_zst(place: Path) -> None:
    place.write_bytes(compress(_shifted(read(place.read_bytes()))))


def _shifted(document: bytes) -> bytes:
    parsed = orjson.loads(document)
    key = next(key for key in parsed["refs"] if key.startswith(("tas/0", "tas/c/0")))
    url, offset, size = parsed["refs"][key]
    before = orjson.dumps([url, offset, size])
    return document.replace(before, orjson.dumps([url, offset + 4, size]), 1)


def disturb_parquet(place: Path) -> None:
    import pandas

    table = place / "tas" / "refs.0.parq"
    rows = pandas.read_parquet(table, engine="fastparquet")
    rows.loc[0, "offset"] += 4
    rows.to_parquet(
        table,
        engine="fastparquet",
        compression="zstd",
        index=False,
        stats=False,
        object_encoding={"raw": "bytes", "path": "utf8"},
        has_nulls=["path", "raw"],
    )


def disturb_icechunk(place: Path) -> None:
    import icechunk

    storage = icechunk.local_filesystem_storage(str(place))
    repository = icechunk.Repository.open(storage)
    (prefix,) = repository.config.virtual_chunk_containers
    session = repository.writable_session("main")
    location = session.all_virtual_chunk_locations()[0]
    assert location.startswith(prefix)
    wrong = icechunk.VirtualChunkSpec([0, 0, 0], location, 8, 96)
    session.store.set_virtual_refs("/tas", [wrong])
    session.commit("disturbed")


DISTURB: dict[str, Callable[[Path], None]] = {
    "json": disturb_json,
    "json.zst": disturb_zst,
    "parquet": disturb_parquet,
    "icechunk": disturb_icechunk,
    "zarr3": disturb_json,
}


class Disturbed:
    """An output that writes something else than it should, once it has written."""

    def __init__(self, output: Any, disturb: Callable[[Path], None]) -> None:
        self._output = output
        self._disturb = disturb
        self.written: list[Path] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._output, name)

    def write(self, references: ReferenceSet, staged: Path, *place: Any) -> None:
        self._output.write(references, staged, *place)
        self.written.append(staged)
        self._disturb(staged)


@pytest.fixture(params=sorted(DISTURB))
def output(request: pytest.FixtureRequest) -> str:
    skip_unless_installed(request.param)
    return str(request.param)


@pytest.fixture
def record(tmp_path: Path) -> DatasetRecord:
    paths = write_monthly(tmp_path / "files")
    files = tuple(FileRecord(path.name, str(path), path.stat().st_size) for path in paths)
    return DatasetRecord(ID, "", files)


def plant(monkeypatch: pytest.MonkeyPatch, output: str, disturb: Callable[[Path], None]) -> Any:
    """Register the disturbed output in the place of the right one, in this process alone: the tests
    stage here.
    """
    planted = Disturbed(named(output), disturb)
    monkeypatch.setitem(known_outputs(), output, planted)  # type: ignore[arg-type]
    return planted


def test_a_disturbance_of_what_was_staged_fails_the_proof_and_nothing_is_placed(
    output: str, record: DatasetRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(monkeypatch, output, DISTURB[output])
    with Transport() as transport, pytest.raises(ProofError):
        generate(record, tmp_path / "out", transport, Settings(output=output), stager=stage)
    assert len(planted.written) == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_read_back_is_not_placed(
    record: DatasetRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch, "json", Path.unlink)
    with Transport() as transport, pytest.raises(ProofError) as caught:
        generate(record, tmp_path / "out", transport, Settings(), stager=stage)
    assert caught.value.code == "proof-not-written"
    assert not (tmp_path / "out").exists()


def test_what_is_placed_is_the_file_that_was_proved_and_was_written_once(
    output: str, record: DatasetRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inodes = []
    planted = plant(monkeypatch, output, lambda place: inodes.append(os.stat(place).st_ino))
    with Transport() as transport:
        made = generate(record, tmp_path / "out", transport, Settings(output=output), stager=stage)
    assert len(planted.written) == 1
    assert planted.written[0].parent.parent == tmp_path / "out"
    assert [os.stat(made.reference.path).st_ino] == inodes


def test_what_changes_between_proof_and_placing_is_not_placed(
    record: DatasetRecord, tmp_path: Path
) -> None:
    with staging_places(ID, tmp_path / "out", Settings()) as places:
        staged = stage(Work(record, places, Settings()))
        disturb_json(Path(places[0].staged))
        with pytest.raises(StoreError) as caught:
            place_staged(Verb.GENERATE, ID, staged, places)
    assert caught.value.code == "store-staged-changed"
    assert not (tmp_path / "out").exists()


def test_work_and_its_result_are_small_and_can_be_pickled(
    record: DatasetRecord, tmp_path: Path
) -> None:
    """Another process stages; this one made the directory, and places."""
    with staging_places(ID, tmp_path / "out", Settings()) as places:
        work = pickle.loads(pickle.dumps(Work(record, places, Settings())))  # noqa: S301
        answer = pickle.dumps(stage(work))
        assert len(answer) < 20_000
        staged = pickle.loads(answer)  # noqa: S301
        made = place_staged(Verb.GENERATE, ID, staged, places)
    assert made.reference.sha256 == staged.outputs[0].sha256
    assert made.report is not None
    assert made.report.passed


@pytest.mark.parametrize("name", ["json", "parquet"])
def test_what_is_staged_on_another_machine_travels_and_is_compared(
    name: str, record: DatasetRecord, tmp_path: Path
) -> None:
    skip_unless_installed(name)
    settings = Settings(output=name)
    with staging_places(ID, tmp_path / "out", settings) as places:
        elsewhere = tuple(replace(place, path=f"/nowhere/{place.output}") for place in places)
        sent = stage_and_send(Work(record, elsewhere, settings), 2**20)
        damaged = replace(sent, files=({**sent.files[0], next(iter(sent.files[0])): b"other"},))
        with pytest.raises(StoreError, match="changed after it was proved"):
            place_staged(Verb.GENERATE, ID, receive(damaged, places), places)
        made = place_staged(Verb.GENERATE, ID, receive(sent, places), places)
    assert made.reference.sha256 == sent.staged.outputs[0].sha256


def test_what_is_too_large_to_travel_is_said(record: DatasetRecord, tmp_path: Path) -> None:
    with (
        staging_places(ID, tmp_path / "out", Settings()) as places,
        pytest.raises(EsgvzarrError) as caught,
    ):
        stage_and_send(Work(record, places, Settings()), 100)
    assert caught.value.code == "worker-result-large"


def test_two_outputs_of_one_asset_are_refused_before_anything_is_read(
    record: DatasetRecord, tmp_path: Path
) -> None:
    with Transport() as transport, pytest.raises(SettingsError, match="asset") as caught:
        generate(record, tmp_path, transport, Settings(outputs=("json", "json.zst")))
    assert caught.value.code == "settings-output"


def test_several_outputs_are_each_written_and_proved(record: DatasetRecord, tmp_path: Path) -> None:
    skip_unless_installed("icechunk")
    both = Settings(outputs=("json", "icechunk"))
    with Transport() as transport:
        made = generate(record, tmp_path / "out", transport, both)
    assert [Path(one.path).name for one in made.references] == [
        f"{ID}.json",
        f"{ID}.icechunk",
    ]
    reports = [made.report, *made.other_reports]
    assert all(report is not None and report.passed for report in reports)


def test_an_unknown_output_is_refused_by_the_settings() -> None:
    with pytest.raises(ValueError, match="no output 'jsn'"):
        Settings(output="jsn")
