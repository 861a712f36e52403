"""The tables of the output ``parquet`` as a mapping: key of Zarr -> reference.

fsspec's LazyReferenceMapper takes a missing or damaged table for chunks that were never written:
readers then see fill values. Directories that esgvzarr writes refer to all chunks, so a missing
reference is an error here.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import orjson

from ..errors import SourceError
from .whole_files import read_whole

RECORD = "provenance.json"
"""File of the directory that states which tool made it, from which files. Stock readers
ignore it.
"""
MARK = "esgvzarr"
"""Member of ``.zmetadata``, beside kerchunk's own, in directories whose tables refer to all chunks.
Stock readers do not look there.
"""
_MAGIC = b"PAR1"
"""First and last bytes of a parquet file."""
_KEPT = 128
"""The most tables in memory, as in fsspec."""
_MOST_CHUNKS = 10**8
"""The most chunks of one array: directories of other tools may state any number."""
_CHUNK = re.compile(r"\d+(\.\d+)*")


class ReferenceTables(Mapping[str, Any]):
    """Key of Zarr -> bytes, ``[url]`` or ``[url, offset, size]``. A table is read when one of its
    chunks is needed, and then kept.

    Args:
        root: the directory, as its file system names it.
        files: a file system of fsspec.

    Raises:
        OSError, ValueError, KeyError, TypeError: no such tables exist there.
        TransportError: the server's answer does not show whether they exist.
    """

    def __init__(self, root: str, files: Any) -> None:
        from fsspec.implementations.reference import LazyReferenceMapper

        self._root = root
        self._files = files
        text = read_whole(files, f"{root}/.zmetadata")
        said = orjson.loads(text)
        self.metadata: dict[str, Any] = said["metadata"]
        self.record_size: int = said["record_size"]
        if not isinstance(self.metadata, dict) or type(self.record_size) is not int:
            raise ValueError("its .zmetadata are not those of kerchunk parquet")
        self.digest = hashlib.sha256(text).hexdigest()
        """SHA-256 of the metadata."""
        self._is_marked = MARK in said
        mark = said.get(MARK)
        self.tells_tables = isinstance(mark, dict) and "sha256" in mark
        """Whether the metadata, and so their digest, state the SHA-256 of the tables."""
        self._mapper = LazyReferenceMapper(root, fs=files)
        self._mapper.setup()
        self._mapper.open_refs = lru_cache(_KEPT)(self.table)

    @cached_property
    def record(self) -> bytes | None:
        """Return the file that states what the directory was made from; None if another tool wrote
        it.
        """
        try:
            return read_whole(self._files, f"{self._root}/{RECORD}")
        except FileNotFoundError:
            return None

    @property
    def is_ours(self) -> bool:
        """Whether esgvzarr wrote the directory, so that its tables refer to all chunks."""
        return self._is_marked or self.record is not None

    def __getitem__(self, key: str) -> Any:
        """Return the reference of a key.

        Raises:
            KeyError: the key has no array; or, in a directory of another tool, the chunk was never
                written.
            SourceError: in a directory by esgvzarr, a chunk has no reference or its table cannot be
                read.
        """
        try:
            value = self._mapper[key]
        except KeyError:
            value = None
        is_gap = value is None or (isinstance(value, list) and not isinstance(value[0], str))
        if not is_gap:
            return value
        path, _, chunk = key.rpartition("/")
        is_of_chunk = f"{path}/.zarray" in self.metadata and _CHUNK.fullmatch(chunk)
        if is_of_chunk and self.is_ours:
            raise self._broken(path, None, f"has no reference to chunk {chunk}")
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        """Yield the keys of metadata; those of chunks follow from them."""
        return iter(self.metadata)

    def __len__(self) -> int:
        return len(self.metadata)

    def __hash__(self) -> int:
        return id(self)

    def grid(self, path: str) -> list[int]:
        """Return the chunks of an array per dimension; a scalar has one."""
        described = self.metadata[f"{path}/.zarray"]
        return grid_of(described["shape"], described["chunks"])

    def count(self, path: str) -> int:
        """Return how many tables an array has.

        Raises:
            ValueError: it states more chunks than any array has.
        """
        chunks = math.prod(self.grid(path))
        size = self.record_size
        if max(chunks, size) > _MOST_CHUNKS or size < 1:
            raise ValueError(f"{path} has {chunks} chunks, in tables of {size}")
        return -(-chunks // size)

    def table(self, path: str, record: int) -> dict[str, np.ndarray]:
        """Read one table of an array: ``offset`` and ``size``, and at least one of ``path`` and
        ``raw``.

        Raises:
            FileNotFoundError: it does not exist, in a directory of another tool.
            SourceError: in a directory by esgvzarr, it does not exist or is not whole.
        """
        rows = self._rows(path, record)
        try:
            data = read_whole(self._files, self._place(path, record))
        except FileNotFoundError:
            if not self.is_ours:
                raise
            raise self._broken(path, record, "does not exist") from None
        except OSError as error:
            raise self._broken(path, record, f"cannot be read: {error}") from error
        if not _is_whole(data):
            found = f"is not a whole parquet file ({len(data)} bytes)"
            raise self._broken(path, record, found)
        try:
            frame = self._mapper.pd.read_parquet(io.BytesIO(data), engine="fastparquet")
        except Exception as error:  # fastparquet and its codecs raise many types of errors.
            found = f"is damaged: {type(error).__name__}: {error}"
            raise self._broken(path, record, found) from error
        columns = set(frame.columns)
        if not ({"offset", "size"} <= columns and columns & {"path", "raw"}):
            raise self._broken(path, record, f"has the columns {sorted(map(str, columns))}")
        if len(frame) < rows:
            raise self._broken(path, record, f"has {len(frame)} rows for {rows} chunks")
        return {name: frame[name].to_numpy(copy=True) for name in frame.columns}

    def _rows(self, path: str, record: int) -> int:
        """Return how many chunks of an array are in one of its tables."""
        return min(self.record_size, math.prod(self.grid(path)) - record * self.record_size)

    def _place(self, path: str, record: int) -> str:
        return f"{self._root}/{path}/refs.{record}.parq"

    def _broken(self, path: str, record: int | None, found: str) -> SourceError:
        subject = f"{self._root}/{path}" if record is None else self._place(path, record)
        return SourceError(
            subject,
            found,
            expected="the tables of this reference directory as esgvzarr wrote them",
            todo="Copy the directory whole, or make it again; esgvzarr audit checks it.",
            code="source-reference-table",
        )


def _is_whole(data: bytes) -> bool:
    """Whether the bytes are a whole parquet file: fastparquet prints what it cannot parse, and may
    go on.
    """
    if data[:4] != _MAGIC or data[-4:] != _MAGIC:
        return False
    footer = int.from_bytes(data[-8:-4], "little")
    return 0 < footer <= len(data) - 12


def grid_of(shape: Sequence[int], chunks: Sequence[int]) -> list[int]:
    """Return the chunks per dimension; a scalar has one."""
    grid = [-(-size // max(chunk, 1)) for size, chunk in zip(shape, chunks, strict=True)]
    return grid or [1]
