"""A STAC API: read through the discovery API, changed through the transaction API, one JSON Patch
operation at a time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from .. import esgpublish
from ..errors import LinkError, Obstacle, TransportError
from ..model import AccessLink, DatasetId, DatasetRecord
from ..transport import Transport, is_url
from . import Hits, IndexAddress, IndexDefaults, LinkState, Login, Opening, is_retracted
from .asset import (
    Item,
    Operation,
    apply,
    bare_item,
    check_schema,
    data_node_of,
    plan_access,
    plan_checked,
    plan_removal,
    present_nodes,
    read_links,
    shows,
)
from .polling import looks
from .stac_pages import items_of, next_page

log = logging.getLogger(__name__)
_PAGE = 100
"""Items on a page of a search: an item of many files has a hundred kilobytes."""


class Patcher(Protocol):
    """Changes an item: `esgvzarr.esgpublish.TransactionClient`, or a client of another API."""

    def patch(self, collection: str, item_id: str, operation: Mapping[str, Any]) -> int:
        """Send one JSON Patch operation and return the HTTP status if it is below 300; raise a
        LinkError otherwise.
        """
        ...


def _utc_now() -> datetime:
    return datetime.now(UTC)


class StacIndex(IndexDefaults):
    """A STAC API with ESGF's transactions.

    Args:
        api_url: discovery API, without a trailing ``/``; the transport allows its host from then
            on.
        client: sends the changes.
        transport: reads the items.
        poll_timeout_s: seconds to wait until the discovery API shows the dataset, and then the
            change.
        schema_of: returns a project's JSON schema of items, or None; changes must not break it.
        list_access: also keep ``VirtualZarr`` in the item's ``properties.access``, if it has such a
            list.
        now: returns the time, in UTC, for ``created`` and ``updated``.
        login: returns what is known of the client's stored login.
    """

    def __init__(
        self,
        api_url: str,
        client: Patcher,
        transport: Transport,
        *,
        poll_timeout_s: float = 60.0,
        schema_of: Callable[[str], Mapping[str, Any] | None] = lambda _: None,
        list_access: bool = False,
        now: Callable[[], datetime] = _utc_now,
        login: Callable[[], Login] = lambda: Login("this client needs no login"),
    ) -> None:
        self._login = login
        self._api_url = api_url.rstrip("/")
        self._client = client
        self._transport = transport
        self._poll_timeout_s = poll_timeout_s
        self._now = now
        self._schema_of = schema_of
        self._list_access = list_access

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        """Return ``stac_api`` of ``stac_config``, or ``stac_api`` alone."""
        stac = config.get("stac_config")
        within = stac.get("stac_api") if isinstance(stac, Mapping) else None
        api = within or config.get("stac_api")
        return IndexAddress("stac", str(api)) if api else None

    @classmethod
    def opened(cls, address: IndexAddress, opening: Opening) -> StacIndex:
        """Open the API with esgcet's transaction client, and its login."""
        stac = opening.config.get("stac_config")
        config = opening.config if stac else {"stac_api": address.location}
        client = esgpublish.TransactionClient(config)

        def login() -> Login:
            if not stac:
                return Login(
                    "stac_api without stac_config means an API without a login", kept=False
                )
            return Login("the login of esgcet's client", client.check_login(), "esglogin")

        settings = opening.settings
        return cls(
            address.location,
            client,
            opening.transport,
            poll_timeout_s=settings.poll_timeout_s,
            schema_of=esgpublish.item_schema,
            list_access=settings.list_access,
            login=login,
        )

    @classmethod
    def location_at(cls, url: str, content: bytes) -> str:
        """Return the API's location; its landing page states its conformance classes."""
        if not (is_url(url) and content.lstrip().startswith(b"{")):
            return ""
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            return ""
        is_api = isinstance(document, dict) and "conformsTo" in document
        return url.rstrip("/") if is_api else ""

    def check(self) -> None:
        """Read the landing page, and ask for a dataset that no index has.

        Raises:
            LinkError: the index cannot be reached, or is not a STAC API.
        """
        try:
            page = json.loads(self._transport.read_document(self._api_url))
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, dict) or not {"links", "stac_version"} <= page.keys():
            raise LinkError(
                self._api_url,
                "is not the landing page of a STAC API",
                todo="Check stac_api in esg.yaml.",
                code="index-item-invalid",
            )
        super().check()

    def check_login(self) -> Login:
        """Return the login of esgcet's client."""
        return self._login()

    def to_be(self, record: DatasetRecord) -> Mapping[str, Any]:
        """Make an item without assets."""
        return bare_item(record, self._now())

    def with_link(self, record: Item, link: AccessLink) -> Item | None:
        """Return the item with its asset, checked as in `add_link`."""
        operation = self._checked(record, link)
        return apply(record, operation) if operation else None

    def _checked(self, item: Item, link: AccessLink) -> Operation | None:
        """Return the operation after which the item shows the link; None if it does already.

        Raises:
            LinkError: the operation would break a rule of ESGF, of common readers or of the
                project.
        """
        operation = plan_checked(item, link, self._now())
        if operation is not None:
            self._check_schema(item, operation)
        return operation

    def without_link(self, record: Item, link: AccessLink) -> Item:
        """Return the item without its asset."""
        operation = plan_removal(record, link)
        return apply(record, operation) if operation else record

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """Return the item as the discovery API shows it now; None if it shows none.

        Raises:
            LinkError: the API cannot be reached, or does not answer with an item.
        """
        url = f"{self._api_url}/collections/{dataset_id.project}/items/{dataset_id}"
        item = self._read(url)
        if item is None:
            return None
        parts = {"id": str, "collection": str, "properties": dict, "assets": dict}
        if not isinstance(item, dict) or not all(
            isinstance(item.get(name), kind) for name, kind in parts.items()
        ):
            raise LinkError(
                url,
                "does not answer with an item",
                expected=f"the STAC item {dataset_id}",
                code="index-item-invalid",
            )
        if item["id"] != str(dataset_id):
            raise LinkError(
                url,
                "does not answer with an item",
                expected=f"the STAC item {dataset_id}",
                code="index-item-invalid",
            )
        return item

    def _read(self, url: str) -> Any:
        """Return the JSON at a URL of the API; None if there is nothing."""
        try:
            found = orjson.loads(self._transport.read_document(url))
        except TransportError as error:
            if error.obstacle is Obstacle.GONE:
                return None
            found = f"the index cannot be read: {error.found}"
            raise LinkError(
                url, found, todo=error.todo, code="index-unreachable", retryable=error.retryable
            ) from error
        except ValueError as error:
            raise LinkError(
                url, "does not answer with JSON", expected="STAC", code="index-item-invalid"
            ) from error
        if found is None:
            raise LinkError(url, "answers with null", expected="STAC", code="index-item-invalid")
        return found

    def property_names(self) -> Sequence[str]:
        """Return the properties of the first item that a search gives.

        Raises:
            LinkError: the API cannot be reached.
        """
        found = self._read(f"{self._api_url}/search?limit=1")
        items = found.get("features") if isinstance(found, dict) else None
        if not isinstance(items, list) or not items or not isinstance(items[0], dict):
            return ()
        properties = items[0].get("properties")
        return ("id", "collection", *sorted(properties if isinstance(properties, dict) else ()))

    def search(self, query: str = "", page: str = "") -> Hits:
        """Return datasets whose items fulfil a CQL2 expression, in text; ``page`` is the URL that
        the API named.

        Raises:
            LinkError: the API refuses the expression, cannot be reached, or does not answer with
                items.
        """
        asked = f"&filter-lang=cql2-text&{urlencode({'filter': query})}" if query else ""
        url = page or f"{self._api_url}/search?limit={_PAGE}{asked}"
        found = self._read(url)
        items = items_of(found, url)
        live = [item for item in items if not is_retracted(item)]
        hits = tuple((str(item.get("id")), data_node_of(item)) for item in live)
        return Hits(hits, next_page(found, url) if items else "")  # An empty page is the last one.

    def documents(self, dataset_id: DatasetId, data_node: str) -> list[Mapping[str, Any]]:
        """Return the item, which describes all data nodes."""
        item = self.find(dataset_id)
        return [item] if item is not None else []

    def links(self, dataset_id: DatasetId) -> tuple[AccessLink, ...]:
        """Return the reference links that the item shows now; empty if there is no item."""
        item = self.find(dataset_id)
        return read_links(item) if item is not None else ()

    def links_beside(
        self, dataset_id: DatasetId, record: Mapping[str, Any]
    ) -> tuple[AccessLink, ...]:
        """Return the links of the item, which shows all of them."""
        return read_links(record)

    def add_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Add the link to the item, after waiting for a dataset that was just registered.

        Raises:
            LinkError: there is no such item, the API refuses or cannot be reached, or another node
                changed the links at the same moment.
        """
        item = self._wait_for_item(dataset_id)
        operation = self._checked(item, link)
        if operation is None:
            self._keep_access(item)
            return LinkState.UNCHANGED
        self._patch(item, operation)
        done = self._confirm(
            dataset_id, item, link, lambda shown: shown is not None and shows(shown, link)
        )
        self._keep_access(apply(item, operation))
        return LinkState.ADDED if done else LinkState.PENDING

    def remove_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Remove the link from the item. If the item does not exist, neither does the link.

        Raises:
            LinkError: the API refuses or cannot be reached, or another node changed the links at
                the same moment.
        """
        item = self.find(dataset_id)
        operation = plan_removal(item, link) if item is not None else None
        if item is None or operation is None:
            return LinkState.UNCHANGED
        self._patch(item, operation)
        done = self._confirm(
            dataset_id, item, link, lambda shown: shown is None or plan_removal(shown, link) is None
        )
        self._keep_access(apply(item, operation))
        return LinkState.REMOVED if done else LinkState.PENDING

    def _keep_access(self, item: Item) -> None:
        """Update the item's list of services. The schemas of some projects do not know the service:
        then only the list stays unchanged.
        """
        operation = plan_access(item) if self._list_access else None
        if operation is None:
            return
        try:
            self._check_schema(item, operation)
            self._patch(item, operation)
        except LinkError as error:
            log.warning("%s: properties.access is unchanged: %s", item["id"], error)

    def _check_schema(self, item: Item, operation: Operation) -> None:
        schema = self._schema_of(str(item["collection"]))
        if schema is not None:
            check_schema(item, operation, schema)

    def _patch(self, item: Item, operation: Operation) -> None:
        status = self._client.patch(str(item["collection"]), str(item["id"]), operation)
        log.debug("%s: %s %s: HTTP %s", item["id"], operation["op"], operation["path"], status)

    def _confirm(
        self,
        dataset_id: DatasetId,
        before: Item,
        link: AccessLink,
        done: Callable[[Item | None], bool],
    ) -> bool:
        """Read the item until it shows the change. A change replaces the links of other nodes with
        the state read before, so a change that another node made in between is lost.
        """
        between: set[tuple[str, str]] = set()
        for shown in looks(lambda: self.find(dataset_id), self._poll_timeout_s, sent=True):
            others = _others(shown or {}, link)
            if done(shown):
                _check_none_lost(between - _others(before, link) - others, dataset_id)
                return True
            between |= others
        return False

    def _wait_for_item(self, dataset_id: DatasetId) -> Item:
        for item in looks(lambda: self.find(dataset_id), self._poll_timeout_s):
            if item is not None:
                return item
        raise LinkError(
            str(dataset_id),
            f"is not in the index at {self._api_url} after {self._poll_timeout_s:g} s",
            expected="the dataset, which was registered",
            todo="The index may not have processed the registration yet: run esgvzarr resume "
            "later.",
            code="index-item-missing",
        )


def _others(item: Item, link: AccessLink) -> set[tuple[str, str]]:
    return {
        (node, str(asset.get("href")))
        for node, asset in present_nodes(item, link.asset_key).items()
        if node != link.data_node
    }


def _check_none_lost(lost: set[tuple[str, str]], dataset_id: DatasetId) -> None:
    if lost:
        raise LinkError(
            str(dataset_id),
            "the change succeeded, but it undid that of "
            f"{' and '.join((node for node, _ in sorted(lost)))}",
            todo="These data nodes changed their links at the same moment, and must do so again.",
            code="index-changed",
        )
