"""What to do about a file is said after its checksum was looked at."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from trust import oracle

from esgvzarr import DatasetId, DatasetRecord, FileRecord, Settings, Transport
from esgvzarr.errors import FormatError, TransportError
from esgvzarr.output.kerchunk import encode
from esgvzarr.stage import Work, make_references, stage_with, staging_places
from esgvzarr.stage.apart import staged_apart
from esgvzarr.testing import DATASET_ID, DEFECTS, ThreddsServer, write_monthly
from esgvzarr.transport.checksums import check_checksum


def record_of(paths: list[Path], **changes: str) -> DatasetRecord:
    files = []
    for path in paths:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        file = FileRecord(path.name, str(path), path.stat().st_size, digest, "SHA256")
        files.append(replace(file, **changes))  # type: ignore[arg-type]
    return DatasetRecord(DatasetId.parse(DATASET_ID), "", tuple(files))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Its SHA256 equals that of its record, so the file was published in this state"),
        ({"checksum": "ab" * 32}, f"its record says {'ab' * 32}: copy it to the node again"),
        ({"checksum": "ab"}, "'ab' in its record is not a valid SHA256: correct the record"),
        ({"checksum": None}, "Its record has no checksum"),
    ],
    ids=["published damaged", "damaged since", "record is wrong", "no checksum"],
)
def test_the_advice_on_a_damaged_file_is_what_its_checksum_says(
    changes: dict[str, str], said: str, tmp_path: Path
) -> None:
    paths = DEFECTS["chunk_index_disordered"].make(tmp_path)
    record = record_of(paths, **changes)
    with Transport() as transport, pytest.raises(FormatError) as caught:
        make_references(record, transport)
    assert caught.value.code == "file-unreadable"
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["half_precision", "broken_header"])
def test_an_error_with_advice_comes_out_of_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    record = record_of(DEFECTS[name].make(tmp_path))
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    with (
        Transport() as transport,
        staging_places(record.id, tmp_path, settings) as places,
        pytest.raises(FormatError) as caught,
    ):
        staged_apart(Work(record, places, settings), transport)
    assert caught.value.code == DEFECTS[name].outcome


def test_a_checksum_that_cannot_be_one_is_a_warning(tmp_path: Path) -> None:
    paths = write_monthly(tmp_path)
    with Transport() as transport:
        references = make_references(record_of(paths, checksum="ab"), transport)
        assert [warning.code for warning in references.warnings] == ["source-checksum"] * 3
        assert not make_references(record_of(paths), transport).warnings


def test_a_checksum_that_two_different_files_have_loses_neither(tmp_path: Path) -> None:
    """The steps of a file that passes for another one would be missing."""
    paths = write_monthly(tmp_path)
    with Transport() as transport:
        references = make_references(record_of(paths, checksum="ab" * 32), transport)
    assert [warning.code for warning in references.warnings] == ["source-checksum"] * 2
    assert "which is also that of" in str(references.warnings[0])
    assert oracle.differences(encode(references), paths) == []


def test_a_checksum_that_cannot_be_one_is_not_compared(tmp_path: Path) -> None:
    file = record_of(write_monthly(tmp_path, lengths=(12,)), checksum="ab").files[0]
    with Transport() as transport, pytest.raises(TransportError) as caught:
        check_checksum(file, file.url, transport)
    assert caught.value.code == "transport-checksum-invalid"


def test_files_on_disk_that_are_not_those_that_are_served_are_no_bug_of_ours(
    tmp_path: Path,
) -> None:
    """Another run of the model, of the same size, lies where the data paths lead."""
    served = write_monthly(tmp_path / "served", lengths=(12,))
    local = write_monthly(tmp_path / "local", lengths=(12,), seed=1)
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    dataset_id = DatasetId.parse(DATASET_ID)
    with ThreddsServer(tmp_path / "served") as server, Transport() as transport:
        transport.allow(server.host, named=True)
        url = server.url_of(served[0])
        size = served[0].stat().st_size
        file = FileRecord(served[0].name, url, size, path=str(local[0]))
        record = DatasetRecord(dataset_id, server.host, (file,))
        with (
            staging_places(dataset_id, tmp_path, settings) as places,
            pytest.raises(TransportError, match="the server gives other bytes than") as caught,
        ):
            stage_with(Work(record, places, settings), transport)
    assert caught.value.code == "transport-path-differs"
    assert str(local[0]) in str(caught.value)
    assert oracle.make(served)
