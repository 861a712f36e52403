"""Combining is arithmetic: the same whatever the order, bounded, and never more than the files
hold.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trust import oracle

from esgvzarr.combine import arrays, chunks, runs
from esgvzarr.errors import FormatError
from esgvzarr.model import ChunkTable
from esgvzarr.testing import DEFECTS, write_monthly


def test_equal_input_gives_equal_bytes_in_any_order_of_files(tmp_path: Path) -> None:
    for name in ("plain", "packing_differs", "time_epoch_differs", "latitude_rounding"):
        paths = DEFECTS[name].make(tmp_path / name)
        assert len({oracle.make(order)[1] for order in itertools.permutations(paths)}) == 1


def _layout(paths: list[Path]) -> tuple[list[str], dict[str, tuple[int, ...]]]:
    references, _ = oracle.make(paths)
    return [group.path for group in references.groups], {
        array.name: array.chunk_shape for array in references.groups[-1].arrays
    }


def test_uncompressed_chunks_are_cut_to_a_common_divisor(tmp_path: Path) -> None:
    groups, shapes = _layout(write_monthly(tmp_path, chunks=(8, 4, 6), lengths=(12, 24, 4)))
    assert groups == [""]
    assert shapes["tas"] == (4, 4, 6)


def test_too_many_pieces_make_segments_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_PIECES", 9)
    groups, _ = _layout(write_monthly(tmp_path, chunks=(8, 4, 6), lengths=(12, 24, 4)))
    assert groups == ["", "seg-000", "seg-001"]


def test_large_uncompressed_pieces_are_cut_so_that_a_step_does_not_cost_the_file() -> None:
    assert chunks.cut_shape((1000, 180, 360), 4) == (50, 180, 360)
    assert chunks.cut_shape((7, 4000, 4000), 8) == (1, 500, 4000)
    assert chunks.cut_shape((3, 4), 4) == (3, 4)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 64))
def test_pieces_are_contiguous_equal_and_whole(shape: list[int], largest: int) -> None:
    smaller = chunks.cut_shape(tuple(shape), 4, largest)
    table = ChunkTable(
        np.zeros((1, len(shape)), np.int64), np.array([100]), np.array([4 * math.prod(shape)])
    )
    cut = chunks.cut(table, tuple(shape), smaller, tuple(shape))
    values = np.arange(math.prod(shape)).reshape(shape)
    assert cut.sizes.sum() == 4 * values.size
    for key, offset, size in zip(cut.keys, cut.offsets, cut.sizes, strict=True):
        region = tuple(
            slice(int(k) * s, (int(k) + 1) * s) for k, s in zip(key, smaller, strict=True)
        )
        first = (int(offset) - 100) // 4
        assert values[region].ravel().tolist() == list(range(first, first + int(size) // 4))


@given(st.lists(st.integers(1, 4), min_size=0, max_size=3), st.data())
def test_missing_keys_are_those_of_the_grid_that_are_not_there(
    grid: list[int], data: st.DataObject
) -> None:
    every = list(itertools.product(*map(range, grid)))
    present = data.draw(st.lists(st.sampled_from(every), unique=True))
    keys = np.array(present, np.int64).reshape(len(present), len(grid))
    assert {tuple(key) for key in chunks.missing(keys, tuple(grid)).tolist()} == set(every) - set(
        present
    )


def test_too_much_that_was_never_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_MOST_FILL", 10)
    with pytest.raises(FormatError) as raised:
        oracle.make(DEFECTS["chunks_never_written"].make(tmp_path))
    assert raised.value.code == "file-unwritten"


def test_attributes_that_only_some_files_have_are_not_shown_for_all(tmp_path: Path) -> None:
    _, document = oracle.make(DEFECTS["attributes_per_file"].make(tmp_path))
    shown = oracle.shown(document, decode_cf=False)
    assert "comment" not in shown["tas"].attrs
    assert "comment" not in shown["lat"].attrs


def test_single_precision_packing_is_told_and_is_off_by_its_rounding_only(tmp_path: Path) -> None:
    from esgvzarr.testing import oddities

    paths = write_monthly(tmp_path, extra=(oddities.add_packed_by_float32,))
    references, document = oracle.make(paths)
    assert "packing-single" in {finding.code for finding in references.warnings}
    truth = np.concatenate([file["packed"].values for file in oracle.truths(paths)])
    shown = oracle.shown(document)["packed"].values
    assert (truth.dtype, shown.dtype) == (np.float32, np.float64)
    assert np.nanmax(np.abs(shown - truth)) <= 2 * np.spacing(np.float32(np.nanmax(truth)))
    stored = np.concatenate(
        [file["packed"].values for file in oracle.truths(paths, decode_cf=False)]
    )
    assert np.array_equal(oracle.shown(document, decode_cf=False)["packed"].values, stored)


def test_the_provenance_advises_tasks_for_one_array_and_counts_segments_of_several(
    tmp_path: Path,
) -> None:
    whole, _ = oracle.make(write_monthly(tmp_path / "whole"))
    assert whole.provenance["reading"] == {"dimension": "time", "steps": 36}
    parts, _ = oracle.make(write_monthly(tmp_path / "parts", chunks=(8, 4, 6), compression="zlib"))
    assert parts.provenance["reading"] == {"dimension": "time", "segments": 3}
