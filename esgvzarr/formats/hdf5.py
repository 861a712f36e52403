"""Scan netCDF-4 (HDF5) files. libhdf5 decides what a file holds; the chunk index is read here,
faster than by libhdf5.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, TypeVar

import h5py
import numpy as np

from ..errors import COPY_AGAIN, FormatError
from ..model import ChunkTable, FileRecord, FileReferences, Variable
from .btree import ChunkIndex, IndexDisordered, IndexUnknown, read_index
from .content import Needs, SparseContent, SparseFile, fetch, together
from .hdf5_inline import check_count
from .hdf5_metadata import HDF5_ERRORS, Dataset, read_contents, tolerate
from .values import decode_chunk

_log = logging.getLogger(__name__)
_MOST_RECODED = 2**20
"""The most bytes of chunks, per variable and file, that are decoded and encoded again because some
of their filters were skipped.
"""
_METADATA_CACHE = 32 * 2**20
"""The most bytes of metadata that libhdf5 keeps of one file; its own default is 2 MiB at first."""
_CONTRADICTIONS = (TypeError, AttributeError, ArithmeticError, LookupError, MemoryError)
"""Exceptions that h5py or this module raises if parts of a damaged file contradict each other."""
_T = TypeVar("_T")


class HDF5:
    """netCDF-4 and other HDF5 files whose dimensions have scales."""

    name = "hdf5"
    magics: tuple[bytes, ...] = (b"\x89HDF\r\n\x1a\n",)
    user_blocks = True

    @staticmethod
    def scan(file: FileRecord, content: SparseContent) -> Generator[Needs, None, FileReferences]:
        """Describe all variables of the file, with the place of every chunk.

        Raises:
            FormatError: the file is damaged, or a variable cannot be referenced.
        """
        contents = yield from _replay(
            file.url, content, lambda opened: read_contents(opened, file.url, content.missed)
        )
        chunked = [dataset for dataset in contents.datasets if dataset.layout == "chunked"]
        walked: list[ChunkIndex | None] = [None] * len(chunked)
        if content.read(0, len(HDF5.magics[0])) == HDF5.magics[0]:
            walked = yield from together([_walk(content, dataset, file.url) for dataset in chunked])
        # Otherwise the file begins after a user block, where addresses count from: libhdf5 reads
        # the indexes.
        found = dict(zip((dataset.path for dataset in chunked), walked, strict=True))
        indexes = yield from _replay(
            file.url, content, lambda opened: _confirm(opened, found, content.missed, file.url)
        )
        variables = {}
        for dataset in contents.datasets:
            shape = tuple(contents.dimensions[dim] for dim in dataset.dims)
            variables[dataset.name] = yield from _variable(
                content, dataset, shape, indexes.get(dataset.path), file.url
            )
        return FileReferences(
            file,
            HDF5.name,
            contents.dimensions,
            contents.attrs,
            variables,
            content.size,
            groups=contents.groups,
        )


def _replay(
    subject: str, content: SparseContent, work: Callable[[h5py.File], _T | None]
) -> Generator[Needs, None, _T]:
    """Run ``work`` on the known bytes, fetch what it missed, and repeat until nothing is
    missing.
    """
    while True:
        result = None
        try:
            with h5py.File(SparseFile(content), "r") as opened:
                _enlarge_cache(opened)
                result = work(opened)
        except (*HDF5_ERRORS, *_CONTRADICTIONS) as error:
            if not content.missed:
                raise _damaged(subject, error) from error
        if not content.missed and result is not None:
            return result
        yield content.take_missed()


def _enlarge_cache(opened: h5py.File) -> None:
    """Let libhdf5 keep the nodes of large chunk indexes: it reads all of them for each count."""
    cache = opened.id.get_mdc_config()
    cache.set_initial_size = True
    cache.initial_size = cache.max_size = _METADATA_CACHE
    opened.id.set_mdc_config(cache)


def _damaged(subject: str, error: Exception) -> FormatError:
    truncated = "truncated file" in str(error)
    reason = f"{type(error).__name__}: {error}" if isinstance(error, _CONTRADICTIONS) else error
    return FormatError(
        subject,
        f"libhdf5 cannot read it: {reason}",
        expected="a whole netCDF-4 file",
        todo=COPY_AGAIN,
        code="file-truncated" if truncated else "file-unreadable",
    )


def _walk(
    content: SparseContent, dataset: Dataset, subject: str
) -> Generator[Needs, None, ChunkIndex | None]:
    try:
        return (yield from read_index(content, dataset.header, len(dataset.extent)))
    except (IndexUnknown, OverflowError) as reason:
        _log.debug(
            "%s: %s: libhdf5 reads the chunk index, because it has %s",
            subject,
            dataset.name,
            reason,
        )
        return None
    except IndexDisordered as reason:
        raise FormatError(
            subject,
            f"the chunk index of {dataset.name!r} is out of order ({reason}): libhdf5 does not "
            "find all chunks that it lists",
            expected="a chunk index whose keys are in increasing order",
            todo=COPY_AGAIN,
            code="file-unreadable",
        ) from reason


def _confirm(
    opened: h5py.File,
    walked: Mapping[str, ChunkIndex | None],
    missed: list[tuple[int, int]],
    subject: str,
) -> dict[str, ChunkIndex] | None:
    """Return the indexes that were read here if libhdf5 counts the same chunks and bytes, else
    libhdf5's own.
    """
    confirmed = {
        path: tolerate(missed, partial(_agreed, opened, path, index, subject))
        for path, index in walked.items()
    }
    return None if missed else confirmed  # type: ignore[return-value]


def _agreed(opened: h5py.File, path: str, walked: ChunkIndex | None, subject: str) -> ChunkIndex:
    dataset = h5py.h5d.open(opened.id, path.encode())
    stored = dataset.get_storage_size()
    if (
        walked is not None
        and len(walked.sizes) == dataset.get_num_chunks()
        and walked.sizes.sum() == stored
    ):
        return walked
    if walked is not None:
        _log.debug(
            "%s: %s: libhdf5 counts other chunks than esgvzarr found in the index", subject, path
        )
    infos: list[Any] = []
    dataset.chunk_iter(infos.append)
    # libhdf5 counts by the same walk by which it lists, so that its list needs no second look; the
    # proof compares what the references state with its count in any case.
    return ChunkIndex(
        np.array([info.chunk_offset for info in infos], np.int64).reshape(len(infos), dataset.rank),
        np.array([info.byte_offset for info in infos], np.int64),
        np.array([info.size for info in infos], np.int64),
        np.array([info.filter_mask for info in infos], np.int64),
    )


def _variable(
    content: SparseContent,
    dataset: Dataset,
    shape: tuple[int, ...],
    index: ChunkIndex | None,
    subject: str,
) -> Generator[Needs, None, Variable]:
    codecs = dataset.codecs
    inline: Mapping[tuple[int, ...], bytes] = {}
    values = dataset.values
    if dataset.layout == "contiguous":
        chunks = _one_piece(dataset, content.size, subject)
    elif index is None:
        chunks = ChunkTable(
            np.empty((0, len(shape)), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
        )
    else:
        masks = index.filter_masks
        if masks.any() and (masks == masks[0]).all():
            codecs = _applied(codecs, int(masks[0]))
        elif masks.any():
            index, inline = yield from _recode(content, dataset, index, subject)
        chunks = _table(index, dataset, shape, content.size, subject)
    if values is not None and values.shape != shape:
        check_count(dataset.name, shape, subject)
        values = _extended(values, shape, dataset.unwritten)
    return Variable(
        name=dataset.name,
        dims=dataset.dims,
        shape=shape,
        dtype=dataset.dtype,
        attrs=dataset.attrs,
        fill_value=dataset.fill_value,
        chunk_shape=dataset.chunk_shape,
        codecs=codecs,
        chunks=chunks,
        inline=inline,
        unwritten=dataset.unwritten,
        values=values,
    )


def _one_piece(dataset: Dataset, file_size: int, subject: str) -> ChunkTable:
    """Return the table of contiguous data: one chunk, or no chunk if nothing was written."""
    size = math.prod(dataset.extent) * dataset.dtype.itemsize
    count = 1 if dataset.offset is not None and size else 0
    if count and dataset.offset is not None and dataset.offset + size > file_size:
        found = (
            f"has {file_size} bytes, but {dataset.name!r} extends to byte {dataset.offset + size}"
        )
        raise FormatError(
            subject,
            found,
            expected="a whole file",
            todo=COPY_AGAIN,
            code="file-truncated",
        )
    return ChunkTable(
        np.zeros((count, len(dataset.extent)), np.int64),
        np.full(count, dataset.offset or 0, np.int64),
        np.full(count, size, np.int64),
    )


def _table(
    index: ChunkIndex, dataset: Dataset, shape: tuple[int, ...], file_size: int, subject: str
) -> ChunkTable:
    """Return the table of chunks in the order of the grid, after checking that each chunk occurs
    once and lies in the file.
    """
    keys, rest = np.divmod(index.starts, np.array(dataset.chunk_shape, np.int64))
    order = np.lexsort(keys.T[::-1])
    keys = keys[order]
    offsets = index.offsets[order]
    sizes = index.sizes[order]
    in_grid = (
        not rest.any()
        and (index.starts >= 0).all()
        and (index.starts < np.array(shape, np.int64)).all()
    )
    in_file = (offsets > 0).all() and (sizes >= 0).all() and (offsets <= file_size - sizes).all()
    once = (keys[1:] != keys[:-1]).any(axis=1).all()
    if not (in_grid and in_file and once):
        fault = "of which one occurs twice"
        if not in_grid:
            fault = "outside its grid of chunks"
        elif not in_file:
            fault = "outside the file"
        raise FormatError(
            subject,
            f"{dataset.name!r} has chunks {fault}",
            expected="each chunk once, inside the file",
            todo="The chunk index is damaged: rewrite the file.",
            code="file-unreadable",
        )
    return ChunkTable(keys, offsets, sizes)


def _applied(codecs: tuple[Mapping[str, Any], ...], skipped: int) -> tuple[Mapping[str, Any], ...]:
    """Return the filters that were applied, if those of the mask ``skipped`` were not."""
    return tuple(codec for number, codec in enumerate(codecs) if not skipped >> number & 1)


def _recode(
    content: SparseContent, dataset: Dataset, index: ChunkIndex, subject: str
) -> Generator[Needs, None, tuple[ChunkIndex, dict[tuple[int, ...], bytes]]]:
    """Remove the chunks for which filters were skipped, and encode them with all filters: readers
    use one pipeline for all chunks of a variable.
    """
    odd = index.filter_masks != 0
    places = [
        (int(start), int(start + size))
        for start, size in zip(index.offsets[odd], index.sizes[odd], strict=True)
    ]
    if index.sizes[odd].sum() > _MOST_RECODED:
        raise FormatError(
            subject,
            f"{odd.sum()} of {len(odd)} chunks of {dataset.name!r} were stored without some of "
            "its filters",
            expected="the same filters for all chunks",
            todo="Repack the file, for example with nccopy.",
            code="file-filter-mask",
        )
    yield from fetch(content, places)
    import numcodecs

    size = math.prod(dataset.chunk_shape) * dataset.dtype.itemsize
    inline = {}
    for start, mask, place in zip(index.starts[odd], index.filter_masks[odd], places, strict=True):
        data: Any = decode_chunk(
            content.read(*place), _applied(dataset.codecs, int(mask)), size, subject
        )
        for codec in dataset.codecs:
            data = numcodecs.get_codec(dict(codec)).encode(data)
        inline[tuple(map(int, start // np.array(dataset.chunk_shape)))] = bytes(data)
    rest = ChunkIndex(
        index.starts[~odd], index.offsets[~odd], index.sizes[~odd], index.filter_masks[~odd]
    )
    return rest, inline


def _extended(values: np.ndarray, shape: tuple[int, ...], unwritten: Any) -> np.ndarray:
    """Fill the steps that an unlimited dimension has and the variable was never written at."""
    full = np.full(shape, unwritten, values.dtype)
    full[tuple(slice(0, size) for size in values.shape)] = values
    return full
