"""Read values of an HDF5 file that are copied because no byte range can be referenced, and find
what readers get where nothing was written.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from ..errors import FormatError
from .hdf5_filters import KNOWN, codecs_of, filters_of
from .values import decode_chunk

_MOST_STRINGS = 1_000_000


def is_character(kind: h5py.h5t.TypeStringID) -> bool:
    """Whether netCDF-C reads a text type as characters: it does so for text of one byte, and reads
    other fixed lengths as strings.
    """
    return not kind.is_variable_str() and kind.get_size() == 1


def unwritten_value(node: h5py.Dataset, creation: h5py.h5p.PropDCID, dtype: np.dtype[Any]) -> Any:
    """Return the value that HDF5, and so netCDF, reads where nothing was ever written."""
    if dtype.kind == "O":
        return ""
    # HDF5 stores the character set in the type.
    stored = node.dtype if dtype.kind == "S" else dtype
    fill = np.zeros((), stored)
    if creation.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
        creation.get_fill_value(fill)
    return np.asarray(fill, dtype)[()]


def is_filled(creation: h5py.h5p.PropDCID) -> bool:
    """Whether HDF5 writes the fill value wherever nothing else is written."""
    defined = creation.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    return bool(defined and creation.get_fill_time() != h5py.h5d.FILL_TIME_NEVER)


def check_count(name: str, shape: Sequence[int], subject: str) -> None:
    """Refuse more values than any real file has to copy into references.

    Raises:
        FormatError: ``file-type-unsupported``.
    """
    if math.prod(shape) > _MOST_STRINGS:
        raise FormatError(
            subject,
            f"{name!r} has {math.prod(shape)} strings of variable length, or compact values",
            expected=f"at most {_MOST_STRINGS}",
            todo="They can only be copied into the references: store them as characters, or in "
            "fewer elements.",
            code="file-type-unsupported",
        )


def inline_values(node: h5py.Dataset, dtype: np.dtype[Any], subject: str) -> np.ndarray:
    """Return the values as netCDF shows them."""
    check_count(node.name, node.shape, subject)
    if node.chunks is not None:
        _check_chunks(node, subject)
    kind = node.id.get_type()
    if dtype.kind == "O" and not kind.is_variable_str():
        return _fixed_strings(node, kind)
    if dtype.kind == "O":
        return np.asarray(node.asstr(errors="replace")[()], object)
    return np.asarray(node[()], dtype)


def _fixed_strings(node: h5py.Dataset, kind: h5py.h5t.TypeStringID) -> np.ndarray:
    """Return strings of fixed length as netCDF-C shows them: blanks are kept, and a NUL ends the
    string.
    """
    stored = np.empty(node.shape, f"S{kind.get_size()}")
    node.id.read(h5py.h5s.ALL, h5py.h5s.ALL, stored, kind)
    texts = np.empty(node.shape, object)
    for place in np.ndindex(node.shape):
        text = bytes(stored[place])
        texts[place] = text.split(b"\0")[0].decode("utf-8", "replace")
    return texts


def _check_chunks(node: h5py.Dataset, subject: str) -> None:
    """Decompress each chunk within the size that its shape states, because libhdf5 has no such
    limit.

    Chunks with a filter that is unknown here are left to libhdf5 and to the memory limit of the
    process.
    """
    check_count(node.name, node.chunks, subject)
    creation = node.id.get_create_plist()
    filters = filters_of(creation)
    if not filters or not set(filters) <= KNOWN:
        return
    itemsize = _stored_bytes(node)
    codecs = codecs_of(creation, itemsize, node.name, subject)
    size = math.prod(node.chunks) * itemsize
    for number in range(node.id.get_num_chunks()):
        start = node.id.get_chunk_info(number).chunk_offset
        mask, data = node.id.read_direct_chunk(start)
        applied = [codec for place, codec in enumerate(codecs) if not mask >> place & 1]
        decode_chunk(data, applied, size, f"{subject}, {node.name!r}")


def _stored_bytes(node: h5py.Dataset) -> int:
    """Return the bytes of one element in a chunk.

    For a string of variable length these are its length, the address of its heap, and its number
    there; HDF5's own size of the type is the size in memory.
    """
    kind = node.id.get_type()
    if not (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()):
        return int(kind.get_size())
    address, _ = node.file.id.get_create_plist().get_sizes()
    return 4 + int(address) + 4
