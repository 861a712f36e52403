"""What only Icechunk has: snapshots under open readers, and files that were replaced are noticed.
Icechunk 2 needs Python 3.12.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray

import esgvzarr
from esgvzarr import ProofError
from esgvzarr.errors import LinkError, SettingsError, StoreError
from esgvzarr.generate import generate, make_transport, verify_published
from esgvzarr.indexes import LinkState
from esgvzarr.indexes.asset import read_links
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.indexes.dataset_document import check_link
from esgvzarr.link.add import access_link
from esgvzarr.model import ICECHUNK_TYPE
from esgvzarr.output import named
from esgvzarr.output.parts import files_of, measure
from esgvzarr.settings import Settings
from esgvzarr.testing import DRS_PATH, NginxServer, write_monthly
from esgvzarr.testing.nginx import available
from esgvzarr.transport import Transport

from .test_served import ID, publish, record_of, settings_of, tas_of

icechunk = pytest.importorskip("icechunk", minversion="2.0", reason="Icechunk 2 needs Python 3.12")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NginxServer]:
    if available():
        pytest.skip(available())
    with NginxServer(tmp_path) as server:
        yield server


@pytest.fixture
def transport(server: NginxServer) -> Iterator[Transport]:
    with make_transport(Settings(retries=0, allowed_hosts=(server.host,))) as transport:
        yield transport


def write(tmp_path: Path, **changes: object) -> list[Path]:
    """Files as they were made an hour ago: what is written now is later, in whole seconds."""
    paths = write_monthly(
        tmp_path / DRS_PATH, compression="zlib", shuffle=True, fletcher32=True, **changes
    )
    for path in paths:
        os.utime(path, (time.time() - 3600,) * 2)
    return paths


def opened(href: str) -> xarray.Dataset:
    """As the documentation of Icechunk and of our outputs tells people to."""
    storage = icechunk.http_storage(href)
    config = icechunk.Repository.fetch_config(storage)
    access = dict.fromkeys(config.virtual_chunk_containers, icechunk.credentials.HttpAccess)
    repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=access)
    return xarray.open_zarr(repository.readonly_session("main").store, consolidated=False)


def test_published_beside_json_it_has_an_asset_of_its_own(
    server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    """Nothing of the server's configuration had to be changed: no dot-file, no listing of
    directories.
    """
    paths = write(tmp_path)
    index = CatalogIndex(tmp_path / "stac")
    record = record_of(server, paths)
    index.add_dataset(record)
    publish(record, tmp_path / "stac", settings_of(tmp_path, "json"))
    made = publish(record, tmp_path / "stac", settings_of(tmp_path, "icechunk"))
    assert made.state == "linked", made.detail
    plain, link = index.links(ID)
    assert (plain.media_type, link.media_type) == ("application/vnd.zarr+kerchunk", ICECHUNK_TYPE)
    assert link.href == server.url_of(tmp_path / DRS_PATH / f"{ID}.icechunk")
    assert np.array_equal(opened(link.href)["tas"].values, tas_of(paths))
    assert np.array_equal(esgvzarr.open_dataset(link.href)["tas"].values, tas_of(paths))
    assert verify_published(
        link.href, (), transport, settings_of(tmp_path, "json"), full=True
    ).passed
    item = index.find(ID)
    assert item is not None
    assert set(item["assets"]) - {path.name for path in paths} == {"reference_file", "icechunk"}
    assert index.remove_link(ID, link) is LinkState.REMOVED
    assert read_links(index.find(ID) or {}) == (plain,)


def test_publishing_again_is_a_new_snapshot_only_if_something_changed(
    server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    record = record_of(server, write(tmp_path))
    settings = settings_of(tmp_path, "icechunk")
    made = generate(record, tmp_path / "out", transport, settings).reference
    assert made is not None
    before = {path: path.stat().st_mtime_ns for path in files_of(made.path)}
    assert generate(record, tmp_path / "out", transport, settings).reference == replace(
        made, written=False
    )
    assert {path: path.stat().st_mtime_ns for path in files_of(made.path)} == before
    shorter = generate(
        replace(record, files=record.files[:2]), tmp_path / "out", transport, settings
    ).reference
    assert shorter is not None
    assert shorter.written
    assert before.keys() < set(files_of(made.path))
    assert esgvzarr.open_dataset(shorter.path).sizes["time"] == 24
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{ID}.icechunk"]


def test_a_damaged_repository_is_said_and_left_as_it_is(
    server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    record = record_of(server, write(tmp_path))
    settings = settings_of(tmp_path, "icechunk")
    path = Path(generate(record, tmp_path / "out", transport, settings).reference.path)
    for snapshot in (path / "snapshots").iterdir():
        snapshot.write_bytes(b"spoilt")
    before = measure(path)
    with pytest.raises(StoreError, match="damaged") as caught:
        generate(record, tmp_path / "out", transport, settings)
    assert caught.value.code == "store-failed"
    assert measure(path) == before
    assert [left.name for left in (tmp_path / "out").iterdir()] == [path.name]


READER = """
import sys, warnings; warnings.simplefilter("ignore")
import esgvzarr
dataset = esgvzarr.open_dataset(sys.argv[1])
print(dataset.sizes["time"], flush=True)
sys.stdin.readline()
print(float(dataset["tas"].values.sum()), flush=True)
print(esgvzarr.open_dataset(sys.argv[1]).sizes["time"], flush=True)
"""


def test_a_reader_goes_on_in_its_snapshot_while_a_new_one_comes(
    server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    """Another process, over HTTP; it has read no value before the new snapshot is there."""
    paths = write(tmp_path)
    settings = settings_of(tmp_path, "icechunk")
    record = record_of(server, paths)
    shorter = replace(record, files=record.files[:2])
    path = Path(generate(shorter, tmp_path / "out", transport, settings).reference.path)
    command = [sys.executable, "-c", READER, server.url_of(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "24\n"
        generate(record, tmp_path / "out", transport, settings)
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert float(reader.stdout.readline()) == pytest.approx(
            float(tas_of(paths[:2]).sum(dtype="f4")), rel=1e-4
        )
        assert reader.stdout.readline() == "36\n"


def test_a_file_that_was_replaced_is_an_error_and_not_garbage(
    server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    """Equal size, other values: kerchunk does not notice. A new snapshot is right again."""
    paths = write(tmp_path, seed=1)
    settings = settings_of(tmp_path, "icechunk")
    record = record_of(server, paths)
    path = Path(generate(record, tmp_path / "out", transport, settings).reference.path)
    kerchunk = Path(
        generate(record, tmp_path / "out", transport, settings_of(tmp_path, "json")).reference.path
    )
    right = tas_of(paths)
    data = bytearray(paths[1].read_bytes())
    data[-200:] = data[-100:] + data[-200:-100]
    paths[1].write_bytes(bytes(data))
    dataset = esgvzarr.open_dataset(server.url_of(path))
    assert np.array_equal(dataset["tas"].isel(time=slice(0, 12)).values, right[:12])
    with pytest.raises(
        OSError, match="checksum of the object owning the virtual chunk has changed"
    ):
        dataset["tas"].isel(time=slice(12, 24)).load()
    report = verify_published(server.url_of(path), (), transport, settings)
    assert any("checksum" in check.detail for check in report.failures)
    assert (
        esgvzarr.open_dataset(str(kerchunk))["tas"].sizes["time"] == 36
    )  # opens, and says nothing


def test_a_repository_that_leads_into_this_machine_is_not_followed(
    tmp_path: Path, server: NginxServer, transport: Transport
) -> None:
    paths = write(tmp_path)
    files = tuple(
        replace(file, url=str(path))
        for file, path in zip(record_of(server, paths).files, paths, strict=True)
    )
    record = replace(record_of(server, paths), files=files, data_node="")
    path = Path(
        generate(
            record, tmp_path / "out", transport, settings_of(tmp_path, "icechunk")
        ).reference.path
    )
    assert verify_published(str(path), (), transport, Settings()).passed
    with pytest.raises(ProofError) as caught:
        verify_published(server.url_of(path), (), transport, Settings())
    assert caught.value.code == "proof-place-refused"


def test_a_legacy_index_gets_no_repository(
    server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    """Its clients take whatever has the service name VirtualZarr for kerchunk references."""
    record = record_of(server, write(tmp_path))
    settings = settings_of(tmp_path, "icechunk")
    made = generate(record, tmp_path / "out", transport, settings).reference
    assert made is not None
    with pytest.raises(LinkError) as caught:
        check_link(access_link(record, made, settings))
    assert caught.value.code == "index-output"


def test_icechunk_1_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(icechunk, "http_storage")
    with pytest.raises(SettingsError, match=r"Python 3\.12"):
        named("icechunk").check_installed()


def test_the_command_line_makes_a_repository_and_its_page_without_a_word(tmp_path: Path) -> None:
    """Icechunk has threads of its own, and the process that reads files must not be a copy. It
    warns of local directories.
    """
    paths = write_monthly(tmp_path / "files")
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "esgvzarr", "generate", *map(str, paths)]
    options = ["--dataset-id", str(ID), "--output-dir", str(out), "--output", "icechunk"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "WARN" not in done.stdout + done.stderr
    with esgvzarr.open_dataset(str(out / f"{ID}.icechunk")) as shown:
        assert np.array_equal(shown["tas"].values, tas_of(paths))
    pages = [sys.executable, "-m", "esgvzarr", "pages", str(out)]
    done = subprocess.run(pages, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{out / 'index.html'}: lists 1 dataset\n"
