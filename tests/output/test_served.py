"""Each output from the command to the reader: written whole, proved, served by the real nginx,
linked, opened, withdrawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from trust import oracle

from esgvzarr import open_dataset
from esgvzarr.errors import StoreError
from esgvzarr.generate import generate, make_transport, verify_published
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.link.decision import decide
from esgvzarr.link.lifecycle import carry_out
from esgvzarr.link.means import Means
from esgvzarr.link.task import IndexAddress
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.outcome import Outcome, Verb
from esgvzarr.output import named
from esgvzarr.output.disk_errors import writing
from esgvzarr.output.icechunk import open_store
from esgvzarr.output.parts import files_of, measure
from esgvzarr.output.placing import remove_leftovers, staging, withdraw_reference, write_reference
from esgvzarr.settings import Settings
from esgvzarr.testing import DATASET_ID, DEFECTS, DRS_PATH, NginxServer, write_monthly
from esgvzarr.testing.nginx import available
from esgvzarr.testing.samples import sample_datasets
from esgvzarr.transport import Transport

from . import OTHERS, skip_unless_installed

ID = DatasetId.parse(DATASET_ID)


@pytest.fixture(params=OTHERS)
def output(request: pytest.FixtureRequest) -> str:
    skip_unless_installed(request.param)
    return str(request.param)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NginxServer]:
    """A data node that shows the one dot-file that kerchunk parquet has."""
    if available():
        pytest.skip(available())
    with NginxServer(tmp_path, dot_file=".zmetadata") as server:
        yield server


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return write_monthly(tmp_path / DRS_PATH, compression="zlib", shuffle=True, fletcher32=True)


def record_of(server: NginxServer, paths: list[Path]) -> DatasetRecord:
    files = tuple(
        FileRecord(path.name, server.url_of(path), path.stat().st_size, path=str(path))
        for path in paths
    )
    return DatasetRecord(ID, server.host, files)


def publish(record: DatasetRecord, catalogue: Path, settings: Settings) -> Outcome:
    """Link a dataset in the static catalogue of a directory, which shows it already."""
    address = IndexAddress("catalog", str(catalogue))
    return carry_out(decide(Verb.PUBLISH, record, address, settings), Means(settings))


def settings_of(tmp_path: Path, output: str) -> Settings:
    return Settings(ledger=tmp_path / "ledger.sqlite", output=output, retries=0)


@pytest.fixture
def transport(server: NginxServer) -> Iterator[Transport]:
    with make_transport(Settings(retries=0, allowed_hosts=(server.host,))) as transport:
        yield transport


def tas_of(paths: list[Path]) -> np.ndarray[Any, Any]:
    parts = []
    for path in paths:
        with xarray.open_dataset(path) as dataset:
            parts.append(dataset["tas"].values)
    return np.concatenate(parts)


def _by_stock_zarr(href: str) -> xarray.Dataset:
    """As the asset's description tells those who have no esgvzarr."""
    options = {"fo": href, "remote_protocol": "http", "remote_options": {"asynchronous": True}}
    with zarr.config.set({"array.rectilinear_chunks": True}):
        return xarray.open_dataset(
            "reference://", engine="zarr", consolidated=False, chunks={}, storage_options=options
        )


def test_a_published_output_opens_over_http_as_its_link_says(
    output: str, server: NginxServer, paths: list[Path], transport: Transport, tmp_path: Path
) -> None:
    index = CatalogIndex(tmp_path / "stac")
    record = record_of(server, paths)
    index.add_dataset(record)
    settings = settings_of(tmp_path, output)
    made = publish(record, tmp_path / "stac", settings)
    assert made.state == "linked", made.detail
    (link,) = index.links(ID)
    assert link.href == server.url_of(tmp_path / DRS_PATH / f"{DATASET_ID}{named(output).suffix}")
    opened = xarray.open_dataset(
        open_store(link.href) if output == "icechunk" else link.href, **link.open_kwargs
    )
    assert np.array_equal(opened["tas"].values, tas_of(paths))
    if output == "zarr3":
        assert np.array_equal(_by_stock_zarr(link.href)["tas"].values, tas_of(paths))
    assert (link.size, link.sha256) == (
        (0, "") if named(output).directory else measure(made.references[0].path)
    )
    assert verify_published(link.href, (), transport, settings, full=True).passed
    again = publish(record, tmp_path / "stac", settings)
    assert not again.references[0].written


def test_a_server_that_hides_a_part_of_an_output_gets_no_link(
    paths: list[Path], tmp_path: Path
) -> None:
    """ESGF's nginx hides dot-files, of which kerchunk parquet has one: readers would see
    nothing.
    """
    pytest.importorskip("fastparquet")
    if available():
        pytest.skip(available())
    index = CatalogIndex(tmp_path / "stac")
    with NginxServer(tmp_path) as server:
        record = record_of(server, paths)
        index.add_dataset(record)
        failed = publish(record, tmp_path / "stac", settings_of(tmp_path, "parquet"))
    assert (failed.state, failed.code) == ("failed", "transport-http-404")
    assert ".zmetadata" in failed.detail
    assert index.links(ID) == ()
    assert {path.suffix for path in (tmp_path / DRS_PATH).iterdir()} == {".nc"}


@pytest.mark.parametrize("output", ["json.zst", "parquet"], indirect=True)
def test_other_content_is_refused_unless_forced_and_equal_content_left_alone(
    output: str, server: NginxServer, paths: list[Path], transport: Transport, tmp_path: Path
) -> None:
    record = record_of(server, paths)
    settings = settings_of(tmp_path, output)
    made = generate(record, tmp_path / "out", transport, settings).reference
    assert made is not None
    before = {path: path.stat().st_mtime_ns for path in files_of(made.path)}
    again = generate(record, tmp_path / "out", transport, settings).reference
    assert again == replace(made, written=False)
    assert {path: path.stat().st_mtime_ns for path in files_of(made.path)} == before
    fewer = replace(record, files=record.files[:2])
    with pytest.raises(StoreError) as caught:
        generate(fewer, tmp_path / "out", transport, settings)
    assert caught.value.code == "store-bytes-differ"
    assert measure(made.path) == (made.size, made.sha256)
    forced = generate(fewer, tmp_path / "out", transport, settings, force=True).reference
    assert forced is not None
    assert forced.sha256 != made.sha256
    assert measure(made.path) == (forced.size, forced.sha256)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [Path(made.path).name]


def test_a_damaged_file_is_not_taken_for_equal(
    server: NginxServer, paths: list[Path], transport: Transport, tmp_path: Path
) -> None:
    pytest.importorskip("zstandard")
    record = record_of(server, paths)
    settings = settings_of(tmp_path, "json.zst")
    path = Path(generate(record, tmp_path / "out", transport, settings).reference.path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError) as caught:
        generate(record, tmp_path / "out", transport, settings)
    assert caught.value.code == "store-bytes-differ"


def test_dry_run_touches_nothing(
    output: str, server: NginxServer, paths: list[Path], transport: Transport, tmp_path: Path
) -> None:
    from esgvzarr.link.dry_run import Target, plan_files

    means = Means(settings_of(tmp_path, output))
    (planned,) = plan_files(record_of(server, paths), Target(tmp_path / "out"), transport, means)
    assert planned.reference.written
    assert "would be written" in str(planned)
    assert not (tmp_path / "out").exists()


def test_a_directory_is_measured_as_sha256sum_prints_it(tmp_path: Path) -> None:
    import subprocess

    for name in ("a/b", "a.c", "z"):
        (tmp_path / "x.parq" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x.parq" / name).write_text(name)
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    printed = subprocess.run(
        command, shell=True, cwd=tmp_path / "x.parq", capture_output=True, text=True, check=True
    )
    assert measure(tmp_path / "x.parq") == (7, printed.stdout.split()[0])


def test_a_directory_that_is_withdrawn_is_whole_in_one_place(tmp_path: Path) -> None:
    place = tmp_path / "served" / "x.parq"
    away = tmp_path / "away"
    with staging(place) as staged:
        (staged / "v").mkdir(parents=True)
        (staged / "v" / "refs.0.parq").write_text("1")
        write_reference(staged, place)
    before = measure(place)
    (away / "x.parq").mkdir(parents=True)
    (away / "x.parq" / "older").write_text("2")
    assert withdraw_reference(place, away) == away / "x.parq"
    assert measure(away / "x.parq") == before
    assert list((tmp_path / "served").iterdir()) == []
    assert withdraw_reference(place, away) is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_disk_may_be_tried_again_later() -> None:
    with pytest.raises(StoreError) as stop, writing("x.json"):
        Path("/dev/full").write_text("x")
    assert (stop.value.code, stop.value.retryable) == ("store-full", True)


def test_what_is_being_written_is_no_leftover(tmp_path: Path) -> None:
    with staging(tmp_path / "x.json") as staged:
        staged.write_text("{}")
        assert remove_leftovers(tmp_path / "x.json") == 0
        assert write_reference(staged, tmp_path / "x.json").written
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_a_killed_writer_left_is_hidden_and_goes(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import os, sys; from esgvzarr.output.placing import staging\n"
        "with staging(sys.argv[1]) as staged:\n staged.mkdir(); (staged / "
        "'part').write_text('1'); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.parq")], check=False)
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".")
    assert remove_leftovers(tmp_path / "x.parq") == 1
    assert list(tmp_path.iterdir()) == []


OVER_HTTP = (
    "packing_differs",
    "chunks_never_written",
    "netcdf3_packed",
    "strings_along_time",
    "byte_order_differs",
)


def test_segments_and_all_kinds_of_files_over_http(
    output: str, server: NginxServer, transport: Transport, tmp_path: Path
) -> None:
    """Packed, netCDF-3, text, compressed, both byte orders; references and files by their URLs."""
    for name in OVER_HTTP:
        paths = DEFECTS[name].make(tmp_path / name)
        made = generate(
            record_of(server, paths), tmp_path / name, transport, settings_of(tmp_path, output)
        ).reference
        assert made is not None
        assert (
            oracle.joined_differences(
                open_dataset(server.url_of(made.path), decode_times=oracle.CFTIME), paths
            )
            == []
        ), name


def test_real_datasets_over_http(output: str, sample_root: Path, tmp_path: Path) -> None:
    """Real CMIP6 files of two models, decoded, value for value."""
    if available():
        pytest.skip(available())
    with (
        NginxServer(sample_root) as files,
        NginxServer(tmp_path, dot_file=".zmetadata") as server,
        make_transport(Settings(retries=0, allowed_hosts=(files.host,))) as transport,
    ):
        for name, paths in list(sample_datasets(sample_root).items())[:2]:
            record = replace(record_of(files, paths), id=DatasetId.parse(name))
            made = generate(
                record, tmp_path / name, transport, settings_of(tmp_path, output)
            ).reference
            assert made is not None
            opened = open_dataset(server.url_of(made.path), decode_times=oracle.CFTIME)
            assert oracle.joined_differences(opened, paths) == []


def test_the_provenance_of_a_directory_lies_in_it(
    server: NginxServer, paths: list[Path], transport: Transport, tmp_path: Path
) -> None:
    pytest.importorskip("fastparquet")
    made = generate(
        record_of(server, paths), tmp_path / "out", transport, settings_of(tmp_path, "parquet")
    ).reference
    assert made is not None
    provenance = json.loads((Path(made.path) / "provenance.json").read_bytes())
    assert [file["url"] for file in provenance["files"]] == [server.url_of(path) for path in paths]
