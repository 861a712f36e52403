"""Indexes: where people find the link. Built-ins and strangers register in the entry point group
``esgvzarr.indexes``.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import SettingsError
from ..model import AccessLink, DatasetId, DatasetRecord
from ..plugins import registered

if TYPE_CHECKING:
    from ..settings import Settings
    from ..transport import Transport

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


@dataclass(frozen=True, slots=True)
class IndexAddress:
    """Which index, and how it is reached. It never holds a password or token, only where those are
    configured.
    """

    kind: str
    """``stac``, ``globus``, ``solr``, or the name under which another package registers."""
    location: str
    """In the words of that index: a URL, a UUID, a host."""
    config: str = ""
    """Path of the ``esg.yaml`` that says how to log in."""
    certificate: str = ""
    """Path of the client certificate that an index node is shown."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What an index may need when it is opened."""

    transport: Transport
    """Reads, and sends what needs no login."""
    settings: Settings
    config: Mapping[str, Any]
    """Of esgcet, or the content of ``esg.yaml``: says how to log in. May have credentials."""
    registered: Mapping[str, Any] | None = None
    """The record that esgcet sent to the index just now."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a diagnosis says of the login that is kept."""

    found: str
    ends: float | None = None
    """In seconds since 1970; None where it does not end, or does not say so."""
    todo: str = ""
    """What would renew it, or how to get one."""
    kept: bool = True
    """False where there is none: then changes may not be let through."""


@runtime_checkable
class Index(Protocol):
    """An index of datasets. Every verb may be run twice.

    `IndexDefaults` has what most indexes need not say.
    """

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        """The index that ``esg.yaml`` names; None if it names none of this kind. The kind and the
        path of the file are filled in by the caller.

        Args:
            config: the content of ``esg.yaml``, or what esgcet made of it.
            index_node: where esgcet registered a dataset, or is told to.
        """
        ...

    @classmethod
    def opened(cls, address: IndexAddress, opening: Opening) -> Index:
        """The index at an address. Nothing is sent, and no login is used, before a change."""
        ...

    @classmethod
    def location_at(cls, url: str, content: bytes) -> str:
        """The location of the index that a person means by a URL; empty if it is none of this kind.

        Args:
            url: what was named.
            content: what is there; empty if that was not read yet.
        """
        ...

    def check(self) -> None:
        """Ask it something.

        Raises:
            EsgvzarrError: it does not answer as such an index does.
        """
        ...

    def check_login(self) -> Login:
        """What is kept of a login. No login is started.

        Raises:
            EsgvzarrError: a change would not be let through.
        """
        ...

    def to_be(self, record: DatasetRecord) -> Mapping[str, Any]:
        """As much of the record of a dataset that is not registered yet as a link is made from."""
        ...

    def with_link(self, record: Mapping[str, Any], link: AccessLink) -> Mapping[str, Any] | None:
        """The record as ``add_link`` would leave it; None if it would change nothing. Pure.

        Raises:
            LinkError: ``add_link`` would not send this.
        """
        ...

    def without_link(self, record: Mapping[str, Any], link: AccessLink) -> Mapping[str, Any]:
        """The record as ``remove_link`` would leave it. Pure."""
        ...

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """The dataset's record as the index shows it now; None if it has none."""
        ...

    def documents(self, dataset_id: DatasetId, data_node: str) -> Sequence[Mapping[str, Any]]:
        """What describes the dataset and its files on a data node: a STAC item, or File documents
        and then the Dataset document. Of the original's, where no data node is named.
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

    def property_names(self) -> Sequence[str]:
        """The properties that a query may name, as one of its datasets has them; none if it cannot
        say.
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


class IndexDefaults:
    """What most indexes need not say."""

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        """``esg.yaml`` never names it."""
        return None

    @classmethod
    def location_at(cls, url: str, content: bytes) -> str:
        """No URL means it."""
        return ""

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """As in `Index`."""
        raise NotImplementedError

    def property_names(self) -> Sequence[str]:
        """It cannot say."""
        return ()

    def check(self) -> None:
        """Ask for a dataset that no index has."""
        self.find(DatasetId("CMIP6.esgvzarr.doctor", "1"))

    def check_login(self) -> Login:
        """It needs none."""
        return Login("this index needs no login")


def record_in(index: Index, record: DatasetRecord) -> Mapping[str, Any] | None:
    """What the link is put on: the item, or the Dataset document of the record's own data node;
    None if the index has none.
    """
    documents = index.documents(record.id, record.data_node)
    return documents[-1] if documents else None


def is_retracted(record: Mapping[str, Any]) -> bool:
    """Whether an item or a Dataset document says that its dataset is retracted."""
    properties = record.get("properties")
    of_item = properties.get("retracted") if isinstance(properties, Mapping) else None
    said = record.get("retracted") if of_item is None else of_item
    value = said[0] if isinstance(said, list) and said else said
    return str(value).lower() == "true"


def kinds() -> list[str]:
    """The names of all indexes that are installed."""
    return sorted(registered(GROUP))


def address_in(
    config: Mapping[str, Any], index_node: str, among: Sequence[str]
) -> IndexAddress | None:
    """The index that ``esg.yaml`` names; None if it names none.

    Args:
        config: its content.
        index_node: where esgcet registers.
        among: kinds that come into question.
    """
    for name in among:
        found: IndexAddress | None = _class_of(name).configured(config, index_node)
        if found is not None:
            return replace(found, kind=name)
    return None


def address_at(url: str, content: bytes = b"") -> IndexAddress | None:
    """The index that a person means by a URL; None if it is that of no index."""
    for name in kinds():
        location = _class_of(name).location_at(url, content)
        if location:
            return IndexAddress(name, location)
    return None


def open_at(address: IndexAddress, opening: Opening) -> Index:
    """The index at an address.

    Raises:
        SettingsError: there is no such kind of index.
    """
    index: Index = _class_of(address.kind).opened(address, opening)
    return index


def connect(name: str, **options: Any) -> Index:
    """Open an index by the name it is registered under.

    Args:
        name: ``stac``, ``solr``, ``globus``, ``catalog``, or what another package registered.
        options: what that index is made with.

    Raises:
        SettingsError: no such index.
    """
    index: Index = _class_of(name)(**options)
    return index


def _class_of(name: str) -> Any:
    known = registered(GROUP)
    if name not in known:
        similar = difflib.get_close_matches(name, known, n=1)
        raise SettingsError(
            f"index {name!r}",
            "no such index",
            expected=" or ".join(sorted(known)),
            todo=f"Did you mean {similar[0]!r}?" if similar else "",
            code="settings-index",
        )
    return known[name].load()
