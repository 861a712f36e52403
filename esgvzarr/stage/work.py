"""The work of staging one dataset, and its result. Both travel between processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..formats import Fetched
from ..model import DatasetRecord, FileRecord, Finding, ReferenceSet, Report
from ..output import Reading
from ..transport import Transport

if TYPE_CHECKING:
    from ..settings import Settings  # Importing pydantic takes a quarter of a second.


@dataclass(frozen=True, slots=True)
class Place:
    """Where one output of a dataset is staged, and where it goes.

    The process that will place the output made and locked the directory of ``staged``.
    """

    output: str
    """Name of the output."""
    staged: str
    """Hidden path beside ``path``; nothing exists there yet."""
    path: str
    """Where the output goes."""
    location: str
    """URL or path at which readers will open the output."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where references are written, and how they are proved."""

    places: tuple[Place, ...]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that is needed to make the references of a dataset, in this process or another
    one.
    """

    record: DatasetRecord
    places: tuple[Place, ...]
    settings: Settings
    named: bool = False
    """Whether the operator named the data node; a data node that was named may have a private
    address.
    """

    @property
    def destination(self) -> Destination:
        """The places and settings with which the references are written."""
        return Destination(self.places, self.settings)


@dataclass(frozen=True, slots=True, eq=False)
class Unproved:
    """One output that is staged, and not proved yet."""

    place: Place
    references: ReferenceSet
    """The references that were written."""
    size: int
    """Bytes, as ``output.parts.measure`` returns them."""
    sha256: str
    """As ``output.parts.measure`` returns it."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """The staged outputs of a dataset, and what their proof begins with."""

    references: ReferenceSet
    outputs: tuple[Unproved, ...]
    """In the order of the work's places."""
    files: tuple[FileRecord, ...]
    """The files that the references were made of."""
    scanned: Mapping[str, Fetched]
    """What the scan has read of each file over HTTP, by URL."""
    warnings: tuple[Finding, ...]
    transport: Transport
    """It knows the state in which the scan found each file."""

    @property
    def name(self) -> str:
        """The dataset, or the name of a document."""
        return str(self.references.id)


@dataclass(frozen=True, slots=True)
class Proved:
    """One output that was staged, and whose proof passed."""

    output: str
    size: int
    """Size in bytes, as ``output.parts.measure`` gives it."""
    sha256: str
    """SHA-256 of the output that was proved, as ``output.parts.measure`` gives it."""
    report: Report
    reading: Reading
    """The arguments with which readers open the output best."""


@dataclass(frozen=True, slots=True)
class Staged:
    """The result of a ``Work``. No output is in its place yet."""

    outputs: tuple[Proved, ...]
    """The outputs, in the order of the work's places."""
    warnings: tuple[Finding, ...]
    files: int
    chunks: int


Stager = Callable[[Work], Staged]
"""Does the work of ``stage``, perhaps in another process."""
