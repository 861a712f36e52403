"""Steps that two files hold are served once if every number is equal, and refused by file, variable
and dates if not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import netCDF4
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proof.test_proof import virtualizarr_references
from trust import oracle

from esgvzarr import RefusedError, Transport
from esgvzarr.combine import cutting, overlaps, rules, stored_steps
from esgvzarr.formats import scan
from esgvzarr.formats.values import decode
from esgvzarr.model import ChunkTable, FileReferences, Series, Variable
from esgvzarr.testing import DEFECTS, FileSpec, ThreddsServer, write_files

LARGE = FileSpec(grid=(200, 200), chunks=(1, 200, 200), dtype="f8", compression="zlib", level=1)
"""So large that the proof compares samples of it."""


def arranged(paths: Sequence[Path], transport: Transport) -> Series:
    """Files as they come to be served once."""
    seen: list[Series] = []

    def take(series: Series) -> Series:
        seen.append(series)
        return replace(series, files=series.files[:1], times=series.times[:1])

    rules.check(scan(oracle.record_of(paths).files, transport), "test", take)
    return seen[0]


def test_nothing_is_read_and_nothing_changes_where_no_times_overlap(tmp_path: Path) -> None:
    with Transport() as transport:
        series = arranged(DEFECTS["unequal_lengths"].make(tmp_path), transport)
    assert overlaps.serve_once(series, transport) is series  # the transport is closed


def test_what_was_repeated_is_told_and_recorded(tmp_path: Path) -> None:
    references, document = oracle.make(DEFECTS["overlap_equal"].make(tmp_path))
    (warning,) = references.warnings
    assert (warning.code, warning.refuse, warning.file) == (
        "time-repeated",
        False,
        references.files[1].file.url,
    )
    assert "6 steps, 1851-01-16T12:00:00 to 1851-06-16T00:00:00" in warning.found
    provenance = json.loads(json.loads(document)["provenance"])
    assert [file.get("repeated_steps") for file in provenance["files"]] == [None, 6]
    assert provenance["warnings"] == [str(warning)]


def test_a_file_within_another_is_left_out_and_named_and_proved_all_the_same(
    tmp_path: Path,
) -> None:
    paths = DEFECTS["file_within_another"].make(tmp_path)
    _, document = oracle.make(paths)
    assert json.loads(json.loads(document)["provenance"])["left_out"] == [str(paths[1])]
    with netCDF4.Dataset(paths[1], "a") as file:
        file["tas"][7, 2, 3] += 1
    failures = oracle.proof(document, paths).failures
    assert {check.subject for check in failures} == {f"tas in {paths[1].name}"}


@pytest.mark.parametrize(
    ("name", "expected", "found"),
    [
        (
            "overlap_one_value_differs",
            "'tas' from 1851-01-16",
            "other values, first at 1851-06-16T00:00:00",
        ),
        (
            "overlap_bounds_differ",
            "'time_bnds' from 1851-01-16",
            "other values, first at 1851-01-16T12:00:00",
        ),
        ("overlap_packing_differs", "'tas' from 1851-01-16", "another type, packing or fill value"),
        ("overlap_other_steps", "from 1851-01-16T00:00:00 to", "other steps"),
    ],
)
def test_what_differs_is_refused_by_file_variable_and_dates(
    name: str, expected: str, found: str, tmp_path: Path
) -> None:
    paths = DEFECTS[name].make(tmp_path)
    with pytest.raises(RefusedError) as raised:
        oracle.make(paths)
    (finding,) = raised.value.findings
    assert (finding.code, finding.file) == ("time-overlap", str(paths[1]))
    assert paths[0].name in finding.expected
    assert expected in finding.expected
    assert finding.found == found


def test_equal_numbers_of_other_units_are_no_equal_bounds(tmp_path: Path) -> None:
    """The second file's bounds say the first's numbers, which mean other dates by its own reference
    date.
    """
    paths = DEFECTS["overlap_time_unit_differs"].make(tmp_path)
    with netCDF4.Dataset(paths[0]) as first, netCDF4.Dataset(paths[1], "a") as second:
        second["time_bnds"][:6] = first["time_bnds"][12:]
    with pytest.raises(RefusedError) as raised:
        oracle.make(paths)
    (finding,) = raised.value.findings
    assert (finding.code, finding.expected.split(" ")[0], finding.found) == (
        "time-overlap",
        "'time_bnds'",
        "other dates",
    )


def test_times_that_go_back_are_refused_as_such_where_they_overlap_too(tmp_path: Path) -> None:
    paths = DEFECTS["overlap_equal"].make(tmp_path)
    with netCDF4.Dataset(paths[1], "a") as file:
        file["time"][:] = file["time"][::-1]
    with pytest.raises(RefusedError) as raised:
        oracle.make(paths)
    assert "time-not-increasing" in {finding.code for finding in raised.value.findings}


@pytest.mark.parametrize("order", [("time", "lat", "lon"), ("lat", "time", "lon")])
def test_the_first_date_is_named_that_differs(
    order: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the parts lie in which it was found."""
    monkeypatch.setattr(stored_steps, "_AT_ONCE", 8 * 4 * 6)

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        values = file.createVariable("other", "f8", order, chunksizes=(2, 2, 2), zlib=True)
        values[:] = 1.0
        if spec.start:
            for place in ({"time": 5, "lat": 0, "lon": 0}, {"time": 4, "lat": 3, "lon": 5}):
                values[tuple(place[name] for name in order)] = 2.0

    paths = write_files(
        tmp_path, [FileSpec(months=18, extra=(add,)), FileSpec(start=12, extra=(add,))]
    )
    with pytest.raises(RefusedError) as raised:
        oracle.make(paths)
    assert raised.value.findings[0].found == "other values, first at 1851-05-16T12:00:00"


@pytest.mark.parametrize("at_once", [1, 1000, 2**25])
def test_comparing_by_parts_finds_the_one_other_value_wherever_it_is(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_steps, "_AT_ONCE", at_once)
    changed = {
        "compressed": LARGE,
        "contiguous": replace(LARGE, chunks=None, compression=None, unlimited=False),
        "classic": replace(LARGE, chunks=None, compression=None, format="NETCDF3_64BIT_OFFSET"),
    }
    for name, spec in changed.items():
        small = replace(spec, grid=(5, 7), chunks=spec.chunks and (2, 3, 4))
        specs = [
            replace(small, months=9),
            replace(small, start=4, months=9, chunks=spec.chunks and (1, 5, 2)),
        ]
        paths = write_files(tmp_path / name, specs)
        oracle.make(paths)
        with netCDF4.Dataset(paths[1], "a") as file:
            file["tas"][3, 4, 6] = np.nextafter(file["tas"][3, 4, 6], 0)
        with pytest.raises(RefusedError) as raised:
            oracle.make(paths)
        assert "'tas'" in raised.value.findings[0].expected
        assert raised.value.findings[0].found.endswith("first at 1850-08-16T12:00:00")


def test_the_repeated_steps_are_read_in_parts_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_steps, "_AT_ONCE", 2**20)
    largest = 0

    class Measuring(Transport):
        def read_ranges(self, ranges: Sequence[object]) -> list[bytes]:
            nonlocal largest
            found = super().read_ranges(ranges)  # type: ignore[arg-type]
            largest = max(largest, sum(map(len, found)))
            return found

    spec = replace(LARGE, compression=None)
    paths = write_files(tmp_path, [replace(spec, months=24), replace(spec, start=4, months=20)])
    with Measuring() as transport:
        series = arranged(paths, transport)
        largest = 0
        assert len(overlaps.serve_once(series, transport).files) == 1
    assert 2**20 < largest <= 2 * 2**20


def test_the_proof_compares_all_repeated_steps_with_both_files(tmp_path: Path) -> None:
    paths = write_files(tmp_path, [replace(LARGE, months=18), replace(LARGE, start=12)])
    _, document = oracle.make(paths)
    assert oracle.proof(document, paths, samples=0).passed
    for path, step in ((paths[1], 3), (paths[0], 15)):
        content = path.read_bytes()
        with netCDF4.Dataset(path, "a") as file:
            file["tas"][step, 100, 100] += 1
        failures = oracle.proof(document, paths, samples=0).failures
        assert "values" in {check.name for check in failures}, path.name
        path.write_bytes(content)


def test_what_shows_repeated_steps_twice_does_not_pass(tmp_path: Path) -> None:
    spec = FileSpec(months=12, unlimited=False)
    paths = write_files(tmp_path, [spec, replace(spec, start=6)])
    failures = oracle.proof(virtualizarr_references(paths), paths).failures
    assert ("time", "all groups") in {(check.name, check.subject) for check in failures}


def test_a_chunk_that_neither_file_is_stated_for_is_missed(tmp_path: Path) -> None:
    paths = DEFECTS["overlap_compressed"].make(tmp_path)
    _, document = oracle.make(paths)
    for key in [
        key
        for key, value in json.loads(document)["refs"].items()
        if key.startswith("tas/") and isinstance(value, list)
    ]:
        parsed = json.loads(document)
        del parsed["refs"][key]
        assert not oracle.proof(json.dumps(parsed).encode(), paths, samples=0).passed, key


def test_repeats_are_read_over_http_too(tmp_path: Path, thredds_server: ThreddsServer) -> None:
    paths = DEFECTS["overlap_of_three"].make(tmp_path)
    record = oracle.record_of(paths)
    files = [
        replace(file, url=thredds_server.url_of(path))
        for file, path in zip(record.files, paths, strict=True)
    ]
    with Transport(allowed_hosts=[thredds_server.host]) as transport:
        series = rules.check(
            scan(files, transport), "test", lambda one: overlaps.serve_once(one, transport)
        )
    assert [len(times) for times in series.times] == [18, 6, 12]
    assert [file.repeated for file in series.files] == [0, 12, 12]


def _spans(series: Series) -> list[tuple[int, int]]:
    """First and last month of each file."""
    epoch = 1850 * 12
    dates = [
        np.array(times, "datetime64[us]").astype("datetime64[M]").astype(int) + 1970 * 12 - epoch
        for times in series.times
    ]
    return [(int(months[0]), int(months[-1])) for months in dates]


@pytest.mark.parametrize(
    ("chunk", "spans", "served"),
    [
        (1, [(0, 17), (12, 23)], [(0, 17), (18, 23)]),
        (6, [(0, 17), (12, 23)], [(0, 17), (18, 23)]),
        (4, [(0, 17), (12, 23)], [(0, 15), (16, 23)]),
        (5, [(0, 17), (12, 23)], [(0, 16), (17, 23)]),
        (12, [(0, 17), (12, 23)], [(0, 11), (12, 23)]),
        (12, [(0, 11), (6, 17), (8, 23)], [(0, 5), (6, 7), (8, 23)]),
        (1, [(0, 11), (6, 17), (8, 23)], [(0, 11), (12, 17), (18, 23)]),
        (1, [(0, 11), (0, 23), (4, 8)], [(0, 23)]),
        (1, [(0, 11), (6, 20), (8, 10), (15, 25)], [(0, 11), (12, 20), (21, 25)]),
    ],
)
def test_files_follow_each_other_where_compressed_chunks_begin(
    chunk: int, spans: list[tuple[int, int]], served: list[tuple[int, int]], tmp_path: Path
) -> None:
    specs = [
        FileSpec(start=a, months=b - a + 1, chunks=(chunk, 4, 6), compression="zlib")
        for a, b in spans
    ]
    with Transport() as transport:
        series = overlaps.serve_once(arranged(write_files(tmp_path, specs), transport), transport)
    assert _spans(series) == served
    assert {finding.code for finding in series.warnings} == {"time-repeated"}


@given(st.integers(1, 5), st.integers(1, 12), st.integers(0, 11), st.integers(1, 12))
def test_a_cut_variable_holds_the_steps_that_were_asked_for(
    chunk: int, length: int, start: int, stop: int
) -> None:
    start, stop = min(start, length - 1), max(min(stop, length), min(start, length - 1) + 1)
    file = _one_variable(chunk, length)
    cut = cutting._cut_variable(file, 0, start, stop)
    values = np.arange(length * 2, dtype="i2")
    stored = np.concatenate([values, np.full(2 * (-length % chunk), -1, "i2")]).tobytes()
    pieces = [stored[o : o + s] for o, s in zip(cut.chunks.offsets, cut.chunks.sizes, strict=True)]
    assert decode(cut, pieces, "test").tolist() == values.reshape(length, 2)[start:stop].tolist()


def _one_variable(chunk: int, length: int) -> Variable:
    count = -(-length // chunk)
    keys = np.stack([np.arange(count), np.zeros(count, int)], 1)
    sizes = np.full(count, chunk * 4)
    table = ChunkTable(keys, np.arange(count) * chunk * 4, sizes)
    return Variable(
        "tas", ("time", "x"), (length, 2), np.dtype("i2"), {}, None, (chunk, 2), (), table
    )


def test_left_out_are_files_of_which_no_step_remains(tmp_path: Path) -> None:
    specs = [FileSpec(months=12), FileSpec(months=24)]
    with Transport() as transport:
        series = overlaps.serve_once(arranged(write_files(tmp_path, specs), transport), transport)
    assert [file.file.name for file in series.left_out] == [specs[0].file_name]
    assert isinstance(series.files[0], FileReferences)
    assert not series.files[0].repeated
