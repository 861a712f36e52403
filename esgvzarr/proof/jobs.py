"""The boxes that are compared: read through the references, and from the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..inflate import chunks_of
from ..model import Check
from .file_side import equal
from .reference_side import ShownGroup
from .sample import Box

if TYPE_CHECKING:
    import xarray


@dataclass(slots=True, eq=False)
class Values:
    """The result for the chosen boxes of one variable of one file."""

    subject: str
    size: int
    """Number of values of the variable in the file."""
    count: int = 0
    boxes: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self) -> Check:
        """Make the check, after all boxes were compared."""
        detail = f"{self.count} of {self.size} values in {self.boxes} boxes"
        if self.wrong:
            detail += f", {len(self.wrong)} of them wrong, first {self.wrong[0]}"
        return Check("values", self.subject, not self.wrong, detail)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A box that is read through the references and from the file."""

    url: str
    """Dimensions of the variable in the file."""
    name: str
    box: Box
    """The box in the file."""
    group: ShownGroup
    shown_box: Box
    """The box in the group that shows it."""
    size: int
    """Size of the decoded box in bytes."""
    values: Values

    def read_shown(self) -> np.ndarray:
        """Read what a reader gets. Raise if a chunk decodes to more bytes than its shape says."""
        variable = self.group.dataset.variables[self.name]
        if variable.dtype.kind == "O":
            return np.asarray(variable[self.shown_box].values)
        with chunks_of(math.prod(self.group.chunk_shape(self.name)) * variable.dtype.itemsize):
            return np.asarray(variable[self.shown_box].values)

    def unlike(self, truth: xarray.Dataset, part: np.ndarray | Exception) -> list[str]:
        """Describe how the values that a reader gets differ from those of the file.

        The file is read first: if the file is damaged, both sides fail, and the error names the
        file.
        """
        there = np.asarray(truth.variables[self.name][self.box].values)
        if isinstance(part, Exception):
            return [f"{self.box} cannot be read: {type(part).__name__}: {part}"]
        return [] if equal(there, part) else [f"{self.box} differs"]


def values_of(jobs: Sequence[Job]) -> Iterator[Check]:
    """Return the result of each variable of each file."""
    for values in dict.fromkeys(job.values for job in jobs):
        yield values.check()
