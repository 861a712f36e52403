"""What other software does with chunks that are stored longer than they are shown.

These tests fail when it learns to read them. Then file ends need not be copied for its users any
more: see docs/explanation/one-array.md. Beside each is a test that the same check passes for what
can be read today, so that it is able to fail.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import xarray
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from esgvzarr.output.zarr_settings import rectilinear_allowed
from esgvzarr.output.zarr_v3 import knows_rectilinear
from esgvzarr.testing import FileSpec, write_files

BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
PADDED = {"name": "esgvzarr.padded", "configuration": {"stored_shape": [5]}}
SPANS = [(0, 5), (5, 10), (10, 12), (12, 17)]
NUMBERS = np.arange(17, dtype="<i4")
RECTILINEAR: dict[str, Any] = {
    "name": "rectilinear",
    "configuration": {"kind": "inline", "chunk_shapes": [[5, 5, 2, 5]]},
}
PROPOSED: dict[str, Any] = {
    "name": "rectilinear",
    "configuration": {**RECTILINEAR["configuration"], "encoded_chunk_shapes": [[5, 5, 5, 5]]},
}
"""As zarr-extensions 75 proposes it."""

needs_rectilinear = pytest.mark.skipif(
    not knows_rectilinear(), reason="zarr-python reads the rectilinear grid from 3.2 on"
)


def metadata_of(grid: dict[str, Any], codecs: list[dict[str, Any]], length: int = 17) -> bytes:
    """Of an array of integers."""
    return orjson.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [length],
            "data_type": "int32",
            "chunk_grid": grid,
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": 0,
            "codecs": codecs,
            "attributes": {},
            "dimension_names": ["x"],
        }
    )


def read_by_zarr(grid: dict[str, Any], codecs: list[dict[str, Any]]) -> np.ndarray[Any, Any]:
    """The array by zarr-python; each chunk is stored as five numbers."""
    make = default_buffer_prototype().buffer.from_bytes
    held = {"zarr.json": make(metadata_of(grid, codecs))}
    for place, (first, last) in enumerate(SPANS):
        chunk = np.zeros(5, "<i4")
        chunk[: last - first] = NUMBERS[first:last]
        held[f"c/{place}"] = make(chunk.tobytes())
    with rectilinear_allowed():
        return np.asarray(zarr.open_array(MemoryStore(held), mode="r")[:])


@needs_rectilinear
@pytest.mark.xfail(raises=ValueError, strict=True, reason="zarr-extensions 75 is a proposal")
def test_zarr_python_reads_encoded_chunk_shapes() -> None:
    assert np.array_equal(read_by_zarr(PROPOSED, [BYTES]), NUMBERS)


@needs_rectilinear
def test_zarr_python_reads_the_same_chunks_by_our_codec() -> None:
    assert np.array_equal(read_by_zarr(RECTILINEAR, [PADDED, BYTES]), NUMBERS)


def concatenated_by_virtualizarr(chunk: int, directory: Path) -> int:
    """Time steps of two years in chunks of so many months."""
    pytest.importorskip("virtualizarr", reason="in the extra `test`")
    from obspec_utils.registry import ObjectStoreRegistry
    from obstore.store import LocalStore
    from virtualizarr import open_virtual_mfdataset
    from virtualizarr.parsers import HDFParser

    specs = [FileSpec(start=12 * n, chunks=(chunk, 2, 3), compression="zlib") for n in range(2)]
    paths = write_files(directory, specs)
    virtual = open_virtual_mfdataset(
        [path.as_uri() for path in paths],
        registry=ObjectStoreRegistry({"file://": LocalStore()}),
        parser=HDFParser(),
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        loadable_variables=["time", "lat", "lon"],
    )
    return int(virtual.sizes["time"])


@pytest.mark.xfail(raises=ValueError, strict=True, reason="VirtualiZarr 954 is open")
def test_virtualizarr_joins_files_that_end_inside_of_a_chunk(tmp_path: Path) -> None:
    assert concatenated_by_virtualizarr(5, tmp_path) == 24


def test_virtualizarr_joins_files_that_end_with_a_chunk(tmp_path: Path) -> None:
    assert concatenated_by_virtualizarr(6, tmp_path) == 24


def kerchunk_document(directory: Path) -> str:
    """References to an array of Zarr version 3, with one chunk that they hold."""
    grid = {"name": "regular", "configuration": {"chunk_shape": [17]}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    refs = {
        "zarr.json": json.dumps(group),
        "v/zarr.json": metadata_of(grid, [BYTES]).decode(),
        "v/c/0": "base64:" + base64.b64encode(NUMBERS.tobytes()).decode(),
    }
    path = directory / "references.json"
    path.write_text(json.dumps({"version": 1, "refs": refs}))
    return str(path)


@pytest.mark.xfail(
    raises=FileNotFoundError, strict=True, reason="kerchunk's engine reads Zarr version 2 alone"
)
def test_the_engine_of_kerchunk_opens_zarr_version_3(tmp_path: Path) -> None:
    opened = xarray.open_dataset(kerchunk_document(tmp_path), engine="kerchunk")
    assert np.array_equal(opened["v"].values, NUMBERS)


def test_the_engine_zarr_opens_the_same_document(tmp_path: Path) -> None:
    options = {"fo": kerchunk_document(tmp_path), "skip_instance_cache": True}
    opened = xarray.open_dataset(
        "reference://", engine="zarr", consolidated=False, storage_options=options
    )
    assert np.array_equal(opened["v"].values, NUMBERS)


_READ = """
import * as zarr from "zarrita";

const [metadata, chunks] = process.argv.slice(2);
const store = new Map([["/zarr.json", new TextEncoder().encode(metadata)]]);
for (const [place, numbers] of JSON.parse(chunks).entries()) {
  store.set(`/c/${place}`, new Uint8Array(new Int32Array(numbers).buffer));
}
const array = await zarr.open(zarr.root(store), { kind: "array" });
const read = await zarr.get(array);
console.log(JSON.stringify(Array.from(read.data)));
"""


@pytest.fixture(scope="module")
def zarrita(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the version of zarrita that the pages have."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed (Debian: npm)")
    directory = tmp_path_factory.mktemp("zarrita")
    web = Path(__file__).parents[2] / "web"
    for name in ("package.json", "package-lock.json"):
        shutil.copy(web / name, directory)
    words = [npm, "ci", "--omit=dev", "--no-fund", "--no-audit"]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm ci failed: {done.stderr[-200:]}")
    (directory / "read.mjs").write_text(_READ)
    return directory


def read_by_zarrita(directory: Path, grid: dict[str, Any], length: int) -> list[int]:
    """The array by zarrita; each chunk is stored as five numbers.

    Raises:
        ValueError: it does not read it.
    """
    chunks = []
    for first, last in SPANS:
        chunks.append([*range(first, last), *[0] * (5 - (last - first))])
    words = ["node", "read.mjs", metadata_of(grid, [BYTES], length).decode(), json.dumps(chunks)]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return list(json.loads(done.stdout))


@pytest.mark.xfail(raises=ValueError, strict=True, reason="zarrita knows regular grids alone")
@pytest.mark.parametrize("grid", [RECTILINEAR, PROPOSED])
def test_zarrita_reads_chunks_of_different_lengths(grid: dict[str, Any], zarrita: Path) -> None:
    """Of the first grid as far as no chunk is padded."""
    length = 10 if grid is RECTILINEAR else 17
    assert read_by_zarrita(zarrita, grid, length) == list(range(length))


def test_zarrita_reads_the_same_chunks_of_a_regular_grid(zarrita: Path) -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [5]}}
    assert read_by_zarrita(zarrita, grid, 10) == list(range(10))
