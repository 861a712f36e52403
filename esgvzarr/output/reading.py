"""Advice for readers of references, from their provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Layout


@dataclass(frozen=True, slots=True)
class Reading:
    """Advice for readers of the references of one dataset."""

    dimension: str = ""
    """The name of the time dimension."""
    steps: int = 0
    """Time steps that make a task of 16 to 64 MiB; 0 if there is no advice."""
    segments: int = 0
    """Number of groups that readers must join; 0 if the root shows everything."""
    codec: bool = False
    """Whether readers need the codec ``esgvzarr.padded``."""
    groups: tuple[str, ...] = ()
    """Paths of the groups of variables that do not fit into one dataset; empty if all fit."""
    segmented: tuple[str, ...] = ()
    """Paths of the groups that are in segments, which readers must join."""

    @property
    def chunks(self) -> dict[str, int]:
        """Chunks of dask arrays, by dimension."""
        return {self.dimension: self.steps} if self.steps else {}

    @property
    def layout(self) -> Layout:
        """How the references show the dataset."""
        if self.groups:
            return Layout.SEGMENTED_GROUPS if self.segmented else Layout.GROUPS
        if self.segments:
            return Layout.SEGMENTS
        return Layout.PADDED if self.codec else Layout.WHOLE


NO_ADVICE = Reading()
OURS = {"engine": "esgvzarr", "chunks": {}}
"""Arguments with which ``xarray.open_dataset`` joins segments, and ``xarray.open_datatree`` opens
groups.
"""


def reading_of(provenance: Mapping[str, Any]) -> Reading:
    """Return the advice for readers of references; no advice if their provenance has none."""
    said = provenance.get("reading", {})
    return Reading(
        said.get("dimension") or "",
        said.get("steps", 0),
        said.get("segments", 0),
        bool(said.get("codec", False)),
        tuple(said.get("groups", ())),
        tuple(said.get("segmented", ())),
    )
