"""Whatever a file does to the libraries that read it, the command lives on and gives it a code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from outside import write_distribution

from esgvzarr.audit import Thoroughness, audit, find_targets
from esgvzarr.audit.judgement import State
from esgvzarr.backfill import Job, backfill
from esgvzarr.documents import combine, read_spec
from esgvzarr.errors import EsgvzarrError, Fault, WorkerError
from esgvzarr.generate import generate, verify_published
from esgvzarr.link.dry_run import Target, plan_files
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.lifecycle import LinkRequest, link_source
from esgvzarr.link.means import Means
from esgvzarr.link.resume import Selection, resume
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.settings import Settings, read_settings
from esgvzarr.testing import DATASET_ID, StacServer, ThreddsServer, make_item, write_monthly
from esgvzarr.testing.node import DataNode
from esgvzarr.testing.oddities import forget_member
from esgvzarr.transport import Transport

FUZZED = os.environ.get("ESGVZARR_FUZZED")
_FORMAT = """
import ctypes, os, time

class Spiteful:
    name = "spiteful"
    magics = (b"ABORT", b"CRASH", b"HANG", b"MEMORY", b"FAULT", b"LEAVE")

    @staticmethod
    def scan(file, content):
        yield []
        word = bytes(content.read(0, 6)).strip()
        if word == b"ABORT":
            ctypes.CDLL(None).abort()
        elif word == b"CRASH":
            ctypes.string_at(1)
        elif word == b"HANG":
            time.sleep(600)
        elif word == b"MEMORY":
            kept = [os.urandom(1) * 2**24 for _ in range(200)]
        elif word == b"LEAVE":
            os._exit(0)
        raise ZeroDivisionError("a fault of a format")
"""
CODES = {
    "ABORT": "worker-died",
    "CRASH": "worker-died",
    "LEAVE": "worker-died",
    "HANG": "worker-time",
    "MEMORY": "worker-memory",
    "FAULT": "worker-failed",
}


@pytest.fixture
def spiteful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], Path]:
    """Write a file of a format that is installed from outside the package, and does harm."""
    site = tmp_path / "site"
    registered = "[esgvzarr.formats]\nspiteful = spiteful_format:Spiteful\n"
    write_distribution(site, "spiteful_format", registered, _FORMAT)
    monkeypatch.syspath_prepend(str(site))

    def write(directory: Path, word: str) -> Path:
        path = directory / "tas_a.nc"
        path.write_bytes(word.encode().ljust(600))
        return path

    return write


def limited(tmp_path: Path) -> Settings:
    return Settings(ledger=tmp_path / "ledger.sqlite", worker_time_s=20, worker_memory_mib=512)


def record_of(path: Path) -> DatasetRecord:
    file = FileRecord(path.name, str(path), path.stat().st_size, path=str(path))
    return DatasetRecord(DatasetId.parse(DATASET_ID), "", (file,))


@pytest.mark.parametrize("word", [word for word in CODES if word != "HANG"])
def test_whatever_a_format_does_is_a_code_and_leaves_nothing_behind(
    word: str, spiteful: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    record = record_of(spiteful(tmp_path, word))
    out = tmp_path / "out"
    with Transport() as transport, pytest.raises(WorkerError) as caught:
        generate(record, out, transport, limited(tmp_path))
    assert caught.value.code == CODES[word]
    assert list(out.rglob("*")) == []


def test_a_hang_ends_at_the_time_limit(
    spiteful: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    settings = limited(tmp_path).model_copy(update={"worker_time_s": 3.0})
    record = record_of(spiteful(tmp_path, "HANG"))
    with Transport() as transport, pytest.raises(WorkerError, match="while scanning") as caught:
        plan_files(record, Target(tmp_path / "out"), transport, Means(settings))
    assert (caught.value.code, caught.value.fault) == ("worker-time", Fault.DATA)


def test_a_dataset_that_aborts_is_an_outcome_of_link_and_resume(
    spiteful: Callable[[Path, str], Path], tmp_path: Path, stac_server: StacServer
) -> None:
    """The next dataset is linked."""
    pytest.importorskip("esgcet", reason="esgcet's client is in the extra `publisher`")
    with DataNode(tmp_path / "node", stac_server.url, poll_timeout_s=5, retries=0) as node:
        prefix = node.thredds.url_of(node.data).rstrip("/.")
        paths = {str(node.data): prefix}
        node.write_config(esgcet={"data_node": node.thredds.host}, data_paths=paths)
        settings = read_settings(node.config)
        (tmp_path / "new").mkdir()
        bad = node.add_dataset(DATASET_ID, [spiteful(tmp_path / "new", "ABORT")])
        stac_server.add_item(_item(node, DATASET_ID))
        outcome = link_source(LinkRequest([str(bad)], node.config), settings)
        assert (outcome.state, outcome.code) == ("failed", "worker-died")
        (again,) = resume(Selection([DATASET_ID]), settings)
        assert again.code == "worker-died"
        other = f"{DATASET_ID.rpartition('.v')[0]}.v20200101"
        good = node.add_dataset(other, write_monthly(tmp_path / "good"))
        stac_server.add_item(_item(node, other))
        outcome = link_source(LinkRequest([str(good)], node.config), settings)
        assert outcome.state == "linked", outcome


def test_a_dataset_that_kills_its_worker_is_kept_once_and_starves_no_other_of_a_backfill(
    spiteful: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    files = write_monthly(
        tmp_path / "good", lengths=(2,), format="NETCDF3_CLASSIC", extra=(forget_member,)
    )
    with ThreddsServer(tmp_path / "data") as server:
        for number, paths in enumerate(([spiteful(tmp_path, "ABORT")], files, files)):
            directory = tmp_path / "data" / str(number)
            directory.mkdir(parents=True)
            copies = [Path(shutil.copy2(path, directory)) for path in paths]
            server.add_dataset(DATASET_ID.replace("r1i1p1f2", f"r{number}i1p1f2"), copies)
        settings = limited(tmp_path).model_copy(update={"allowed_hosts": (server.host,)})
        job = Job((server.catalog_url,), output_dir=tmp_path / "out")
        summary = backfill(job, settings, jobs=1)
    assert (summary.counts["failed"], summary.counts["written"]) == (1, 2)
    bad = DATASET_ID.replace("r1i1p1f2", "r0i1p1f2")
    assert [step.code for step in Ledger(settings.ledger).entries(bad)] == ["worker-died"]


def _item(node: DataNode, dataset: str) -> dict[str, Any]:
    files = node.directory_of(dataset).glob("*.nc")
    hrefs = {path.name: node.thredds.url_of(path) for path in files}
    return make_item(dataset, hrefs, data_node=node.thredds.host)


@pytest.fixture
def small_files(tmp_path: Path) -> list[Path]:
    return write_monthly(tmp_path / "files")


@pytest.fixture
def published(small_files: list[Path], tmp_path: Path) -> Path:
    """A reference file of good files."""
    files = tuple(
        FileRecord(path.name, str(path), path.stat().st_size, path=str(path))
        for path in small_files
    )
    record = DatasetRecord(DatasetId.parse(DATASET_ID), "", files)
    with Transport() as transport:
        generate(record, tmp_path / "published", transport, Settings(ledger=tmp_path / "l"))
    return tmp_path / "published" / f"{DATASET_ID}.json"


def test_verify_ends_at_its_limits(published: Path, tmp_path: Path) -> None:
    settings = limited(tmp_path).model_copy(update={"worker_time_s": 0.01})
    with Transport() as transport, pytest.raises(WorkerError) as caught:
        verify_published(str(published), [], transport, settings)
    assert caught.value.code == "worker-time"


def test_combine_ends_at_its_limits(
    small_files: list[Path], published: Path, tmp_path: Path
) -> None:
    settings = limited(tmp_path).model_copy(update={"worker_time_s": 0.01})
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"name: both\nstreams:\n  a: [{', '.join(map(str, small_files))}]\n")
    with Transport() as transport, pytest.raises(WorkerError) as caught:
        combine(read_spec(spec), tmp_path / "out", transport, settings)
    assert caught.value.code == "worker-time"


def test_an_audit_says_that_files_cannot_be_read_back(published: Path, tmp_path: Path) -> None:
    settings = limited(tmp_path).model_copy(update={"worker_time_s": 0.01})
    targets = find_targets([str(published)], settings)
    (found,) = audit(targets, settings, Thoroughness(samples=True))
    assert found.state is State.UNREADABLE
    assert "was ended after 0.01 s" in found.detail


def _code_of(record: DatasetRecord, directory: Path, settings: Settings) -> str:
    """The code of the error, or an empty text where the dataset was referenced."""
    with Transport() as transport:
        try:
            generate(record, directory, transport, settings)
        except EsgvzarrError as error:
            return error.code
    return ""


@pytest.mark.skipif(not FUZZED, reason="ESGVZARR_FUZZED names no directory of damaged files")
@pytest.mark.parametrize("path", sorted(Path(FUZZED or ".").glob("*.nc")), ids=lambda at: at.name)
def test_a_file_of_a_fuzzer_is_referenced_or_has_a_code(path: Path, tmp_path: Path) -> None:
    shutil.copyfile(path, tmp_path / "a.nc")
    settings = limited(tmp_path).model_copy(update={"worker_time_s": 15.0})
    assert _code_of(record_of(tmp_path / "a.nc"), tmp_path / "out", settings) != "worker-failed"


_WITH_OPEN_FILES = """
import sys
from pathlib import Path

import xarray

from esgvzarr.generate import generate
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.settings import Settings
from esgvzarr.transport import Transport

paths = [Path(word) for word in sys.argv[3:]]
opened = [xarray.open_dataset(path) for path in paths]
values = [dataset["tas"].values for dataset in opened]
files = tuple(FileRecord(path.name, str(path), path.stat().st_size) for path in paths)
with Transport() as transport:
    record = DatasetRecord(DatasetId.parse(sys.argv[1]), "", files)
    print(generate(record, Path(sys.argv[2]), transport, Settings()).reference.written)
"""


def test_files_that_the_process_has_open_are_proved_by_what_they_hold(tmp_path: Path) -> None:
    """As in a notebook. A copy of the process would take them for open, and read zeros."""
    paths = write_monthly(tmp_path / "files", lengths=(12, 12))
    words = [sys.executable, "-W", "ignore", "-c", _WITH_OPEN_FILES, DATASET_ID, tmp_path / "out"]
    done = subprocess.run(
        [str(word) for word in (*words, *paths)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "True\n", done.stderr[-2000:]
