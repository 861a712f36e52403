"""The frozen things that travel through the rooms, in order of travel.

``DatasetRecord`` (what is to be referenced) -> ``FileReferences`` (what one file holds, and where)
-> ``Series`` (the files that belong together) -> ``ReferenceSet`` (what a reader will see) ->
``Report`` (what was proved) -> ``ReferenceFile`` (what was written) -> ``AccessLink`` (what people
find).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Any

import numpy as np

from .errors import SourceError, plain

_FACET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\Z")


@dataclass(frozen=True, slots=True)
class DatasetId:
    """A dataset and its version: ``<master_id>.v<version>`` is its instance id, the DSID.

    >>> master_id = "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn"
    >>> str(DatasetId.parse(f"{master_id}#20190323|node"))
    'CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn.v20190323'
    """

    master_id: str
    version: str
    """Digits only, usually ``YYYYMMDD``."""

    @classmethod
    def parse(cls, text: str) -> DatasetId:
        """Read ``<master_id>.vN``, ``<master_id>#N`` (mapfile), each with or without
        ``|<data_node>``.

        Raises:
            SourceError: anything else. A DSID becomes a file name, so its facets hold letters,
                digits, ``_`` and ``-`` only.
        """
        bare = text.strip().split("|")[0].strip()
        master_id, _, version = bare.rpartition("#") if "#" in bare else bare.rpartition(".v")
        facets = master_id.split(".")
        if not (
            version.isascii()
            and version.isdigit()
            and len(facets) > 1
            and all(map(_FACET.match, facets))
            and len(bare) < 250
        ):
            raise SourceError(
                repr(text),
                "not a dataset id",
                expected=(
                    "<facet>.<facet>...vYYYYMMDD or <facet>.<facet>...#YYYYMMDD, facets of "
                    "letters, digits, '_' and '-'"
                ),
                todo="Copy it from the mapfile or from the index's instance_id.",
                code="source-dataset-id",
            )
        return cls(master_id, version)

    @property
    def project(self) -> str:
        """The collection in the index: ``CMIP6``; ``CMIP7`` for ids that begin ``MIP-
        DRS7.CMIP7``.
        """
        first, second = self.master_id.split(".")[:2]
        return second if first == "MIP-DRS7" else first

    def __str__(self) -> str:
        return f"{self.master_id}.v{self.version}"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One published file."""

    name: str
    url: str
    """What readers will fetch: an absolute http(s) URL, or a local path where nothing is published.
    """
    size: int | None = None
    """Bytes, as the record says."""
    checksum: str | None = None
    checksum_type: str | None = None
    tracking_id: str | None = None
    path: str | None = None
    """Where the same bytes lie on this machine, if known."""


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """One published dataset and its files."""

    id: DatasetId
    data_node: str
    """Host, with port if not the default, that serves the files; empty for local files."""
    files: tuple[FileRecord, ...]
    replica: bool = False
    pid: str | None = None
    """Persistent identifier of the dataset, ``hdl:...``."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkTable:
    """Where the stored chunks of one variable in one file lie."""

    keys: np.ndarray
    """(chunk, dimension) int64: position in the chunk grid."""
    offsets: np.ndarray
    """(chunk,) int64: first byte in the file."""
    sizes: np.ndarray
    """(chunk,) int64: bytes as stored."""

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """One variable of one file: what the file says of it, and where its bytes are."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """As stored, with its byte order; ``object`` for strings of variable length."""
    attrs: Mapping[str, Any]
    """netCDF attributes without ``_FillValue``: str, int, float or lists of them, and NumPy
    scalars.
    """
    fill_value: Any
    """The ``_FillValue`` attribute, or None where the file has none."""
    chunk_shape: tuple[int, ...]
    """Elements per dimension of a stored chunk; the variable's shape where it is stored in one
    piece.
    """
    codecs: tuple[Mapping[str, Any], ...]
    """numcodecs configurations in the order of encoding (HDF5's filter pipeline)."""
    chunks: ChunkTable
    inline: Mapping[tuple[int, ...], bytes] = field(default_factory=dict)
    """Chunks that could not be referred to, encoded by ``codecs``; by their place in the chunk
    grid.
    """
    unwritten: Any = 0
    """What netCDF reads where nothing was ever written (``_FillValue``, else the fill the file
    declares).
    """
    values: np.ndarray | None = None
    """The whole variable as stored (not unpacked), if it was read; dimensions as in ``dims``."""


@dataclass(frozen=True, slots=True, eq=False)
class FileReferences:
    """All that one file holds: every variable, or the file was refused."""

    file: FileRecord
    format: str
    """Name of its format: ``hdf5``, ``netcdf3``, or the name that another package registers."""
    dimensions: Mapping[str, int]
    attrs: Mapping[str, Any]
    variables: Mapping[str, Variable]
    size: int
    """Bytes, as found."""
    groups: tuple[str, ...] = ()
    """Names of groups beside the variables, whose contents are not described."""
    etag: str | None = None
    last_modified: str | None = None
    repeated: int = 0
    """Time steps that were taken off its head or tail, because another file that shows them holds
    the same.
    """


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check between files found. ``refuse`` says whether it stands in the way."""

    code: str
    rule: int
    """Number of the rule in docs/explanation/trust.md; 0 for none of them."""
    file: str
    expected: str
    found: str
    todo: str = ""
    refuse: bool = True

    def __str__(self) -> str:
        rule = f", rule {self.rule}" if self.rule else ""
        return plain(f"[{self.code}{rule}] {self.file}: {self._words()}")

    @property
    def details(self) -> str:
        """The message without code, rule and file."""
        return plain(self._words())

    def _words(self) -> str:
        text = f"expected {self.expected}, found {self.found}"
        return f"{text}. {self.todo}" if self.todo else text


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The files of a dataset after the checks: in time order, and known to belong together."""

    files: tuple[FileReferences, ...]
    time: str | None
    """The dimension along which the files follow each other; None for fixed fields."""
    times: tuple[np.ndarray, ...]
    """For each file, int64 microseconds since 1970-01-01 of its calendar, strictly increasing over
    all files.
    """
    warnings: tuple[Finding, ...] = ()
    left_out: tuple[FileReferences, ...] = ()
    """Files that add nothing: without time steps, the same bytes as another, or all of whose steps
    others hold too.
    """
    dates: tuple[str, ...] = ()
    """What is dates along time in any file: time first, its bounds and climatology, and variables
    with time units of their own; empty for fixed fields.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """One Zarr array whose chunks lie in many files, or inline."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill_value: Any
    codecs: tuple[Mapping[str, Any], ...]
    attrs: Mapping[str, Any]
    chunks: ChunkTable
    file_index: np.ndarray
    """(chunk,) int64: which of the reference set's files holds the chunk."""
    inline: Mapping[tuple[int, ...], bytes] = field(default_factory=dict)
    """Place in the chunk grid -> the chunk's encoded bytes."""
    lengths: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Dimension -> the lengths of the chunks along it, where they differ. The last one may reach
    beyond the array. ``chunk_shape`` has the longest.
    """
    is_padded: bool = False
    """Whether shorter chunks are stored as ``chunk_shape``, padded, and not at their own length."""

    @property
    def chunk_count(self) -> int:
        """Chunks that the reference file states, inline ones included."""
        return len(self.chunks) + len(self.inline)

    def rows(self, start: int, stop: int) -> Iterator[tuple[list[int], int, int, int]]:
        """Place in the chunk grid, file, offset and size of some chunks, as Python's numbers."""
        part = slice(start, stop)
        return zip(
            self.chunks.keys[part].tolist(),
            self.file_index[part].tolist(),
            self.chunks.offsets[part].tolist(),
            self.chunks.sizes[part].tolist(),
            strict=True,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One Zarr group; the root has the path ``""``."""

    path: str
    attrs: Mapping[str, Any]
    arrays: tuple[Array, ...]
    file_indices: tuple[int, ...] = ()
    """Which of the reference set's files it shows, in time order."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """What a reader will see of a dataset. Equal input gives equal bytes when written."""

    id: DatasetId | str
    """The dataset, or the name of a document of several."""
    files: tuple[FileReferences, ...]
    """In time order."""
    groups: tuple[Group, ...]
    provenance: Mapping[str, Any]
    warnings: tuple[Finding, ...] = ()

    @property
    def chunk_count(self) -> int:
        """All chunks, of all arrays of all groups."""
        arrays = chain.from_iterable(group.arrays for group in self.groups)
        return sum(array.chunk_count for array in arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One dataset of a document of several: its files after the checks, and its own references."""

    name: str
    """Its DSID, or the stream or file that it is known by."""
    series: Series
    references: ReferenceSet
    dropped: tuple[str, ...] = ()
    """Variables that its files hold and the document does not show."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was proved, or was not."""

    name: str
    """``count``, ``values``, ``attributes``, ``time``, ``dimensions``..."""
    subject: str
    """Variable, or variable and file."""
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The proof of one reference file."""

    dataset_id: str
    href: str
    checks: tuple[Check, ...]
    tools: Mapping[str, str]
    """Package -> version."""
    created: str
    """UTC, ISO 8601."""

    @property
    def passed(self) -> bool:
        """True when something was checked and nothing failed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """A reference file on disk, or a directory of references."""

    path: str
    href: str
    """Public URL, or the path where nothing is published."""
    size: int
    """Bytes; of a directory, of all files in it."""
    sha256: str
    """Lower-case hex; of a directory, of what ``sha256sum`` prints of all files in it, in the order
    of their names.
    """
    written: bool = True
    """False when equal bytes were there already."""


ICECHUNK_TYPE = "application/vnd.zarr+icechunk"
"""Media type of an Icechunk repository, by which xpystac knows it. Its asset is apart from that of
kerchunk references.
"""


class Layout(StrEnum):
    """How references show a dataset."""

    WHOLE = "whole"
    """In the root, for every reader."""
    PADDED = "padded"
    """In the root, for readers that have the codec ``esgvzarr.padded``."""
    SEGMENTS = "segments"
    """In several groups, which follow each other in time. Stock readers see an empty root."""
    GROUPS = "groups"
    """Variables that do not fit into one dataset, in groups. Stock readers see an empty root."""
    SEGMENTED_GROUPS = "segmented groups"
    """In groups, and some groups are in segments. Stock readers see an empty root, and empty
    groups.
    """

    @property
    def is_tree(self) -> bool:
        """Whether the references are opened as a tree of groups."""
        return self in (Layout.GROUPS, Layout.SEGMENTED_GROUPS)


@dataclass(frozen=True, slots=True)
class AccessLink:
    """The link that people find in an index."""

    href: str
    data_node: str
    media_type: str
    roles: tuple[str, ...]
    size: int
    """Bytes of the file; 0 for a directory, of which no index has a place to say it."""
    sha256: str
    """Of the file; empty for a directory."""
    open_kwargs: Mapping[str, Any]
    local_path: str | None = None
    """``<drs path>/<DSID>.json``, relative to the data root."""
    asset_key: str = "reference_file"
    """Under which a STAC item has it."""
    page: str = ""
    """URL of the page for people; empty where there is none."""
    layout: Layout = Layout.WHOLE
