"""An image tells what was read of it and had not been fetched."""

from __future__ import annotations

import pytest

from esgvzarr.formats.content import PAGE, SparseContent
from esgvzarr.proof.image import Image

PAGES = 9
SIZE = PAGES * PAGE - 100


@pytest.mark.parametrize(
    ("touched", "missed"),
    [
        ([], []),
        ([1, 4], []),  # these were fetched
        ([0], [(0, PAGE)]),
        ([2, 3], [(2 * PAGE, 4 * PAGE)]),
        ([0, 1, 2], [(0, PAGE), (2 * PAGE, 3 * PAGE)]),
        ([0, 2, 3, 6], [(0, PAGE), (2 * PAGE, 4 * PAGE), (6 * PAGE, 7 * PAGE)]),
        ([7, 8], [(7 * PAGE, SIZE)]),
        ([0, 2, 3, 5, 6, 7, 8], [(0, PAGE), (2 * PAGE, 4 * PAGE), (5 * PAGE, SIZE)]),
    ],
)
def test_pages_that_were_read_and_not_fetched_are_told_as_runs(
    touched: list[int], missed: list[tuple[int, int]]
) -> None:
    content = SparseContent(SIZE)
    content.add(PAGE, b"a" * PAGE)
    content.add(4 * PAGE, b"b" * PAGE)
    image = Image(content, "https://node.example/tas.nc")
    try:
        for page in touched:
            assert image.buffer[page * PAGE] == {1: ord("a"), 4: ord("b")}.get(page, 0)
        assert list(image.missed()) == missed
    finally:
        image.close()


def test_an_image_has_the_bytes_of_the_file_and_no_more() -> None:
    content = SparseContent(SIZE)
    content.add(PAGE * (PAGES - 1), b"end" * ((PAGE - 100) // 3) + b"." * ((PAGE - 100) % 3))
    image = Image(content, "https://node.example/tas.nc")
    try:
        assert len(image.buffer) == SIZE
        assert bytes(image.buffer[PAGE * (PAGES - 1) :])[:3] == b"end"
        assert list(image.missed()) == []
    finally:
        image.close()


def test_an_empty_file_has_an_image() -> None:
    image = Image(SparseContent(0), "https://node.example/tas.nc")
    assert (len(image.buffer), list(image.missed())) == (0, [])
    image.close()
