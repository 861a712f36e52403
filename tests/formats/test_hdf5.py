"""The chunk index is libhdf5's own, however it was read, in few requests; damage gives an error,
never a wrong reference.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esgvzarr.errors import EsgvzarrError
from esgvzarr.formats import hdf5, scan
from esgvzarr.model import FileRecord, FileReferences
from esgvzarr.testing import ThreddsServer
from esgvzarr.transport import Transport

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
"""Draws new examples; the other profiles draw the same ones every time."""


def write_daily(path: Path, steps: int, *, first: int = 0, spread: int = 0) -> Path:
    """``tas(time, lat, lon)`` in compressed chunks of one step; ``spread`` bytes of noise make
    chunks large.
    """
    width = max(spread // 4, 8)
    noise = (
        np.random.default_rng(first).integers(0, 2**31, (steps, 1, width), dtype="i4").view("f4")
    )
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("time", None)
        file.createDimension("lat", 1)
        file.createDimension("lon", width)
        time = file.createVariable("time", "f8", ("time",))
        time.units = "days since 1850-01-01"
        data = file.createVariable(
            "tas", "f4", ("time", "lat", "lon"), zlib=True, complevel=1, chunksizes=(1, 1, width)
        )
        for step in range(steps):
            time[step] = first + step
            data[step] = noise[step]
    return path


def scanned(path: Path) -> FileReferences:
    with Transport() as transport:
        return scan([FileRecord(path.name, str(path))], transport)[0]


def by_libhdf5(path: Path, name: str) -> dict[tuple[int, ...], tuple[int, int]]:
    with h5py.File(path) as file:
        infos: list[h5py.h5d.StoreInfo] = []
        file[name].id.chunk_iter(infos.append)
        shape = file[name].chunks
    return {
        tuple(o // c for o, c in zip(i.chunk_offset, shape, strict=True)): (i.byte_offset, i.size)
        for i in infos
    }


def by_scan(found: FileReferences, name: str) -> dict[tuple[int, ...], tuple[int, int]]:
    chunks = found.variables[name].chunks
    return {
        tuple(k): (o, s)
        for k, o, s in zip(
            chunks.keys.tolist(), chunks.offsets.tolist(), chunks.sizes.tolist(), strict=True
        )
    }


@pytest.mark.parametrize(
    "steps", [1, 64, 65, 5000], ids=["one", "one node", "two nodes", "three levels"]
)
def test_the_walk_finds_what_libhdf5_finds(
    tmp_path: Path, steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_daily(tmp_path / "a.nc", steps)
    with caplog.at_level(logging.DEBUG, "esgvzarr"):
        assert by_scan(scanned(path), "tas") == by_libhdf5(path, "tas")
    assert "libhdf5 reads the chunk index" not in caplog.text


@pytest.mark.parametrize(
    ("shape", "maxshape", "chunks"),
    [
        ((40, 8), (None, 8), (1, 8)),
        ((40, 8), (40, 8), (1, 8)),
        ((40, 8), (None, None), (1, 4)),
        ((40, 8), (40, 8), (40, 8)),
    ],
    ids=["extensible array", "fixed array", "version 2 B-tree", "single chunk"],
)
def test_other_indexes_are_left_to_libhdf5_and_said_so(
    tmp_path: Path,
    shape: tuple[int, ...],
    maxshape: tuple[int | None, ...],
    chunks: tuple[int, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "latest.nc"
    with h5py.File(path, "w", libver="latest") as file:
        data = file.create_dataset(
            "tas", shape, "f4", chunks=chunks, maxshape=maxshape, compression="gzip"
        )
        data[...] = np.random.default_rng(0).normal(size=shape)
        for number, name in enumerate(("time", "lon")):
            file.create_dataset(name, (shape[number],), "f8")
            file[name].make_scale(name)
            data.dims[number].attach_scale(file[name])
    with caplog.at_level(logging.DEBUG, "esgvzarr"):
        assert by_scan(scanned(path), "tas") == by_libhdf5(path, "tas")
    assert "libhdf5 reads the chunk index" in caplog.text


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ThreddsServer]:
    for number in range(6):
        write_daily(tmp_path / f"{number}.nc", 400, first=400 * number, spread=8192)
    with ThreddsServer(tmp_path) as server:
        yield server


def batches(server: ThreddsServer, count: int) -> tuple[int, int, int]:
    """Rounds, requests and bytes that scanning ``count`` files takes."""
    server.clear()
    rounds = 0

    class Counting(Transport):
        def read_ranges(self, ranges):  # type: ignore[no-untyped-def]
            nonlocal rounds
            rounds += bool(ranges)
            return super().read_ranges(ranges)

    with Counting(allowed_hosts=[server.host]) as transport:
        scan([FileRecord(f"{n}.nc", server.url_of(f"{n}.nc")) for n in range(count)], transport)
    return rounds + 1, len(server.requests), sum(request.sent for request in server.requests)


def test_rounds_do_not_grow_with_the_number_of_files(served: ThreddsServer) -> None:
    """The hot path: heads, one level of B-tree nodes, values. A regress here is a regress in every
    scan.
    """
    one = batches(served, 1)
    six = batches(served, 6)
    assert one[0] == six[0] <= 4
    assert six[1] <= 6 * one[1]
    assert one[1] <= 12  # 400 chunks: 7 or more leaf nodes, of which near ones are fetched together


def test_no_more_bytes_than_the_metadata_and_the_head(served: ThreddsServer) -> None:
    whole = (served.root / "0.nc").stat().st_size
    assert whole > 3_000_000
    assert batches(served, 1)[2] < 128 * 1024 + 200_000


def damage(data: bytearray, where: list[tuple[int, int]]) -> bytes:
    for position, value in where:
        data[position % len(data)] = value
    return bytes(data)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_daily(tmp_path_factory.mktemp("fuzz") / "small.nc", 100)


@settings(
    max_examples=5000 if NIGHTLY else 150,
    derandomize=not NIGHTLY,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    where=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 255)), min_size=1, max_size=6)
)
def test_a_damaged_file_gives_an_error_or_libhdf5s_own_index(
    small: Path, tmp_path: Path, where: list[tuple[int, int]]
) -> None:
    path = tmp_path / "damaged.nc"
    path.write_bytes(damage(bytearray(small.read_bytes()), where))
    try:
        found = scanned(path)
    except EsgvzarrError:
        return  # any other exception fails the test
    for name, variable in found.variables.items():
        with h5py.File(path) as file:
            chunked = name in file and file[name].chunks is not None
        if chunked and variable.chunks.offsets.size:
            rest = {
                key: place
                for key, place in by_libhdf5(path, name).items()
                if key not in variable.inline
            }
            assert by_scan(found, name) == rest


def test_damage_to_any_node_of_the_index_is_noticed(small: Path, tmp_path: Path) -> None:
    """Every byte of the B-tree is changed in turn, at random: whatever comes out is what libhdf5
    says, or an error.
    """
    data = small.read_bytes()
    nodes = [at for at in range(len(data)) if data.startswith(b"TREE\x01", at)]
    assert nodes
    chance = random.Random(0)  # noqa: S311
    for _ in range(60):
        at = chance.choice(nodes) + chance.randrange(0, 400)
        path = tmp_path / "node.nc"
        path.write_bytes(data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :])
        try:
            found = scanned(path)
        except EsgvzarrError:
            continue
        copied = found.variables["tas"].inline
        assert by_scan(found, "tas") == {
            key: place for key, place in by_libhdf5(path, "tas").items() if key not in copied
        }


def test_a_chunk_that_a_search_by_its_step_does_not_find_is_refused_at_the_scan(
    small: Path, tmp_path: Path
) -> None:
    """A key of the leaf, a key of its parent, and the last key of a leaf, each moved by itself, and
    the number after a key's place: netCDF-C shows fill there, though libhdf5 counts and lists the
    chunk.
    """
    data = small.read_bytes()
    size = 24 + 64 * 48 + 40
    nodes = [at for at in range(len(data) - size) if data.startswith(b"TREE\x01", at)]
    leaf = next(at for at in nodes if data[at + 5] == 0 and _keys(data, at)[1][0] == 1)
    root = next(at for at in nodes if data[at + 5] == 1)
    used = int.from_bytes(data[leaf + 6 : leaf + 8], "little")
    for node, key, number, start in (
        (leaf, 3, 0, 60),
        (leaf, used, 0, 0),
        (root, 1, 0, 90),
        (leaf, 3, 3, 8),
        (root, 1, 3, 8),
    ):
        damaged = bytearray(data)
        damaged[node + 24 + key * 48 + 8 + number * 8] = start
        path = tmp_path / "keys.nc"
        path.write_bytes(damaged)
        with netCDF4.Dataset(path) as file:
            assert np.ma.is_masked(file["tas"][:])
        with pytest.raises(EsgvzarrError, match="chunk index of 'tas' is out of order") as caught:
            scanned(path)
        assert caught.value.code == "file-unreadable"


def _keys(data: bytes, node: int) -> np.ndarray:
    """(64, 3) first elements of the chunks that a node of ``tas`` lists."""
    entry = np.dtype([("size", "<u8"), ("starts", "<u8", (4,)), ("child", "<u8")])
    found: np.ndarray = np.frombuffer(data, entry, 64, node + 24)["starts"][:, :3]
    return found


@pytest.mark.parametrize("kept", [0, 3, 8, 100, 2000, 20_000])
def test_a_file_cut_short_is_refused(small: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "short.nc"
    path.write_bytes(small.read_bytes()[:kept])
    with pytest.raises(EsgvzarrError) as caught:
        scanned(path)
    assert caught.value.code in ("file-not-netcdf", "file-truncated", "file-unreadable")


@pytest.mark.parametrize("lost", ["one chunk", "one byte"])
def test_a_walk_that_libhdf5_counts_differently_is_not_believed(lost: str, tmp_path: Path) -> None:
    path = write_daily(tmp_path / "tas.nc", 5)
    with h5py.File(path) as opened:
        whole = hdf5._agreed(opened, "tas", None, "tas.nc")
        assert hdf5._agreed(opened, "tas", whole, "tas.nc") is whole
        sizes = whole.sizes.copy()
        if lost == "one chunk":
            sizes = np.append(sizes[:3], sizes[3:].sum())  # as many bytes
        else:
            sizes[2] -= 1  # as many chunks
        wrong = replace(whole, sizes=sizes)
        found = hdf5._agreed(opened, "tas", wrong, "tas.nc")
    assert found is not wrong
    assert found.sizes.tolist() == whole.sizes.tolist()
    assert found.offsets.tolist() == whole.offsets.tolist()
