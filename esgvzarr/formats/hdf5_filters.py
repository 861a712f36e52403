"""HDF5 filters as codecs of numcodecs, which readers of references use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from ..errors import FormatError
from .hdf5_attributes import text_of

Codecs = tuple[Mapping[str, Any], ...]
"""numcodecs configurations, in the order in which the filters were applied."""
_SHUFFLE = 2
_FLETCHER32 = 3
_BLOSC = 32001
_COMPRESSORS = {1: "zlib", 307: "bz2", 32015: "zstd"}
_BLOSC_COMPRESSORS = {0: "blosclz", 1: "lz4", 2: "lz4hc", 4: "zlib", 5: "zstd"}
"""Name of the compressor by the number in the filter's seventh parameter. numcodecs lacks Snappy
(3).
"""
KNOWN = {_SHUFFLE, _FLETCHER32, _BLOSC, *_COMPRESSORS}
"""Numbers of the HDF5 filters for which readers have decoders."""
_OF_LIBRARY = 256
"""libhdf5 itself has the filters with smaller numbers; netCDF-C decodes them too."""


def filters_of(creation: h5py.h5p.PropDCID) -> list[int]:
    """Return the numbers of a dataset's filters, in the order in which they were applied."""
    return [creation.get_filter(number)[0] for number in range(creation.get_nfilters())]


def library_decodes(creation: h5py.h5p.PropDCID) -> bool:
    """Whether libhdf5 itself can decode the dataset."""
    return all(code < _OF_LIBRARY and h5py.h5z.filter_avail(code) for code in filters_of(creation))


def readable_codecs(
    creation: h5py.h5p.PropDCID, dtype: np.dtype[Any], name: str, subject: str
) -> Codecs:
    """Return the codecs of a dataset, all of which readers can decode.

    Args:
        creation: the dataset's creation property list.
        dtype: type of its elements.
        name: name of the dataset, for messages.
        subject: the file's URL or path, for messages.

    Raises:
        FormatError: ``filter-unsupported``; readers cannot decode the dataset.
    """
    codecs = codecs_of(creation, dtype.itemsize, name, subject)
    _check_order(codecs, math.prod(creation.get_chunk()) * dtype.itemsize, name, subject)
    return codecs


def codecs_of(creation: h5py.h5p.PropDCID, itemsize: int, name: str, subject: str) -> Codecs:
    """Return the codecs of a dataset, in the order of the file, which readers may not support.

    Args:
        creation: the dataset's creation property list.
        itemsize: bytes of one element.
        name: name of the dataset, for messages.
        subject: the file's URL or path, for messages.

    Raises:
        FormatError: ``filter-unsupported``; readers have no decoder for one of the filters.
    """
    codecs: list[Mapping[str, Any]] = []
    for number in range(creation.get_nfilters()):
        code, _, values, label = creation.get_filter(number)
        codec = _codec(code, tuple(map(int, values)), itemsize)
        if codec is None:
            raise FormatError(
                subject,
                f"{name!r} is packed with HDF5 filter {code} ({text_of(label) or 'unnamed'})",
                expected="shuffle, fletcher32, zlib, bzip2, zstd or Blosc",
                todo="Readers of references have no decoder for it: repack the file.",
                code="filter-unsupported",
            )
        codecs.append(codec)
    return tuple(codecs)


def _codec(code: int, values: tuple[int, ...], itemsize: int) -> Mapping[str, Any] | None:
    """Return the numcodecs configuration of one filter; None if readers have no decoder for it."""
    if code == _SHUFFLE:
        return {"id": "shuffle", "elementsize": values[0] if values else itemsize}
    if code == _FLETCHER32:
        return {"id": "fletcher32"}
    if code in _COMPRESSORS:
        return {"id": _COMPRESSORS[code], "level": values[0] if values else 1}
    if code == _BLOSC:
        return _blosc(values)
    return None


def _blosc(values: tuple[int, ...]) -> Mapping[str, Any] | None:
    """Return the numcodecs configuration of the Blosc filter.

    Rule: parameters of the HDF5 filter of Blosc: level, shuffle and compressor are the fifth to the
    seventh. Each chunk states itself how it is decoded.
    """
    stated = dict(zip(("level", "shuffle", "compressor"), values[4:7], strict=False))
    compressor = stated.get("compressor", 0)
    if compressor not in _BLOSC_COMPRESSORS:
        return None
    return {
        "id": "blosc",
        "cname": _BLOSC_COMPRESSORS[compressor],
        "clevel": stated.get("level", 5),
        "shuffle": stated.get("shuffle", 1),
        "blocksize": 0,
    }


def _check_order(
    codecs: Sequence[Mapping[str, Any]], chunk_bytes: int, name: str, subject: str
) -> None:
    """Refuse shuffle after a checksum that makes a chunk a few bytes longer: readers' decoders
    require whole elements.
    """
    length: int | None = chunk_bytes
    for codec in codecs:
        if codec["id"] == "shuffle" and (length is None or length % codec["elementsize"]):
            raise FormatError(
                subject,
                f"{name!r} is shuffled after {codecs[0]['id']}, which makes its chunks "
                "longer by a part of an element",
                expected="shuffle as the first filter",
                todo="Readers of references cannot decode it: repack the file.",
                code="filter-unsupported",
            )
        if length is not None and codec["id"] != "shuffle":
            length = length + 4 if codec["id"] == "fletcher32" else None
