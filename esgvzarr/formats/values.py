"""Read the small variables of scanned files: all that must be compared between files, or is to be inlined."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numcodecs
import numpy as np

from .. import cf
from ..errors import FormatError
from ..model import FileReferences, Variable
from ..transport import COALESCE_GAP

SMALL = 64 * 1024
"""Bytes per file. A variable up to this size is read, and inlined if it fits with those of the other files."""
FEW_READS = 64
"""Requests per file. What is spread wider over the file, such as bounds stored step by step, stays a reference."""


def wanted(files: Sequence[FileReferences]) -> list[set[str]]:
    """For each file, the variables whose values are needed.

    Time always, and its bounds where units differ between the files; coordinates of one dimension; what is small and not data; and
    where there are several files all that does not change with time, because it has to be equal in all of them.
    """
    times = [cf.time_name(file.variables) for file in files]
    units = {str(f.variables[t].attrs.get("units")) for f, t in zip(files, times, strict=True) if t is not None}
    names = []
    for file, time in zip(files, times, strict=True):
        companions = cf.time_companions(file.variables, time) if time else ()
        needed = {name for name, variable in file.variables.items() if variable.dims == (name,)}
        needed |= set(companions) if len(units) > 1 else set()
        others = file.variables.keys() - cf.data_names(file.variables, time) - needed
        needed |= {name for name in others if len(files) > 1 and time not in file.variables[name].dims}
        names.append(needed | {name for name in others if _bytes(file.variables[name]) <= SMALL and _reads(file.variables[name]) <= FEW_READS})
    return names


def _reads(variable: Variable) -> int:
    """Requests that reading the variable costs, when near chunks are fetched together."""
    if not len(variable.chunks):
        return 0
    order = np.argsort(variable.chunks.offsets)
    ends = variable.chunks.offsets[order] + variable.chunks.sizes[order]
    return 1 + int((variable.chunks.offsets[order][1:] - ends[:-1] > COALESCE_GAP).sum())


def _bytes(variable: Variable) -> int:
    return int(np.prod(variable.shape, dtype=np.int64)) * variable.dtype.itemsize


def places(variable: Variable) -> list[tuple[int, int]]:
    """(start, stop) of the bytes that hold the values of a variable."""
    if variable.values is not None:
        return []
    return [(int(start), int(start + size)) for start, size in zip(variable.chunks.offsets, variable.chunks.sizes, strict=True)]


def fill_in(file: FileReferences, stored: Mapping[str, Sequence[bytes]]) -> FileReferences:
    """The file with the values of the variables whose ``stored`` chunks are given, in the order of ``places``.

    Raises:
        FormatError: a chunk does not decode.
    """
    variables = dict(file.variables)
    for name, chunks in stored.items():
        if variables[name].values is None:
            variables[name] = replace(variables[name], values=decode(variables[name], chunks, file.file.url))
    return replace(file, variables=variables)


def decode(variable: Variable, stored: Sequence[bytes], subject: str) -> np.ndarray:
    """The values of a whole variable, as stored numbers, from its chunks; what was never written is its fill."""
    values = np.full(variable.shape, variable.unwritten, variable.dtype)
    codecs = [numcodecs.get_codec(dict(codec)) for codec in reversed(variable.codecs)]
    pieces = [*zip(map(tuple, variable.chunks.keys), stored, strict=True), *variable.inline.items()]
    for key, data in pieces:
        block = _decode_chunk(data, codecs, variable, subject)
        region = tuple(slice(k * c, min((k + 1) * c, n)) for k, c, n in zip(key, variable.chunk_shape, variable.shape, strict=True))
        values[region] = block[tuple(slice(0, part.stop - part.start) for part in region)]
    return values


def _decode_chunk(data: Any, codecs: Sequence[Any], variable: Variable, subject: str) -> np.ndarray:
    try:
        for codec in codecs:
            data = codec.decode(data)
        return np.frombuffer(data, variable.dtype).reshape(variable.chunk_shape)
    except (ValueError, RuntimeError, OSError, EOFError, zlib.error) as error:
        raise FormatError(
            subject, f"a chunk of {variable.name!r} does not decode: {error}",
            todo="Compare the file's checksum with the record's.", code="file-unreadable",
        ) from error  # fmt: skip
