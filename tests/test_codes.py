"""Codes that come up where none of the other tests says so by name: each from a real cause."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
from rich.console import Console

from esgvzarr import demo
from esgvzarr.demo import find_asset
from esgvzarr.doctor import Node
from esgvzarr.errors import EsgvzarrError, ProofError
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.output.kerchunk import encode
from esgvzarr.pages.facts import read_facts
from esgvzarr.proof.parts import groups_of
from esgvzarr.settings import Settings
from esgvzarr.sources import read_source
from esgvzarr.sources.thredds_page import parse_catalogue
from esgvzarr.stage import Work, make_references, stage, staging_places
from esgvzarr.testing import DATASET_ID, StacServer
from esgvzarr.testing.node import DataNode
from esgvzarr.transport import Transport

ID = DatasetId.parse(DATASET_ID)


def record_of(paths: Sequence[Path]) -> DatasetRecord:
    files = tuple(
        FileRecord(path.name, str(path), path.stat().st_size, path=str(path)) for path in paths
    )
    return DatasetRecord(ID, "", files)


def write(
    path: Path,
    times: Sequence[float] = (0.0, 1.0),
    units: str = "days since 1850-01-01",
    height: str = "m",
    **attrs: Any,
) -> Path:
    """A file of one variable along time, with ``attrs``, and a height with these units."""
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 3)
        if len(times):
            file.createDimension("time", None)
            time = file.createVariable("time", "f8", ("time",))
            time.setncatts({"units": units, "standard_name": "time"})
            time[:] = times
        dims = ("time", "x") if len(times) else ("x",)
        tas = file.createVariable("tas", "f4", dims)
        tas[:] = np.ones((len(times), 3)) if len(times) else [1, 2, 3]
        tas.setncatts(attrs)
        scalar = file.createVariable("height", "f8", ())
        scalar[...] = 2
        if height:
            scalar.units = height
    return path


def refused(paths: Sequence[Path]) -> str:
    """The code under which the files are refused."""
    with Transport() as transport, pytest.raises(EsgvzarrError) as caught:
        make_references(record_of(paths), transport)
    return caught.value.code


def test_a_file_whose_dimensions_have_no_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["tas"] = np.arange(4.0)
    assert refused([tmp_path / "a.nc"]) == "file-dimensions-unnamed"


def test_a_file_whose_data_lie_in_another_file(tmp_path: Path) -> None:
    elsewhere = [(str(tmp_path / "raw"), 0, 80)]
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("tas", (10,), "f8", external=elsewhere)
    assert refused([tmp_path / "a.nc"]) == "file-layout-unsupported"


def test_two_files_without_a_time_that_puts_them_in_order(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, ()) for name in ("a.nc", "b.nc")]
    with netCDF4.Dataset(paths[1], "a") as file:
        file["tas"][:] = 4
    assert refused(paths) == "time-missing"


def test_dates_for_which_float64_has_no_common_unit(tmp_path: Path) -> None:
    first = write(tmp_path / "a.nc", (1 / 3, 2 / 3))
    since = "days since 9000-01-01 00:00:00.123457"
    assert refused([first, write(tmp_path / "b.nc", (1 / 3, 8 / 7), since)]) == (
        "time-not-representable"
    )


def test_units_that_one_file_lacks_are_a_warning(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.nc"), write(tmp_path / "b.nc", (2.0, 3.0), height="")]
    with Transport() as transport:
        made = make_references(record_of(paths), transport)
    assert "units-absent" in [finding.code for finding in made.warnings]


def test_a_scale_that_is_no_number_cannot_be_written_as_json(tmp_path: Path) -> None:
    with Transport() as transport:
        made = make_references(
            record_of([write(tmp_path / "a.nc", scale_factor=np.nan)]), transport
        )
    with pytest.raises(EsgvzarrError) as caught:
        encode(made)
    assert caught.value.code == "file-packing-invalid"


def test_data_in_units_of_dates_that_stock_xarray_does_not_decode(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc")
    with netCDF4.Dataset(path, "a") as file:
        file["tas"].units = "days since foo"
    record = record_of([path])
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    with (
        staging_places(ID, tmp_path / "out", settings) as places,
        pytest.raises(ProofError) as caught,
    ):
        stage(Work(record, places, settings))
    assert caught.value.code == "proof-not-decoded"


def test_references_that_name_groups_without_their_datasets() -> None:
    with pytest.raises(ProofError) as caught:
        groups_of({"groups": {"Amon": ["tas"]}}, [], [], "x.json")
    assert caught.value.code == "proof-groups"


def test_a_search_that_does_not_find_the_dataset(stac_server: StacServer) -> None:
    pytest.importorskip("pystac_client")
    with pytest.raises(ProofError) as caught:
        find_asset(stac_server.url, DATASET_ID)
    assert caught.value.code == "proof-not-found"


def test_a_node_without_a_published_file(tmp_path: Path) -> None:
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    with Transport() as transport, pytest.raises(EsgvzarrError) as caught:
        _ = Node(None, settings, transport).file
    assert caught.value.code == "source-no-file"


def read(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with Transport() as transport:
        read_source([str(path)], None, transport, {})


_SOURCES: dict[str, Callable[[Path], object]] = {
    "settings-filter": lambda path: CatalogIndex(path).search("variable_id=tas"),
    "source-catalogue": lambda _: parse_catalogue(b"<html/>", "https://x/catalog.xml"),
    "source-json": lambda path: read(path, b'{"type": '),
    "source-text": lambda path: read(path, b"a#1 | /b.nc | \xff\n"),
    "source-mapfile": lambda path: read(path, b"a | b\n"),
    "source-not-references": lambda _: read_facts(b"{}", "x.json"),
}


@pytest.mark.parametrize(("code", "cause"), _SOURCES.items(), ids=_SOURCES)
def test_what_describes_no_dataset(
    code: str, cause: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(EsgvzarrError) as caught:
        cause(tmp_path / "source")
    assert caught.value.code == code


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("esgcet", reason="esgcet reads certificates")
    from esgvzarr.esgpublish import certificate_end

    (tmp_path / "cert.pem").write_text("no certificate")
    with pytest.raises(EsgvzarrError) as caught:
        certificate_end(tmp_path / "cert.pem")
    assert caught.value.code == "publisher-certificate"


def test_a_demo_whose_esgpublish_fails(tmp_path: Path) -> None:
    pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")
    with DataNode(tmp_path, "http://127.0.0.1:9") as node, pytest.raises(EsgvzarrError) as caught:
        demo._publish(Console(file=io.StringIO()), node, [])
    assert caught.value.code == "publisher-failed"
