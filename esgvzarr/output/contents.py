"""What an output states, as tables: where each chunk lies. The proof counts and samples chunks with
them.

The tables are read back from outputs, whatever tool wrote them. Ten million chunks take 0.5 GB as
arrays; as Python objects they would take 5 GB.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_CHUNK_KEYS = {
    2: re.compile(r"(?:(.*)/)?([0-9]+(?:[.][0-9]+)*)"),
    3: re.compile(r"(.+)/c((?:/[0-9]+)*)"),
}
"""Version of Zarr -> format of the keys of chunks: ``tas/0.1.2``, ``tas/c/0/1/2``."""
WHOLE_FILE = -1
"""As the size of a chunk: the chunk is a whole file."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredChunks:
    """The chunks of one array that the output states. A scalar's only chunk has the key 0."""

    keys: np.ndarray
    """(chunk, dimension) int64: indices in the chunk grid of the chunks that lie in other files."""
    file_index: np.ndarray
    """(chunk,) int64: index of the file among the contents' URLs."""
    offsets: np.ndarray
    """(chunk,) int64: first byte in the file."""
    sizes: np.ndarray
    """(chunk,) int64: size in bytes, or WHOLE_FILE."""
    inline: np.ndarray
    """(chunk, dimension) int64: indices in the chunk grid of the chunks whose bytes the output
    itself holds.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Everything that one output states."""

    urls: tuple[str, ...]
    """URLs of the files that hold chunks, as the output states them."""
    arrays: Mapping[str, StoredChunks]
    """``group/array`` -> its chunks; arrays without chunks are included."""
    metadata: Mapping[str, str]
    """Key -> text, of metadata: ``.zgroup``, ``tas/.zarray``..."""
    provenance: Mapping[str, Any]
    """What the output states about the files that it was made from; empty if it states nothing."""
    elsewhere: tuple[str, ...] = ()
    """URLs under keys that are not chunks."""
    counted: bool = True
    """Whether the output states where its chunks lie. Icechunk does not."""

    def groups(self) -> list[str]:
        """Return the paths of the groups that hold arrays."""
        return sorted({path.rpartition("/")[0] for path in self.arrays})

    def all_urls(self) -> set[str]:
        """All URLs that a reader may follow, also those of references that are not chunks."""
        return {*self.urls, *self.elsewhere}


@dataclass(slots=True)
class _Rows:
    """The chunks of one array that were read so far; each list holds one entry per batch."""

    keys: list[np.ndarray] = field(default_factory=list)
    file_index: list[np.ndarray] = field(default_factory=list)
    offsets: list[np.ndarray] = field(default_factory=list)
    sizes: list[np.ndarray] = field(default_factory=list)
    inline: list[np.ndarray] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """The chunks of one array in one batch of references."""

    names: list[str] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)

    def add_place(self, name: str, file: int, place: Sequence[int]) -> None:
        """Add a chunk that lies in a file: at its first byte with its size, or the whole file."""
        offset, size = place if len(place) == 2 else (0, WHOLE_FILE)
        self.names.append(name)
        self.files.append(file)
        self.offsets.append(offset)
        self.sizes.append(size)


class ContentsBuilder:
    """Collects references, batch by batch, into tables."""

    def __init__(self, zarr_format: int = 2, own_file: str = "") -> None:
        """Begin without references.

        Args:
            zarr_format: version of Zarr of the keys of chunks.
            own_file: URL of a file that is part of the output: its chunks count as held by the
                output.
        """
        self._own_file = own_file
        self._chunk_key = _CHUNK_KEYS[zarr_format]
        self._urls: dict[str, int] = {}
        self._rows: dict[str, _Rows] = {}
        self._metadata: dict[str, str] = {}
        self._elsewhere: list[str] = []

    def add(self, references: Mapping[str, Any]) -> None:
        """Add references of kerchunk's form: key -> text, or URL with offset and size."""
        batches: dict[str, _Batch] = {}
        for key, value in references.items():
            found = self._chunk_key.fullmatch(key)
            if found is None:
                self._add_other(key, value)
                continue
            path = found[1] or ""
            name = found[2].lstrip("/") or "0"
            batch = batches.get(path)
            if batch is None:
                batch = batches[path] = _Batch()
            if isinstance(value, list) and not self._is_own(value[0]):
                batch.add_place(name, self.file_number(value[0]), value[1:])
            else:
                batch.inline.append(name)
        for path, batch in batches.items():
            self._add_batch(path, batch)

    def _add_batch(self, path: str, batch: _Batch) -> None:
        """Add the chunks of one array."""
        for keys, chosen in _tables(batch.names):
            self.add_rows(
                path,
                keys,
                np.array(batch.files, np.int64)[chosen],
                np.array(batch.offsets, np.int64)[chosen],
                np.array(batch.sizes, np.int64)[chosen],
            )
        for keys, _ in _tables(batch.inline):
            self.add_inline(path, keys)

    def _is_own(self, url: str) -> bool:
        """Whether a chunk lies in a file of the output itself. False for an empty URL."""
        return bool(self._own_file) and url == self._own_file

    def file_number(self, url: str) -> int:
        """Return the number of a URL in the tables."""
        return self._urls.setdefault(url, len(self._urls))

    def add_rows(
        self,
        path: str,
        keys: np.ndarray,
        files: np.ndarray,
        offsets: np.ndarray,
        sizes: np.ndarray,
    ) -> None:
        """Add chunks of an array that lie in files.

        Args:
            path: path of the array.
            keys: (chunk, dimension): indices in the chunk grid.
            files: (chunk,): numbers from ``file_number``.
            offsets: (chunk,): first byte in the file.
            sizes: (chunk,): size in bytes.
        """
        rows = self._rows.setdefault(path, _Rows())
        rows.keys.append(keys)
        rows.file_index.append(files)
        rows.offsets.append(offsets)
        rows.sizes.append(sizes)

    def add_inline(self, path: str, keys: np.ndarray) -> None:
        """Add chunks of an array whose bytes the output holds."""
        self._rows.setdefault(path, _Rows()).inline.append(keys)

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Add texts that are not chunks."""
        self._metadata.update(metadata)

    def _add_other(self, key: str, value: Any) -> None:
        if isinstance(value, list):
            self._elsewhere.append(value[0])
        else:
            self._metadata[key] = value

    def finish(self, provenance: Any = None, *, counted: bool = True) -> Contents:
        """Return everything that was added."""
        paths = [_array_path(key, text) for key, text in self._metadata.items()]
        names = dict.fromkeys([*filter(None, paths), *self._rows])
        arrays = {name: _joined(self._rows.pop(name, _Rows())) for name in names}
        return Contents(
            urls=tuple(self._urls),
            arrays=arrays,
            metadata=self._metadata,
            provenance=provenance if isinstance(provenance, Mapping) else {},
            elsewhere=tuple(self._elsewhere),
            counted=counted,
        )

    def duplicates(self) -> Iterator[str]:
        """Yield the arrays of which a chunk was stated more than once."""
        for path, rows in self._rows.items():
            keys = np.concatenate([*rows.keys, *rows.inline]) if rows.keys or rows.inline else None
            if keys is not None and _has_equal_rows(keys):
                yield path


def _has_equal_rows(keys: np.ndarray) -> bool:
    """Whether two rows of (chunk, dimension) keys are equal. Each row is compared as one number,
    which takes a fraction of the memory of sorting rows.
    """
    if len(keys) < 2:
        return False
    if not keys.shape[1]:
        return True
    grid = [int(most) + 1 for most in keys.max(axis=0)]
    if math.prod(grid) > np.iinfo(np.int64).max or int(keys.min()) < 0:
        return len(np.unique(keys, axis=0)) < len(keys)
    numbers = keys[:, 0].copy()
    for axis, size in enumerate(grid[1:], start=1):
        numbers *= size
        numbers += keys[:, axis]
    if bool((numbers[1:] > numbers[:-1]).all()):  # The usual case: rows are in order.
        return False
    numbers.sort()
    return bool((numbers[1:] == numbers[:-1]).any())


def _array_path(key: str, text: str) -> str:
    """Return the path of the array that a metadata key describes; empty for other keys."""
    if key.endswith("/.zarray"):
        return key.removesuffix("/.zarray")
    if key.endswith("/zarr.json") and _is_array(text):
        return key.removesuffix("/zarr.json")
    return ""


def _is_array(text: str) -> bool:
    """Whether metadata of Zarr version 3 describe an array."""
    try:
        described = json.loads(text)
    except ValueError:
        return False
    return isinstance(described, dict) and described.get("node_type") == "array"


def _tables(names: list[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (chunk, dimension) keys of the names with equally many parts, and the indices of these
    names.
    """
    if not names:
        return
    ranks = np.array([name.count(".") + name.count("/") + 1 for name in names])
    for rank in np.unique(ranks).tolist():
        chosen = np.flatnonzero(ranks == rank)
        text = ".".join(names if len(chosen) == len(names) else [names[n] for n in chosen])
        numbers = np.fromstring(text.replace("/", "."), np.int64, sep=".")
        yield numbers.reshape(-1, rank), chosen


def _joined(rows: _Rows) -> StoredChunks:
    """Join all batches into one table. Rows of another rank than the first are not chunks of the
    array.
    """
    rank = (rows.keys or rows.inline or [np.empty((0, 0), np.int64)])[0].shape[1]
    fitting = [number for number, keys in enumerate(rows.keys) if keys.shape[1] == rank]
    rows.inline = [keys for keys in rows.inline if keys.shape[1] == rank]
    nothing = np.empty(0, np.int64)
    no_keys = np.empty((0, rank), np.int64)
    return StoredChunks(
        keys=_drained(rows.keys, fitting, no_keys),
        file_index=_drained(rows.file_index, fitting, nothing),
        offsets=_drained(rows.offsets, fitting, nothing),
        sizes=_drained(rows.sizes, fitting, nothing),
        inline=_drained(rows.inline, range(len(rows.inline)), no_keys),
    )


def _drained(batches: list[np.ndarray], fitting: Iterable[int], empty: np.ndarray) -> np.ndarray:
    """Join the chosen batches into one array, and release them: only one column is in memory twice,
    not all.
    """
    chosen = [batches[number] for number in fitting]
    joined = np.concatenate(chosen) if chosen else empty
    batches.clear()
    return joined
