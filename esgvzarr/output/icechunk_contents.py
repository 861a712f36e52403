"""Read what an Icechunk repository holds, for the proof: arrays, chunks, and the files that hold
the chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from ..errors import ProofError
from ..model import ReferenceSet
from .contents import Contents, ContentsBuilder
from .icechunk_writing import BRANCH, location_of, metadata_of, urls_in_use
from .zarr_settings import rectilinear_allowed

_BATCH = 100_000
"""Number of chunk places that are read at once."""


def read_contents(repository: Any) -> Contents:
    """Return what a repository shows, without its chunks: Icechunk does not state where they are.

    Args:
        repository: an open repository of Icechunk.
    """
    import zarr

    builder = ContentsBuilder(3)
    with rectilinear_allowed():
        root = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
        for name, array in root.members(max_depth=None):
            if isinstance(array, zarr.Array):
                described = _described(array.shape, _longest(array), array.dtype)
                builder.add_metadata({f"{name}/zarr.json": described})
    said = metadata_of(repository).get("provenance", {})
    return builder.finish(said, counted=False)


def _longest(array: Any) -> list[int]:
    """Return the shape of an array's largest chunk."""
    grid = array.metadata.to_dict()["chunk_grid"]["configuration"]
    if "chunk_shape" in grid:
        return list(grid["chunk_shape"])
    longest = []
    for lengths in grid["chunk_shapes"]:
        parts = lengths if isinstance(lengths, list | tuple) else [lengths]
        flat = [part[0] if isinstance(part, list | tuple) else part for part in parts]
        longest.append(max(flat))
    return longest


def _described(shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype[Any]) -> str:
    """Return that part of an array's metadata which the proof needs."""
    facts = {"node_type": "array", "shape": shape, "chunks": chunks, "dtype": np.dtype(dtype).str}
    return orjson.dumps(facts).decode()


def compared(repository: Any, href: str, references: ReferenceSet) -> Contents:
    """Return the contents of a repository that was just written.

    Args:
        repository: an open repository of Icechunk.
        href: the place of the repository, for messages.
        references: the references that were written.

    Raises:
        ProofError: the repository has other chunks, or refers to other files, than the references.
    """
    session = repository.readonly_session(BRANCH)
    builder = ContentsBuilder(3)
    urls = [file.file.url for file in references.files]
    numbers = np.array([builder.file_number(url) for url in urls], np.int64)
    for group in references.groups:
        for array in group.arrays:
            path = f"{group.path}/{array.name}" if group.path else array.name
            described = _described(array.shape, array.chunk_shape, array.dtype)
            builder.add_metadata({f"{path}/zarr.json": described})
            rank = len(array.dims)
            inline = np.array(list(array.inline), np.int64).reshape(len(array.inline), rank)
            _check_chunks(session, path, np.concatenate([array.chunks.keys, inline]))
            keys = array.chunks.keys if array.dims else np.zeros((len(array.chunks), 1), np.int64)
            places = inline if array.dims else np.zeros((len(array.inline), 1), np.int64)
            builder.add_rows(
                path,
                keys,
                numbers[array.file_index],
                array.chunks.offsets,
                array.chunks.sizes,
            )
            builder.add_inline(path, places)
    expected = {location_of(url) for url in urls_in_use(references)}
    found = set(session.all_virtual_chunk_locations())
    if found != expected:
        other = sorted(found ^ expected)
        raise _other(href, f"refers to {len(found)} files, {other[0]} differs", len(expected))
    return builder.finish(references.provenance)


def _check_chunks(session: Any, path: str, expected: np.ndarray) -> None:
    """Compare the chunks that a snapshot has of an array with those that it should have."""
    from zarr.core.sync import sync

    async def read() -> list[tuple[int, ...]]:
        return [place async for place in session.chunk_coordinates(f"/{path}", _BATCH)]

    places = sync(read())
    found = np.array(places, np.int64).reshape(len(places), expected.shape[1])
    same = len(found) == len(expected)
    if same and len(found) and expected.shape[1]:
        same = np.array_equal(_sorted(found), _sorted(expected))
    if not same:
        raise _other(path, f"has {len(found)} chunks", f"{len(expected)} chunks")


def _sorted(keys: np.ndarray) -> np.ndarray:
    return keys[np.lexsort(keys.T[::-1])]


def _other(subject: str, found: str, expected: object) -> ProofError:
    return ProofError(
        subject,
        f"{found} in the repository that was written",
        expected=str(expected),
        todo="Nothing was published. Please report this as a bug.",
        code="proof-not-written",
    )
