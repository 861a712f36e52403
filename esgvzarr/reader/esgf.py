"""Open a dataset by its id: ask the indexes, and open its references."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from ..errors import SettingsError, SourceError, TransportError
from ..indexes.hrefs import is_address
from ..output.whole_files import read_whole
from .backends import dataset_id_of
from .indexes import Entry, chosen_indexes, entry_of_item, find
from .source import Source, open_source

_WORDS = re.compile(r"[A-Za-z][\w-]*(\.[\w-]+)+")


def open_by_id(
    place: Any,
    indexes: str | Iterable[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Source:
    """Open the references of a dataset.

    Args:
        place: a dataset id with or without its version, a STAC item, or the URL or path of one.
        indexes: the indexes to ask. Default: those of the environment, the settings file, or
            intake-esgf.
        options: as in `open_source`.

    Raises:
        SourceError, TransportError: the dataset does not exist or has no link, or none of its links
            can be read.
    """
    entry = _entry(place, indexes)
    failure: SourceError | TransportError | SettingsError | None = None
    for href in entry.hrefs:
        try:
            return open_source(href, options, entry.mirrors)
        except (SourceError, TransportError, SettingsError) as error:
            failure = failure or error
            if href != entry.hrefs[-1]:
                warnings.warn(f"{error}. The next link of the dataset is tried.", stacklevel=2)
    raise failure or SourceError(
        entry.dataset_id,
        "the item has no virtual-Zarr link",
        expected="an asset reference_file",
        todo="Download its files, or ask the data node to publish references.",
        code="source-no-link",
    )


def is_item_at(place: str) -> bool:
    """Whether a STAC item is at a URL or path; false if nothing can be read."""
    try:
        return "assets" in _read_item(place)
    except SourceError:
        return False


def _entry(place: Any, indexes: str | Iterable[str] | None) -> Entry:
    if isinstance(place, Mapping):
        return _of_item(place, _self_url(place))
    if hasattr(place, "to_dict"):  # pystac.Item
        item = place.to_dict()
        return _of_item(item, _self_url(item))
    name = os.fspath(place)
    if not name.startswith("esgf://") and ("://" in name or os.path.exists(name)):
        return _of_item(_read_item(name), name)
    dataset_id = dataset_id_of(name)
    if not _WORDS.fullmatch(dataset_id):
        raise SourceError(
            dataset_id,
            "is not a dataset id",
            expected="words with points between them, for example "
            "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.Amon.tas.gn.v20190323",
            code="source-dataset-id",
        )
    return find(dataset_id, chosen_indexes(indexes))


def _self_url(item: Mapping[str, Any]) -> str:
    """Return the URL from which an item in memory says that it came; empty if it names no URL. A
    path is ignored: a server may have written it.
    """
    for link in item.get("links") or ():
        href = str(link.get("href"))
        if link.get("rel") == "self" and is_address(href):
            return href
    return ""


def _of_item(item: Mapping[str, Any], place: str) -> Entry:
    if "id" not in item or "assets" not in item:
        raise SourceError(
            str(item.get("id", "a mapping")),
            "has no id or no assets",
            expected="a STAC item",
            code="source-json",
        )
    return entry_of_item(item, place)


def _read_item(place: str) -> Mapping[str, Any]:
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(place)
        item = orjson.loads(read_whole(files, path))
    except (OSError, ValueError, TransportError) as error:
        raise SourceError(
            place, f"cannot be read: {error}", expected="a STAC item", code="source-json"
        ) from error
    return item if isinstance(item, dict) else {}
