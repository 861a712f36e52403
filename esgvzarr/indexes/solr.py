"""A Solr index behind esg-search: read through its search, changed through ``ws/update``."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit
from xml.etree import ElementTree

import orjson

from .. import esgpublish
from ..errors import LinkError, TransportError
from ..model import DatasetId
from ..transport import Transport, host_of, is_url
from . import IndexAddress, Login, Opening
from .dataset_document import Change, Document
from .documents import Complaint, DocumentIndex

_log = logging.getLogger(__name__)
_MOST = 10_000
"""The most documents of a dataset's data nodes or files in an answer; esg-search gives 10 unless
more are requested, and at most this number.
"""
_PAGE = 1000
"""Documents on a page of a search."""
_UPDATED = re.compile(r"Number of records updated: (\d+)")
_MESSAGE = re.compile(r"<message>(.*?)</message>", re.DOTALL)


class SolrIndex(DocumentIndex):
    """An ESGF index node.

    Args:
        index_node: ``host`` or ``host:port``, as in esgcet's ``index_node``; the transport allows
            it from then on.
        transport: reads and sends; TLS is always verified.
        certificate: PEM file of a client certificate and its key, for index nodes that require one.
        poll_timeout_s: seconds to wait until the index shows the dataset, and then the change: the
            search reads a copy that is updated with a delay.
        registered: the Dataset document that was just sent to the index.
    """

    def __init__(
        self,
        index_node: str,
        transport: Transport,
        *,
        certificate: str | os.PathLike[str] | None = None,
        poll_timeout_s: float = 60.0,
        registered: Document | None = None,
    ) -> None:
        super().__init__(f"the index node {index_node}", poll_timeout_s, registered)
        self._url = f"https://{index_node}/esg-search"
        self._transport = transport
        self._certificate = certificate

    @classmethod
    def configured(cls, config: Document, index_node: str) -> IndexAddress | None:
        """Return ``index_node``, and the client certificate ``cert``."""
        if not index_node:
            return None
        certificate = esgpublish.client_certificate(config)
        return IndexAddress("solr", index_node, certificate=str(certificate or ""))

    @classmethod
    def opened(cls, address: IndexAddress, opening: Opening) -> SolrIndex:
        """Open the index with the client certificate of the address."""
        opening.transport.allow(host_of(f"https://{address.location}"), named=True)
        return cls(
            address.location,
            opening.transport,
            certificate=address.certificate or None,
            poll_timeout_s=opening.settings.poll_timeout_s,
            registered=opening.registered,
        )

    @classmethod
    def location_at(cls, url: str, content: bytes) -> str:
        """Return the index node of any URL below its ``/esg-search``."""
        is_search = is_url(url) and urlsplit(url).path.startswith("/esg-search")
        return host_of(url) if is_search else ""

    def check_login(self) -> Login:
        """Return when the client certificate expires."""
        if not self._certificate:
            todo = "If the index node requires a client certificate, set cert in esg.yaml."
            return Login("no client certificate exists", todo=todo, kept=False)
        ends = esgpublish.certificate_end(self._certificate)
        todo = "Get a new certificate, and set cert in esg.yaml to its path."
        return Login(f"the certificate {self._certificate}", ends, todo)

    def _read(self, identifier: str) -> Document | None:
        return next(
            (
                document
                for document in self._search(id=identifier)
                if document.get("id") == identifier
            ),
            None,
        )

    def _read_all(self, dataset_id: DatasetId) -> Sequence[Document]:
        return [
            document
            for document in self._search(instance_id=dataset_id)
            if document.get("instance_id") == str(dataset_id)
        ]

    def _read_files(self, identifier: str) -> Sequence[Document]:
        return [
            document
            for document in self._search("File", dataset_id=identifier)
            if document.get("dataset_id") == identifier
        ]

    def _read_page(
        self, facets: Mapping[str, Sequence[str]], page: str
    ) -> tuple[Sequence[Document], str]:
        """``page`` is the number of documents on the pages before."""
        before = int(page or 0)
        asked: dict[str, object] = {
            **facets,
            "fields": "instance_id,data_node,retracted",
            "offset": before,
            "limit": _PAGE,
        }
        documents = self._search("Dataset", **asked)
        return documents, str(before + len(documents)) if len(documents) == _PAGE else ""

    def _search(self, kind: str = "Dataset", /, **constraint: object) -> list[dict[str, Any]]:
        query = {
            "limit": _MOST,
            **constraint,
            "type": kind,
            "distrib": "false",
            "format": "application/solr+json",
        }
        url = f"{self._url}/search?{urlencode(query, doseq=True)}"
        try:
            answer = orjson.loads(self._transport.read_document(url))
        except TransportError as error:
            found = f"the index cannot be read: {error.found}"
            raise LinkError(
                url, found, todo=error.todo, code="index-unreachable", retryable=error.retryable
            ) from error
        except ValueError as error:
            raise LinkError(
                url,
                "does not answer with JSON",
                expected="Solr documents",
                code="index-item-invalid",
            ) from error
        response = answer.get("response") if isinstance(answer, dict) else None
        documents = response.get("docs") if isinstance(response, dict) else None
        if not isinstance(documents, list) or not all(
            isinstance(document, dict) for document in documents
        ):
            raise LinkError(
                url,
                "does not answer with Solr documents",
                expected="Solr documents",
                code="index-item-invalid",
            )
        return documents

    def _write(self, document: Document, change: Change) -> Complaint:
        identifier = str(document["id"])
        url = f"{self._url}/ws/update"
        try:
            status, text = self._transport.post(
                url,
                update_document(identifier, change),
                "application/xml",
                certificate=self._certificate,
            )
        except TransportError as error:
            todo = error.todo or "Run esgvzarr resume later."
            code = f"index-http-{error.status}" if error.status else "index-unreachable"
            raise LinkError(
                url, error.found, todo=todo, code=code, retryable=error.retryable
            ) from error
        _check_answer(identifier, status, text)
        _log.debug("%s: %s set: HTTP %s", identifier, ", ".join(change), status)
        return lambda: None


def update_document(identifier: str, change: Change) -> bytes:
    """Return the document that is sent to ``ws/update``. A field without values is removed."""
    updates = ElementTree.Element("updates", core="datasets", action="set")
    update = ElementTree.SubElement(updates, "update")
    ElementTree.SubElement(update, "query").text = f"id={_solr_term(identifier)}"
    for name, values in change.items():
        field = ElementTree.SubElement(update, "field", name=name)
        for value in values:
            ElementTree.SubElement(field, "value").text = value
    return bytes(ElementTree.tostring(updates, encoding="utf-8", xml_declaration=True))


def _solr_term(value: str) -> str:
    """Quote a value: esg-search passes the query to Solr unchanged, which would take a data node's
    port for a field.
    """
    return f'"{value}"' if ":" in value else value


def _check_answer(identifier: str, status: int, text: str) -> None:
    messages = "; ".join(" ".join(message.split()) for message in _MESSAGE.findall(text))[:500]
    if status != 200:
        todo = (
            "Check that `cert` in esg.yaml names a certificate that may publish to this index."
            if status in (401, 403)
            else ""
        )
        raise LinkError(
            identifier,
            f"HTTP {status}" + (f": {messages}" if messages else ""),
            todo=todo,
            code=f"index-http-{status}",
        )
    updated = _UPDATED.search(text)
    if updated is None or updated.group(1) != "1":
        raise LinkError(
            identifier,
            f"the index answers {messages or text[:200]!r}",
            expected="one record updated",
            code="index-update-failed",
        )
