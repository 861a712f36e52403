"""What is said of a source file that the judge cannot read, and of a judge that has a fault."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from esgvzarr import Transport
from esgvzarr.errors import COPY_AGAIN, Fault, FormatError
from esgvzarr.formats.content import SparseContent
from esgvzarr.proof.file_failures import ReadFailedError
from esgvzarr.proof.file_side import Counted, Source, equal, judge_all
from esgvzarr.testing import write_monthly

_NO_PLUGIN = 32999
"""The number of a filter that does not exist."""


def sources_of(path: Path) -> list[Source]:
    """The file at its path, and as it is when it was fetched."""
    body = path.read_bytes()
    content = SparseContent(len(body))
    content.add(0, body)
    return [Source(str(path), str(path)), Source(str(path), None, content)]


def judge(source: Source, work: Any, *, counts: bool = True) -> Any:
    with Transport() as transport:
        return next(judge_all([(source, work)], transport, counts=counts))


def read_all(truth: Any, _: Mapping[str, Counted]) -> float:
    return float(truth["tas"].values.sum())


@pytest.mark.parametrize("number", [0, 1])
def test_a_fault_of_the_comparison_is_not_called_a_fault_of_the_file(
    number: int, tmp_path: Path
) -> None:
    def work(truth: Any, _: Mapping[str, Counted]) -> int:
        return max(int(size) for size in truth["tas"].shape if size < 0)

    with pytest.raises(ValueError, match="empty"):
        judge(sources_of(write_monthly(tmp_path)[0])[number], work)


def test_a_file_that_another_process_writes_is_locked_and_may_be_tried_again(
    tmp_path: Path,
) -> None:
    path = write_monthly(tmp_path)[0]
    source = sources_of(path)[0]
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as libhdf5 does it for those who write
        for counts in (True, False):  # by h5py, and by netCDF-C, which reads later
            with pytest.raises(FormatError) as caught:
                judge(source, read_all, counts=counts)
            assert (caught.value.code, caught.value.retryable) == ("file-locked", True)
    assert judge(source, read_all)


@pytest.mark.parametrize("number", [0, 1])
def test_a_filter_without_plugin_is_a_fault_of_the_installation_and_is_named(
    number: int, tmp_path: Path
) -> None:
    path = tmp_path / "tas.nc"
    with h5py.File(path, "w") as file:
        shape = (4,)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk(shape)
        properties.set_filter(_NO_PLUGIN, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(shape)
        node = h5py.h5d.create(file.id, b"tas", h5py.h5t.IEEE_F32LE, space, dcpl=properties)
        node.write_direct_chunk((0,), np.ones(shape, "f4").tobytes())
    with pytest.raises(FormatError) as caught:
        judge(sources_of(path)[number], read_all)
    assert caught.value.code == "file-filter-missing"
    assert caught.value.fault is Fault.SETTINGS
    assert str(_NO_PLUGIN) in caught.value.found
    assert not caught.value.todo.startswith(COPY_AGAIN)


def test_the_cause_of_an_unreadable_file_reaches_another_process() -> None:
    """Where Dask is imported, exceptions are sent with their causes."""
    cause = ReadFailedError("NetCDF: HDF error", "tas")
    again = pickle.loads(pickle.dumps(cause))  # noqa: S301
    assert (str(again), again.variable) == ("NetCDF: HDF error", "tas")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 3], False),
        ([1, 2], [1, 2, 3], False),
        ([1, 2], [[1, 2]], False),
        ([], [1], False),
        ([1, 2], [1.0, 2.0], True),
        ([0.0, np.nan], [-0.0, np.nan], True),
        ([1.0, np.nan], [np.nan, 1.0], False),
        ([np.nan], np.array([np.nan], "f4"), True),
        ([b"a"], ["a"], True),
        ([b"a\0\0"], np.array(["a"], object), True),
        (["a"], ["b"], False),
        ([b"\xff"], ["\ufffd"], True),
        (["1"], [1], True),
        ([True], [False], False),
    ],
)
def test_arrays_are_equal_by_their_shape_and_number_for_number(
    one: Any, other: Any, same: bool
) -> None:
    assert equal(np.asarray(one), np.asarray(other)) is same
    assert equal(np.asarray(other), np.asarray(one)) is same


@pytest.mark.parametrize("dtype", ["u1", "i2", "<f4", ">f4", "f8", "i8", "longdouble"])
def test_an_array_is_equal_to_its_copy_and_not_to_one_of_which_a_number_changed(dtype: str) -> None:
    values = np.array([[0, 1, 2], [126, 127, 254]]).astype(dtype)
    assert equal(values, values.copy())
    for place in np.ndindex(values.shape):
        changed = values.copy()
        changed[place] += 1
        assert not equal(values, changed)
