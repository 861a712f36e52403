"""Files whose last chunks are padded are one array for stock readers of Zarr version 3: nothing but
these chunks is copied, and what is copied is proved whole.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import xarray
import zarr

import esgvzarr
from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.errors import ProofError, SettingsError
from esgvzarr.generate import generate, verify_published
from esgvzarr.model import ReferenceSet
from esgvzarr.outcome import Written
from esgvzarr.output import known_outputs, named
from esgvzarr.output.icechunk import open_store
from esgvzarr.output.zarr_settings import rectilinear_allowed
from esgvzarr.output.zarr_v3 import knows_rectilinear
from esgvzarr.settings import Settings
from esgvzarr.stage import stage
from esgvzarr.testing import DATASET_ID, FileSpec, write_files

from . import skip_unless_installed

ID = DatasetId.parse(DATASET_ID)
FIVES = [
    FileSpec(start=12 * number, chunks=(5, 2, 3), compression="zlib", shuffle=True)
    for number in range(3)
]
"""Years in chunks of five months: the last chunk of each file is padded from two to five."""


@pytest.fixture(params=["icechunk", "zarr3"])
def output(request: pytest.FixtureRequest) -> str:
    skip_unless_installed(request.param)
    return str(request.param)


def record_of(paths: list[Path]) -> DatasetRecord:
    files = tuple(FileRecord(path.name, str(path), path.stat().st_size) for path in paths)
    return DatasetRecord(ID, "", files)


def make(
    paths: list[Path], directory: Path, output: str, **settings: Any
) -> tuple[Written, np.ndarray[Any, Any]]:
    """The references of some files, and the values of ``tas`` in them."""
    chosen = Settings(output=output, **{"copied_fraction": 1.0, **settings})
    with Transport() as transport:
        made = generate(record_of(paths), directory, transport, chosen)
        assert verify_published(made.reference.path, (), transport, chosen, full=True).passed
    values = []
    for path in paths:
        with xarray.open_dataset(path) as dataset:
            values.append(dataset["tas"].values)
    return made, np.concatenate(values)


def opened(path: str, output: str) -> xarray.Dataset:
    """As stock xarray and zarr-python open it."""
    with zarr.config.set({"array.rectilinear_chunks": True}):
        if output == "icechunk":
            return xarray.open_zarr(open_store(path), consolidated=False)
        where = {"fo": path, "remote_protocol": "file", "skip_instance_cache": True}
        return xarray.open_dataset(
            "reference://", engine="zarr", consolidated=False, chunks={}, storage_options=where
        )


def test_stock_readers_see_one_array_with_the_true_chunks(output: str, tmp_path: Path) -> None:
    made, truth = make(write_files(tmp_path / "in", FIVES), tmp_path / "out", output)
    dataset = opened(made.reference.path, output)
    assert np.array_equal(dataset["tas"].values, truth)
    assert dataset["tas"].chunks[0] == (5, 5, 2, 5, 5, 2, 5, 5, 2)
    assert "esgvzarr_segments" not in dataset.attrs
    assert np.array_equal(esgvzarr.open_dataset(made.reference.path)["tas"].values, truth)
    assert not [finding for finding in made.warnings if finding.code == "segments"]


def test_only_the_ends_of_files_are_copied_and_not_that_of_the_last(tmp_path: Path) -> None:
    skip_unless_installed("zarr3")
    made, _ = make(write_files(tmp_path / "in", FIVES), tmp_path / "out", "zarr3")
    document = orjson.loads(Path(made.reference.path).read_bytes())
    chunks = {key: value for key, value in document["refs"].items() if key.startswith("tas/c/")}
    held = {int(key.split("/")[2]) for key, value in chunks.items() if isinstance(value, str)}
    assert len(chunks) == 9 * 4
    assert held == {2, 5}
    assert orjson.loads(document["provenance"])["copied_ends"]["chunks"] == 2 * 4


@pytest.mark.parametrize("bound", [{"copied_fraction": 0.0}, {"copied_mib": 0}])
def test_beyond_the_bound_nothing_is_copied_and_the_reason_is_told(
    output: str, bound: dict[str, Any], tmp_path: Path
) -> None:
    made, truth = make(write_files(tmp_path / "in", FIVES), tmp_path / "out", output, **bound)
    assert {finding.code for finding in made.warnings} == {"segments", "segments-copies"}
    joined = esgvzarr.open_dataset(made.reference.path)
    assert np.array_equal(joined["tas"].values, truth)


def test_runs_of_equal_kind_are_joined_as_far_as_they_go(output: str, tmp_path: Path) -> None:
    """Two files have other filters: two segments of two files each are left of four."""
    specs = [*FIVES[:2]]
    specs += [replace(FIVES[0], start=24 + 12 * n, shuffle=False) for n in range(2)]
    made, _ = make(write_files(tmp_path / "in", specs), tmp_path / "out", output)
    segments = [finding for finding in made.warnings if finding.code == "segments"]
    assert "2 segments" in str(segments[0])


def test_a_copied_end_that_is_wrong_fails_the_proof(
    output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them: no sample is drawn, and the one in the middle of the grid is spoilt. Staged in
    this process, where the disturbance is planted.
    """

    class Spoilt:
        def __getattr__(self, name: str) -> Any:
            return getattr(named_output, name)

        def write(self, references: ReferenceSet, staged: Path, *place: Any) -> None:
            named_output.write(_with_a_wrong_end(references), staged, *place)

    named_output = named(output)
    monkeypatch.setitem(known_outputs(), output, Spoilt())  # type: ignore[arg-type]
    monkeypatch.setattr("esgvzarr.proof.comparison._WHOLE", 100)
    specs = [replace(spec, chunks=(5, 1, 1)) for spec in FIVES]
    record = record_of(write_files(tmp_path / "in", specs))
    chosen = Settings(output=output, copied_fraction=1.0, proof_samples=0)
    with Transport() as transport, pytest.raises(ProofError, match="values of tas"):
        generate(record, tmp_path / "out", transport, chosen, stager=stage)


def _with_a_wrong_end(references: ReferenceSet) -> ReferenceSet:
    """One chunk at the end of the first file, in the middle of the map, is its neighbour's."""
    (group,) = references.groups
    arrays = []
    for array in group.arrays:
        if array.lengths:
            wrong = {(2, 1, 2): array.inline[2, 1, 3]}
            array = replace(array, inline={**array.inline, **wrong})
        arrays.append(array)
    return replace(references, groups=(replace(group, arrays=tuple(arrays)),))


def test_a_thread_that_is_through_leaves_the_setting_to_the_others() -> None:
    """dask opens arrays in several threads: the first to end must not turn it off for the next."""
    flag = "array.rectilinear_chunks"
    before = zarr.config.get(flag, None)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(rectilinear_allowed())
        second.enter_context(rectilinear_allowed())
        first.close()
        assert zarr.config.get(flag) is True
    assert zarr.config.get(flag, None) == before


@pytest.mark.skipif(knows_rectilinear(), reason="zarr-python reads chunks of different lengths")
def test_an_older_zarr_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"Python 3\.12") as caught:
        make(write_files(tmp_path / "in", FIVES), tmp_path / "out", "zarr3")
    assert caught.value.code == "settings-output"
