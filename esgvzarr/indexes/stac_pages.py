"""The pages of a search in a STAC API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import LinkError


def items_of(found: Any, url: str) -> list[Mapping[str, Any]]:
    """Return the items of one page of a search.

    Raises:
        LinkError: the answer does not hold items.
    """
    items = found.get("features") if isinstance(found, dict) else None
    if not isinstance(items, list) or not all(map(_is_item, items)):
        raise LinkError(
            url, "does not answer with items", expected="STAC items", code="index-item-invalid"
        )
    return items


def _is_item(found: Any) -> bool:
    """Whether a value has the form of an item: properties and assets are objects, or missing."""
    if not isinstance(found, dict):
        return False
    return all(isinstance(found.get(name) or {}, dict) for name in ("properties", "assets"))


def next_page(found: Mapping[str, Any], url: str) -> str:
    """Return the URL of the next page; empty after the last one.

    Raises:
        LinkError: the next page cannot be fetched by GET.
    """
    named = found.get("links")
    if not isinstance(named, list):
        return ""
    links = [link for link in named if isinstance(link, dict) and link.get("rel") == "next"]
    if not links:
        return ""
    if links[0].get("method", "GET") != "GET":
        raise LinkError(
            url,
            "names a next page that cannot be fetched with GET",
            expected="a link",
            code="index-item-invalid",
        )
    return str(links[0].get("href") or "")
