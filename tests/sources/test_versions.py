"""References never lead through ``latest``, which moves, nor to files of another version."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from esgvzarr.errors import SourceError
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.sources import named_by_version, read_source
from esgvzarr.sources.versions import of_own_version
from esgvzarr.testing import ThreddsServer
from esgvzarr.transport import Transport

ID = DatasetId.parse("CMIP6.CMIP.MOHC.UKESM.historical.r1i1p1f1.Amon.tas.gn.v20190406")
OLD = DatasetId(ID.master_id, "20180101")
CMIP5 = DatasetId.parse("cmip5.output1.MOHC.M.historical.mon.atmos.Amon.r1i1p1.v2")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two versions of one file, of the same size, and the link to the later."""
    for version in ("v20180101", "v20190406"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tas.nc").write_bytes(b"CDF\x01" + version.encode() * 100_000)
    (tmp_path / "latest").symlink_to("v20190406")
    return tmp_path


@pytest.fixture
def server(directory: Path) -> Iterator[ThreddsServer]:
    with ThreddsServer(directory) as running:
        yield running


@pytest.fixture
def transport(server: ThreddsServer) -> Iterator[Transport]:
    with Transport(allowed_hosts=[server.host], retries=0) as opened:
        yield opened


def record_at(*urls: str, dataset_id: DatasetId = ID, path: str | None = None) -> DatasetRecord:
    files = tuple(FileRecord(url.rpartition("/")[2], url, path=path) for url in urls)
    return DatasetRecord(dataset_id, "", files)


def code_of(record: DatasetRecord, transport: Transport) -> str:
    with pytest.raises(SourceError) as caught:
        of_own_version(record, transport)
    return caught.value.code


def test_latest_becomes_the_versions_own_address(
    server: ThreddsServer, transport: Transport, directory: Path
) -> None:
    """URL and path alike, so that the reference file lies there, too."""
    url = server.url_of("latest/tas.nc")
    own = server.url_of("v20190406/tas.nc")
    record = record_at(url, path=str(directory / "latest/tas.nc"))
    (file,) = of_own_version(record, transport).files
    assert (file.url, file.path) == (own, str(directory / "v20190406/tas.nc"))
    assert [one.url for one in named_by_version(record).files] == [own]
    prefix = f"{server.url}{server.prefix}"
    found = read_source([url], ID, transport, {str(directory): prefix})
    assert [(one.url, one.path) for one in found.files] == [
        (own, str(directory / "v20190406/tas.nc"))
    ]


def test_a_link_that_has_moved_on_is_refused(server: ThreddsServer, transport: Transport) -> None:
    """What ``latest`` shows now is another version than the DSID says."""
    record = record_at(server.url_of("latest/tas.nc"), dataset_id=OLD)
    assert code_of(record, transport) == "source-version-moves"


def test_without_an_address_of_its_own_a_version_is_refused(
    server: ThreddsServer, transport: Transport, directory: Path
) -> None:
    (directory / "latest").unlink()
    shutil.move(directory / "v20190406", directory / "latest")
    record = record_at(server.url_of("latest/tas.nc"))
    assert code_of(record, transport) == "source-version-moves"
    assert code_of(record_at(str(directory / "latest/tas.nc")), transport) == "source-version-moves"


def test_plain_files_of_this_machine_lose_the_link(directory: Path, transport: Transport) -> None:
    path = str(directory / "latest/tas.nc")
    (file,) = of_own_version(record_at(path, path=path), transport).files
    assert file.url == file.path == str(directory / "v20190406/tas.nc")
    assert code_of(record_at(path, dataset_id=OLD), transport) == "source-version-differs"


@pytest.mark.parametrize(
    ("url", "dataset_id", "right"),
    [
        ("http://n/a/v20190406/tas.nc", ID, True),
        ("http://n/a/v20180101/tas.nc", ID, False),
        ("http://n/v20180101/v20190406/tas.nc", ID, True),
        ("http://n/a/v20180101/deep/er/down/tas.nc", ID, False),
        ("http://n/v3/data/cmip6/gn/tas.nc", ID, True),
        ("http://n/a/v2/tas/tas.nc", CMIP5, True),
        ("http://n/a/v1/tas/tas.nc", CMIP5, False),
        ("http://n/a/v02/tas.nc", CMIP5, True),
        ("http://n/a/tas_v1.nc", CMIP5, True),
        ("http://n/a/tas.nc", ID, True),
    ],
)
def test_an_address_may_not_name_another_version(
    url: str, dataset_id: DatasetId, right: bool, transport: Transport
) -> None:
    """The last version in it counts; short ones only near the file."""
    record = record_at(url, dataset_id=dataset_id)
    if right:
        assert of_own_version(record, transport) is record
    else:
        assert code_of(record, transport) == "source-version-differs"
