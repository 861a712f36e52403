"""What is cut out equals what CDO cuts out of the downloaded files, and what the files hold."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

from esgvzarr import cli
from esgvzarr.errors import SourceError, StoreError
from esgvzarr.extract import Box, Request, extract
from esgvzarr.model import Check, Report
from esgvzarr.pages import write_page
from esgvzarr.pages.facts import read_facts
from esgvzarr.pages.html import openings
from esgvzarr.testing import DATASET_ID, Latency, StacServer, ThreddsServer, make_item
from esgvzarr.testing.datasets import FileSpec, specs_of, write_files
from esgvzarr.testing.projects import CMIP5, write_cmip5

CDO = shutil.which("cdo")


def references(directory: Path, specs: list[FileSpec]) -> tuple[Path, list[Path]]:
    """Files on disk, and their reference file."""
    files = write_files(directory / "files", specs)
    return refer(directory, [str(file) for file in files]), files


def refer(directory: Path, sources: list[str]) -> Path:
    command = ["generate", "--dataset-id", DATASET_ID, "--output-dir", str(directory), *sources]
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 0
    return directory / f"{DATASET_ID}.json"


def values(path: Path, name: str) -> np.ndarray:
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        return np.asarray(file[name][...])


def write_curvilinear(path: Path) -> Path:
    """Two steps on a grid whose rows and columns follow no parallel and no meridian."""
    j, i = np.mgrid[0:10, 0:20]
    grids = {
        "lat": (-40 + 8.0 * j + 0.5 * i, "degrees_north"),
        "lon": ((350 + 3.0 * i + j) % 360, "degrees_east"),
    }
    with netCDF4.Dataset(path, "w") as file:
        for name, length in (("time", None), ("j", 10), ("i", 20)):
            file.createDimension(name, length)
        when = file.createVariable("time", "f8", ("time",))
        when.units = "days since 2000-01-01"
        when[:] = [15.0, 45.0]
        for name, (grid, units) in grids.items():
            made = file.createVariable(name, "f8", ("j", "i"))
            made.units = units
            made[:] = grid
        data = file.createVariable("tos", "f4", ("time", "j", "i"))
        data.coordinates = "lat lon"
        data[:] = np.arange(400).reshape(2, 10, 20)
    return path


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

    @pytest.mark.parametrize("box", [Box(355, -10, 20, 15), Box(10, -35, 40, 5)])
    def test_a_curvilinear_grid_is_cut_to_the_index_box_of_the_cells_inside(
        self, tmp_path: Path, box: Box
    ) -> None:
        """CDO finds the same index box. The first box crosses the meridian of Greenwich."""
        path = write_curvilinear(tmp_path / "curved.nc")
        reference = refer(tmp_path, [str(path)])
        own = tmp_path / "own.nc"
        extract(str(reference), own, Request(("tos",), box=box))
        west = box.west - 360 if box.west > box.east else box.west
        bounds = f"{west},{box.east},{box.south},{box.north}"
        self.cut([path], tmp_path / "cdo.nc", f"-sellonlatbox,{bounds}")
        for name in ("tos", "lat", "lon"):
            np.testing.assert_array_equal(values(own, name), values(tmp_path / "cdo.nc", name))
        assert 0 < values(own, "tos").size < values(path, "tos").size

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

    def test_the_same_by_id_href_and_item(
        self, tmp_path: Path, stac_server: StacServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The id with and without its version is looked up in an index; files lie on a server."""
        files = write_files(tmp_path / "files", specs_of((12, 12), grid=(18, 36)))
        theirs = tmp_path / "cdo.nc"
        self.cut(files, theirs, "-sellonlatbox,-40,30,-10,60", "-seldate,1850-11-01,1851-02-28")
        with ThreddsServer(tmp_path) as node:
            reference = refer(tmp_path, [node.url_of(file) for file in files])
            href = node.url_of(reference)
            item = make_item(DATASET_ID)
            item["assets"]["reference_file"] = {"href": href, "roles": ["references"]}
            stac_server.add_item(item)
            monkeypatch.setenv("ESGF_INDEXES", stac_server.url)
            (tmp_path / "item.json").write_text(json.dumps(item))
            shown_at = f"{stac_server.url}/collections/CMIP6/items/{DATASET_ID}"
            master = DATASET_ID.rpartition(".v")[0]
            places = [DATASET_ID, master, href, shown_at, str(tmp_path / "item.json")]
            for number, place in enumerate(places):
                own = tmp_path / f"own{number}.nc"
                command = ["extract", place, "-o", str(own), "--variable", "tas"]
                command += ["--time", "1850-11/1851-02", "--bbox", "-40", "-10", "30", "60"]
                with pytest.raises(SystemExit) as stop:
                    cli.main(command)
                assert stop.value.code == 0, place
                np.testing.assert_array_equal(values(own, "tas"), values(theirs, "tas"), place)

    def test_latitudes_from_north_to_south_stay_in_their_order(self, tmp_path: Path) -> None:
        specs = specs_of((12, 12), grid=(18, 36), latitude_step=-1.0)
        reference, files = references(tmp_path, specs)
        extract(str(reference), tmp_path / "own.nc", Request(("tas",), box=Box(20, -30, 200, 45)))
        self.cut(files, tmp_path / "cdo.nc", "-sellonlatbox,20,200,-30,45")
        for name in ("tas", "lat"):
            own = values(tmp_path / "own.nc", name)
            np.testing.assert_array_equal(own, values(tmp_path / "cdo.nc", name))
        assert np.all(np.diff(values(tmp_path / "own.nc", "lat")) < 0)

    def test_levels(self, tmp_path: Path) -> None:
        path = tmp_path / "levels.nc"
        with netCDF4.Dataset(path, "w") as file:
            for name, length in (("time", None), ("plev", 5), ("lat", 3), ("lon", 4)):
                file.createDimension(name, length)
            attributes = {
                "time": {"units": "days since 2000-01-01", "standard_name": "time"},
                "plev": {"units": "Pa", "positive": "down", "standard_name": "air_pressure"},
                "lat": {"units": "degrees_north", "standard_name": "latitude"},
                "lon": {"units": "degrees_east", "standard_name": "longitude"},
            }
            numbers = {
                "time": [15.0, 45.0],
                "plev": [100000.0, 85000.0, 50000.0, 25000.0, 1000.0],
                "lat": [-45.0, 0.0, 45.0],
                "lon": [0.0, 90.0, 180.0, 270.0],
            }
            for name, said in attributes.items():
                made = file.createVariable(name, "f8", (name,))
                made.setncatts(said)
                made[:] = numbers[name]
            data = file.createVariable("ta", "f4", ("time", "plev", "lat", "lon"))
            data.units = "K"
            data[:] = np.arange(120).reshape(2, 5, 3, 4)
        reference = refer(tmp_path, [str(path)])
        extract(str(reference), tmp_path / "own.nc", Request(("ta",), level="25000/85000"))
        self.cut([path], tmp_path / "cdo.nc", "-sellevel,85000,50000,25000")
        for name in ("ta", "plev"):
            own = values(tmp_path / "own.nc", name)
            np.testing.assert_array_equal(own, values(tmp_path / "cdo.nc", name))

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
            (Request(("tos",)), "is not a variable"),
            (Request(time="soon"), "is not a date"),
            (Request(time="2050"), "1850-01"),
            (Request(level="50000"), "no vertical coordinate"),
            (Request(box=Box(0, 89.99, 1, 90)), "contains no data"),
        ],
    )
    def test_what_is_not_there_is_named(
        self, three: tuple[Path, list[Path]], tmp_path: Path, request_: Request, said: str
    ) -> None:
        with pytest.raises(SourceError, match=said) as refused:
            extract(str(three[0]), tmp_path / "out.nc", request_)
        assert refused.value.code == "source-selection"
        assert not (tmp_path / "out.nc").exists()


def _as_another_tool(tables: Path) -> None:
    """Leave only what kerchunk writes."""
    (tables / "provenance.json").unlink()
    metadata = tables / ".zmetadata"
    said = json.loads(metadata.read_text())
    del said["esgvzarr"]
    metadata.write_text(json.dumps(said))


@pytest.mark.parametrize("kind", ["json", "parquet", "parquet of another tool"])
def test_parts_of_other_references_are_not_used(kind: str, tmp_path: Path) -> None:
    """They were published again between an interrupted run and the next one. Their metadata are
    equal.
    """
    made = []
    for seed in (0, 1):
        directory = tmp_path / str(seed)
        files = write_files(directory / "files", specs_of((2, 1), seed=seed))
        where = refer(directory, ["--output", kind.split()[0], *map(str, files)])
        made.append(where if kind == "json" else where.with_suffix(".parq"))
        if kind.endswith("tool"):
            _as_another_tool(made[-1])
    old, new = made

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    out = tmp_path / "out.nc"
    with pytest.raises(KeyboardInterrupt):
        extract(str(old), out, Request(variables=("tas",)), progress=interrupt)
    if old.is_dir():
        shutil.rmtree(old)
        shutil.copytree(new, old)
    else:
        shutil.copy(new, old)
    extract(str(old), out, Request(variables=("tas",)))
    np.testing.assert_array_equal(values(out, "tas")[:2], values(files[0], "tas"))


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


def test_a_terminal_shows_a_bar_with_bytes_and_a_log_shows_nothing(
    three: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    def run(target: int, name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "esgvzarr", "extract", str(three[0]), "-o"]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        return subprocess.Popen([*command, str(tmp_path / name)], stderr=target, env=environment)

    master, terminal = pty.openpty()
    with run(terminal, "first.nc"):
        os.close(terminal)
        said = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(master, 2**16):
                said += part
    os.close(master)
    done, total = re.findall(r"([\d.]+)/([\d.]+) kB", said.decode())[-1]
    assert done == total
    assert float(total) >= 36 * 18 * 36 * 4 / 1000
    with (tmp_path / "log").open("wb") as log, run(log.fileno(), "second.nc"):
        pass
    assert (tmp_path / "log").read_text() == ""
    assert (tmp_path / "second.nc").exists()


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


@pytest.mark.parametrize("by", ["path", "item"])
def test_show_says_what_it_is_and_how_to_open_it(
    three: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    place = str(three[0])
    if by == "item":
        item = make_item(DATASET_ID)
        item["assets"]["reference_file"] = {"href": place, "roles": ["references"]}
        place = str(tmp_path / "item.json")
        Path(place).write_text(json.dumps(item))
    with pytest.raises(SystemExit):
        cli.main(["show", place])
    said = capsys.readouterr().out
    assert "model: UKESM1-0-LL" in said
    assert "tas (time, lat, lon) 36 x 18 x 36 K" in said
    assert 'engine="kerchunk"' in said


def test_show_says_whether_it_was_proved(
    three: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the ledger of this machine, or by the page that lies beside references on a server."""
    day = datetime.now(UTC).date().isoformat()
    proved = f"proved: compared with the NetCDF files on {day}, all checks passed"

    def said_of(place: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main(["show", place])
        return capsys.readouterr().out

    reference = three[0]
    assert proved in said_of(str(reference))
    with ThreddsServer(tmp_path) as server:
        href = server.url_of(reference)
        said = said_of(href)
        assert "proof: no record of one is known here" in said
        assert f"esgvzarr verify {href}" in said
        checks = (Check("values", "tas", True, "equal"),)
        report = Report("id", href, checks, {"xarray": "2026.9"}, f"{day}T10:00:00+00:00")
        write_page(reference, href, report)
        assert proved in said_of(href)
    reference.write_text(reference.read_text().replace("K", "k", 1))
    assert "proof: no record of one is known here" in said_of(str(reference))


@pytest.mark.parametrize("output", ["json", "json.zst"])
def test_the_code_that_show_prints_opens_what_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    files = write_files(tmp_path / "files", specs_of((12,)))
    refer(tmp_path, ["--output", output, *map(str, files)])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["show", str(tmp_path / f"{DATASET_ID}.{output}")])
    said = capsys.readouterr().out
    shown: dict[str, Any] = {}
    exec(said[said.index("# needs") :], shown)  # noqa: S102
    assert shown["dataset"].sizes["time"] == 12


def test_what_kerchunk_cannot_open_is_shown_with_our_engine(three: tuple[Path, list[Path]]) -> None:
    facts = read_facts(three[0].read_bytes(), "here")
    assert 'engine="kerchunk"' in openings(facts, "https://node.example/a.json")[0].code
    padded = replace(facts, codec=True)
    for one, name in ((facts, "a.zarr3.json"), (facts, "a.parq"), (padded, "a.json")):
        ways = openings(one, f"https://node.example/{name}")
        assert 'engine="esgvzarr"' in ways[0].code
        assert "kerchunk" not in "".join(way.code for way in ways)


@pytest.mark.parametrize("content", ["null", "[1]", "7"])
def test_json_that_is_no_object_is_said_to_be_no_references(tmp_path: Path, content: str) -> None:
    path = tmp_path / "n.json"
    path.write_text(content)
    with pytest.raises(SourceError, match="not a JSON object") as raised:
        extract(str(path), tmp_path / "out.nc", Request())
    assert raised.value.code == "source-not-references"


def test_groups_are_all_shown_and_the_one_that_is_meant_is_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Winds at 10 m do not fit beside a temperature at 2 m."""
    files = write_cmip5(tmp_path / "files", tas={}, uas={"height": 10.0})
    place = tmp_path / f"{CMIP5}.json"
    command = ["generate", "--dataset-id", CMIP5, "--output-dir", str(tmp_path)]
    with pytest.raises(SystemExit):
        cli.main([*command, *map(str, files)])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main(["show", str(place)])
    _, first, second = re.split(r"group .*:\n", capsys.readouterr().out)
    assert "  tas (time" in first
    assert "  uas (time" in second
    page = write_page(place).read_text()
    assert '<td>Amon-uas</td><th scope="row">uas</th>' in page
    for number, name in enumerate(["uas", "Amon-uas/uas"]):
        out = tmp_path / f"{number}.nc"
        made = extract(str(place), out, Request((name,), time="1850-03/1850-04"))
        assert {"uas", "height"} <= set(made.variables)
        assert values(out, "height") == 10.0
        np.testing.assert_array_equal(values(out, "uas"), values(files[2], "uas")[2:4])
    for names, said in (
        (("height",), "several hold height"),
        (("tas", "uas"), "none holds tas and uas"),
        ((), "several hold everything"),
    ):
        with pytest.raises(SourceError, match=f"{said}.*Amon: .*tas.*Amon-uas: .*uas") as raised:
            extract(str(place), tmp_path / "no.nc", Request(names))
        assert raised.value.code == "source-group"
