"""The output ``parquet``: kerchunk references as tables in a directory, of which readers fetch only
those that they need.

fsspec's own LazyReferenceMapper writes and reads the tables (fsspec docs, "ReferenceFileSystem").
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ..directories import files_below
from ..errors import FormatError, ProofError, SourceError
from ..model import Array, ReferenceSet
from . import kerchunk, protocol_of
from .contents import Contents, ContentsBuilder
from .document import check_sizes, contents_of, parse
from .kerchunk_file import ASSET_FIELDS, References, kerchunk_kwargs
from .parts import measure
from .protocol import KERCHUNK_TYPE, ROLES, UNREADABLE, Artefact, Form, no_file
from .reading import NO_ADVICE, Reading
from .reference_tables import MARK, RECORD, ReferenceTables, grid_of
from .requirements import require

if TYPE_CHECKING:
    from ..transport import Transport

RECORD_SIZE = 100_000
"""Chunks per table: half a megabyte, one request. With kerchunk's 10,000, a long dataset would need
hundreds of files.
"""


class KerchunkParquet:
    """Kerchunk references as parquet tables."""

    name = "parquet"
    suffix = ".parq"
    form = Form.TABLES
    directory = True
    side_suffix = ""
    keeps_snapshots = False
    joins_segments = False
    is_stock = False
    requirements: tuple[str, ...] = ("esgvzarr[parquet]",)
    media_type = KERCHUNK_TYPE
    asset_key = "reference_file"
    asset_fields: Mapping[str, Any] = ASSET_FIELDS
    roles = ROLES

    def check_installed(self) -> None:
        """Check that fastparquet is installed."""
        require(self.name, "fastparquet", self.requirements)

    def write(
        self,
        references: ReferenceSet,
        staged: Path,
        present: Path | None = None,
        location: str = "",
    ) -> None:
        """Write the directory, including its provenance.

        Raises:
            FormatError: chunks were never written. fsspec 2026.9 takes a gap in a table for a URL.
        """
        from fsspec.implementations.reference import LazyReferenceMapper

        for path, array in _arrays(references):
            _check_no_gaps(path, array)
        tables = LazyReferenceMapper.create(
            str(staged), record_size=RECORD_SIZE
        )  # fsspec lists groups in its own way.
        options = self.storage_options(protocol_of(references.provenance))
        for group in references.groups:
            for key, value in kerchunk.metadata(group, options):
                tables[key] = orjson.dumps(value).decode()
        urls = [file.file.url for file in references.files]
        for path, array in _arrays(references):
            for key, value in _references(array, urls):
                tables[f"{path}/{key}"] = value
        tables.flush()
        _mark(staged)
        provenance = orjson.dumps(kerchunk.json_value(references.provenance))
        (staged / RECORD).write_bytes(provenance)

    def staged(self, place: Path, references: ReferenceSet) -> References:
        """Read the tables back.

        Raises:
            ProofError: a table is missing or damaged.
        """
        try:
            contents = read_tables(str(place))
        except SourceError as error:
            raise _not_references(error.subject, error.found) from error
        return References(contents, str(place), self.storage_options(_protocol(contents)))

    def read(self, location: str, transport: Transport) -> References:
        """Read the tables by path or URL. Tables at a URL are fetched once, and opened as they were
        read.

        Raises:
            ProofError: they cannot be read.
        """
        from ..transport import is_url
        from ..transport.fsspec_guard import remote_options

        self.check_installed()
        transport.check_allowed(location)
        try:
            if not is_url(location):
                contents = read_tables(location)
                return References(contents, location, self.storage_options(_protocol(contents)))
            with remote_options(transport) as guarded:
                return _read_whole(location, **guarded)
        except SourceError as error:
            raise _not_references(error.subject, error.found) from error
        except UNREADABLE as error:
            raise _not_references(
                location, f"cannot be read: {type(error).__name__}: {error}"
            ) from error

    def parse(self, data: bytes, location: str, transport: Transport | None = None) -> Artefact:
        """Refuse bytes: this output is a directory."""
        raise no_file(self.name, location)

    def is_whole(self, place: Path) -> bool:
        """Return True: a directory is moved and removed as a whole."""
        return True

    def same(self, a: Path, b: Path) -> bool:
        """Whether all files except that of the provenance are equal, byte for byte."""
        return tree(a, but=RECORD) == tree(b, but=RECORD)

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """Return the protocol of the files: without it fsspec reads all tables to find it, and
        fails on groups.
        """
        return {"remote_protocol": protocol}

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Return the arguments for kerchunk's engine, or for that of esgvzarr if there are
        segments.
        """
        return kerchunk_kwargs(self.storage_options(protocol), reading)

    def provenance(self, place: Path) -> dict[str, Any]:
        """Return the provenance from the file beside the tables."""
        return dict(orjson.loads((place / RECORD).read_bytes()))


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """One table of one array, as it was read."""

    path: str
    """``group/array``."""
    keys: np.ndarray
    """(row, dimension) int64: indices in the chunk grid."""
    urls: list[Any]
    offsets: np.ndarray
    sizes: np.ndarray
    raws: list[Any]
    """Bytes of chunks that the table itself holds."""

    def places(self) -> tuple[list[int], list[int]]:
        """Return the rows of chunks in files, and those of chunks in the table."""
        raw = [row for row, data in enumerate(self.raws) if isinstance(data, bytes)]
        held = set(raw)
        referred = [
            row for row, url in enumerate(self.urls) if isinstance(url, str) and row not in held
        ]
        return referred, raw


def read_tables(href: str, **options: Any) -> Contents:
    """Return what the tables of a directory state.

    Args:
        href: URL or path of the directory.
        options: options of the file system that reads it.

    Raises:
        OSError, ValueError, KeyError: there are no such tables.
        SourceError: a table is missing or damaged.
    """
    tables, provenance = _open(href, **options)
    builder = ContentsBuilder()
    builder.add_metadata(_metadata(tables))
    for table in _read(tables):
        referred, raw = table.places()
        files = [builder.file_number(table.urls[row]) for row in referred]
        builder.add_rows(
            table.path,
            table.keys[referred],
            np.array(files, np.int64),
            table.offsets[referred],
            table.sizes[referred],
        )
        builder.add_inline(table.path, table.keys[raw])
    contents = builder.finish(provenance)
    check_sizes(contents.metadata, href)
    return contents


def _read_whole(href: str, **options: Any) -> References:
    """Read the tables into one document, which is opened without fetching them again."""
    tables, provenance = _open(href, **options)
    refs: dict[str, Any] = dict(_metadata(tables))
    for table in _read(tables):
        names = [".".join(map(str, key)) for key in table.keys.tolist()]
        referred, raw = table.places()
        for row in referred:
            place = [table.urls[row], int(table.offsets[row]), int(table.sizes[row])]
            refs[f"{table.path}/{names[row]}"] = place
        for row in raw:
            text = base64.b64encode(table.raws[row]).decode()
            refs[f"{table.path}/{names[row]}"] = f"base64:{text}"
    parsed = parse(orjson.dumps({"version": 1, "refs": refs, "provenance": provenance}), href)
    return References(contents_of(parsed), parsed)


def _not_references(subject: str, found: str) -> ProofError:
    return ProofError(
        subject,
        found,
        expected="kerchunk references as parquet, all tables whole",
        todo="Copy the directory whole, or make it again with esgvzarr.",
        code="proof-not-references",
    )


def _open(href: str, **options: Any) -> tuple[ReferenceTables, dict[str, Any]]:
    """Return the tables, and what the directory states about the files that they were made from;
    empty if another tool wrote it.
    """
    from fsspec.core import url_to_fs

    files, root = url_to_fs(href, **options)
    tables = ReferenceTables(root, files)
    return tables, dict(orjson.loads(tables.record or b"{}"))


def _metadata(tables: ReferenceTables) -> dict[str, str]:
    return {key: orjson.dumps(value).decode() for key, value in tables.metadata.items()}


def _read(tables: ReferenceTables) -> Iterator[_Table]:
    """Yield all tables of all arrays."""
    suffix = "/.zarray"
    for key in tables.metadata:
        if key.endswith(suffix):
            yield from _tables_of(tables, key.removesuffix(suffix))


def _tables_of(tables: ReferenceTables, path: str) -> Iterator[_Table]:
    grid = tables.grid(path)
    count = math.prod(grid)
    size = tables.record_size
    for record in range(tables.count(path)):
        try:
            table = tables.table(path, record)
        except FileNotFoundError:  # No chunk of the array was ever written.
            continue
        rows = np.arange(record * size, min((record + 1) * size, count))
        nothing = itertools.repeat(None, len(rows))
        yield _Table(
            path,
            np.stack(np.unravel_index(rows, grid), 1).astype(np.int64),
            list(table.get("path", nothing))[: len(rows)],
            np.asarray(table["offset"], np.int64)[: len(rows)],
            np.asarray(table["size"], np.int64)[: len(rows)],
            list(table.get("raw", nothing))[: len(rows)],
        )


def _mark(directory: Path) -> None:
    """Say in ``.zmetadata`` that the tables refer to all chunks, and their SHA-256: references to
    other chunks often have the same metadata.
    """
    _, sha256 = measure(directory)
    metadata = directory / ".zmetadata"
    said = orjson.loads(metadata.read_bytes())
    mark = {"tables": "complete", "sha256": sha256}
    metadata.write_bytes(orjson.dumps({**said, MARK: mark}))


def _arrays(references: ReferenceSet) -> Iterator[tuple[str, Array]]:
    """Yield ``group/array`` and the array."""
    for group in references.groups:
        for array in group.arrays:
            yield (f"{group.path}/{array.name}" if group.path else array.name), array


def _check_no_gaps(path: str, array: Array) -> None:
    missing = math.prod(grid_of(array.shape, array.chunk_shape)) - array.chunk_count
    if missing:
        raise FormatError(
            path,
            f"has {missing} chunks that were never written",
            expected="all chunks, for readers of kerchunk parquet",
            todo="Use another output for this dataset.",
            code="file-output-unsupported",
        )


def _references(array: Array, urls: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield indices in the chunk grid, and the URL, offset and size, or bytes as text."""
    for place, data in array.inline.items():
        text = base64.b64encode(data).decode()
        yield ".".join(map(str, place)) or "0", f"base64:{text}"
    for first in range(0, len(array.chunks), RECORD_SIZE):
        for key, file, offset, size in array.rows(first, first + RECORD_SIZE):
            yield ".".join(map(str, key)) or "0", [urls[file], offset, size]


def _protocol(contents: Contents) -> str:
    """Return the protocol of the files that the tables refer to."""
    for url in contents.urls:
        if "://" in url:
            return url.partition("://")[0]
    return "file"


def tree(directory: Path, but: str = "") -> dict[str, bytes]:
    """Return the bytes of all files but one, by path below the directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in files_below(directory)
        if path != directory / but
    }
