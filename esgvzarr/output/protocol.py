"""What an output has to do. A new one is a module, an entry point in the group
``esgvzarr.outputs``, and tests.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import ProofError
from ..model import ReferenceSet
from .contents import Contents
from .reading import NO_ADVICE, Reading
from .stock import OpenGroup

if TYPE_CHECKING:
    from ..transport import Transport

ROLES = ("data", "virtual", "references")
"""Of the asset that leads to references."""
KERCHUNK_TYPE = "application/vnd.zarr+kerchunk"
"""Media type of kerchunk references, which the setting ``media_type`` may replace."""
LARGEST = 2 * 2**30
"""Bytes of an output's file, as it is read."""

UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    EOFError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    zlib.error,
)
"""What fsspec, Zarr and its codecs raise for references that lead to other bytes, or are none."""


def no_file(output: str, location: str) -> ProofError:
    """The error for bytes that should be an output which is a directory."""
    return ProofError(
        location,
        "is one file",
        expected=f"a directory, as {output} is",
        code="proof-not-references",
    )


class Form(StrEnum):
    """What lies in the place of an output."""

    DOCUMENT = "document"
    """One file: kerchunk references as JSON, compressed or not."""
    TABLES = "tables"
    """A directory: kerchunk references as parquet tables."""
    REPOSITORY = "repository"
    """A directory: an Icechunk repository."""


class Artefact(Protocol):
    """One output that is there: what it states, and how its readers open it."""

    @property
    def contents(self) -> Contents:
        """What it states, read back from it."""
        ...

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """How its groups are opened, as its readers open them.

        Args:
            options: of fsspec's reference file system, for outputs that are read through it.
        """
        ...


@runtime_checkable
class Output(Protocol):
    """A way to write references. Its places are known by the end of their names."""

    name: str
    """As the settings have it."""
    suffix: str
    """How the names of its places end."""
    form: Form
    """What lies there."""
    directory: bool
    """Whether it is a directory of files, not one file."""
    side_suffix: str
    """How the name of a file ends that may lie beside a place and belong to it: ``<DSID>`` and
    this. It is put there before, and removed after. Empty where there is none.
    """
    keeps_snapshots: bool
    """Whether a new state may follow the one that is published: readers keep what they opened."""
    joins_segments: bool
    """Whether it has arrays of chunks of different lengths, so that segments become one array."""
    is_stock: bool
    """Whether it is plain JSON of Zarr version 2, which kerchunk's own engine opens by its URL."""
    requirements: tuple[str, ...]
    """What pip installs so that readers open it with ``engine="esgvzarr"``."""
    media_type: str
    """Of its asset."""
    asset_key: str
    """Under which key a STAC item has its asset."""
    asset_fields: Mapping[str, Any]
    """What else the asset says: title, description..."""
    roles: tuple[str, ...]
    """Of its asset."""

    def check_installed(self) -> None:
        """Look whether it can be written and read back here.

        Raises:
            SettingsError: a package is missing, or too old.
        """
        ...

    def write(
        self,
        references: ReferenceSet,
        staged: Path,
        present: Path | None = None,
        location: str = "",
    ) -> None:
        """Write references.

        Args:
            references: what it shall show.
            staged: where nothing is yet.
            present: what lies in its place, which is not touched. An output that keeps snapshots
                goes on with it.
            location: URL or path under which readers will have it; its place if empty.

        Raises:
            FormatError: it cannot show that.
            StoreError: it cannot be written.
        """
        ...

    def staged(self, place: Path, references: ReferenceSet) -> Artefact:
        """What ``write`` left, read back.

        Args:
            place: where it was written.
            references: what it should show. What the format does not tell of itself is taken from
                here, after it was compared as far as it goes.

        Raises:
            ProofError: something else was written.
        """
        ...

    def read(self, location: str, transport: Transport) -> Artefact:
        """What lies at a URL or path, written by any tool.

        Raises:
            TransportError: it cannot be read.
            ProofError: no such output is there, or it leads readers astray.
        """
        ...

    def parse(self, data: bytes, location: str, transport: Transport | None = None) -> Artefact:
        """The bytes of an output that is one file, written by any tool.

        Args:
            data: the bytes.
            location: where they are from.
            transport: reads what else belongs to the output; without one, it is read from this
                machine, when the output is opened.

        Raises:
            ProofError: they are none, or lead readers astray; or the output is a directory.
        """
        ...

    def is_whole(self, place: Path) -> bool:
        """Whether all that belongs to an output on disk is there, as far as it says by itself."""
        ...

    def same(self, a: Path, b: Path) -> bool:
        """Whether readers see the same in both: all but what says how they were made is equal."""
        ...

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """What fsspec's reference file system is told beyond the address.

        Args:
            protocol: of the URLs of the files that are referred to.
        """
        ...

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """With these, ``xarray.open_dataset(href, **kwargs)`` opens it.

        Args:
            protocol: of the URLs of the files that are referred to.
            reading: how these references are best read.
        """
        ...

    def provenance(self, place: Path) -> dict[str, Any]:
        """What a place on disk says of the files that it was made from.

        Raises:
            OSError, ValueError: not there, or not ours.
        """
        ...
