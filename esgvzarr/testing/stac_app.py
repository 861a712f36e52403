"""stac-fastapi's own application over an ``ItemStore``, and the uvicorn that runs it; imports the
STAC server packages.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import cql2
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from stac_fastapi.api.app import StacApi
from stac_fastapi.api.models import (
    GeoJSONResponse,
    create_get_request_model,
    create_post_request_model,
)
from stac_fastapi.extensions.filter import SearchFilterExtension
from stac_fastapi.extensions.pagination import TokenPaginationExtension
from stac_fastapi.extensions.transaction import BaseTransactionsClient, TransactionExtension
from stac_fastapi.types.config import ApiSettings
from stac_fastapi.types.core import BaseCoreClient
from stac_fastapi.types.requests import get_base_url

from .itemstore import Item, ItemStore, Query, RejectedError

Change = Callable[[], Any]
Apply = Callable[[str, Change], Any]
"""Applies a change: (text of the answer if it is queued, the change) -> its result, or a
response.
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """What answers a request; each request brings the one of its server in its state."""

    store: ItemStore
    apply: Apply


class Server(uvicorn.Server):
    """uvicorn, which ends when it is told to. uvicorn itself looks ten times a second whether it is
    to end, and then waits another tenth of a second for its clients.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """End, told from another thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)

    async def main_loop(self) -> None:
        """Wait for ``stop``."""
        self._loop = asyncio.get_running_loop()
        should_exit = await self.on_tick(0)
        if not should_exit:
            await self._stopped.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hang up. Requests that are being answered have some time to end."""
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections or self.server_state.tasks:
                    await asyncio.sleep(0.002)
        for task in self.server_state.tasks:
            task.cancel()


@functools.cache
def shared_app() -> FastAPI:
    """The STAC API with search, filters, pages, transactions and ESGF's ``/scope``.

    All servers of a process share it, because it takes long to make.
    """
    settings = ApiSettings(
        stac_fastapi_title="esgvzarr testing",
        stac_fastapi_description="STAC items in memory, for tests",
        stac_fastapi_landing_id="esgvzarr-testing",
        stac_fastapi_version="1",
    )
    searching = [SearchFilterExtension(), TokenPaginationExtension()]
    transactions = TransactionExtension(client=TransactionsClient(), settings=settings)
    app = StacApi(
        settings=settings,
        client=CoreClient(extensions=[*searching, transactions]),
        extensions=[*searching, transactions],
        search_get_request_model=create_get_request_model(searching),
        search_post_request_model=create_post_request_model(searching),
        middlewares=[],
    ).app
    app.add_exception_handler(RejectedError, _rejected)
    app.add_api_route("/scope", lambda: {"scope": "openid profile"}, methods=["GET"])
    return app


def _rejected(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RejectedError)  # noqa: S101 (what it is registered for)
    return JSONResponse({"code": type(error).__name__, "description": error.reason}, error.status)


def _backend(request: Request) -> Backend:
    backend: Backend = request.state.backend
    return backend


class CoreClient(BaseCoreClient):  # type: ignore[misc,unused-ignore]
    """Reads items and collections."""

    def all_collections(self, **kwargs: Any) -> Any:
        """Return all collections on one page."""
        base = get_base_url(kwargs["request"])
        store = _backend(kwargs["request"]).store
        collections = [_collection(base, name) for name in store.collections]
        links = [_link("root", base), _link("self", f"{base}collections")]
        return {
            "collections": collections,
            "links": links,
            "numberMatched": len(collections),
            "numberReturned": len(collections),
        }

    def get_collection(self, collection_id: str, **kwargs: Any) -> Any:
        """Return one collection, or 404."""
        if collection_id not in _backend(kwargs["request"]).store.collections:
            raise HTTPException(404, f"Collection {collection_id} does not exist.")
        return _collection(get_base_url(kwargs["request"]), collection_id)

    async def get_item(  # type: ignore[override,unused-ignore]
        self, item_id: str, collection_id: str, **kwargs: Any
    ) -> Any:
        """Return one item, or 404. A coroutine needs no thread of its own."""
        item = _backend(kwargs["request"]).store.get(collection_id, item_id)
        # FastAPI would walk through a dict, value by value, before it makes JSON of it.
        return GeoJSONResponse(_linked(get_base_url(kwargs["request"]), item))

    def item_collection(
        self,
        collection_id: str,
        bbox: Any = None,
        datetime: Any = None,
        limit: int = 10,
        token: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the items of a collection, or 404."""
        self.get_collection(collection_id, **kwargs)
        return self._page(
            kwargs["request"], Query((collection_id,), offset=int(token or 0), limit=limit)
        )

    def get_search(
        self,
        collections: Any = None,
        ids: Any = None,
        bbox: Any = None,
        intersects: Any = None,
        datetime: Any = None,
        limit: int | None = 10,
        **kwargs: Any,
    ) -> Any:
        """``GET /search``."""
        text = kwargs.get("filter_expr")
        query = Query(
            collections or (),
            ids or (),
            _parse_filter(text) if text else None,
            int(kwargs.get("token") or 0),
            limit or 10,
        )
        return self._page(kwargs["request"], query)

    def post_search(self, search_request: Any, **kwargs: Any) -> Any:
        """``POST /search``."""
        asked = search_request
        query = Query(
            asked.collections or (),
            asked.ids or (),
            asked.filter_expr,
            int(asked.token or 0),
            asked.limit or 10,
        )
        return self._page(
            kwargs["request"],
            query,
            asked.model_dump(mode="json", by_alias=True, exclude_unset=True),
        )

    def _page(
        self, request: Request, query: Query, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        base = get_base_url(request)
        items, matched = _backend(request).store.search(query)
        links = [_link("root", base), _link("self", str(request.url))]
        token = str(query.offset + len(items))
        if int(token) < matched and body is None:
            parameters = {**request.query_params, "token": token}
            links.append(
                _link(
                    "next", f"{request.url.replace(query='')}?{urlencode(parameters)}", method="GET"
                )
            )
        elif int(token) < matched:
            links.append(
                _link("next", f"{base}search", method="POST", body={**(body or {}), "token": token})
            )
        features = [_linked(base, item) for item in items]
        return {
            "type": "FeatureCollection",
            "features": features,
            "links": links,
            "numberMatched": matched,
            "numberReturned": len(features),
        }


class TransactionsClient(BaseTransactionsClient):  # type: ignore[misc,unused-ignore]
    """Changes items; collections cannot be changed."""

    def create_item(self, collection_id: str, item: Any, **kwargs: Any) -> Any:
        """``POST`` of an item."""
        backend = _backend(kwargs["request"])
        return backend.apply(
            "Item queued for publication",
            lambda: backend.store.create(collection_id, _plain(item)),
        )

    def update_item(self, collection_id: str, item_id: str, item: Any, **kwargs: Any) -> Any:
        """``PUT``."""
        backend = _backend(kwargs["request"])
        return backend.apply(
            "Item queued for update",
            lambda: backend.store.replace(collection_id, item_id, _plain(item)),
        )

    def patch_item(self, collection_id: str, item_id: str, patch: Any, **kwargs: Any) -> Any:
        """``PATCH``, as JSON Patch or merge patch."""
        backend = _backend(kwargs["request"])
        operations = patch if isinstance(patch, list) else patch.operations()
        plain = [operation.model_dump(mode="json", by_alias=True) for operation in operations]
        return backend.apply(
            "Item queued for update", lambda: backend.store.patch(collection_id, item_id, plain)
        )

    def delete_item(self, item_id: str, collection_id: str, **kwargs: Any) -> Any:
        """``DELETE``."""
        backend = _backend(kwargs["request"])

        def deleted() -> dict[str, str]:
            backend.store.delete(collection_id, item_id)
            return {"deleted item": item_id}

        return backend.apply("Item queued for deletion", deleted)

    def create_collection(self, collection: Any, **kwargs: Any) -> Any:
        """405."""
        raise HTTPException(405)

    def update_collection(self, collection_id: str, collection: Any, **kwargs: Any) -> Any:
        """405."""
        raise HTTPException(405)

    def patch_collection(self, collection_id: str, patch: Any, **kwargs: Any) -> Any:
        """405."""
        raise HTTPException(405)

    def delete_collection(self, collection_id: str, **kwargs: Any) -> Any:
        """405."""
        raise HTTPException(405)


def queued(text: str) -> PlainTextResponse:
    """Return 202, as the ESGF transaction API does."""
    return PlainTextResponse(text, 202)


def _plain(item: Any) -> Item:
    return dict(item.model_dump(mode="json", by_alias=True, exclude_unset=True))


def _parse_filter(text: str) -> dict[str, Any]:
    try:
        return dict(
            cql2.Expr(json.loads(text) if text.lstrip().startswith("{") else text).to_json()
        )
    except (ValueError, cql2.ParseError) as error:
        raise RejectedError(400, f"filter: {error}") from error


def _link(rel: str, href: str, **more: Any) -> dict[str, Any]:
    return {
        "rel": rel,
        "href": href,
        "type": "application/geo+json" if rel in ("next", "item", "items") else "application/json",
        **more,
    }


def _linked(base: str, item: Item) -> Item:
    """Return the item with the links that the API adds."""
    collection = f"{base}collections/{item['collection']}"
    own = [
        link
        for link in item.get("links", [])
        if link["rel"] not in ("self", "parent", "collection", "root")
    ]
    links = [
        _link("self", f"{collection}/items/{item['id']}"),
        _link("parent", collection),
        _link("collection", collection),
        _link("root", base),
    ]
    return {**item, "links": [*own, *links]}


def _collection(base: str, name: str) -> dict[str, Any]:
    href = f"{base}collections/{name}"
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "title": name,
        "description": f"{name} datasets",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["1850-01-01T00:00:00Z", None]]},
        },
        "links": [
            _link("self", href),
            _link("items", f"{href}/items"),
            _link("parent", base),
            _link("root", base),
        ],
    }
