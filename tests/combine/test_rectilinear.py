"""Segments become one array: arithmetic on chunk tables, without a file."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esgvzarr.combine.rectilinear import Bound, join_segments
from esgvzarr.model import Array, ChunkTable, FileRecord, FileReferences, Group, ReferenceSet

STEP = 4
CODECS = ({"id": "zlib", "level": 1},)
HEADER = 10


def chunks_of(values: np.ndarray[Any, Any]) -> list[bytes]:
    """A file's values as HDF5 stores them: all chunks of equal length."""
    stored = []
    for first in range(0, len(values), STEP):
        whole = np.zeros((STEP, 2), values.dtype)
        part = values[first : first + STEP]
        whole[: len(part)] = part
        stored.append(zlib.compress(whole.tobytes(), 1))
    return stored


def segment(number: int, values: np.ndarray[Any, Any], **changes: Any) -> tuple[Group, bytes]:
    """A segment of one file, and the file."""
    stored = chunks_of(values)
    sizes = np.array([len(chunk) for chunk in stored], np.int64)
    keys = np.zeros((len(stored), 2), np.int64)
    keys[:, 0] = np.arange(len(stored))
    facts: dict[str, Any] = {
        "name": "v",
        "dims": ("time", "x"),
        "shape": values.shape,
        "chunk_shape": (STEP, 2),
        "dtype": values.dtype,
        "fill_value": None,
        "codecs": CODECS,
        "attrs": {"units": "K"},
        "chunks": ChunkTable(keys, HEADER + np.cumsum(sizes) - sizes, sizes),
        "file_index": np.full(len(stored), number, np.int64),
    }
    array = Array(**{**facts, **changes})
    return Group(f"seg-{number:03}", {}, (array,), (number,)), bytes(HEADER) + b"".join(stored)


def references_of(
    parts: list[np.ndarray[Any, Any]], **changes: Any
) -> tuple[ReferenceSet, list[bytes]]:
    made = [segment(number, values, **changes) for number, values in enumerate(parts)]
    groups = [group for group, _ in made]
    contents = [content for _, content in made]
    files = tuple(
        FileReferences(FileRecord(f"{n}.nc", f"{n}.nc"), "hdf5", {}, {}, {}, len(content))
        for n, content in enumerate(contents)
    )
    facts = {
        "esgvzarr_segments": [group.path for group in groups],
        "esgvzarr_concat_dim": "time",
    }
    root = Group("", {**facts, "title": "kept"}, ())
    return ReferenceSet("x", files, (root, *groups), {}), contents


def decoded(array: Array, contents: list[bytes]) -> np.ndarray[Any, Any]:
    """What a reader of a rectilinear grid gets."""
    lengths = array.lengths.get(0, (STEP,) * 1000)
    found = {}
    for key, file, offset, size in zip(
        array.chunks.keys[:, 0],
        array.file_index,
        array.chunks.offsets,
        array.chunks.sizes,
        strict=True,
    ):
        found[int(key)] = contents[file][offset : offset + size]
    found.update({key[0]: data for key, data in array.inline.items()})
    parts = []
    for key in sorted(found):
        data = zlib.decompress(found[key]) if array.codecs else found[key]
        parts.append(np.frombuffer(data, array.dtype).reshape(lengths[key], 2))
    return np.concatenate(parts)[: array.shape[0]]


@settings(max_examples=50)
@given(st.lists(st.integers(1, 11), min_size=2, max_size=6))
def test_any_lengths_of_files_become_one_array_with_the_values_of_all(lengths: list[int]) -> None:
    numbers = np.arange(2 * sum(lengths), dtype="<i4").reshape(-1, 2)
    parts = np.split(numbers, np.cumsum(lengths)[:-1])
    references, contents = references_of(parts)
    joined = join_segments(references)
    assert joined is not None
    whole = joined.filled(lambda places: [contents[n][a:b] for n, a, b in places])
    (group,) = whole.groups
    (array,) = group.arrays
    assert np.array_equal(decoded(array, contents), numbers)
    assert (group.path, group.attrs, group.file_indices) == (
        "",
        {"title": "kept"},
        tuple(range(len(lengths))),
    )
    padded = sum(length % STEP > 0 for length in lengths[:-1])
    assert len(array.inline) == padded
    assert bool(array.lengths) == bool(padded)


def test_uncompressed_chunks_are_shortened_and_nothing_is_copied() -> None:
    numbers = np.arange(12, dtype="<i4").reshape(-1, 2)
    references, _ = references_of([numbers[:3], numbers[3:]], codecs=())
    joined = join_segments(references)
    assert joined is not None
    assert joined.copied == 0
    (array,) = joined.references.groups[0].arrays
    assert array.lengths == {0: (3, 4)}
    assert array.chunks.sizes[0] == 3 * 2 * 4


@pytest.mark.parametrize(
    "changes", [{"dtype": np.dtype(">i4")}, {"attrs": {"scale_factor": 2.0}}, {"codecs": ()}]
)
def test_what_means_something_else_is_not_joined(changes: dict[str, Any]) -> None:
    numbers = np.arange(12, dtype="<i4").reshape(-1, 2)
    references, _ = references_of([numbers[:3], numbers[3:]])
    other, _ = segment(1, numbers[3:], **changes)
    mixed = ReferenceSet("x", references.files, (*references.groups[:2], other), {})
    assert join_segments(mixed) is None


def test_the_bound_is_the_smaller_of_bytes_and_fraction() -> None:
    references, contents = references_of([np.zeros((5, 2), "<i4")] * 2)
    size = sum(map(len, contents))
    assert Bound(0.5, 10**9).of(references) == int(0.5 * size)
    assert Bound(0.5, 7).of(references) == 7
    assert Bound(0.0, 7).of(references) == 0


def test_segments_of_each_group_of_a_document_are_joined_by_themselves() -> None:
    """A group of one kind becomes an array; one of two kinds keeps a segment for each."""
    values = np.arange(12, dtype="f4").reshape(6, 2)
    one, _ = references_of([values, values + 100])
    other, _ = references_of([values + 7, values + 9, values + 11])
    odd = replace(other.groups[3], arrays=(replace(other.groups[3].arrays[0], codecs=()),))
    groups = [Group("", {"esgvzarr_groups": ["a", "b"]}, ())]
    for path, found in (("a", one.groups), ("b", (*other.groups[:3], odd))):
        names = [f"{path}/{group.path}" for group in found[1:]]
        facts = {"esgvzarr_segments": names, "esgvzarr_concat_dim": "time"}
        groups.append(Group(path, facts, ()))
        groups += [replace(group, path=name) for group, name in zip(found[1:], names, strict=True)]
    document = replace(one, groups=tuple(groups), files=(*one.files, *other.files))
    joined = join_segments(document)
    assert joined is not None
    shown = [(group.path, len(group.arrays)) for group in joined.references.groups]
    assert shown == [("", 0), ("a", 1), ("b", 0), ("b/seg-000", 1), ("b/seg-001", 1)]
    assert joined.references.provenance["reading"] == {"groups": ["a", "b"], "segmented": ["b"]}
    assert joined.references.groups[1].arrays[0].lengths == {0: (4, 2, 4, 4)}
    ends = {(end.group, end.key) for end in joined.ends}
    assert ends == {(1, (1, 0)), (3, (1, 0))}


@pytest.mark.parametrize(
    ("lengths", "padded"), [((4, 8), False), ((4, 6), False), ((3, 8), True), ((4, 7, 8), True)]
)
def test_file_ends_that_stay_as_they_are_stored_are_told(
    lengths: tuple[int, ...], padded: bool
) -> None:
    """Whole chunks, and a last one that is shorter, need no codec that crops."""
    numbers = np.arange(2 * sum(lengths), dtype="<i4").reshape(-1, 2)
    references, _ = references_of(np.split(numbers, np.cumsum(lengths)[:-1]))
    joined = join_segments(references, padded=True)
    assert joined is not None
    assert joined.copied == 0
    (array,) = joined.references.groups[0].arrays
    assert array.is_padded is padded
    assert joined.references.provenance["reading"].get("codec", False) is padded


def test_uncompressed_file_ends_are_shortened_and_not_told_to_be_padded() -> None:
    numbers = np.arange(22, dtype="<i4").reshape(-1, 2)
    references, _ = references_of([numbers[:3], numbers[3:]], codecs=())
    joined = join_segments(references, padded=True)
    assert joined is not None
    (array,) = joined.references.groups[0].arrays
    assert not array.is_padded
    assert array.lengths == {0: (3, 4, 4)}


def test_values_that_references_hold_are_put_one_after_the_other_in_one_chunk() -> None:
    numbers = np.arange(10, dtype="<i4").reshape(-1, 2)
    parts = np.split(numbers, [3])
    none = ChunkTable(np.empty((0, 2), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    references, _ = references_of(parts)
    groups = [references.groups[0]]
    for group, values in zip(references.groups[1:], parts, strict=True):
        held = replace(
            group.arrays[0],
            chunk_shape=values.shape,
            codecs=(),
            chunks=none,
            file_index=np.empty(0, np.int64),
            inline={(0, 0): values.tobytes()},
        )
        groups.append(replace(group, arrays=(held,)))
    joined = join_segments(replace(references, groups=tuple(groups)))
    assert joined is not None
    (array,) = joined.references.groups[0].arrays
    assert (array.shape, array.chunk_shape) == ((5, 2), (5, 2))
    assert array.inline == {(0, 0): numbers.tobytes()}
