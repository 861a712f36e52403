"""The common part of the legacy indexes: read Dataset documents, change them by field, and read
them again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from urllib.parse import parse_qs

from ..errors import LinkError, SettingsError
from ..model import AccessLink, DatasetId, DatasetRecord
from . import Hits, IndexDefaults, LinkState, is_retracted
from .dataset_document import (
    Change,
    Document,
    apply,
    check_link,
    document_id,
    is_copy,
    plan,
    plan_removal,
    read_links,
)
from .polling import looks

Complaint = Callable[[], None]
"""Raises a LinkError once the index reports that a change which it accepted has failed."""


class DocumentIndex(IndexDefaults, ABC):
    """An index of Dataset documents, with one document for each data node that has the dataset.

    Args:
        name: name of the index in messages.
        poll_timeout_s: seconds to wait until the index shows the dataset, and then the change.
        registered: the Dataset document that was just sent to the index. Until the index shows it,
            it may show an older one with a link, which is not used.
    """

    def __init__(
        self, name: str, poll_timeout_s: float, registered: Document | None = None
    ) -> None:
        self._name = name
        self._poll_timeout_s = poll_timeout_s
        self._registered = registered or {}

    @abstractmethod
    def _read(self, identifier: str) -> Document | None:
        """Return one Dataset document by its id; None if there is none."""

    @abstractmethod
    def _read_all(self, dataset_id: DatasetId) -> Sequence[Document]:
        """Return the Dataset documents of all data nodes."""

    @abstractmethod
    def _read_files(self, identifier: str) -> Sequence[Document]:
        """Return the File documents of a Dataset document."""

    @abstractmethod
    def _read_page(
        self, facets: Mapping[str, Sequence[str]], page: str
    ) -> tuple[Sequence[Document], str]:
        """Return Dataset documents that have one of the values of each facet, and the name of the
        next page.
        """

    @abstractmethod
    def _write(self, document: Document, change: Change) -> Complaint:
        """Send a change of the document's fields."""

    def to_be(self, record: DatasetRecord) -> Document:
        """Make a Dataset document without a link."""
        return {"id": document_id(record.id, record.data_node), "access": ["HTTPServer"]}

    def with_link(self, record: Document, link: AccessLink) -> Document | None:
        """Return the document with its link, checked as in `add_link`."""
        check_link(link)
        change = plan(record, link)
        return apply(record, change) if change else None

    def without_link(self, record: Document, link: AccessLink) -> Document:
        """Return the document without its link."""
        change = plan_removal(record, link)
        return apply(record, change) if change else record

    def search(self, query: str = "", page: str = "") -> Hits:
        """Return datasets that have the facets ``name=value&name=value``; a name that occurs twice
        allows either value.

        Raises:
            SettingsError: the query is invalid.
            LinkError: the index refuses the query, cannot be reached, or does not answer with
                documents.
        """
        try:
            facets = parse_qs(query, strict_parsing=True) if query else {}
        except ValueError as error:
            raise SettingsError(
                repr(query),
                f"cannot be searched for: {error}",
                expected="facet=value&facet=value",
                code="settings-filter",
            ) from error
        documents, next_page = self._read_page(facets, page)
        live = [document for document in documents if not is_retracted(document)]
        return Hits(
            tuple((str(one.get("instance_id")), str(one.get("data_node"))) for one in live),
            next_page,
        )

    def find(self, dataset_id: DatasetId) -> Document | None:
        """Return the Dataset document, that of the original if there are replicas; None if there is
        none.

        Raises:
            LinkError: the index cannot be reached, or does not answer with documents.
        """
        documents = self._read_all(dataset_id)
        return min(
            documents,
            key=lambda document: str(document.get("replica")).lower() == "true",
            default=None,
        )

    def documents(self, dataset_id: DatasetId, data_node: str) -> list[Document]:
        """Return the data node's File documents and its Dataset document.

        Raises:
            LinkError: the index cannot be reached, or does not answer with documents.
        """
        node = data_node or str((self.find(dataset_id) or {}).get("data_node", ""))
        identifier = document_id(dataset_id, node)
        document = self._read(identifier)
        return [*self._read_files(identifier), document] if document is not None else []

    def links(self, dataset_id: DatasetId) -> tuple[AccessLink, ...]:
        """Return the reference links on the Dataset documents of all data nodes."""
        documents = self._read_all(dataset_id)
        return tuple(chain.from_iterable(map(read_links, documents)))

    def add_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Add the link to the data node's Dataset document, after waiting for a dataset that was
        just registered.

        Raises:
            LinkError: there is no such document, or the index refuses or cannot be reached.
        """
        check_link(link)
        identifier = document_id(dataset_id, link.data_node)
        document = self._wait_for(identifier)
        change = plan(document, link)
        if change is None:
            return LinkState.UNCHANGED
        complaint = self._write(document, change)
        self._registered = {}
        done = self._confirm(
            identifier, complaint, lambda shown: shown is not None and plan(shown, link) is None
        )
        return LinkState.ADDED if done else LinkState.PENDING

    def remove_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Remove the link from the data node's Dataset document. If the document does not exist,
        neither does the link.

        Raises:
            LinkError: the index refuses or cannot be reached.
        """
        identifier = document_id(dataset_id, link.data_node)
        document = self._read(identifier)
        change = plan_removal(document, link) if document is not None else None
        if document is None or change is None:
            return LinkState.UNCHANGED
        complaint = self._write(document, change)
        done = self._confirm(
            identifier, complaint, lambda shown: shown is None or plan_removal(shown, link) is None
        )
        return LinkState.REMOVED if done else LinkState.PENDING

    def _wait_for(self, identifier: str) -> Document:
        for document in self._looks(identifier):
            if document is not None and (
                self._registered.get("id") != identifier or is_copy(document, self._registered)
            ):
                return document
        raise LinkError(
            identifier,
            f"is not in {self._name} after {self._poll_timeout_s:g} s",
            expected="the dataset, which was registered",
            todo="The index may not have processed the registration yet: run esgvzarr resume "
            "later.",
            code="index-item-missing",
        )

    def _confirm(
        self, identifier: str, complaint: Complaint, done: Callable[[Document | None], bool]
    ) -> bool:
        for document in self._looks(identifier, sent=True):
            if done(document):
                return True
            complaint()
        return False

    def _looks(self, identifier: str, *, sent: bool = False) -> Iterator[Document | None]:
        return looks(lambda: self._read(identifier), self._poll_timeout_s, sent=sent)
