"""The filters of an HDF5 dataset, as the codecs that readers undo them with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from ..errors import FormatError
from .hdf5_attributes import text_of

FILTERS = {1: "zlib", 2: "shuffle", 3: "fletcher32", 307: "bz2", 32015: "zstd"}
"""HDF5 filter number -> numcodecs name, for the filters that readers have decoders for."""
Codecs = tuple[Mapping[str, Any], ...]
"""numcodecs configurations, in the order in which the filters were applied."""


def codecs_of(creation: h5py.h5p.PropDCID, dtype: np.dtype[Any], name: str, subject: str) -> Codecs:
    """The codecs of a dataset, in the order in which its filters were applied.

    Raises:
        FormatError: readers have no decoder for a filter, or none for this order.
    """
    codecs: list[Mapping[str, Any]] = []
    for number in range(creation.get_nfilters()):
        code, _, values, label = creation.get_filter(number)
        match FILTERS.get(code):
            case "shuffle":
                codecs.append(
                    {"id": "shuffle", "elementsize": int(values[0]) if values else dtype.itemsize}
                )
            case "fletcher32":
                codecs.append({"id": "fletcher32"})
            case ("zlib" | "bz2" | "zstd") as known:
                codecs.append({"id": known, "level": int(values[0]) if values else 1})
            case _:
                raise FormatError(
                    subject,
                    f"{name!r} is packed with HDF5 filter {code} ({text_of(label) or 'unnamed'})",
                    expected=f"one of {', '.join(FILTERS.values())}",
                    todo="Readers of references have no decoder for it: repack the file.",
                    code="filter-unsupported",
                )
    _check_order(codecs, math.prod(creation.get_chunk()) * dtype.itemsize, name, subject)
    return tuple(codecs)


def _check_order(
    codecs: Sequence[Mapping[str, Any]], chunk_bytes: int, name: str, subject: str
) -> None:
    """HDF5 shuffles what a checksum before it has made a few bytes longer; the decoders of readers
    want whole elements.
    """
    length: int | None = chunk_bytes
    for codec in codecs:
        if codec["id"] == "shuffle" and (length is None or length % codec["elementsize"]):
            raise FormatError(
                subject,
                f"{name!r} is shuffled after {codecs[0]['id']}, in chunks that are no whole "
                "number of elements then",
                expected="shuffle as the first filter",
                todo="Readers of references cannot undo it: repack the file.",
                code="filter-unsupported",
            )
        if length is not None and codec["id"] != "shuffle":
            length = length + 4 if codec["id"] == "fletcher32" else None
