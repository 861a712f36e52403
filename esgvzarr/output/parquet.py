"""kerchunk references as parquet tables in a directory, of which readers fetch only those that they
need.

Written by fsspec's own LazyReferenceMapper, which is also what reads them (fsspec docs,
"ReferenceFileSystem").
"""

from __future__ import annotations

import base64
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from ..errors import FormatError
from . import RECORD, protocol_of

RECORD_SIZE = 100_000
"""Chunks per table: half a megabyte, one request. With kerchunk's 10,000 a long dataset is hundreds
of files.
"""
_MOST_CHUNKS = 10**8
"""Of one array: what others wrote may say anything."""


def write_parquet(document: bytes, path: Path) -> None:
    """Make the directory of a kerchunk JSON document, its provenance included.

    Args:
        document: kerchunk references, version 1.
        path: of the directory, which is not there yet.

    Raises:
        FormatError: chunks were never written. fsspec 2026.9 takes a gap in a table for a URL.
    """
    from fsspec.implementations.reference import LazyReferenceMapper

    parsed = orjson.loads(document)
    refs = {
        key: value
        for key, value in parsed["refs"].items()
        if key != ".zmetadata" and not key.startswith("//")
    }
    _check_no_gaps(refs)
    tables = LazyReferenceMapper.create(
        str(path), record_size=RECORD_SIZE
    )  # which lists groups in its own way
    for key, value in refs.items():
        tables[key] = value
    tables.flush()
    (path / RECORD).write_text(parsed["provenance"])


def _check_no_gaps(refs: Mapping[str, Any]) -> None:
    held = Counter(key.rpartition("/")[0] for key in refs if "/.z" not in f"/{key}")
    for key in refs:
        name = key.removesuffix("/.zarray")
        missing = math.prod(_grid(orjson.loads(refs[key]))) - held[name] if name != key else 0
        if missing:
            raise FormatError(
                name,
                f"has {missing} chunks that were never written",
                expected="all chunks, for readers of kerchunk parquet",
                todo="Use another output for this dataset.",
                code="file-output-unsupported",
            )


def _grid(meta: Mapping[str, Any]) -> list[int]:
    """Chunks per dimension; a scalar is one."""
    return [
        -(-size // chunk) for size, chunk in zip(meta["shape"], meta["chunks"], strict=True)
    ] or [1]


def read_parquet(href: str, **options: Any) -> bytes:
    """The tables of a directory, by path or URL, as one kerchunk JSON document.

    Args:
        href: of the directory.
        options: of the file system that it is read with.

    Raises:
        OSError, ValueError, KeyError: not there, or no such tables.
    """
    from fsspec.core import url_to_fs
    from fsspec.implementations.reference import LazyReferenceMapper

    files, root = url_to_fs(href, **options)
    tables = LazyReferenceMapper(root, fs=files)
    refs: dict[str, Any] = {
        key: orjson.dumps(value).decode() for key, value in tables.zmetadata.items()
    }
    for field in [key.removesuffix("/.zarray") for key in refs if key.endswith("/.zarray")]:
        refs.update(_chunks(tables, field))
    try:
        provenance = files.cat_file(f"{root}/{RECORD}").decode()
    except FileNotFoundError:  # not written by us
        provenance = "{}"
    return orjson.dumps({"version": 1, "refs": refs, "provenance": provenance})


def read_protocol(href: str, **options: Any) -> str:
    """How the files are fetched that the tables name; empty where it is not said."""
    from fsspec.core import url_to_fs

    files, root = url_to_fs(href, **options)
    try:
        return protocol_of(orjson.loads(files.cat_file(f"{root}/{RECORD}")))
    except FileNotFoundError:
        return ""


def _chunks(tables: Any, field: str) -> Iterator[tuple[str, Any]]:
    meta = tables.zmetadata[f"{field}/.zarray"]
    grid = _grid(meta)
    if max(math.prod(grid), tables.record_size) > _MOST_CHUNKS or tables.record_size < 1:
        raise ValueError(f"{field} has {math.prod(grid)} chunks, in tables of {tables.record_size}")
    for record in range(-(-math.prod(grid) // tables.record_size)):
        try:
            table = tables.open_refs(field, record)
        except FileNotFoundError:  # none of its chunks was ever written
            continue
        raws, urls = (table.get(name, itertools.repeat(None)) for name in ("raw", "path"))
        rows = np.arange(min(tables.record_size, math.prod(grid) - record * tables.record_size))
        keys = np.stack(np.unravel_index(rows + record * tables.record_size, grid), 1).tolist()
        for row, (key, raw, url) in enumerate(zip(keys, raws, urls, strict=False)):
            if isinstance(raw, bytes):
                value: Any = "base64:" + base64.b64encode(raw).decode()
            elif isinstance(url, str):
                value = [url, int(table["offset"][row]), int(table["size"][row])]
            else:
                continue
            yield f"{field}/{'.'.join(map(str, key))}", value
