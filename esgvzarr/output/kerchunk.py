"""Write kerchunk references, version 1, as strict JSON, plain or zstd-compressed, for stock xarray
and kerchunk.

Rules: kerchunk reference specification version 1 (fsspec/kerchunk docs, "References
specification"); Zarr storage specification version 2; xarray's ``_ARRAY_DIMENSIONS``. The bare
tokens ``NaN`` and ``Infinity`` are never written: only Python reads them.
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
"""The highest compression ratio that is accepted: references compress about 10 times, repeated
bytes 30,000 times.
"""
_ROOM = 64 * 2**20
"""Documents of up to this many bytes may exceed that ratio."""
_AT_ONCE = 100_000
"""Number of chunks whose references are in memory as text at a time."""


def write(
    references: ReferenceSet, file: BinaryIO, options: Mapping[str, Any] | None = None
) -> None:
    """Write the document; equal references give equal bytes.

    ``provenance`` stands beside ``refs``, as JSON text like ``.zattrs``: GDAL (3.12) takes every
    list in the file for a reference. The document is written directly, part by part: a dict of
    millions of small lists takes many times the memory and time.

    Args:
        references: the references to write.
        file: the file to write to.
        options: options of fsspec's reference file system that readers need to open the output.
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
    """Return the document as bytes."""
    text = io.BytesIO()
    write(references, text, options)
    return text.getvalue()


def same_references(a: bytes, b: bytes) -> bool:
    """Whether readers see the same in both documents: everything except the provenance is equal,
    byte for byte.
    """
    end = a.rfind(PROVENANCE)
    return end > 0 and end == b.rfind(PROVENANCE) and memoryview(a)[:end] == memoryview(b)[:end]


def provenance(document: bytes | mmap.mmap) -> dict[str, Any]:
    """Return what a document by ``encode`` states about the files that it was made from."""
    begin = document.rfind(PROVENANCE) + len(PROVENANCE)
    return dict(orjson.loads(orjson.loads(document[begin:-1])))


def compress(document: bytes) -> bytes:
    """Compress a document into one zstd frame, which states its size. Level 10: level 19 takes
    twenty times as long for half the bytes.
    """
    import zstandard

    return bytes(zstandard.ZstdCompressor(level=10).compress(document))


def read(data: bytes, limit: int = 2**40) -> bytes:
    """Return the JSON of a reference file, compressed or not.

    Raises:
        ValueError: the file is damaged, or decompresses to more than ``limit`` bytes.
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
    """Yield ``"key":value`` pairs of JSON, comma-separated; several to a part."""
    prefix = f"{group.path}/" if group.path else ""
    for key, value in metadata(group, options):
        yield pair(key, _text(value))
    for array in group.arrays:
        yield from array_parts(array, f"{prefix}{array.name}", urls)


def array_parts(
    array: Array, path: str, urls: Sequence[str], zarr_format: int = 2
) -> Iterator[bytes]:
    """Yield the pairs of an array's chunks, as JSON.

    Args:
        array: the array.
        path: beginning of the keys.
        urls: URLs of the files, by the numbers in ``array.file_index``.
        zarr_format: version of Zarr of the keys.
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
    """Yield the keys of Zarr's metadata of a group and its arrays, with their values."""
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
    """Yield entries that let zarr-python 3 list the groups below the root, if there are any.

    Its store asks the reference file system for the content of ``//<group>``, although the keys
    begin with ``<group>``, and finds nothing (as of 3.1.6). With ``.zmetadata`` it need not ask;
    that serves ``xarray.open_datatree`` and the engine ``zarr``. The engine ``kerchunk`` does not
    read it; for this engine each name below the root is repeated after two slashes, without a
    value.
    """
    if len(groups) > 1:
        described = dict(chain.from_iterable(metadata(group, options) for group in groups))
        yield pair(".zmetadata", _text({"zarr_consolidated_format": 1, "metadata": described}))
        below = dict.fromkeys(key.rpartition("/")[0] for key in described)
        yield from (pair(f"//{path}", "") for path in below if "/" in path)


def pair(key: str, value: str) -> bytes:
    """Return one key and its text, as JSON."""
    return orjson.dumps(key) + b":" + orjson.dumps(value)


def _chunks(array: Array, path: str, urls: Sequence[str], places: str) -> Iterator[bytes]:
    """Yield the references to the chunks, one file after the other. A scalar's only chunk has the
    key ``0``.
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
            # Python formats all lines at once in half the time of line after line.
            lines = ",".join([line] * len(table))
            yield (lines % tuple(table.ravel().tolist())).encode()


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def zarray(array: Array) -> dict[str, Any]:
    """Return the ``.zarray`` metadata. ``fill_value`` is null unless the files have ``_FillValue``,
    because xarray would treat it as one (rule 20).

    All codecs are filters, as in kerchunk: VirtualiZarr 2.5 cannot read a compressor beside them.
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
    """Return the array's attributes. A missing_value of NaN is dropped: it has no effect on
    floating-point data, and JSON cannot state it.

    Raises:
        FormatError: an attribute that readers decode with is not finite, which JSON cannot state.
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
    """Convert NumPy and nested values to strict JSON; numbers that are not finite become text."""
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
