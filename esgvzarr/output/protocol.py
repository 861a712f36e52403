"""The protocol of outputs. To add an output, write a module, an entry point in the group
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
"""Roles of the asset that links to references."""
KERCHUNK_TYPE = "application/vnd.zarr+kerchunk"
"""Media type of kerchunk references, which the setting ``media_type`` may replace."""
LARGEST = 2 * 2**30
"""The most bytes that are read of an output's file."""

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
"""Exceptions of fsspec, Zarr and its codecs for references to other bytes, or for none."""


def no_file(output: str, location: str) -> ProofError:
    """Make the error for bytes that should be an output which is a directory."""
    return ProofError(
        location,
        "is one file",
        expected=f"a directory, as {output} is",
        code="proof-not-references",
    )


class Form(StrEnum):
    """What lies at the place of an output."""

    DOCUMENT = "document"
    """One file: kerchunk references as JSON, compressed or not."""
    TABLES = "tables"
    """A directory: kerchunk references as parquet tables."""
    REPOSITORY = "repository"
    """A directory: an Icechunk repository."""


class Artefact(Protocol):
    """An output that exists: what it states, and how its readers open it."""

    @property
    def contents(self) -> Contents:
        """What it states, read back from it."""
        ...

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """Return a function that opens its groups as its readers do.

        Args:
            options: options of fsspec's reference file system, for outputs that are read through
                it.
        """
        ...


@runtime_checkable
class Output(Protocol):
    """A way to write references. The suffix of a name identifies the output."""

    name: str
    """Name of the output in the settings."""
    suffix: str
    """Suffix of the names of its places."""
    form: Form
    """What lies at its places."""
    directory: bool
    """Whether it is a directory of files, not one file."""
    side_suffix: str
    """Suffix of the side file that may lie beside a place: ``<DSID>`` and this suffix. The side
    file is placed before the output, and removed after it. Empty if the output has no side files.
    """
    keeps_snapshots: bool
    """Whether a new state may replace a published one: readers keep the state that they opened."""
    joins_segments: bool
    """Whether it supports arrays with chunks of different lengths, in which segments become one
    array.
    """
    is_stock: bool
    """Whether it is plain JSON of Zarr version 2, which kerchunk's own engine opens by its URL."""
    requirements: tuple[str, ...]
    """Arguments of pip that install what readers need for ``engine="esgvzarr"``."""
    media_type: str
    """Media type of its asset."""
    asset_key: str
    """Key of its asset in a STAC item."""
    asset_fields: Mapping[str, Any]
    """Further fields of the asset: title, description..."""
    roles: tuple[str, ...]
    """Roles of its asset."""

    def check_installed(self) -> None:
        """Check that it can be written and read back here.

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
            references: the references to show.
            staged: a path where nothing exists yet.
            present: the existing output at the final place, which is not touched. An output that
                keeps snapshots continues it.
            location: URL or path at which readers will find it; its place if empty.

        Raises:
            FormatError: the output cannot show these references.
            StoreError: it cannot be written.
        """
        ...

    def staged(self, place: Path, references: ReferenceSet) -> Artefact:
        """Read back what ``write`` wrote.

        Args:
            place: where it was written.
            references: what it should show. Facts that the format does not state are taken from
                here, after everything else was compared.

        Raises:
            ProofError: it holds something else.
        """
        ...

    def read(self, location: str, transport: Transport) -> Artefact:
        """Read the output at a URL or path, written by any tool.

        Raises:
            TransportError: it cannot be read.
            ProofError: no such output exists there, or it refers to files or hosts that are not
                allowed.
        """
        ...

    def parse(self, data: bytes, location: str, transport: Transport | None = None) -> Artefact:
        """Parse the bytes of an output that is one file, written by any tool.

        Args:
            data: the bytes.
            location: where they come from.
            transport: reads further files of the output; without one, they are read from this
                machine when the output is opened.

        Raises:
            ProofError: the bytes are not references, or refer to files or hosts that are not
                allowed; or the output is a directory.
        """
        ...

    def is_whole(self, place: Path) -> bool:
        """Whether all files of an output on disk exist, as far as the output itself states."""
        ...

    def same(self, a: Path, b: Path) -> bool:
        """Whether readers see the same in both: everything is equal, except what states how they
        were made.
        """
        ...

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """Return what fsspec's reference file system must be told besides the address.

        Args:
            protocol: protocol of the URLs of the referenced files.
        """
        ...

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Return the arguments with which ``xarray.open_dataset(href, **kwargs)`` opens it.

        Args:
            protocol: protocol of the URLs of the referenced files.
            reading: advice for readers of these references.
        """
        ...

    def provenance(self, place: Path) -> dict[str, Any]:
        """Return what an output on disk states about the files that it was made from.

        Raises:
            OSError, ValueError: it does not exist, or esgvzarr did not write it.
        """
        ...
