"""Indexes: the services in which people find the link. Built-in indexes and those of other packages
register in the entry point group ``esgvzarr.indexes``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..model import AccessLink, DatasetId, DatasetRecord
from ..plugins import look_up, registered

if TYPE_CHECKING:
    from ..settings import Settings
    from ..transport import Transport

GROUP = "esgvzarr.indexes"


class LinkState(StrEnum):
    """The result of a change to a link."""

    ADDED = "added"
    """The index shows it."""
    UNCHANGED = "unchanged"
    """The link was in the wanted state already, and nothing was sent."""
    PENDING = "pending"
    """The index accepted the change, but did not show it in time."""
    REMOVED = "removed"
    """The index no longer shows it."""


@dataclass(frozen=True, slots=True)
class Hits:
    """One page of the results of a search."""

    datasets: tuple[tuple[str, str], ...]
    """The dataset id in the form of the index, and the data node, of each result; retracted
    datasets are left out.
    """
    next_page: str
    """The argument ``page`` of the next call; empty on the last page."""


@dataclass(frozen=True, slots=True)
class IndexAddress:
    """Which index, and how to reach it. It never holds a password or token, only where those are
    configured.
    """

    kind: str
    """``stac``, ``globus``, ``solr``, or the name under which another package registers."""
    location: str
    """In the form of that kind of index: a URL, a UUID, a host."""
    config: str = ""
    """Path of the ``esg.yaml`` that holds the login."""
    certificate: str = ""
    """Path of the client certificate for the index node."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What an index may need when it is opened."""

    transport: Transport
    """Reads, and sends requests that need no login."""
    settings: Settings
    config: Mapping[str, Any]
    """esgcet's configuration, or the content of ``esg.yaml``: says how to log in. It may hold
    credentials.
    """
    registered: Mapping[str, Any] | None = None
    """The record that esgcet just sent to the index."""


@dataclass(frozen=True, slots=True)
class Login:
    """What a diagnosis reports about the stored login."""

    found: str
    ends: float | None = None
    """End of the login, in seconds since 1970-01-01; None if it does not end, or states no end."""
    todo: str = ""
    """How the login is renewed, or how to get one."""
    kept: bool = True
    """Whether there is a login; without one, the index may refuse changes."""


@runtime_checkable
class Index(Protocol):
    """An index of datasets. Every method may be called twice with the same result.

    `IndexDefaults` has methods that suit most indexes.
    """

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        """Return the index that ``esg.yaml`` names; None if it names none of this kind. The caller
        fills in the kind and the path of the file.

        Args:
            config: the content of ``esg.yaml``, or esgcet's configuration made from it.
            index_node: the index node at which esgcet registers datasets.
        """
        ...

    @classmethod
    def opened(cls, address: IndexAddress, opening: Opening) -> Index:
        """Open the index at an address. Nothing is sent, and no login is used, before a change."""
        ...

    @classmethod
    def location_at(cls, url: str, content: bytes) -> str:
        """Return the location of the index at a URL that a person gave; empty if it is not an index
        of this kind.

        Args:
            url: the URL.
            content: the bytes at the URL; empty if they were not read yet.
        """
        ...

    def check(self) -> None:
        """Send the index a request, to see whether it works.

        Raises:
            EsgvzarrError: its answer is not that of such an index.
        """
        ...

    def check_login(self) -> Login:
        """Return what is known of the stored login. No login is started.

        Raises:
            EsgvzarrError: the index would refuse a change.
        """
        ...

    def to_be(self, record: DatasetRecord) -> Mapping[str, Any]:
        """Make as much of the record of a dataset that is not registered yet as a link needs."""
        ...

    def with_link(self, record: Mapping[str, Any], link: AccessLink) -> Mapping[str, Any] | None:
        """Return the record as ``add_link`` would leave it; None if it would change nothing. No
        input or output.

        Raises:
            LinkError: ``add_link`` would refuse to send this.
        """
        ...

    def without_link(self, record: Mapping[str, Any], link: AccessLink) -> Mapping[str, Any]:
        """Return the record as ``remove_link`` would leave it. No input or output."""
        ...

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """Return the dataset's record as the index shows it now; None if it has none."""
        ...

    def documents(self, dataset_id: DatasetId, data_node: str) -> Sequence[Mapping[str, Any]]:
        """Return what describes the dataset and its files on a data node: a STAC item, or File
        documents followed by the Dataset document. Without a data node, those of the original.
        """
        ...

    def search(self, query: str = "", page: str = "") -> Hits:
        """Search datasets, page by page.

        Args:
            query: in the language of the index: CQL2 text for STAC, ``facet=value&facet=value`` for
                Solr and Globus Search. Empty selects all.
            page: as the page before named it; empty for the first.

        Raises:
            LinkError: the index refuses the query, or cannot be reached.
        """
        ...

    def property_names(self) -> Sequence[str]:
        """Return the properties that a query may name, from one of the index's datasets; empty if
        it cannot tell.
        """
        ...

    def links(self, dataset_id: DatasetId) -> tuple[AccessLink, ...]:
        """Return the dataset's reference links, those of this and of other data nodes."""
        ...

    def links_beside(
        self, dataset_id: DatasetId, record: Mapping[str, Any]
    ) -> tuple[AccessLink, ...]:
        """Return the same as ``links``, for a record that ``documents`` has just returned. Asks the
        index only if the record does not show all links.
        """
        ...

    def add_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Add the link to the dataset's record, in place of an older one of the same data node.

        Raises:
            LinkError: the index has no such dataset, refuses the link, or cannot be reached.
        """
        ...

    def remove_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Remove the link (same data node, same href) from the dataset's record.

        Raises:
            LinkError: the index refuses, or cannot be reached.
        """
        ...


class IndexDefaults:
    """Methods that suit most indexes."""

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        """Return None: ``esg.yaml`` never names this index."""
        return None

    @classmethod
    def location_at(cls, url: str, content: bytes) -> str:
        """Return an empty text: no URL leads to this index."""
        return ""

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """Return the dataset's record, as in `Index`."""
        raise NotImplementedError

    def links(self, dataset_id: DatasetId) -> tuple[AccessLink, ...]:
        """Return the dataset's reference links, as in `Index`."""
        raise NotImplementedError

    def links_beside(
        self, dataset_id: DatasetId, record: Mapping[str, Any]
    ) -> tuple[AccessLink, ...]:
        """Ask the index for the links."""
        return self.links(dataset_id)

    def property_names(self) -> Sequence[str]:
        """Return nothing: this index cannot tell."""
        return ()

    def check(self) -> None:
        """Ask for a dataset that no index has."""
        self.find(DatasetId("CMIP6.esgvzarr.doctor", "1"))

    def check_login(self) -> Login:
        """Return that no login is needed."""
        return Login("this index needs no login")


def record_in(index: Index, record: DatasetRecord) -> Mapping[str, Any] | None:
    """Return the record that the link is added to: the item, or the Dataset document of the
    record's own data node; None if the index has none.
    """
    documents = index.documents(record.id, record.data_node)
    return documents[-1] if documents else None


def is_retracted(record: Mapping[str, Any]) -> bool:
    """Whether an item or a Dataset document states that its dataset is retracted."""
    properties = record.get("properties")
    of_item = properties.get("retracted") if isinstance(properties, Mapping) else None
    said = record.get("retracted") if of_item is None else of_item
    value = said[0] if isinstance(said, list) and said else said
    return str(value).lower() == "true"


def kinds() -> list[str]:
    """Return the names of all installed indexes."""
    return sorted(registered(GROUP))


def address_in(
    config: Mapping[str, Any], index_node: str, among: Sequence[str]
) -> IndexAddress | None:
    """Return the index that ``esg.yaml`` names; None if it names none.

    Args:
        config: content of ``esg.yaml``.
        index_node: the index node at which esgcet registers.
        among: the kinds of indexes to try.
    """
    for name in among:
        found: IndexAddress | None = _class_of(name).configured(config, index_node)
        if found is not None:
            return replace(found, kind=name)
    return None


def address_at(url: str, content: bytes = b"") -> IndexAddress | None:
    """Return the index at a URL that a person gave; None if there is no index at the URL."""
    for name in kinds():
        location = _class_of(name).location_at(url, content)
        if location:
            return IndexAddress(name, location)
    return None


def open_at(address: IndexAddress, opening: Opening) -> Index:
    """Open the index at an address.

    Raises:
        SettingsError: this kind of index is not installed.
    """
    index: Index = _class_of(address.kind).opened(address, opening)
    return index


def connect(name: str, **options: Any) -> Index:
    """Open an index by the name under which it is registered.

    Args:
        name: ``stac``, ``solr``, ``globus``, ``catalog``, or a name that another package
            registered.
        options: the arguments of that index.

    Raises:
        SettingsError: no index is registered under this name.
    """
    index: Index = _class_of(name)(**options)
    return index


def _class_of(name: str) -> Any:
    return look_up(name, registered(GROUP), "index", "settings-index").load()
