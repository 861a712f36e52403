"""Combine one variable of many files into one Zarr array."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import FormatError
from ..model import Array, ChunkTable, FileReferences, Variable
from .chunks import cut, cut_shape, missing
from .runs import can_cut

_MOST_FILL = 32 * 2**20
"""The most encoded bytes of never-written chunks that are stored per array."""
_NO_CHUNKS = np.empty(0, np.int64)


def inline_array(variable: Variable, values: np.ndarray, attrs: Mapping[str, Any]) -> Array:
    """Make an array whose values are in the reference file itself, in one chunk."""
    shape = values.shape
    codecs: tuple[Mapping[str, Any], ...] = ()
    if values.dtype.kind == "O":
        import numcodecs

        codecs = ({"id": "vlen-utf8"},)
        data = bytes(numcodecs.VLenUTF8().encode(values.ravel()))
    else:
        data = np.ascontiguousarray(values).tobytes()
    return Array(
        name=variable.name,
        dims=variable.dims,
        shape=shape,
        chunk_shape=tuple(max(n, 1) for n in shape),
        dtype=values.dtype,
        fill_value=variable.fill_value,
        codecs=codecs,
        attrs=attrs,
        chunks=_table(len(shape)),
        file_index=_NO_CHUNKS,
        inline={(0,) * len(shape): data} if values.size else {},
    )


def referenced_array(
    parts: Sequence[tuple[int, FileReferences, Variable]],
    axis: int | None,
    step: int | None,
    attrs: Mapping[str, Any],
) -> Array:
    """Make an array of references to the chunks of several files.

    Args:
        parts: in order: the file's position in the series, the file, and its variable.
        axis: dimension along which the files follow each other; None keeps the variable of one file
            unchanged.
        step: chunk length along ``axis`` that suits all files.
        attrs: attributes of the array.

    Raises:
        FormatError: too many chunks were never written to store fill values for each.
    """
    first = parts[0][2]
    chunk_shape = _chunk_shape(first, axis, step)
    shape = list(first.shape)
    if axis is not None:
        shape[axis] = sum(variable.shape[axis] for _, _, variable in parts)
    tables = []
    owners = []
    inline = {}
    begin = 0
    for number, file, variable in parts:
        table = cut(
            variable.chunks, variable.chunk_shape, _own_cut(variable, chunk_shape), variable.shape
        )
        shift = np.zeros(len(shape), np.int64)
        if axis is not None:
            shift[axis] = begin // chunk_shape[axis]
            begin += variable.shape[axis]
        inline.update(_fills(variable, table, chunk_shape, shift, file.file.url))
        inline.update({tuple(map(int, key + shift)): data for key, data in variable.inline.items()})
        tables.append(ChunkTable(table.keys + shift, table.offsets, table.sizes))
        owners.append(np.full(len(table), number, np.int64))
    return Array(
        name=first.name,
        dims=first.dims,
        shape=tuple(shape),
        chunk_shape=tuple(max(n, 1) for n in chunk_shape),
        dtype=first.dtype,
        fill_value=first.fill_value,
        codecs=first.codecs,
        attrs=attrs,
        inline=dict(sorted(inline.items())),
        chunks=ChunkTable(
            keys=np.concatenate([table.keys for table in tables]),
            offsets=np.concatenate([table.offsets for table in tables]),
            sizes=np.concatenate([table.sizes for table in tables]),
        ),
        file_index=np.concatenate(owners),
    )


def _table(rank: int) -> ChunkTable:
    return ChunkTable(np.empty((0, rank), np.int64), _NO_CHUNKS, _NO_CHUNKS)


def _chunk_shape(variable: Variable, axis: int | None, step: int | None) -> tuple[int, ...]:
    """Return the shape of the array's chunks: as stored, or cut to ``step``, or cut further if a
    piece is very large.
    """
    shape = list(variable.chunk_shape)
    if axis is not None and step is not None:
        shape[axis] = step
    if can_cut(variable, 0):
        return cut_shape(tuple(shape), variable.dtype.itemsize)
    return tuple(shape)


def _own_cut(variable: Variable, chunk_shape: tuple[int, ...]) -> tuple[int, ...]:
    return variable.chunk_shape if variable.codecs else chunk_shape


def _fills(
    variable: Variable,
    table: ChunkTable,
    chunk_shape: tuple[int, ...],
    shift: np.ndarray,
    subject: str,
) -> dict[tuple[int, ...], bytes]:
    """Return fill values for chunks that were never written, unless the array's ``fill_value``
    states the same value (rule 21).
    """
    grid = tuple(-(-n // max(c, 1)) for n, c in zip(variable.shape, chunk_shape, strict=True))
    if math.prod(grid) == len(table) + len(variable.inline):
        return {}
    unwritten = np.asarray(variable.unwritten, variable.dtype)
    if (
        variable.fill_value is not None
        and np.asarray(variable.fill_value, variable.dtype).tobytes() == unwritten.tobytes()
    ):
        return {}
    import numcodecs

    data: Any = np.full(chunk_shape, unwritten, variable.dtype).tobytes()
    for codec in variable.codecs:
        data = numcodecs.get_codec(dict(codec)).encode(data)
    keys = np.concatenate(
        [table.keys, np.array(list(variable.inline), np.int64).reshape(-1, len(grid))]
    )
    absent = missing(keys, grid)
    if len(absent) * len(data) > _MOST_FILL:
        raise FormatError(
            subject,
            f"{len(absent)} chunks of {variable.name!r} were never written, and it has no "
            "_FillValue",
            expected="written data, or a _FillValue",
            todo="Add a _FillValue to the variable.",
            code="file-unwritten",
        )
    return {tuple(map(int, key + shift)): bytes(data) for key in absent}
