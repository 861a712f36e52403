"""Find the references that a STAC item shows, in the forms that publishers use.

Sources: STAC Zarr best practices (``application/vnd.zarr+kerchunk``); esg-publisher pull request
353 (keys ``reference_file``, ``icechunk``, ``zarr``, ``cfa``; types without ``application/``); the
items that ORNL migrated (type ``kerchunk``); esgcet 5.5.3 (``reference_file`` is the bare URL).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from ..errors import SourceError, TransportError
from ..transport import Transport, is_url
from .hrefs import located

_KEYS = ("reference_file", "kerchunk", "icechunk")
"""Keys of assets that are references, whatever their type is."""
_TYPES = ("kerchunk", "vnd.zarr+kerchunk", "vnd.icechunk")
"""Media types of references, whatever their key is; with or without ``application/``."""
_CFA = "cfa"
_MOST_BYTES = 16 * 2**20
"""Media types of an item."""
_MOST_LOCAL_BYTES = 2**20
"""The most bytes of a file that is read to see whether it is an item: references may be large."""
_HEAD_BYTES = 4096
"""Suffixes of a URL that may be an item's."""
_MARK = re.compile(rb'"type"\s*:\s*"Feature"|"stac_version"\s*:')
_STAC_TYPES = ("Catalog", "Collection", "Feature")


def references_of_item(item: Mapping[str, Any], subject: str) -> list[str]:
    """Return the URLs of the references that an item shows, those of all data nodes.

    Args:
        item: the item, as the index gives it.
        subject: its URL or path, to which relative hrefs are relative.

    Raises:
        SourceError: it shows no supported references; or it came from a server, and names a local
            path.
    """
    hrefs = list(dict.fromkeys(located(href, subject) for href in _hrefs(item)))
    if hrefs:
        return hrefs
    assets = item.get("assets") or {}
    is_cfa = any(_is_cfa(str(key), asset) for key, asset in assets.items())
    found = (
        "shows a CFA aggregation, which esgvzarr cannot read" if is_cfa else "shows no references"
    )
    raise SourceError(
        subject,
        found,
        expected=f"an asset {', '.join(_KEYS)}, or one of type {', '.join(_TYPES)}",
        code="source-no-link",
    )


def references_at(place: str, transport: Transport) -> list[str]:
    """Return the references that a STAC item at a URL or path shows; for anything else, the place
    itself.

    Raises:
        SourceError: the item shows none.
        TransportError: it cannot be read.
    """
    if not _may_be_item(place, transport):
        return [place]
    data = transport.read_document(place, limit=_MOST_BYTES)
    try:
        item = orjson.loads(data)
    except ValueError:
        return [place]
    if not isinstance(item, dict) or item.get("type") != "Feature":
        return [place]
    return references_of_item(item, place)


def references_of_catalogue_file(path: str) -> list[str] | None:
    """Return the references that a file of a static STAC catalogue shows; empty if the file is not
    an item or has no link; None if it is not a file of a catalogue.

    Raises:
        OSError: it cannot be read.
    """
    if not _is_small_json(path):
        return None
    with open(path, "rb") as file:
        data = file.read()
    try:
        found = orjson.loads(data)
    except ValueError:
        return None
    if not isinstance(found, dict) or found.get("type") not in _STAC_TYPES:
        return None
    return list(dict.fromkeys(located(href, path) for href in _hrefs(found)))


def _may_be_item(place: str, transport: Transport) -> bool:
    """Whether a file should be read to see whether it is an item: references may be large."""
    if not is_url(place):
        return _is_small_json(place)
    path = urlsplit(place).path
    if "/items/" in path:
        return True
    if not path.endswith(".json"):
        return False
    try:
        head = transport.read_head(place, _HEAD_BYTES).data
    except TransportError:  # The reader of the whole file reports the error.
        return False
    return _MARK.search(head) is not None


def _is_small_json(path: str) -> bool:
    is_json = path.endswith(".json") and os.path.isfile(path)
    return is_json and os.path.getsize(path) < _MOST_LOCAL_BYTES


def _hrefs(item: Mapping[str, Any]) -> Iterator[str]:
    for key, asset in (item.get("assets") or {}).items():
        if isinstance(asset, str) and key in _KEYS:
            yield asset
        for one in _with_alternates(asset):
            href = one.get("href")
            if isinstance(href, str) and _is_reference(key, one):
                yield href


def _with_alternates(asset: Any) -> Iterator[Mapping[str, Any]]:
    """Yield an asset, and the alternates that it names."""
    if not isinstance(asset, Mapping):
        return
    yield asset
    others = asset.get("alternate")
    if isinstance(others, Mapping):
        yield from (one for one in others.values() if isinstance(one, Mapping))


def _is_reference(key: str, asset: Mapping[str, Any]) -> bool:
    media_type = str(asset.get("type") or "").removeprefix("application/").partition(";")[0]
    return key in _KEYS or media_type in _TYPES


def _is_cfa(key: str, asset: Any) -> bool:
    return key == _CFA or (isinstance(asset, Mapping) and _CFA in str(asset.get("type")))
