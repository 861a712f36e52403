"""Indexes: where people find the link. Built-ins and strangers register in the entry point group
``esgvzarr.indexes``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from ..errors import SettingsError
from ..model import AccessLink, DatasetId, DatasetRecord

GROUP = "esgvzarr.indexes"


class LinkState(StrEnum):
    """What became of a link."""

    ADDED = "added"
    """The index shows it."""
    UNCHANGED = "unchanged"
    """Nothing was to be done, and nothing was sent."""
    PENDING = "pending"
    """The index took the change, but did not show it in time."""
    REMOVED = "removed"
    """The index no longer shows it."""


@dataclass(frozen=True, slots=True)
class Hits:
    """One page of what a search found."""

    datasets: tuple[tuple[str, str], ...]
    """Dataset id, as the index has it, and data node, of each; retracted datasets are left out."""
    next_page: str
    """For the next call; empty at the end."""


@runtime_checkable
class Index(Protocol):
    """An index of datasets. Every verb may be run twice."""

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """The dataset's record as the index shows it now; None if it has none."""
        ...

    def documents(self, dataset_id: DatasetId, data_node: str) -> Sequence[Mapping[str, Any]]:
        """What describes the dataset and its files on a data node: a STAC item, or File documents
        and then the Dataset document.
        """
        ...

    def search(self, query: str = "", page: str = "") -> Hits:
        """Datasets that fulfil a query, page by page.

        Args:
            query: in the index's own words: CQL2 text for STAC, ``facet=value&facet=value`` for
                Solr and Globus Search. Empty: all.
            page: as the page before named it; empty for the first.

        Raises:
            LinkError: the index refuses the query, or cannot be reached.
        """
        ...

    def links(self, dataset_id: DatasetId) -> tuple[AccessLink, ...]:
        """The dataset's reference links, ours and those of other data nodes."""
        ...

    def add_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Let the dataset's record show the link, in place of an older one of the same data node.

        Raises:
            LinkError: the index has no such dataset, refuses the link, or cannot be reached.
        """
        ...

    def remove_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Take the link (same data node, same href) off the dataset's record.

        Raises:
            LinkError: the index refuses, or cannot be reached.
        """
        ...


def record_in(index: Index, record: DatasetRecord) -> Mapping[str, Any] | None:
    """What the link is put on: the item, or the Dataset document of the record's own data node;
    None if the index has none.
    """
    documents = index.documents(record.id, record.data_node)
    return documents[-1] if documents else None


def connect(name: str, **options: Any) -> Index:
    """Open an index by the name it is registered under.

    Args:
        name: ``stac``, ``solr``, ``globus``, ``catalog``, or what another package registered.
        options: what that index is made with.

    Raises:
        SettingsError: no such index.
    """
    known = {point.name: point for point in entry_points(group=GROUP)}
    if name not in known:
        similar = difflib.get_close_matches(name, known, n=1)
        raise SettingsError(
            f"index {name!r}",
            "no such index",
            expected=" or ".join(sorted(known)),
            todo=f"Did you mean {similar[0]!r}?" if similar else "",
            code="settings-index",
        )
    index: Index = known[name].load()(**options)
    return index
