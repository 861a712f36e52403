"""The frozen types that travel through the rooms, in the order of travel.

``DatasetRecord`` (the dataset to reference) -> ``FileReferences`` (what one file holds, and where)
-> ``Series`` (the files that belong together) -> ``ReferenceSet`` (what a reader will see) ->
``Report`` (the proof) -> ``ReferenceFile`` (the written output) -> ``AccessLink`` (the link in an
index).
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
        """Parse ``<master_id>.vN`` or ``<master_id>#N`` (mapfile), each with or without
        ``|<data_node>``.

        Raises:
            SourceError: the text has another form. A DSID becomes a file name, so its facets may
                contain only letters, digits, ``_`` and ``-``.
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
        """The collection in the index: ``CMIP6``; ``CMIP7`` for ids that begin with
        ``MIP-DRS7.CMIP7``.
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
    """The location that readers will fetch: an absolute http(s) URL, or a local path if the file is
    not published.
    """
    size: int | None = None
    """Size in bytes, according to the record."""
    checksum: str | None = None
    checksum_type: str | None = None
    tracking_id: str | None = None
    path: str | None = None
    """Local path of the same bytes, if known."""


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """One published dataset and its files."""

    id: DatasetId
    data_node: str
    """Host that serves the files, with the port if it is not the default; empty for local files."""
    files: tuple[FileRecord, ...]
    replica: bool = False
    pid: str | None = None
    """Persistent identifier of the dataset, ``hdl:...``."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkTable:
    """Where the stored chunks of one variable in one file lie."""

    keys: np.ndarray
    """(chunk, dimension) int64: indices in the chunk grid."""
    offsets: np.ndarray
    """(chunk,) int64: first byte in the file."""
    sizes: np.ndarray
    """(chunk,) int64: size in bytes, as stored."""

    def __len__(self) -> int:
        return len(self.offsets)


@dataclass(frozen=True, slots=True, eq=False)
class Variable:
    """One variable of one file: its properties, and where its bytes lie."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """Type as stored, with its byte order; ``object`` for strings of variable length."""
    attrs: Mapping[str, Any]
    """netCDF attributes without ``_FillValue``: str, int, float or lists of them, and NumPy
    scalars.
    """
    fill_value: Any
    """The ``_FillValue`` attribute; None if the file has none."""
    chunk_shape: tuple[int, ...]
    """(dimension,) elements of a stored chunk; the variable's shape if there is only one."""
    codecs: tuple[Mapping[str, Any], ...]
    """numcodecs configurations in the order of encoding (HDF5's filter pipeline)."""
    chunks: ChunkTable
    inline: Mapping[tuple[int, ...], bytes] = field(default_factory=dict)
    """Chunks that could not be referenced, encoded by ``codecs``; by indices in the chunk grid."""
    unwritten: Any = 0
    """The value that netCDF reads where nothing was ever written (``_FillValue``, else the fill
    value that the file declares).
    """
    values: np.ndarray | None = None
    """The values of the whole variable as stored (not unpacked), if they were read."""


@dataclass(frozen=True, slots=True, eq=False)
class FileReferences:
    """Everything that one file holds, with all of its variables; otherwise the file was refused."""

    file: FileRecord
    format: str
    """Name of its format: ``hdf5``, ``netcdf3``, or the name that another package registers."""
    dimensions: Mapping[str, int]
    attrs: Mapping[str, Any]
    variables: Mapping[str, Variable]
    size: int
    """Size of the file in bytes, as found."""
    groups: tuple[str, ...] = ()
    """Names of groups beside the variables; their contents are not described."""
    etag: str | None = None
    last_modified: str | None = None
    repeated: int = 0
    """Time steps that were cut from its beginning or end, because another file serves them with the
    same values.
    """


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check between files. ``refuse`` says whether the files are refused for it."""

    code: str
    rule: int
    """Number of the rule in docs/explanation/trust.md; 0 for none."""
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
    """The files of a dataset after the checks: in time order, and belonging together."""

    files: tuple[FileReferences, ...]
    time: str | None
    """The dimension along which the files follow each other; None for fixed fields."""
    times: tuple[np.ndarray, ...]
    """For each file, (time,) int64 microseconds since 1970-01-01 of its calendar, strictly
    increasing over all files.
    """
    warnings: tuple[Finding, ...] = ()
    left_out: tuple[FileReferences, ...] = ()
    """Files that add nothing: they have no time steps, the same bytes as another file, or only
    steps that other files serve.
    """
    dates: tuple[str, ...] = ()
    """Variables that are dates along time in any file: time first, then its bounds and climatology,
    then variables with time units of their own; empty for fixed fields.
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
    """(chunk,) int64: number of the reference set's file that holds the chunk."""
    inline: Mapping[tuple[int, ...], bytes] = field(default_factory=dict)
    """Indices in the chunk grid -> the chunk's encoded bytes."""
    lengths: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Dimension -> the lengths of the chunks along it, if they differ. The last one may extend
    beyond the array. ``chunk_shape`` has the longest.
    """
    is_padded: bool = False
    """Whether shorter chunks are stored padded to ``chunk_shape``, and not at their own length."""

    @property
    def chunk_count(self) -> int:
        """Number of chunks that the reference file states, including inline ones."""
        return len(self.chunks) + len(self.inline)

    def rows(self, start: int, stop: int) -> Iterator[tuple[list[int], int, int, int]]:
        """Yield indices in the chunk grid, file, offset and size of some chunks, as Python's
        numbers.
        """
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
    """Numbers of the reference set's files that it shows, in time order."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceSet:
    """What a reader will see of a dataset. Equal reference sets give equal bytes when written."""

    id: DatasetId | str
    """The dataset, or the name of a document of several datasets."""
    files: tuple[FileReferences, ...]
    """Files in time order."""
    groups: tuple[Group, ...]
    provenance: Mapping[str, Any]
    warnings: tuple[Finding, ...] = ()

    @property
    def chunk_count(self) -> int:
        """Number of chunks of all arrays of all groups."""
        arrays = chain.from_iterable(group.arrays for group in self.groups)
        return sum(array.chunk_count for array in arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One dataset of a document of several: its checked files, and its own references."""

    name: str
    """Its DSID, or the name of its stream or file."""
    series: Series
    references: ReferenceSet
    dropped: tuple[str, ...] = ()
    """Variables that its files hold and the document does not show."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a proof, passed or failed."""

    name: str
    """``count``, ``values``, ``attributes``, ``time``, ``dimensions``..."""
    subject: str
    """Name of the variable, or of the variable and file."""
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The proof of one reference file."""

    dataset_id: str
    href: str
    checks: tuple[Check, ...]
    tools: Mapping[str, str]
    """Package -> version, of the tools that were used."""
    created: str
    """Time of the proof: UTC, ISO 8601."""

    @property
    def passed(self) -> bool:
        """True if there are checks and none failed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """A reference file on disk, or a directory of references."""

    path: str
    href: str
    """Public URL, or the path if it is not published."""
    size: int
    """Size in bytes; of a directory, of all files in it."""
    sha256: str
    """SHA-256 in lower-case hex; of a directory, that of what ``sha256sum`` prints for all files in
    it, in the order of their names.
    """
    written: bool = True
    """False if a file with equal bytes existed already."""


ICECHUNK_TYPE = "application/vnd.zarr+icechunk"
"""Media type of an Icechunk repository, by which xpystac recognises it. Its asset is separate from
that of kerchunk references.
"""


class Layout(StrEnum):
    """How references show a dataset."""

    WHOLE = "whole"
    """In the root, for every reader."""
    PADDED = "padded"
    """In the root, for readers with the codec ``esgvzarr.padded``."""
    SEGMENTS = "segments"
    """In several groups, which follow each other in time. Stock readers see an empty root."""
    GROUPS = "groups"
    """In groups, if variables do not fit into one dataset. Stock readers see an empty root."""
    SEGMENTED_GROUPS = "segmented groups"
    """In groups, some of which are in segments. Stock readers see an empty root, and some empty
    groups.
    """

    @property
    def is_tree(self) -> bool:
        """Whether the references are opened as a tree of groups."""
        return self in (Layout.GROUPS, Layout.SEGMENTED_GROUPS)


@dataclass(frozen=True, slots=True)
class AccessLink:
    """The link to a reference file in an index."""

    href: str
    data_node: str
    media_type: str
    roles: tuple[str, ...]
    size: int
    """Size of the file in bytes; 0 for a directory, whose size no index can state."""
    sha256: str
    """SHA-256 of the file; empty for a directory."""
    open_kwargs: Mapping[str, Any]
    local_path: str | None = None
    """``<drs path>/<DSID>.json``, relative to the data root."""
    asset_key: str = "reference_file"
    """Key of its asset in a STAC item."""
    page: str = ""
    """URL of the page for people; empty if there is none."""
    layout: Layout = Layout.WHOLE
