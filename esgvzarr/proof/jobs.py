"""The chunks that are compared: read through the references, and from the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..inflate import chunks_of
from ..model import Check
from .file_side import equal
from .reference_side import Shown
from .sample import Box

if TYPE_CHECKING:
    import xarray


@dataclass(slots=True, eq=False)
class Values:
    """What is to be found of the chosen boxes of one variable of one file."""

    subject: str
    size: int
    """Of the variable in the file."""
    count: int = 0
    boxes: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self) -> Check:
        """After all boxes were compared."""
        detail = f"{self.count} of {self.size} values in {self.boxes} boxes"
        if self.wrong:
            detail += f", {len(self.wrong)} of them wrong, first {self.wrong[0]}"
        return Check("values", self.subject, not self.wrong, detail)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A box of a file that is read through the references and from the file."""

    url: str
    """Of the file."""
    name: str
    box: Box
    """In the file."""
    group: Shown
    shown_box: Box
    """Where the group shows it."""
    size: int
    """Bytes, decoded."""
    values: Values

    def read_shown(self) -> np.ndarray:
        """What a reader gets. No chunk of it may be larger, decoded, than its shape says."""
        variable = self.group.dataset.variables[self.name]
        if variable.dtype.kind == "O":
            return np.asarray(variable[self.shown_box].values)
        with chunks_of(math.prod(self.group.chunk_shape(self.name)) * variable.dtype.itemsize):
            return np.asarray(variable[self.shown_box].values)

    def unlike(self, truth: xarray.Dataset, part: np.ndarray | Exception) -> list[str]:
        """In what the part that a reader gets is not the file's. The file is read first: where it
        is damaged, both sides fail, and the fault is the file's.
        """
        there = np.asarray(truth.variables[self.name][self.box].values)
        if isinstance(part, Exception):
            return [f"{self.box} cannot be read: {type(part).__name__}: {part}"]
        return [] if equal(there, part) else [f"{self.box} differs"]


def values_of(jobs: Sequence[Job]) -> Iterator[Check]:
    """What was found, variable by variable and file by file."""
    for values in dict.fromkeys(job.values for job in jobs):
        yield values.check()
