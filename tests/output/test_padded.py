"""The codec ``esgvzarr.padded``: file ends stay as they are stored, and readers that have esgvzarr
crop them.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zarr
from zarr.codecs import BytesCodec
from zarr.storage import MemoryStore

import esgvzarr
from esgvzarr.output import of_place, reading_of
from esgvzarr.output.padded import NAME, PaddedCodec
from esgvzarr.testing import write_files

from . import skip_unless_installed
from .test_rectilinear import FIVES, make, opened


@pytest.fixture(params=["icechunk", "zarr3"])
def output(request: pytest.FixtureRequest) -> str:
    skip_unless_installed(request.param)
    return str(request.param)


def padded_array(stored_shape: tuple[int, ...]) -> tuple[dict[str, Any], Any]:
    """An array of chunks of (2, 3), stored in another shape; and what its store holds."""
    held: dict[str, Any] = {}
    array = zarr.create_array(
        MemoryStore(held),
        shape=(4, 3),
        chunks=(2, 3),
        dtype="<i4",
        filters=(PaddedCodec(stored_shape=stored_shape),),
        serializer=BytesCodec(),
        compressors=(),
        zarr_format=3,
    )
    return held, array


def test_a_chunk_is_cropped_to_what_the_grid_shows() -> None:
    """The codec is found by the name that the metadata have."""
    held, array = padded_array((5, 3))
    numbers = np.arange(12, dtype="<i4").reshape(4, 3)
    array[:] = numbers
    assert len(held["c/1/0"].to_bytes()) == 5 * 3 * 4
    metadata = orjson.loads(held["zarr.json"].to_bytes())
    assert metadata["codecs"][0] == {"name": NAME, "configuration": {"stored_shape": [5, 3]}}
    again = zarr.open_array(MemoryStore(held), mode="r")
    assert np.array_equal(again[:], numbers)
    assert np.array_equal(again[3], numbers[3])


def test_what_is_stored_shorter_than_it_is_shown_is_an_error() -> None:
    _, array = padded_array((1, 3))
    with pytest.raises(ValueError, match="stored as"):
        array[:] = 1


@pytest.mark.parametrize("said", [{}, {"stored_shape": 5}, {"stored_shape": ["5"]}])
def test_metadata_without_a_shape_are_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a shape"):
        PaddedCodec.from_dict({"name": NAME, "configuration": said})


def test_nothing_is_copied_and_one_array_is_shown(output: str, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", FIVES)
    made, truth = make(paths, tmp_path / "out", output, file_ends="codec", copied_fraction=0.0)
    assert {finding.code for finding in made.warnings} == {"segments-codec"}
    dataset = opened(made.reference.path, output)
    assert np.array_equal(dataset["tas"].values, truth)
    assert dataset["tas"].chunks[0] == (5, 5, 2, 5, 5, 2, 5, 5, 2)
    assert np.array_equal(esgvzarr.open_dataset(made.reference.path)["tas"].values, truth)
    found = of_place(made.reference.path)
    provenance = found.provenance(Path(made.reference.path))
    assert "copied_ends" not in provenance
    assert found.open_kwargs("https", reading_of(provenance))["engine"] == "esgvzarr"


def test_all_chunks_are_references(tmp_path: Path) -> None:
    skip_unless_installed("zarr3")
    paths = write_files(tmp_path / "in", FIVES)
    made, _ = make(paths, tmp_path / "out", "zarr3", file_ends="codec")
    refs = orjson.loads(Path(made.reference.path).read_bytes())["refs"]
    chunks = [value for key, value in refs.items() if key.startswith("tas/c/")]
    assert len(chunks) == 9 * 4
    assert all(isinstance(value, list) for value in chunks)


def test_files_of_other_chunks_stay_segments(tmp_path: Path) -> None:
    """The codec states one stored shape for an array."""
    skip_unless_installed("zarr3")
    specs = [*FIVES[:2], replace(FIVES[2], chunks=(7, 2, 3))]
    paths = write_files(tmp_path / "in", specs)
    made, truth = make(paths, tmp_path / "out", "zarr3", file_ends="codec")
    segments = [finding for finding in made.warnings if finding.code == "segments"]
    assert "2 segments" in str(segments[0])
    assert np.array_equal(esgvzarr.open_dataset(made.reference.path)["tas"].values, truth)


_WITHOUT = """
from importlib.metadata import Distribution
import sys

whole = Distribution.discover

def without_ours(**chosen):
    return (one for one in whole(**chosen) if one.metadata["Name"] != "esgvzarr")

Distribution.discover = without_ours
import zarr
try:
    zarr.open_array(sys.argv[1], mode="r")[:]
except Exception as error:
    print(type(error).__name__, error)
"""


def test_readers_without_esgvzarr_are_told_the_name_of_the_codec(tmp_path: Path) -> None:
    """Loudly, in place of wrong numbers."""
    held, array = padded_array((5, 3))
    array[:] = 1
    for key, value in held.items():
        path = tmp_path / "array" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value.to_bytes())
    words = [sys.executable, "-W", "ignore", "-c", _WITHOUT, str(tmp_path / "array")]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert NAME in said
