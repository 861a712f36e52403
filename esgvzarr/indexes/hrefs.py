"""Resolve the hrefs of STAC items. By RFC 3986, a relative href is relative to the item's address.

An item from a server is not trusted: it may name URLs, never files of the reader's machine.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from ..errors import SourceError

_ADDRESS = re.compile(r"(https?|s3|gs|gcs|az|abfss?)://(\[[0-9A-Fa-f:.]+\])?((?!::)\S)*\Z")
"""URLs that an item from a server may name. fsspec reads ``::`` as a second address behind the
first, which could be a local one.
"""


def located(href: str, place: str) -> str:
    """Return the URL or path that an href of an item means.

    Args:
        href: the href in the item.
        place: URL or path of the item, or of the index that shows it; empty if unknown.

    Raises:
        SourceError: an item that is not local names a local path, or an invalid URL.
    """
    if is_address(href):
        return href
    if place and not _is_remote(place):
        return _beside_path(href, place)
    joined = _beside_url(href, place)
    if not is_address(joined):
        raise SourceError(
            place or "a STAC item of unknown origin",
            f"names {href!r}, which is not a URL",
            expected="an http(s) URL, or one relative to the URL of the item: only an item on "
            "this machine may name paths of this machine",
            todo="Ask the data node to correct the item. If it is yours, give its path.",
            code="source-url",
        )
    return joined


def is_address(href: str) -> bool:
    """Whether an href is an absolute URL that an item from a server may name."""
    return _ADDRESS.match(href) is not None


def _is_remote(place: str) -> bool:
    return "://" in place and urlsplit(place).scheme != "file"


def _path_of(place: str) -> str:
    """Return the path of a file: URL; a path unchanged."""
    is_file_url = place[:5].lower() == "file:"
    return url2pathname(urlsplit(place).path) if is_file_url else place


def _beside_path(href: str, place: str) -> str:
    if "://" in href and href[:5].lower() != "file:":
        return href
    return os.path.join(os.path.dirname(_path_of(place)), _path_of(href))


def _beside_url(href: str, place: str) -> str:
    """Make a relative reference absolute; return anything else unchanged."""
    scheme, _, rest = place.partition("://")
    if not rest or href.startswith(("/", "\\")):
        return href
    try:
        is_absolute = bool(urlsplit(href).scheme)
        # urljoin does not know s3.
        joined = scheme + urljoin(f"http://{rest}", href).removeprefix("http")
    except ValueError:
        return href
    return href if is_absolute else joined
