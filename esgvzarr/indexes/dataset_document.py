"""Change the Dataset document of a legacy index (Solr, Globus Search) to show the link. No input or
output.

Each data node has its own Dataset document, ``<instance_id>|<data_node>``. The link stands in three
of its lists::

    access  VirtualZarr
    url     <href>|<media type>|VirtualZarr
    xlink   <href>|Virtual Zarr (kerchunk) reference|supdata

File documents are never changed: clients take their first URL for the NetCDF file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import LinkError
from ..model import AccessLink, DatasetId

SERVICE = "VirtualZarr"
"""The service name that clients know."""
TITLE = "Virtual Zarr (kerchunk) reference"
MEDIA_TYPES = ("application/vnd.zarr+kerchunk", "application/json")
"""Media type of reference files. Links of other publishers under the same service name have another
type.
"""

_XLINK = "supdata"
_STAMP = "_timestamp"
"""Field that distinguishes registrations. esgcet stamps what it sends to Globus Search; Solr stamps
documents itself.
"""
_RULES = {
    "href": r"https?://[^\s|]+",  # A bar would split the text into four parts instead of three.
    "media_type": r"[\w.+-]+/[\w.+-]+",
    "data_node": r"[^\s|]+",
    "sha256": "([0-9a-f]{64})?",  # A directory has none.
}

Document = Mapping[str, Any]
Change = dict[str, list[str]]
"""Field -> all its values after the change; a field without values is removed."""


def document_id(dataset_id: DatasetId, data_node: str) -> str:
    """Return the id of a data node's Dataset document."""
    return f"{dataset_id}|{data_node}"


def plan(document: Document, link: AccessLink) -> Change | None:
    """Return the fields that must change for the document to show the link, once, in place of an
    older one; None if it does already.
    """
    urls = _values(document, "url")
    xlinks = _values(document, "xlink")
    older = {_parts(url)[0] for url in urls if _is_reference(url)}
    after = {
        "access": _once(_values(document, "access"), SERVICE, lambda value: value == SERVICE),
        "url": _once(urls, f"{link.href}|{link.media_type}|{SERVICE}", _is_reference),
        "xlink": _once(
            xlinks,
            f"{link.href}|{TITLE}|{_XLINK}",
            lambda value: _is_xlink_of(value, {link.href, *older}),
        ),
    }
    return _difference(document, after)


def plan_removal(document: Document, link: AccessLink) -> Change | None:
    """Return the fields that must change for the document to show the link no longer; None if it
    does not show it.
    """
    urls = _values(document, "url")
    xlinks = _values(document, "xlink")
    kept = [url for url in urls if not (_is_served(url) and _parts(url)[0] == link.href)]
    after = {
        "access": [
            value
            for value in _values(document, "access")
            if value != SERVICE or any(map(_is_served, kept))
        ],
        "url": kept,
        "xlink": [value for value in xlinks if not _is_xlink_of(value, {link.href}, titled=False)],
    }
    shown = len(kept) < len(urls) or len(after["xlink"]) < len(xlinks)
    return _difference(document, after) if shown else None


def apply(document: Document, change: Change) -> dict[str, Any]:
    """Return the document after the change; other fields, and the order of all, stay."""
    changed = {**document, **{field: list(values) for field, values in change.items()}}
    return {field: value for field, value in changed.items() if field not in change or value}


def is_copy(document: Document, sent: Document) -> bool:
    """Whether a document that the index shows can be the one that was sent: not an older one with a
    link, or with another stamp.
    """
    stamps = (_values(document, _STAMP), _values(sent, _STAMP))
    return read_links(document) == read_links(sent) and (not stamps[1] or stamps[0] == stamps[1])


def read_links(document: Document) -> tuple[AccessLink, ...]:
    """Return the reference links that the document shows. It has no fields for size, checksum and
    the arguments that open them.
    """
    node = str(document.get("data_node") or str(document.get("id", "")).partition("|")[2])
    parts = [_parts(url) for url in _values(document, "url") if _is_served(url)]
    return tuple(AccessLink(href, node, media_type, (), 0, "", {}) for href, media_type, _ in parts)


def check_link(link: AccessLink) -> None:
    """Check a link before it is sent: the index checks little.

    Raises:
        LinkError: the link is invalid; the message names the field, its value and what is allowed.
    """
    if link.asset_key != "reference_file":
        raise LinkError(
            link.href,
            f"is of another kind: {link.asset_key}",
            expected="kerchunk references, which clients of this index open",
            todo="Link another output in this index.",
            code="index-output",
        )
    for name, pattern in _RULES.items():
        value = getattr(link, name)
        if not re.fullmatch(pattern, value):
            raise LinkError(
                f"{link.href}, {name} of the link",
                repr(value),
                expected=pattern,
                code="index-asset-invalid",
            )


def _values(document: Document, field: str) -> list[str]:
    """Return a field's values: esgcet writes a single value bare, indexes answer with a list."""
    value = document.get(field)
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _parts(value: str) -> list[str]:
    return value.split("|")


def _is_served(url: str) -> bool:
    parts = _parts(url)
    return len(parts) == 3 and parts[2] == SERVICE


def _is_reference(url: str) -> bool:
    return _is_served(url) and _parts(url)[1] in MEDIA_TYPES


def _is_xlink_of(xlink: str, hrefs: set[str], *, titled: bool = True) -> bool:
    """Whether an xlink leads to one of the hrefs, or has the title of esgvzarr: its url may have
    been removed without it.
    """
    parts = _parts(xlink)
    return (
        len(parts) == 3
        and parts[2] == _XLINK
        and (parts[0] in hrefs or (titled and parts[1] == TITLE))
    )


def _once(values: list[str], new: str, ours: Callable[[str], bool]) -> list[str]:
    """Return the values with ``new`` as the only one by esgvzarr; unchanged if it already is."""
    if [value for value in values if ours(value)] == [new]:
        return values
    return [*(value for value in values if not ours(value)), new]


def _difference(document: Document, after: Change) -> Change | None:
    return {
        field: values for field, values in after.items() if values != _values(document, field)
    } or None
