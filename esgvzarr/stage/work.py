"""What is to be staged, and what became of it. It travels between processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model import DatasetRecord, Finding, Report
from ..output import Reading

if TYPE_CHECKING:
    from ..settings import Settings  # pydantic costs a quarter of a second


@dataclass(frozen=True, slots=True)
class Place:
    """Where one output of a dataset is made, and where it goes. The process that places it made and
    locked the directory of ``staged``.
    """

    output: str
    """Name of the output."""
    staged: str
    """Hidden path beside ``path``, where nothing is yet."""
    path: str
    """Where the output goes."""
    location: str
    """URL or path under which it will be read."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where references are written, and how they are proved."""

    places: tuple[Place, ...]
    settings: Settings


@dataclass(frozen=True, slots=True)
class Work:
    """All that is needed to make the references of a dataset, in this process or in another."""

    record: DatasetRecord
    places: tuple[Place, ...]
    settings: Settings
    named: bool = False
    """Whether the operator named the data node: then it may have a private address."""

    @property
    def destination(self) -> Destination:
        """Where its references are written."""
        return Destination(self.places, self.settings)


@dataclass(frozen=True, slots=True)
class Proved:
    """One output that was staged, and proved through what was staged."""

    output: str
    size: int
    """Bytes, as ``output.parts.measure`` gives them."""
    sha256: str
    """Of what was proved, as ``output.parts.measure`` gives it."""
    report: Report
    reading: Reading
    """How it is best read."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What a work made: nothing of it is in its place yet."""

    outputs: tuple[Proved, ...]
    """In the order of its places."""
    warnings: tuple[Finding, ...]
    files: int
    chunks: int


Stager = Callable[[Work], Staged]
"""Does what ``stage`` does, perhaps in another process."""
