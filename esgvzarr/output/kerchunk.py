"""kerchunk references, version 1, as strict JSON, plain or zstd-compressed: what stock xarray and
kerchunk open.

Rules: kerchunk reference specification version 1 (fsspec/kerchunk docs, "References
    specification"); Zarr storage specification
version 2; xarray's ``_ARRAY_DIMENSIONS``. The bare tokens ``NaN`` and ``Infinity`` never occur:
only Python reads them.
"""

from __future__ import annotations

import base64
import io
import math
import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import Any, BinaryIO

import numpy as np
import orjson

from ..errors import FormatError
from ..model import Array, Group, ReferenceSet
from .document import PROVENANCE, START
from .recipe import with_recipe

_ZSTD = b"\x28\xb5\x2f\xfd"
_MOST_COMPRESSED = 1000
"""Times that zstd makes a document smaller: references about ten, repeated bytes 30,000."""
_ROOM = 64 * 2**20
"""Bytes of a document that may be compressed as far as it goes."""
_AT_ONCE = 100_000
"""Chunks whose references are in memory as text at a time."""


def write(
    references: ReferenceSet, file: BinaryIO, options: Mapping[str, Any] | None = None
) -> None:
    """Write the document, byte for byte the same for the same references.

    ``provenance`` stands beside ``refs``, as JSON text like ``.zattrs``: GDAL (3.12) takes every
    list in the file for a reference. The document is made directly, part by part: a dict of
    millions of small lists costs many times the memory and time.

    Args:
        references: what is written.
        file: where to.
        options: of fsspec's reference file system, without which readers do not open the output.
    """
    urls = [file.file.url for file in references.files]
    parts = chain(
        _listing(references.groups, options or {}),
        *(_group(group, urls, options or {}) for group in references.groups),
    )
    write_parts(parts, references.provenance, file)


def write_parts(parts: Iterable[bytes], provenance: Mapping[str, Any], file: BinaryIO) -> None:
    """Write a document of ``"key":value`` pairs and its provenance."""
    file.write(START)
    for number, part in enumerate(parts):
        file.write(b"," + part if number else part)
    file.write(PROVENANCE + orjson.dumps(_text(json_value(provenance))) + b"}")


def encode(references: ReferenceSet, options: Mapping[str, Any] | None = None) -> bytes:
    """The document as bytes."""
    text = io.BytesIO()
    write(references, text, options)
    return text.getvalue()


def same_references(a: bytes, b: bytes) -> bool:
    """Whether readers see the same in both: all but the provenance is equal, byte for byte."""
    end = a.rfind(PROVENANCE)
    return end > 0 and end == b.rfind(PROVENANCE) and memoryview(a)[:end] == memoryview(b)[:end]


def provenance(document: bytes | mmap.mmap) -> dict[str, Any]:
    """What a document of ``encode`` says of the files that it was made from."""
    begin = document.rfind(PROVENANCE) + len(PROVENANCE)
    return dict(orjson.loads(orjson.loads(document[begin:-1])))


def compress(document: bytes) -> bytes:
    """One zstd frame, which says its size. Level 10: 19 takes twenty times as long for half the
    bytes.
    """
    import zstandard

    return bytes(zstandard.ZstdCompressor(level=10).compress(document))


def read(data: bytes, limit: int = 2**40) -> bytes:
    """A reference file's JSON, compressed or not.

    Raises:
        ValueError: damaged, or more than ``limit`` bytes.
    """
    if not data.startswith(_ZSTD):
        return data
    import zstandard

    limit = min(limit, max(_ROOM, _MOST_COMPRESSED * len(data)))
    text = io.BytesIO()
    try:
        for part in zstandard.ZstdDecompressor().read_to_iter(data):
            if text.tell() + len(part) > limit:
                raise ValueError(f"more than {limit} bytes")
            text.write(part)
    except zstandard.ZstdError as error:
        raise ValueError(f"damaged: {error}") from error
    return text.getvalue()


def _group(group: Group, urls: list[str], options: Mapping[str, Any]) -> Iterator[bytes]:
    """``"key":value`` pairs of JSON, comma-separated; several to a part."""
    prefix = f"{group.path}/" if group.path else ""
    for key, value in metadata(group, options):
        yield pair(key, _text(value))
    for array in group.arrays:
        yield from array_parts(array, f"{prefix}{array.name}", urls)


def array_parts(
    array: Array, path: str, urls: Sequence[str], zarr_format: int = 2
) -> Iterator[bytes]:
    """The pairs of an array's chunks, as JSON.

    Args:
        array: whose chunks.
        path: what their keys begin with.
        urls: of the files, by the numbers in ``array.file_index``.
        zarr_format: version of Zarr that the keys are of.
    """
    separator = "." if zarr_format == 2 else "/"
    for place, data in array.inline.items():
        name = separator.join(map(str, place)) or ("0" if zarr_format == 2 else "")
        key = f"{path}/{name}" if name else path
        yield pair(key, "base64:" + base64.b64encode(data).decode())
    if array.dims:
        places = f"/{separator.join(['%d'] * len(array.dims))}"
    else:
        places = "/0" if zarr_format == 2 else ""
    yield from _chunks(array, path, urls, places)


def metadata(group: Group, options: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The keys of Zarr's metadata of a group and its arrays, with what they hold."""
    prefix = f"{group.path}/" if group.path else ""
    yield f"{prefix}.zgroup", {"zarr_format": 2}
    yield f"{prefix}.zattrs", json_value(with_recipe(group.attrs, options))
    for array in group.arrays:
        yield f"{prefix}{array.name}/.zarray", zarray(array)
        yield (
            f"{prefix}{array.name}/.zattrs",
            {**attributes(array), "_ARRAY_DIMENSIONS": list(array.dims)},
        )


def _listing(groups: Sequence[Group], options: Mapping[str, Any]) -> Iterator[bytes]:
    """What lets zarr-python 3 list the groups below the root, where there are any.

    Its store asks the reference file system what is in ``//<group>``, where the keys say
    ``<group>``, and finds nothing (as of 3.1.6). With ``.zmetadata`` it need not ask, which serves
    ``xarray.open_datatree`` and the engine ``zarr``. The engine ``kerchunk`` does not look there;
    for it each name below the root stands once more behind two strokes, with no value.
    """
    if len(groups) > 1:
        described = dict(chain.from_iterable(metadata(group, options) for group in groups))
        yield pair(".zmetadata", _text({"zarr_consolidated_format": 1, "metadata": described}))
        below = dict.fromkeys(key.rpartition("/")[0] for key in described)
        yield from (pair(f"//{path}", "") for path in below if "/" in path)


def pair(key: str, value: str) -> bytes:
    """One key and its text, as JSON has them."""
    return orjson.dumps(key) + b":" + orjson.dumps(value)


def _chunks(array: Array, path: str, urls: Sequence[str], places: str) -> Iterator[bytes]:
    """The references to the chunks of one file after the other. A scalar's only chunk has the key
    ``0``.
    """
    breaks = [0, *(np.flatnonzero(np.diff(array.file_index)) + 1).tolist(), len(array.chunks)]
    for first, last in pairwise(breaks):
        if last == first:
            continue
        key = orjson.dumps(path).decode()[1:-1].replace("%", "%%")
        url = orjson.dumps(urls[int(array.file_index[first])]).decode().replace("%", "%%")
        line = f'"{key}{places}":[{url},%d,%d]'
        for begin in range(first, last, _AT_ONCE):
            end = min(begin + _AT_ONCE, last)
            table = np.column_stack(
                [
                    array.chunks.keys[begin:end],
                    array.chunks.offsets[begin:end],
                    array.chunks.sizes[begin:end],
                ]
            )
            yield ",".join([line % tuple(row) for row in table.tolist()]).encode()


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def zarray(array: Array) -> dict[str, Any]:
    """The ``.zarray`` metadata. ``fill_value`` is null unless the files have ``_FillValue``, for
    which xarray takes it (rule 20).

    All codecs are filters, as kerchunk has them: VirtualiZarr 2.5 cannot read a compressor beside
        them.
    """
    codecs = [dict(codec) for codec in array.codecs]
    return {
        "zarr_format": 2,
        "shape": list(array.shape),
        "chunks": list(array.chunk_shape),
        "dtype": array.dtype.str,
        "order": "C",
        "compressor": None,
        "filters": codecs or None,
        "fill_value": _fill_value(array),
    }


def _fill_value(array: Array) -> Any:
    if array.fill_value is None:
        return None
    if array.dtype.kind == "O":
        return str(array.fill_value)
    if array.dtype.kind == "S":
        raw = (
            array.fill_value.encode()
            if isinstance(array.fill_value, str)
            else bytes(array.fill_value)
        )
        return base64.b64encode(raw.ljust(array.dtype.itemsize, b"\0")).decode()
    return json_value(np.asarray(array.fill_value).astype(array.dtype)[()])


def attributes(array: Array) -> dict[str, Any]:
    """The array's attributes. A missing_value of NaN says nothing of floating point data, and JSON
    has no word for it.

    Raises:
        FormatError: an attribute that readers decode by is not finite, which JSON cannot say.
    """
    attrs = dict(array.attrs)
    for name in ("scale_factor", "add_offset", "missing_value"):
        if (
            name in attrs
            and not isinstance(attrs[name], str)
            and not np.isfinite(np.asarray(attrs[name], np.float64)).all()
        ):
            if name != "missing_value" or array.dtype.kind != "f":
                raise FormatError(
                    array.name,
                    f"has {name} = {attrs[name]}",
                    expected="a finite number",
                    code="file-packing-invalid",
                )
            del attrs[name]
    return {name: json_value(value) for name, value in attrs.items()}


def json_value(value: Any) -> Any:
    """NumPy and nested values as strict JSON has them; numbers that it has no word for as text."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return json_value(value.tolist())
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, float) and not math.isfinite(value):
        words = {math.inf: "Infinity", -math.inf: "-Infinity"}
        return words.get(value, "NaN")
    return value
