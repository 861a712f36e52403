"""A static STAC catalogue on disk, for data nodes without an index server. Any web server can serve
it, and it can be opened from disk.

::

    DIRECTORY/catalog.json
    DIRECTORY/CMIP6/collection.json
    DIRECTORY/CMIP6/<DSID>/<DSID>.json
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..directories import entries
from ..errors import LinkError, SettingsError, StoreError
from ..model import AccessLink, DatasetId, DatasetRecord
from ..output.placing import remove_leftovers, write_document
from ..permissions import make_directory, make_private_file
from . import Hits, IndexAddress, IndexDefaults, LinkState, Opening
from .asset import (
    Operation,
    apply,
    bare_item,
    data_node_of,
    plan_checked,
    plan_removal,
    read_links,
    timestamp,
)
from .catalog_documents import make_catalog, make_collection, make_item


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CatalogIndex(IndexDefaults):
    """A static STAC catalogue. Files are written whole or not at all, and equal input gives equal
    bytes.

    Args:
        directory: where it lies; it is made when it is needed.
        now: returns the time, in UTC, for ``created`` and ``updated``.
    """

    def __init__(
        self, directory: str | os.PathLike[str], *, now: Callable[[], datetime] = _utc_now
    ) -> None:
        self._root = Path(directory)
        self._now = now

    @classmethod
    def opened(cls, address: IndexAddress, opening: Opening) -> CatalogIndex:
        """Open the directory that the address names."""
        return cls(address.location)

    def to_be(self, record: DatasetRecord) -> Mapping[str, Any]:
        """Make an item without assets."""
        return bare_item(record, self._now())

    def with_link(self, record: Mapping[str, Any], link: AccessLink) -> Mapping[str, Any] | None:
        """Return the item with its asset, checked as in `add_link`."""
        operation = plan_checked(record, link, self._now())
        return apply(record, operation) if operation else None

    def without_link(self, record: Mapping[str, Any], link: AccessLink) -> Mapping[str, Any]:
        """Return the item without its asset."""
        operation = plan_removal(record, link)
        return apply(record, operation) if operation else record

    def find(self, dataset_id: DatasetId) -> Mapping[str, Any] | None:
        """Return the item as it is on disk; None if there is none.

        Raises:
            LinkError: the file exists but cannot be read, or holds no item.
        """
        return _read_item(self._item_path(dataset_id))

    def documents(self, dataset_id: DatasetId, data_node: str) -> list[Mapping[str, Any]]:
        """Return the item, which describes all data nodes."""
        item = self.find(dataset_id)
        return [item] if item is not None else []

    def search(self, query: str = "", page: str = "") -> Hits:
        """Return all datasets, on one page: files on disk support no queries.

        Raises:
            SettingsError: a query was given.
        """
        if query:
            raise SettingsError(
                repr(query),
                "a catalogue on disk does not support filters",
                expected="none",
                code="settings-filter",
            )
        items = (_read_item(path) or {} for path in self._item_paths())
        named = [(str(item["id"]), data_node_of(item)) for item in items if "id" in item]
        return Hits(tuple(named), "")

    def _item_paths(self) -> Iterator[Path]:
        for collection in entries(self._root):
            for directory in entries(collection):
                yield from entries(directory, "*.json")

    def links(self, dataset_id: DatasetId) -> tuple[AccessLink, ...]:
        """Return the reference links that the item shows; empty if there is no item."""
        return read_links(self.find(dataset_id) or {})

    def links_beside(
        self, dataset_id: DatasetId, record: Mapping[str, Any]
    ) -> tuple[AccessLink, ...]:
        """Return the links of the item, which shows all of them."""
        return read_links(record)

    def add_dataset(
        self, record: DatasetRecord, *, time_range: tuple[str, str] | None = None
    ) -> bool:
        """Make the item of a dataset, and its collection and catalogue, if they do not exist.

        Args:
            record: the dataset.
            time_range: first and last time of the data, RFC 3339. Without it the item has the date
                of the dataset's version.

        Returns:
            False if the item existed; it is not changed.
        """
        path = self._item_path(record.id)
        with self._locked():
            new = not path.exists()
            if new:
                _write_json(path, make_item(record, self._now(), time_range))
            try:
                self._list_in_collection(record.id)
            except LinkError:
                if new:
                    # Otherwise no reader would find the item. If this fails too, the next run lists
                    # it.
                    with suppress(OSError):
                        path.unlink()
                raise
        return new

    def add_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Add the link to the item.

        Raises:
            LinkError: there is no such item, or the link makes no valid asset.
        """
        with self._locked():
            item = self.find(dataset_id)
            if item is None:
                raise LinkError(
                    str(dataset_id),
                    f"is not in the catalogue {self._root}",
                    todo="Add the dataset to the catalogue first.",
                    code="index-item-missing",
                )
            operation = plan_checked(item, link, self._now())
            self._list_in_collection(dataset_id)
            if operation is None:
                _clear(self._item_path(dataset_id))
                return LinkState.UNCHANGED
            self._change(dataset_id, item, operation)
            return LinkState.ADDED

    def remove_link(self, dataset_id: DatasetId, link: AccessLink) -> LinkState:
        """Remove the link from the item; the item stays."""
        with self._locked():
            item = self.find(dataset_id)
            operation = None
            if item is not None:
                self._list_in_collection(dataset_id)
                operation = plan_removal(item, link)
            if item is None or operation is None:
                _clear(self._item_path(dataset_id))
                return LinkState.UNCHANGED
            self._change(dataset_id, item, operation)
            return LinkState.REMOVED

    def _change(self, dataset_id: DatasetId, item: Mapping[str, Any], operation: Operation) -> None:
        changed = apply(item, operation)
        changed["properties"]["updated"] = timestamp(self._now())
        _write_json(self._item_path(dataset_id), changed)

    def _item_path(self, dataset_id: DatasetId) -> Path:
        return self._root / dataset_id.project / str(dataset_id) / f"{dataset_id}.json"

    def _list_in_collection(self, dataset_id: DatasetId) -> None:
        """Make sure that the collection lists the item. A run may have ended after it had written
        the item, so every access to an item lists it.
        """
        project = dataset_id.project
        collection = self._root / project / "collection.json"
        href = f"./{dataset_id}/{dataset_id}.json"
        _add_child(
            collection,
            make_collection(project),
            {"rel": "item", "href": href, "type": "application/geo+json"},
        )
        link = {
            "rel": "child",
            "href": f"./{project}/collection.json",
            "type": "application/json",
            "title": project,
        }
        _add_child(self._root / "catalog.json", make_catalog(), link)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Allow one writer at a time: a collection lists all its items."""
        try:
            make_directory(self._root)
            make_private_file(self._root / ".lock")
            lock = open(self._root / ".lock", "w")  # noqa: SIM115  (closed below, and errors of opening are ours)
        except OSError as error:
            raise _unwritable(self._root, error) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:
                raise _unwritable(self._root, error) from error
            yield


def _add_child(path: Path, new: dict[str, Any], link: dict[str, Any]) -> None:
    parent = _read_json(path) or new
    _require(path, parent, "links", list)
    if link in parent["links"]:
        return
    _write_json(path, {**parent, "links": [*parent["links"], link]})


def _read_item(path: Path) -> dict[str, Any] | None:
    item = _read_json(path)
    if item is not None:
        _require(path, item, "properties", dict)
        _require(path, item, "assets", dict)
    return item


def _require(path: Path, document: Mapping[str, Any], name: str, kind: type) -> None:
    """Check the type of a member of a document, which another program may have written.

    Raises:
        LinkError: the type is wrong; the message names the file.
    """
    if not isinstance(document.get(name), kind):
        found = f"has {name!r}: {document[name]!r:.80}" if name in document else f"has no {name!r}"
        expected = "a list" if kind is list else "an object"
        raise LinkError(
            str(path),
            found,
            expected=f"{expected}, as the STAC specification requires",
            todo="Correct the file, or move it away.",
            code="index-item-invalid",
        )


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise LinkError(
            str(path),
            f"cannot be read: {error}",
            expected="a STAC document",
            code="index-item-invalid",
        ) from error
    if not isinstance(document, dict):
        raise LinkError(
            str(path), "is not a JSON object", expected="a STAC document", code="index-item-invalid"
        )
    return document


def _clear(path: Path) -> None:
    """Delete the hidden files that killed writers of a document left beside it."""
    try:
        remove_leftovers(path)
    except StoreError as error:
        raise _not_written(error) from error


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, whole or not at all."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_document(path, text.encode())
    except StoreError as error:
        raise _not_written(error) from error


def _not_written(error: StoreError) -> LinkError:
    return LinkError(error.subject, error.found, todo=error.todo, code="index-write-failed")


def _unwritable(path: Path, error: OSError) -> LinkError:
    return LinkError(str(path), f"cannot be written: {error.strerror}", code="index-write-failed")
