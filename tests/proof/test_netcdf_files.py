"""Tests for `esgvzarr.proof.netcdf_files`."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from esgvzarr.formats.content import PAGE, SparseContent
from esgvzarr.proof import netcdf_files
from esgvzarr.proof.netcdf_files import OpenFiles
from esgvzarr.testing import write_monthly


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(write_monthly(tmp_path, lengths=(12,))[0])


def _is_open(path: str) -> bool:
    places = []
    for number in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{number}"):
            places.append(os.path.realpath(f"/proc/self/fd/{number}"))
    return path in places


def test_a_file_that_is_kept_is_opened_once_for_two_looks(path: str) -> None:
    files = OpenFiles()
    with files.opened(path, keep=True) as first:
        pass
    assert _is_open(path)
    with files.opened(path, keep=False) as second:
        assert second is first
        assert second.variables["tas"][0].values.shape == second.variables["tas"].shape[1:]
    assert not _is_open(path)


def test_what_was_kept_is_closed_in_the_end(path: str) -> None:
    files = OpenFiles()
    with files.opened(path, keep=True):
        pass
    files.close()
    assert not _is_open(path)


def test_a_file_is_closed_when_the_look_fails(path: str) -> None:
    files = OpenFiles()
    with pytest.raises(ZeroDivisionError), files.opened(path, keep=True):
        raise ZeroDivisionError
    assert not _is_open(path)


URL = "https://node.example/tas.nc"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file whose data fill many pages."""
    return write_monthly(tmp_path, lengths=(12,), grid=(40, 60), chunks=(1, 40, 60))[0]


def _without_data(path: Path) -> SparseContent:
    """All of the file that was fetched, except the pages of its data."""
    with h5py.File(path, "r") as file:
        chunks = [file["tas"].id.get_chunk_info(number) for number in range(12)]
    body = path.read_bytes()
    content = SparseContent(len(body))
    begin = 0
    for chunk in sorted(chunks, key=lambda chunk: int(chunk.byte_offset)):
        content.add(begin, body[begin : -(-chunk.byte_offset // PAGE) * PAGE])
        begin = (chunk.byte_offset + chunk.size) // PAGE * PAGE
    content.add(begin, body[begin:])
    return content


def test_an_image_stays_open_for_the_second_look_which_sees_what_was_fetched_since(
    large: Path,
) -> None:
    files = OpenFiles()
    content = _without_data(large)
    with files.image_of(URL, content, keep=True) as image:
        first = image.dataset()
        assert first.variables["time"].values.size == 12
        image.is_sound = not list(image.image.missed())
    whole = content.copy()
    whole.add(0, large.read_bytes())
    with files.image_of(URL, whole, keep=False) as image:
        assert image.dataset() is first
        with h5py.File(large, "r") as file:
            assert np.array_equal(image.dataset().variables["tas"].values, file["tas"][()])
        assert not list(image.image.missed())
    files.close()


def test_the_second_look_at_an_image_tells_what_it_missed(large: Path) -> None:
    files = OpenFiles()
    content = _without_data(large)
    with files.image_of(URL, content, keep=True) as image:
        image.dataset()
        image.is_sound = True
    with files.image_of(URL, content.copy(), keep=False) as image:
        assert not image.dataset().variables["tas"].values[5, 20].any()
        assert list(image.image.missed())
    files.close()


@pytest.mark.parametrize("case", ["unsound", "large", "many"])
def test_an_image_is_closed_at_once_if_it_is_unsound_or_takes_much_memory(
    case: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = {"large": ("_LARGEST_KEPT", 1000), "many": ("_MOST_OPEN", 0)}
    if case in limits:
        monkeypatch.setattr(netcdf_files, *limits[case])
    content = SparseContent(large.stat().st_size, large.read_bytes())
    with OpenFiles().image_of(URL, content, keep=True) as image:
        image.dataset()
        image.is_sound = case != "unsound"
    assert image.image.memory.closed


def test_images_that_were_kept_are_closed_in_the_end(large: Path) -> None:
    files = OpenFiles()
    content = SparseContent(large.stat().st_size, large.read_bytes())
    with files.image_of(URL, content, keep=True) as image:
        image.dataset()
        image.is_sound = True
    assert not image.image.memory.closed
    files.close()
    assert image.image.memory.closed
