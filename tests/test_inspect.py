"""``esgvzarr inspect``: whether files form one array, and advice that is true when it is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import netCDF4
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esgvzarr.cli import main
from esgvzarr.inspect import LEAST_CHUNK, Inspection, cmor_chunk, dividing_chunk, inspect
from esgvzarr.testing import DEFECTS, FileSpec, ThreddsServer, write_files
from esgvzarr.testing.projects import write_cmip5
from esgvzarr.transport import Transport


def look(paths: list[Path]) -> Inspection:
    with Transport() as transport:
        return inspect([str(path) for path in paths], transport)


def three(directory: Path, **changes: Any) -> list[Path]:
    """Three years, compressed."""
    specs = [FileSpec(start=12 * n, compression="zlib", **changes) for n in range(3)]
    return write_files(directory, specs)


def test_files_that_end_inside_of_chunks_are_named_and_the_advice_mends_them(
    tmp_path: Path,
) -> None:
    before = look(three(tmp_path / "before", chunks=(5, 4, 6)))
    assert (before.one_array, before.segments, before.chunk_steps) == (False, 3, 12)
    assert [Path(one.file).name[-16:] for one in before.obstacles] == [
        "185101-185112.nc",
        "185201-185212.nc",
    ]
    assert all("2 of 5 time steps" in one.text for one in before.obstacles)
    assert any("nccopy -c time/12,lat/4,lon/6" in line for line in before.repacking)
    after = look(three(tmp_path / "after", chunks=(before.chunk_steps, 4, 6)))
    assert (after.one_array, after.obstacles, after.chunk_steps) == (True, (), 0)


def test_all_files_in_the_way_are_named_and_not_the_first_alone(tmp_path: Path) -> None:
    paths = three(tmp_path)
    for path in paths[:2]:
        path.write_bytes(path.read_bytes()[:900])
    found = look(paths)
    assert {one.file for one in found.obstacles} == {str(path) for path in paths[:2]}
    assert found.segments == 0


@pytest.mark.parametrize("name", ["units_differ", "latitude_flipped", "variable_missing"])
def test_a_broken_rule_has_its_code(tmp_path: Path, name: str) -> None:
    found = look(DEFECTS[name].make(tmp_path))
    assert DEFECTS[name].outcome in [one.code for one in found.obstacles]
    assert not found.one_array


@pytest.mark.parametrize("name", ["units_differ", "truncated"])
def test_a_file_in_the_way_and_its_code_are_printed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    paths = DEFECTS[name].make(tmp_path)
    with pytest.raises(SystemExit):
        main(["inspect", *map(str, paths)])
    code = DEFECTS[name].outcome
    (line,) = (line for line in capsys.readouterr().out.splitlines() if f"[{code}]" in line)
    assert line.count(code) == 1
    assert str(tmp_path) not in line


def test_scattered_times_and_bounds_and_small_chunks_are_told(tmp_path: Path) -> None:
    found = look(three(tmp_path, chunks=(1, 4, 6), time_chunk=1))
    assert found.one_array
    assert found.notes[:2] == (
        "3 of 3 files: time in many chunks",
        "3 of 3 files: bounds of time in many chunks",
    )
    assert "3 of 3 files: chunks of data below 4 MiB" in found.notes


def test_requests_to_open_a_file_grow_where_metadata_are_scattered(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, [FileSpec()])
    before = look([path]).files[0]
    with netCDF4.Dataset(path, "a") as file:
        for number in range(3):
            name = f"late{number}"
            file.createVariable(name, "f8", ("lat", "lon"))[:] = number
            file.createDimension(f"n{number}", 50_000)
            file.createVariable(f"v{number}", "f8", (f"n{number}",))[:] = 1.0
    after = look([path]).files[0]
    assert (before.metadata_together, before.requests) == (True, 1)
    assert after.requests > before.requests


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_ends_with_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool, thredds_server: ThreddsServer
) -> None:
    paths = three(tmp_path, chunks=(5, 4, 6))
    more = ["--json"] if as_json else []
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *(thredds_server.url_of(path) for path in paths), *more])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    if as_json:
        assert json.loads(printed)["chunk_steps"] == 12
    else:
        assert "The files form 3 arrays" in printed
        assert "Repacked with chunks of 12 time steps, the files would form one array." in printed
    with pytest.raises(SystemExit) as ended:
        main(["inspect", str(paths[0]), *more])
    assert ended.value.code == 0


@given(lengths=st.lists(st.integers(1, 4000), min_size=1, max_size=9), step=st.integers(1, 2**24))
def test_the_advised_chunk_divides_all_files_and_has_four_mebibytes_where_that_can_be(
    lengths: list[int], step: int
) -> None:
    chunk = dividing_chunk(lengths, step)
    whole = lengths[:-1] or lengths
    assert all(length % chunk == 0 for length in whole)
    if chunk * step < LEAST_CHUNK:
        assert not any(
            all(length % more == 0 for length in whole) for more in range(chunk + 1, min(whole) + 1)
        )


def test_the_rule_of_cmor_makes_segments_of_yearly_daily_files() -> None:
    step = 192 * 288 * 4
    assert cmor_chunk(365, step) == 18
    assert 365 % 18 != 0
    assert dividing_chunk([365, 365, 366], step) == 73
    assert dividing_chunk([365, 366, 365], step) == 1


def test_variables_in_files_of_their_own_are_looked_at_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dataset of CMIP5 holds several; what is true of one need not be true of the others."""
    paths = write_cmip5(tmp_path / "right", tas={}, pr={})
    found = look(paths)
    assert (found.one_array, found.obstacles) == (True, ())
    assert [(one.name, one.segments) for one in found.variables] == [("pr", 1), ("tas", 1)]
    chunks = {"compression": "zlib", "chunks": (5, 4, 6)}
    paths = write_cmip5(tmp_path / "odd", tas=chunks, pr={})
    found = look(paths)
    assert [(one.name, one.segments) for one in found.variables] == [("pr", 1), ("tas", 2)]
    assert {one.code for one in found.obstacles} == {"segments"}
    with pytest.raises(SystemExit) as ended:
        main(["inspect", *map(str, paths)])
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert "The files of pr form one array." in printed
    assert "The files of tas form 2 arrays" in printed
    assert "Repacked with chunks of 12 time steps, the files would form one array." in printed
