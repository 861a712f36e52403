"""Read a kerchunk JSON document into tables, whatever tool wrote it. No code in the document is
run.
"""

from __future__ import annotations

import math
import mmap
import re
import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson

from ..errors import ProofError
from .contents import Contents, ContentsBuilder

START = b'{"version":1,"refs":{'
PROVENANCE = b'},"provenance":'
"""The text around the references in a document that esgvzarr wrote."""
_METADATA = re.compile(r"(\.zgroup|\.zmetadata|\.zarray|zarr\.json)\Z")
"""Keys that references must have, one of them."""
_TEMPLATE = re.compile(r"\{\{(\w+)\}\}")
_LARGEST_COORDINATE = 2**30
"""The most bytes along one dimension: 134 million times."""
_DTYPES = {"string": "O", "variable_length_utf8": "O", "bool": "?"}
"""Types of Zarr version 3 that have another name in NumPy."""
_CODECS_THAT_RUN = ("pickle",)
_OBJECTS = 64 * 2**20
"""The bytes assumed for a chunk of objects, whose size metadata do not state."""
_BLOCK = 8 * 2**20
"""Bytes of a document by esgvzarr that are parsed at a time: as Python objects they take ten times
as many.
"""
_CUT = re.compile(rb'\],(?="[^"\\]*":\[)')
"""The end of one reference, and the beginning of another. A cut at a wrong place gives a block that
is not JSON.
"""


def parse(document: bytes, subject: str) -> dict[str, Any]:
    """Return the document as a dict of version 1, with its templates filled in: what readers see.

    Raises:
        ProofError: the document is not strict JSON or holds no kerchunk references, or its
            references would run code or fill a reader's memory.
    """
    parsed = _loaded(document, subject)
    versioned = isinstance(parsed, dict) and parsed.get("version") == 1
    around = parsed if versioned else {}
    refs = parsed.get("refs") if versioned else parsed
    if not isinstance(refs, dict) or not any(map(_METADATA.search, refs)):
        raise _no_references(subject, "holds no references")
    plain = _Plain(subject, around.get("templates") or {})
    if around.get("gen"):
        raise _no_references(
            subject, "holds `gen`, which readers ignore unless they are told to run templates"
        )
    shown = {key: plain.value(key, value) for key, value in refs.items()}
    check_sizes(shown, subject)
    return {
        "version": 1,
        "refs": shown,
        "provenance": around.get("provenance") if versioned else {},
    }


def _loaded(document: bytes, subject: str) -> Any:
    """Return the document from JSON, with its provenance, which esgvzarr writes as a text."""
    try:
        parsed = orjson.loads(document)
        if isinstance(parsed, dict) and isinstance(parsed.get("provenance"), str):
            parsed["provenance"] = orjson.loads(parsed["provenance"])
    except orjson.JSONDecodeError as error:
        raise _no_json(subject, error) from error
    return parsed


def contents_of(parsed: Mapping[str, Any], zarr_format: int = 2, own_file: str = "") -> Contents:
    """Return the tables of a parsed document. The arguments are those of `ContentsBuilder`."""
    builder = ContentsBuilder(zarr_format, own_file)
    builder.add(parsed["refs"])
    return builder.finish(parsed["provenance"])


def read_own(document: Any, subject: str, zarr_format: int = 2, own_file: str = "") -> Contents:
    """Return the tables of a document that esgvzarr wrote, parsed block by block.

    Args:
        document: bytes, or a memory map of the file.
        subject: the document, for messages.
        zarr_format: version of Zarr of its keys.
        own_file: URL of a file that is part of the output: its chunks count as held by the output.

    Raises:
        ProofError: esgvzarr did not write this document, or it states a chunk twice.
    """
    end = document.rfind(PROVENANCE)
    if document[: len(START)] != START or end < 0:
        raise _no_references(subject, "does not begin and end as documents by esgvzarr do")
    builder = ContentsBuilder(zarr_format, own_file)
    try:
        for block in _blocks(document, len(START), end):
            builder.add(orjson.loads(block))
        provenance = orjson.loads(orjson.loads(document[end + len(PROVENANCE) : -1]))
    except orjson.JSONDecodeError as error:
        raise _no_json(subject, error) from error
    twice = next(builder.duplicates(), None)
    if twice is not None:
        raise _no_references(subject, f"states a chunk of {twice!r} twice")
    contents = builder.finish(provenance)
    check_sizes(contents.metadata, subject)
    return contents


def _blocks(document: Any, start: int, end: int) -> Iterator[bytes]:
    """Yield the references between two places, as JSON objects of some megabytes."""
    while start < end:
        stop = end
        if start + _BLOCK < end:
            cut = _CUT.search(document, start + _BLOCK, end)
            stop = cut.start() + 1 if cut else end
        yield b"{" + document[start:stop] + b"}"
        start = stop + 1
        if isinstance(document, mmap.mmap):  # Mapped pages count as memory of this process.
            document.madvise(mmap.MADV_DONTNEED, 0, start - start % mmap.PAGESIZE)


def _is_reference(value: Any) -> bool:
    """Whether a value is a URL, or a URL with the first byte and the number of bytes."""
    if not isinstance(value, list) or len(value) not in (1, 3) or not isinstance(value[0], str):
        return False
    return all(type(number) is int and 0 <= number < 2**62 for number in value[1:])


class _Plain:
    """Reads references, and fills in their templates."""

    def __init__(self, subject: str, templates: Any) -> None:
        valid = isinstance(templates, dict) and all(
            isinstance(text, str) and "{" not in text for text in templates.values()
        )
        if not valid:
            raise _no_references(
                subject, "holds templates that are programs, or that are not texts"
            )
        self._subject = subject
        self._templates = templates
        self._urls = dict[str, str]()

    def value(self, key: str, value: Any) -> Any:
        """Return what a reader finds under a key: a text, or a URL and place."""
        if isinstance(value, str):
            return value
        if isinstance(value, dict):
            return orjson.dumps(value).decode()
        if not _is_reference(value):
            raise _no_references(f"{self._subject}, {key}", f"is {reprlib.repr(value)}")
        if not self._templates:
            return value
        url, *place = value
        return [self._urls.get(url) or self._filled_in(url), *place]

    def _filled_in(self, url: str) -> str:
        """Replace templates by name only: readers would run ``str.format``, or a template language,
        on them.
        """
        filled = url
        if "{{" in url:
            filled = _TEMPLATE.sub(lambda found: self._templates.get(found[1], "{"), url)
            if "{" in filled or "}" in filled:
                raise _no_references(self._subject, f"holds the template {reprlib.repr(url)}")
        return self._urls.setdefault(url, filled)


def check_sizes(metadata: Mapping[str, Any], subject: str) -> None:
    """Check that the description of an array does not by itself fill a reader's memory.

    Raises:
        ProofError: it would, or it describes no array.
    """
    for key, text in metadata.items():
        if key.endswith(".zarray"):
            _check_size(text, f"{subject}, {key}")
        elif key.endswith("zarr.json"):
            described = _version_2(text, f"{subject}, {key}")
            if described is not None:
                _check_size(orjson.dumps(described), f"{subject}, {key}")


def _check_size(text: Any, subject: str) -> None:
    """Check the size along one dimension. An array of one dimension is read whole when it is
    opened, so its ``.zarray`` alone could fill the memory.
    """
    try:
        described = orjson.loads(text)
        shape = described["shape"]
        size = np.dtype(described["dtype"]).itemsize
        size *= shape[0] if len(shape) == 1 else 1
        _check_codecs(described, subject)
        _chunk_bytes(described)
    except (ValueError, KeyError, TypeError, IndexError, SyntaxError) as error:
        raise _no_references(subject, f"describes no array: {type(error).__name__}") from error
    if not isinstance(size, int) or size > _LARGEST_COORDINATE:
        raise _no_references(subject, f"describes an array of {size} bytes along one dimension")


def largest_chunk(metadata: Mapping[str, str]) -> int:
    """Return the bytes of the largest decoded chunk that metadata describe."""
    largest = 0
    for key, text in metadata.items():
        described = None
        if key.endswith(".zarray"):
            described = orjson.loads(text)
        elif key.endswith("zarr.json"):
            described = _version_2(text, key)
        if described is not None:
            largest = max(largest, _chunk_bytes(described))
    return largest


def _version_2(text: str, subject: str) -> dict[str, Any] | None:
    """Translate metadata of Zarr version 3 into those of version 2; None for groups.

    Raises:
        ProofError: the metadata describe no array that is known here.
    """
    try:
        described = orjson.loads(text)
        if described["node_type"] != "array":
            return None
        if "dtype" in described:  # As much as an Icechunk repository states.
            return dict(described)
        grid = described["chunk_grid"]["configuration"]
        if "chunk_shape" in grid:
            chunks = grid["chunk_shape"]
        else:
            chunks = [_longest(one) for one in grid["chunk_shapes"]]
        codecs = [{"id": codec["name"].removeprefix("numcodecs.")} for codec in described["codecs"]]
        return {
            "shape": described["shape"],
            "chunks": chunks,
            "dtype": _dtype_of(described["data_type"]),
            "filters": codecs,
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_references(subject, f"describes no array: {type(error).__name__}") from error


def _dtype_of(data_type: Any) -> Any:
    """Return a data type of Zarr version 3 as NumPy's; text of single bytes has a length."""
    if isinstance(data_type, dict):
        letter = {"null_terminated_bytes": "S", "fixed_length_utf32": "U"}[data_type["name"]]
        width = {"S": 1, "U": 4}[letter]
        return f"{letter}{data_type['configuration']['length_bytes'] // width}"
    return _DTYPES.get(str(data_type), data_type)


def _longest(lengths: Any) -> int:
    """Return the longest chunk along one dimension, from one number, or from many, with equal ones
    as [length, count].
    """
    if isinstance(lengths, int):
        return lengths
    return max(int(one[0] if isinstance(one, list) else one) for one in lengths)


def _chunk_bytes(described: Mapping[str, Any]) -> int:
    dtype = np.dtype(described["dtype"])
    if dtype.kind == "O":
        return _OBJECTS
    return int(math.prod(described.get("chunks") or ()) * dtype.itemsize)


def _check_codecs(described: Mapping[str, Any], subject: str) -> None:
    """Refuse codecs that unpickle data: unpickling runs code."""
    for codec in (described.get("compressor"), *(described.get("filters") or ())):
        if isinstance(codec, dict) and codec.get("id") in _CODECS_THAT_RUN:
            raise _no_references(subject, f"has the codec {codec['id']!r}, which runs programs")


def _no_json(subject: str, error: Exception) -> ProofError:
    return ProofError(
        subject,
        f"is not strict JSON: {error}",
        expected="kerchunk references",
        code="proof-not-json",
    )


def _no_references(subject: str, found: str) -> ProofError:
    return ProofError(
        subject, found, expected="kerchunk references (version 0 or 1)", code="proof-not-references"
    )
