"""What is compared of each file, and what is judged after all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import xarray

from esgvzarr import FileRecord
from esgvzarr.proof.comparison import Comparison, DescribedFile, Sampling
from esgvzarr.proof.reference_side import ShownGroup, StatedChunks

from .in_memory import FILE, dataset, group, references

LARGE = 2**18
"""Latitudes. Two steps of so many numbers are more than is compared whole."""


def large(days: Sequence[float]) -> xarray.Dataset:
    data = np.broadcast_to(np.float32(0), (len(days), LARGE))
    return dataset(days, lat=1).drop_vars(["tas", "lat"]).assign(tas=(("time", "lat"), data))


def described(
    truth: xarray.Dataset,
    shown: Sequence[ShownGroup],
    stated: StatedChunks | None = None,
    *,
    samples: int = 0,
    full: bool = False,
) -> DescribedFile:
    one = Comparison(shown, stated or references(), Sampling("seed", samples, full))
    return one.describe(FILE)(truth, {})


def spans(found: DescribedFile) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """First step and the one after the last of each box, in the file and as it is shown."""
    return [
        ((job.box[0].start, job.box[0].stop), (job.shown_box[0].start, job.shown_box[0].stop))
        for job in found.jobs
    ]


def test_a_small_variable_is_compared_in_one_box() -> None:
    found = described(dataset([1, 2, 3]), [group(dataset([0, 1, 2, 3]), chunks=(1, 4))])
    assert spans(found) == [((0, 3), (1, 4))]
    assert found.jobs[0].size == 3 * 4 * 4
    assert found.jobs[0].values.count == 12


def test_of_a_large_variable_the_first_and_the_last_chunk_are_compared() -> None:
    file = large(range(5))
    shown = [group(file.copy(), chunks=(1, LARGE))]
    assert spans(described(file, shown)) == [((0, 1), (0, 1)), ((4, 5), (4, 5))]
    assert len(described(file, shown, full=True).jobs) == 5
    assert len(described(file, shown, samples=50).jobs) == 5


def test_each_stretch_of_a_file_is_compared_where_it_is_shown() -> None:
    found = described(dataset([1, 2, 3]), [group(dataset([2, 3, 1]))])
    assert spans(found) == [((0, 1), (2, 3)), ((1, 3), (0, 2))]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (range(1, 6), [((1, 2), (2, 3)), ((4, 5), (5, 6))]),
        (range(1, 3), [((1, 2), (2, 3))]),
        (range(3, 5), []),  # no chunk of the output's own holds a step of this file
        (range(5, 8), [((0, 1), (5, 6))]),
    ],
)
def test_chunks_that_were_encoded_anew_are_all_compared(days: range, expected: list[Any]) -> None:
    """Chunks end at the steps 2, 3, 5, 6 and 8. The output holds those from 2 to 3 and from 5 to
    6.
    """
    shown = group(large(range(8)), chunks=((2, 1, 2, 1, 2), (LARGE,)))
    held = references(None, {"tas": [(1, 0), (3, 0)]})
    one = Comparison([shown], held, Sampling("seed", 0, full=False))
    found = spans(one.describe(FILE)(large(days), {}))
    assert set(expected) <= set(found)
    none = Comparison([shown], references(), Sampling("seed", 0, full=False))
    corners = spans(none.describe(FILE)(large(days), {}))
    assert set(found) - set(corners) <= set(expected)
    assert all(begin < end for (begin, end), _ in found)


def test_a_file_that_is_not_shown_is_told() -> None:
    for truth, shown, name in (
        (dataset([4]), [group(dataset([1, 2]))], "time"),
        (dataset([1]), [], "groups"),
    ):
        found = described(truth, shown)
        assert [(check.name, check.passed) for check in found.checks] == [(name, False)]
        assert found.jobs == ()


def test_a_file_without_time_steps_adds_nothing() -> None:
    found = described(dataset([]), [group(dataset([1]))])
    assert [(check.name, check.passed) for check in found.checks] == [("time", True)]


def file_of(number: int) -> FileRecord:
    return dataclasses.replace(FILE, url=f"https://node.example/tas_{number}.nc")


def compared(
    shown: Sequence[float], *files: Sequence[float], full: bool = False
) -> tuple[Comparison, list[xarray.Dataset]]:
    """A group, and what was found of the files that it shows."""
    one = Comparison([group(dataset(shown))], references(), Sampling("seed", 0, full))
    truths = [dataset(days) for days in files]
    for number, truth in enumerate(truths):
        one.accept(one.describe(file_of(number))(truth, {}))
    return one, truths


@pytest.mark.parametrize(
    ("shown", "files", "passed"),
    [
        ([1, 2, 3], [[1, 2], [3]], [True, True]),
        ([1, 2, 3], [[1, 2]], [False, True]),  # the last step is in no file
        ([1, 2, 3], [[1, 2], [2, 3]], [True, True]),
        ([1, 2, 2, 3], [[1, 2], [2, 3]], [True, False]),  # shown again
        ([1, 2, 2, 3], [[1, 2, 2, 3]], [True, True]),  # as the file has it
        ([1, 2, 2, 2, 3], [[1, 2, 2], [2, 3]], [True, False]),
    ],
)
def test_each_step_that_is_shown_is_in_a_file_and_shown_once(
    shown: list[float], files: list[list[float]], passed: list[bool]
) -> None:
    one, _ = compared(shown, *files)
    assert [check.passed for check in one.check_times()][:2] == passed


@pytest.mark.parametrize(
    ("files", "shared", "again"),
    [
        ([[1, 2, 3], [4, 5, 6]], [], []),
        ([[1, 2, 3, 4], [4, 5, 6]], [0, 1], [[(3, 4)], [(0, 1)]]),
        ([[1, 2, 3, 4, 5, 6], [2, 3], [5]], [0, 1, 2], [[(1, 3), (4, 5)], [(0, 2)], [(0, 1)]]),
    ],
)
def test_all_numbers_of_steps_that_several_files_hold_are_compared_with_each(
    files: list[list[float]], shared: list[int], again: list[list[tuple[int, int]]]
) -> None:
    one, truths = compared([1, 2, 3, 4, 5, 6], *files)
    assert one.shared() == [file_of(number) for number in shared]
    for number, expected in zip(shared, again, strict=True):
        jobs = one.repeated(file_of(number))(truths[number], {})
        assert [(job.box[0].start, job.box[0].stop) for job in jobs] == expected


def test_of_a_large_variable_too_all_repeated_steps_are_compared() -> None:
    shown = group(large(range(6)), chunks=(1, LARGE))
    one = Comparison([shown], references(), Sampling("seed", 0, full=False))
    truths = [large(range(5)), large(range(1, 6))]
    for number, truth in enumerate(truths):
        one.accept(one.describe(file_of(number))(truth, {}))
    jobs = one.repeated(file_of(1))(truths[1], {})
    assert [job.box[0].start for job in jobs] == [0, 1, 2, 3]


def test_what_is_compared_in_full_is_not_compared_again() -> None:
    one, _ = compared([1, 2, 3], [1, 2], [2, 3], full=True)
    assert one.shared() == []


def test_of_several_datasets_only_the_variables_of_the_first_file_are_looked_at() -> None:
    both = dataset([1, 2]).assign(pr=dataset([1, 2]).tas)
    one = Comparison([group(both)], references(), Sampling("seed", 0, full=False), alone=False)
    found = one.describe(FILE)(dataset([1, 2]), {})
    assert [check.name for check in found.checks if not check.passed] == []
    one.accept(found)
    assert [check.passed for check in one.check_times()] == [True, True]
    alone = Comparison([group(both)], references(), Sampling("seed", 0, full=False))
    failed = alone.describe(FILE)(dataset([1, 2]), {}).checks
    assert [check.name for check in failed if not check.passed] == ["variables"]


def test_variables_that_a_document_leaves_out_are_not_missed() -> None:
    file = dataset([1, 2]).assign(height=((), 2.0))
    one = Comparison([group(dataset([1, 2]))], references(), Sampling("seed", 0, full=False))
    assert all(check.passed for check in one.describe(FILE, ["height"])(file, {}).checks)
    assert not all(check.passed for check in one.describe(FILE)(file, {}).checks)


def test_what_was_found_of_each_file_is_kept_for_the_end() -> None:
    one, truths = compared([1, 2, 3], [1, 2], [3])
    assert one.timed
    assert dict(one.fixed) == {"lat": ["equal", "equal"]}
    assert dict(one.types) == {"lat": [True, True]}
    assert one.attrs["tas"] == [{"units": "K"}] * 2
    assert one.attrs[""] == [truth.attrs for truth in truths]
