"""The same bytes get the same verdict wherever they are read from; a hole never looks like data."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from esgvzarr import DatasetId, DatasetRecord, EsgvzarrError, FileRecord, RefusedError, Transport
from esgvzarr.errors import FormatError, ProofError, TransportError
from esgvzarr.formats import Fetched
from esgvzarr.formats.content import PAGE, SparseContent
from esgvzarr.generate import make_references
from esgvzarr.model import Report
from esgvzarr.output import named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify
from esgvzarr.proof.file_side import Source, judge_all
from esgvzarr.proof.image import Image
from esgvzarr.testing import DATASET_ID, ThreddsServer, write_monthly

MORE = os.environ.get("ESGVZARR_TEST_DATA")
FORMATS = ("NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC", "NETCDF3_64BIT_DATA")


def verdict_on(files: Sequence[FileRecord], transport: Transport) -> set[str]:
    """The codes of a refusal; or the checks of the proof."""
    fetched: dict[str, Fetched] = {}
    record = DatasetRecord(DatasetId.parse(DATASET_ID), "", tuple(files))
    try:
        document = encode(make_references(record, transport, keep=fetched))
        report = verify(
            named("json").parse(document, "test", transport),
            files,
            transport,
            location="test",
            dataset_id=DATASET_ID,
            scanned=fetched,
        )
    except RefusedError as error:
        return {finding.code for finding in error.findings}
    except EsgvzarrError as error:
        return {error.code}
    return told(report)


def told(report: Report) -> set[str]:
    """The checks of a proof, and whether they passed."""
    return {f"{check.name} of {check.subject}: {check.passed}" for check in report.checks}


def over_http(paths: Sequence[Path], server: ThreddsServer) -> list[FileRecord]:
    return [FileRecord(path.name, server.url_of(path), size=path.stat().st_size) for path in paths]


def both_verdicts(paths: Sequence[Path], server: ThreddsServer) -> tuple[set[str], set[str]]:
    local = [FileRecord(path.name, str(path), size=path.stat().st_size) for path in paths]
    with Transport(allowed_hosts=[server.host]) as transport:
        return verdict_on(local, transport), verdict_on(over_http(paths, server), transport)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreddsServer]:
    with ThreddsServer(tmp_path_factory.mktemp("served")) as running:
        yield running


def test_text_that_is_not_ascii_is_right_over_http(server: ThreddsServer) -> None:
    """As any program in C writes it: UTF-8, and declared ASCII. All of MPI-ESM has such names."""
    path = server.root / "umlaut.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF4_CLASSIC") as file:
        file.institution = "Universität Hamburg"
        file.createDimension("time", None)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 2000-01-01"
        time[:] = [0, 1]
        file.createVariable("tas", "f4", ("time",))[:] = [1, 2]
    local, remote = both_verdicts([path], server)
    assert "attributes of global in /: True" in remote
    assert local == remote


@pytest.mark.skipif(
    not MORE, reason="ESGVZARR_TEST_DATA names no directory with further real files"
)
def test_real_datasets_get_the_same_verdict_on_disk_and_over_http() -> None:
    root = Path(str(MORE))
    datasets: dict[Path, list[Path]] = {}
    for path in sorted(root.rglob("*.nc")):
        datasets.setdefault(path.parent, []).append(path)
    with ThreddsServer(root) as running:
        for paths in datasets.values():
            local, remote = both_verdicts(paths, running)
            assert local == remote


def contents_of(data: bytes, *, but: int | None = None) -> SparseContent:
    """A file of which all pages are known but one."""
    content = SparseContent(len(data))
    for start in range(0, len(data), PAGE):
        if start != but:
            content.add(start, data[start : start + PAGE])
    return content


class Unasked(Transport):
    """Nothing is fetched through it."""


@pytest.mark.parametrize("form", FORMATS)
def test_no_page_that_is_missing_is_taken_for_data(form: str, tmp_path: Path) -> None:
    """Whichever page of a file is not there, the judge says so, or never needed it: the values are
    zeros, as a hole would be, and are not believed.
    """
    path = tmp_path / "zeros.nc"
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.institution = "Universität Hamburg"
        file.createDimension("time", None)
        file.createDimension("x", 700)
        file.createVariable("x", "f8", ("x",))[:] = np.zeros(700)
        options = {"chunksizes": (2, 700)} if form.startswith("NETCDF4") else {}
        file.createVariable("tas", "f4", ("time", "x"), **options)[:] = np.zeros((12, 700))
        file.createVariable("pr", "i2", ("time", "x"))[:] = np.ones((12, 700))
    data = path.read_bytes()
    expected = facts_of(Source("a", str(path)))
    refused = []
    for start in range(0, len(data), PAGE):
        source = Source("http://data.example/a.nc", content=contents_of(data, but=start))
        with Unasked() as transport:
            try:
                found = facts_of(source, transport)
            except TransportError as error:
                refused.append(error.code)
                continue
        assert found == expected
    assert len(refused) > len(data) / PAGE / 2
    assert set(refused) == {"transport-host-refused"}  # the page was going to be fetched


def facts_of(
    source: Source, transport: Transport | None = None, *, counts: bool = True
) -> list[object]:
    """All that a file says, as text."""

    def work(truth: object, counted: object) -> list[object]:
        variables = truth.variables  # type: ignore[attr-defined]
        values = {name: (v.dims, v.attrs, v.values.tobytes()) for name, v in variables.items()}
        return [repr(values), repr(truth.attrs), repr(counted)]  # type: ignore[attr-defined]

    return next(judge_all([(source, work)], transport, counts=counts))  # type: ignore[arg-type]


def test_what_the_judge_misses_is_fetched_until_it_has_read_all(tmp_path: Path) -> None:
    """With nothing known but the size of a file, its values come out."""
    (path,) = write_monthly(tmp_path, lengths=(12,), grid=(40, 60), chunks=(1, 40, 60))
    with ThreddsServer(tmp_path) as running, Transport(allowed_hosts=[running.host]) as transport:
        empty = SparseContent(path.stat().st_size)
        found = facts_of(Source(running.url_of(path), content=empty), transport)
    assert found == facts_of(Source("a", str(path)))


def test_a_page_that_is_half_known_counts_as_unknown() -> None:
    content = SparseContent(3 * PAGE)
    content.add(0, bytes(PAGE + PAGE // 2))
    image = Image(content, "a")
    try:
        assert bytes(image.buffer[PAGE : PAGE + 1]) == b"\0"
        assert list(image.missed()) == [(PAGE, 2 * PAGE)]
    finally:
        image.close()


def test_a_machine_without_room_for_addresses_says_so() -> None:
    with pytest.raises(ProofError) as caught:
        Image(SparseContent(2**60), "http://data.example/a.nc")
    assert caught.value.code == "proof-unguarded"


def test_a_file_that_netcdf_c_cannot_read_is_named(tmp_path: Path) -> None:
    """Damage in a chunk is the file's, and no fault of the references."""
    (path,) = write_monthly(
        tmp_path, lengths=(12,), grid=(80, 90), chunks=(1, 80, 90), compression="zlib"
    )
    document, files = made_of(path)
    with netCDF4.Dataset(path) as file:
        assert file["tas"].filters()["zlib"]
    damaged = bytearray(path.read_bytes())
    damaged[-4000:-3000] = bytes(1000)
    path.write_bytes(damaged)
    with Transport() as transport:
        artefact = named("json").parse(document, "test", transport)
        with pytest.raises(FormatError) as caught:
            verify(artefact, files, transport, location="test", full=True)
    assert caught.value.code == "file-unreadable"
    assert "netCDF-C cannot read it" in str(caught.value)


def test_an_image_that_netcdf_c_cannot_open_is_named_and_its_memory_given_back() -> None:
    """netCDF4 keeps the buffer of such a file for good."""
    content = contents_of(b"no NetCDF file" * 2**20)
    source = Source("http://data.example/a.nc", content=content)
    before = resident_bytes()
    for _ in range(8):
        with Unasked() as transport, pytest.raises(FormatError, match="netCDF-C cannot read it"):
            facts_of(source, transport, counts=False)
    assert resident_bytes() - before < 4 * content.size


def resident_bytes() -> int:
    """Memory of this process that the kernel has given."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_file_whose_variables_cannot_be_listed_is_closed_at_once(
    in_memory: bool, tmp_path: Path
) -> None:
    """And not by the garbage collector, in any thread."""
    path = tmp_path / "name.nc"
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as file:
        file.createDimension("x", 2)
        file.createVariable("tas", "f4", ("x",))
    data = path.read_bytes().replace(b"tas", b"t\xffs")
    path.write_bytes(data)
    source = Source("http://data.example/a.nc", content=contents_of(data))
    if not in_memory:
        source = Source("a", str(path))
    before = open_datasets()
    with Unasked() as transport, pytest.raises(FormatError) as caught:
        facts_of(source, transport)
    assert caught.value.code == "file-unreadable"
    assert open_datasets() == before


def open_datasets() -> int:
    """How many files netCDF4 has open in this process."""
    found = [one for one in gc.get_objects() if issubclass(type(one), netCDF4.Dataset)]
    return sum(one.isopen() for one in found)


def made_of(path: Path) -> tuple[bytes, list[FileRecord]]:
    files = [FileRecord(path.name, str(path))]
    with Transport() as transport:
        record = DatasetRecord(DatasetId.parse(DATASET_ID), "", tuple(files))
        return encode(make_references(record, transport)), files
