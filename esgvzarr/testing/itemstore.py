"""STAC items in memory, with the answers of pgstac and the ESGF transaction API: the state behind
``StacServer``.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]


class RejectedError(Exception):
    """A change that the API refuses.

    Args:
        status: status of the answer.
        reason: text in its body.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Query:
    """A search; a field that is None or empty does not restrict it."""

    collections: Sequence[str] = ()
    ids: Sequence[str] = ()
    filter: Mapping[str, Any] | None = None
    """cql2-json, with the operators ``and``, ``or``, ``not``, ``=``, ``<>`` and ``in``."""
    offset: int = 0
    limit: int = 10


class ItemStore:
    """Items by collection and id; every change is made completely or not at all."""

    def __init__(self, collections: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._items: dict[str, dict[str, Item]] = {name: {} for name in collections}

    @property
    def collections(self) -> tuple[str, ...]:
        """Ids of the collections."""
        return tuple(self._items)

    def get(self, collection: str, item_id: str) -> Item:
        """Return a copy of an item.

        Raises:
            RejectedError: 404.
        """
        with self._lock:
            return copy.deepcopy(self._find(collection, item_id))

    def search(self, query: Query) -> tuple[list[Item], int]:
        """Return a page of copies, and the number of all items that match."""
        with self._lock:
            found = []
            for name, items in self._items.items():
                if query.collections and name not in query.collections:
                    continue
                for item in items.values():
                    if query.ids and item["id"] not in query.ids:
                        continue
                    if query.filter is None or matches(query.filter, item):
                        found.append(item)
            return copy.deepcopy(found[query.offset : query.offset + query.limit]), len(found)

    def create(self, collection: str, item: Item) -> Item:
        """Add an item.

        Raises:
            RejectedError: 404 without the collection, 409 if the id is there.
        """
        with self._lock:
            if collection not in self._items:
                raise RejectedError(404, f"Collection {collection} does not exist")
            if item["id"] in self._items[collection]:
                raise RejectedError(
                    409, f"Item {item['id']} in collection {collection} already exists"
                )
            self._items[collection][item["id"]] = {**copy.deepcopy(item), "collection": collection}
            return item

    def replace(self, collection: str, item_id: str, item: Item) -> Item:
        """Replace the item that has this id.

        Raises:
            RejectedError: 404.
        """
        return self._change(collection, item_id, lambda _: copy.deepcopy(item))

    def patch(self, collection: str, item_id: str, operations: Sequence[Mapping[str, Any]]) -> Item:
        """Apply a JSON Patch (RFC 6902).

        As in pgstac, the result is not checked: an asset may become a string. ``remove`` fails as
        in the ESGF transaction API; pgstac supports it.

        Raises:
            RejectedError: 404; 500 for an operation that fails, and for ``remove``.
        """
        import jsonpatch

        def patched(item: Item) -> Item:
            if any(operation["op"] == "remove" for operation in operations):
                raise RejectedError(500, "remove is not served")
            try:
                return dict(jsonpatch.apply_patch(item, list(operations)))
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                raise RejectedError(500, str(error)) from error

        return self._change(collection, item_id, patched)

    def delete(self, collection: str, item_id: str) -> None:
        """Delete an item.

        Raises:
            RejectedError: 404.
        """
        with self._lock:
            self._find(collection, item_id)
            del self._items[collection][item_id]

    def _find(self, collection: str, item_id: str) -> Item:
        if item_id not in self._items.get(collection, {}):
            raise RejectedError(404, f"Item {item_id} in collection {collection} does not exist")
        return self._items[collection][item_id]

    def _change(self, collection: str, item_id: str, change: Callable[[Item], Item]) -> Item:
        with self._lock:
            changed = {
                **change(copy.deepcopy(self._find(collection, item_id))),
                "id": item_id,
                "collection": collection,
            }
            self._items[collection][item_id] = changed
            return copy.deepcopy(changed)


def matches(expression: Mapping[str, Any], item: Item) -> bool:
    """Whether an item fulfils a cql2-json expression; a missing property equals nothing.

    Raises:
        RejectedError: 400 for an unsupported operator.
    """
    operator = expression["op"]
    operands = expression["args"]
    if operator in ("and", "or"):
        return (all if operator == "and" else any)(matches(operand, item) for operand in operands)
    if operator == "not":
        return not matches(operands[0], item)
    if operator not in ("=", "<>", "in"):
        raise RejectedError(400, f"operator {operator!r} is not served")
    left, right = (_value(operand, item) for operand in operands)
    if left is None or right is None:
        return False
    return bool(left in right) if operator == "in" else bool((left == right) == (operator == "="))


def _value(operand: Any, item: Item) -> Any:
    if not (isinstance(operand, Mapping) and "property" in operand):
        return operand
    name = str(operand["property"]).removeprefix("properties.")
    return item.get(name) if name in ("id", "collection") else item.get("properties", {}).get(name)
