"""What is cut out equals what CDO cuts out of the downloaded files, and what the files hold."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from esgvzarr import cli
from esgvzarr.errors import SourceError, StoreError
from esgvzarr.extract import Box, Request, extract
from esgvzarr.pages import write_page
from esgvzarr.testing import DATASET_ID, Latency, ThreddsServer
from esgvzarr.testing.datasets import FileSpec, specs_of, write_files

CDO = shutil.which("cdo")


def references(directory: Path, specs: list[FileSpec]) -> tuple[Path, list[Path]]:
    """Files on disk, and their reference file."""
    files = write_files(directory / "files", specs)
    return refer(directory, [str(file) for file in files]), files


def refer(directory: Path, sources: list[str]) -> Path:
    command = ["generate", *sources, "--dataset-id", DATASET_ID, "--output-dir", str(directory)]
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 0
    return directory / f"{DATASET_ID}.json"


def values(path: Path, name: str) -> np.ndarray:
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return np.asarray(file[name][...])


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, list[Path]]:
    """Three years of a grid of 18 x 36."""
    return references(tmp_path, specs_of((12, 12, 12), grid=(18, 36), compression="zlib"))


@pytest.mark.skipif(CDO is None, reason="cdo is not installed (Debian: cdo)")
class TestAgainstCDO:
    def cut(self, files: list[Path], out: Path, *operators: str) -> None:
        names = [str(file) for file in files]
        command = [str(CDO), "-s", *operators, "-mergetime", *names, str(out)]
        subprocess.run(command, check=True, capture_output=True)

    @pytest.mark.parametrize("box", [Box(20, -30, 200, 45), Box(-40, -90, 30, 0)])
    def test_a_box_and_a_span(
        self, three: tuple[Path, list[Path]], tmp_path: Path, box: Box
    ) -> None:
        """The second box crosses the seam of the grid."""
        reference, files = three
        own = tmp_path / "own.nc"
        theirs = tmp_path / "cdo.nc"
        extract(str(reference), own, Request(("tas",), "1850-11/1852-02", box))
        bounds = f"{box.west},{box.east},{box.south},{box.north}"
        self.cut(
            files, theirs, f"-sellonlatbox,{bounds}", "-seldate,1850-11-01,1852-02-28T23:59:59"
        )
        np.testing.assert_array_equal(values(own, "tas"), values(theirs, "tas"))
        np.testing.assert_allclose(values(own, "lat"), values(theirs, "lat"))
        np.testing.assert_allclose(values(own, "lon"), values(theirs, "lon"))
        assert values(own, "tas").size > 0

    def test_a_calendar_of_360_days(self, tmp_path: Path) -> None:
        specs = specs_of((12, 12), grid=(4, 6), calendar="360_day")
        reference, files = references(tmp_path, specs)
        extract(str(reference), tmp_path / "own.nc", Request(time="1850-02/1851-02"))
        self.cut(files, tmp_path / "cdo.nc", "-seldate,1850-02-01,1851-02-30T23:59:59")
        own = values(tmp_path / "own.nc", "tas")
        np.testing.assert_array_equal(own, values(tmp_path / "cdo.nc", "tas"))
        assert len(own) == 13


class TestResult:
    def test_keeps_types_fills_packing_and_bounds(self, tmp_path: Path) -> None:
        specs = specs_of(
            (12, 12), grid=(4, 6), dtype="i2", scale_offset=(0.01, 280.0), fill_value=-32768
        )
        reference, files = references(tmp_path, specs)
        out = tmp_path / "out.nc"
        extract(str(reference), out, Request(("tas",), "1851"))
        with netCDF4.Dataset(files[1]) as source, netCDF4.Dataset(out) as made:
            for name in ("tas", "time", "time_bnds", "lat", "lat_bnds", "height"):
                assert made[name].dtype == source[name].dtype, name
                own = {key: made[name].getncattr(key) for key in made[name].ncattrs()}
                theirs = {key: source[name].getncattr(key) for key in source[name].ncattrs()}
                assert own.keys() == theirs.keys(), name
                for key, value in theirs.items():
                    np.testing.assert_array_equal(own[key], value, err_msg=f"{name}:{key}")
            assert made.source_id == source.source_id
            assert made.history.splitlines()[0].split(": ")[1].startswith("esgvzarr ")
        np.testing.assert_array_equal(values(out, "tas"), values(files[1], "tas"))

    def test_segments_with_packing_of_their_own(self, tmp_path: Path) -> None:
        """They are written unpacked, exactly as xarray decodes each file."""
        specs = specs_of(
            (12, 12), grid=(4, 6), dtype="i2", scale_offset=(0.01, 280.0), fill_value=-32768
        )
        specs[1] = replace(specs[1], scale_offset=(0.02, 270.0))
        reference, files = references(tmp_path, specs)
        out = tmp_path / "out.nc"
        extract(str(reference), out, Request(("tas",)))
        with netCDF4.Dataset(out) as made:
            shown = made["tas"][...]
        parts = []
        for path in files:
            with netCDF4.Dataset(path) as file:
                parts.append(file["tas"][...])
        np.testing.assert_allclose(shown, np.ma.concatenate(parts), rtol=1e-6)
        assert shown.dtype.kind == "f"

    def test_fetches_only_the_chunks_that_it_needs(self, tmp_path: Path) -> None:
        files = write_files(tmp_path / "files", specs_of((12, 12, 12), grid=(4, 6)))
        with ThreddsServer(tmp_path / "files") as server:
            reference = refer(tmp_path, [server.url_of(file) for file in files])
            server.requests.clear()
            extract(str(reference), tmp_path / "out.nc", Request(("tas",), "1851-03/1851-04"))
            gets = [request for request in server.requests if request.method == "GET"]
        assert {request.path.rsplit("/")[-1] for request in gets} == {files[1].name}
        assert len(gets) <= 2

    def test_a_curvilinear_grid_is_cut_to_the_index_box_of_the_cells_inside(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "curved.nc"
        j, i = np.mgrid[0:10, 0:20]
        latitude = -40 + 8.0 * j + 0.5 * i
        longitude = (350 + 3.0 * i + j) % 360
        with netCDF4.Dataset(path, "w") as file:
            for name, length in (("time", None), ("j", 10), ("i", 20)):
                file.createDimension(name, length)
            when = file.createVariable("time", "f8", ("time",))
            when.units = "days since 2000-01-01"
            when[:] = [15.0, 45.0]
            for name, grid, unit in (
                ("lat", latitude, "degrees_north"),
                ("lon", longitude, "degrees_east"),
            ):
                made = file.createVariable(name, "f8", ("j", "i"))
                made.units = unit
                made[:] = grid
            data = file.createVariable("tos", "f4", ("time", "j", "i"))
            data.coordinates = "lat lon"
            data[:] = np.arange(400).reshape(2, 10, 20)
        reference = refer(tmp_path, [str(path)])
        out = tmp_path / "out.nc"
        extract(str(reference), out, Request(("tos",), box=Box(355, -10, 20, 15)))
        inside = (latitude >= -10) & (latitude <= 15) & ((longitude - 355) % 360 <= 25)
        rows, columns = np.nonzero(inside)
        whole = values(path, "tos")
        box = whole[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        np.testing.assert_array_equal(values(out, "tos"), box)


class TestRefusals:
    def test_a_file_that_is_there_stays(
        self, three: tuple[Path, list[Path]], tmp_path: Path
    ) -> None:
        (tmp_path / "out.nc").write_text("mine")
        with pytest.raises(StoreError) as refused:
            extract(str(three[0]), tmp_path / "out.nc", Request())
        assert refused.value.code == "store-exists"
        assert (tmp_path / "out.nc").read_text() == "mine"

    @pytest.mark.parametrize(
        ("request_", "said"),
        [
            (Request(("tos",)), "is no variable"),
            (Request(time="soon"), "is no date"),
            (Request(time="2050"), "1850-01"),
            (Request(level="50000"), "no vertical coordinate"),
            (Request(box=Box(0, 89.99, 1, 90)), "holds nothing"),
        ],
    )
    def test_what_is_not_there_is_named(
        self, three: tuple[Path, list[Path]], tmp_path: Path, request_: Request, said: str
    ) -> None:
        with pytest.raises(SourceError, match=said) as refused:
            extract(str(three[0]), tmp_path / "out.nc", request_)
        assert refused.value.code == "source-selection"
        assert not (tmp_path / "out.nc").exists()


def test_a_run_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    """The chunks that the first run read are not fetched again."""
    files = write_files(tmp_path / "files", specs_of((12,) * 4, grid=(600, 900)))
    with ThreddsServer(tmp_path / "files") as server:
        reference = refer(tmp_path, [server.url_of(file) for file in files])
        server.fault(Latency(0.05))
        out = tmp_path / "out.nc"
        command = [sys.executable, "-m", "esgvzarr", "extract", str(reference), "-o", str(out)]
        run = subprocess.Popen(command)
        parts = tmp_path / ".out.nc.parts"
        end = time.monotonic() + 120
        while not list(parts.glob("tas-*.npy")):
            assert run.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert not out.exists()
        kept = len(list(parts.glob("tas-*.npy")))
        server.heal()
        server.requests.clear()
        extract(str(reference), out, Request())
        fetched = [request for request in server.requests if request.method == "GET"]
    assert 0 < kept < 8
    assert len(fetched) < 48
    assert not parts.exists()
    whole = np.concatenate([values(file, "tas") for file in files])
    np.testing.assert_array_equal(values(out, "tas"), whole)


def test_show_opens_the_page_where_there_is_one(
    three: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the browser that the user has: here a program that keeps the address."""
    reference = three[0]
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    command = [sys.executable, "-m", "esgvzarr", "show", "--page", str(reference)]
    environment = {**os.environ, "BROWSER": f"{browser} %s"}
    without = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (without.returncode, "has no page" in without.stderr) == (1, True)
    page = write_page(reference).as_uri()
    subprocess.run(command, env=environment, capture_output=True, check=True)
    assert (tmp_path / "opened").read_text().strip() == page


def test_show_says_what_it_is_and_how_to_open_it(
    three: tuple[Path, list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["show", str(three[0])])
    said = capsys.readouterr().out
    assert "model: UKESM1-0-LL" in said
    assert "tas (time, lat, lon) 36 x 18 x 36 K" in said
    assert 'engine="kerchunk"' in said
