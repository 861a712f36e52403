"""STAC items as esgcet registers them, with the fields that clients use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_GLOBE = [-180.0, -90.0, 180.0, 90.0]
_OUTLINE = [[-180.0, -90.0], [180.0, -90.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, -90.0]]


def make_item(
    dataset_id: str,
    hrefs: Mapping[str, str] | None = None,
    *,
    data_node: str = "data.example",
    **properties: Any,
) -> dict[str, Any]:
    """Return the item of a dataset (``<master_id>.v<version>``).

    Args:
        dataset_id: the item's id; its first facet is the collection.
        hrefs: asset key -> URL of a file.
        data_node: data node of the files.
        properties: added to ``datetime``, ``title``, ``version`` and ``latest``, or in their place.
    """
    collection = dataset_id.split(".")[0]
    master_id, _, version = dataset_id.rpartition(".v")
    files = {"data0000": f"https://{data_node}/{dataset_id}.nc"} if hrefs is None else hrefs
    assets = {
        key: {
            "href": href,
            "type": "application/netcdf",
            "title": "HTTPServer Link",
            "description": "HTTPServer Link",
            "roles": ["data"],
            "alternate:name": data_node,
            "protocol": "https",
        }
        for key, href in files.items()
    }
    given = {
        "datetime": "2000-01-01T00:00:00Z",
        "title": master_id,
        "version": f"v{version}",
        "latest": True,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": dataset_id,
        "collection": collection,
        "geometry": {"type": "Polygon", "coordinates": [_OUTLINE]},
        "bbox": _GLOBE,
        "properties": {**given, **properties},
        "links": [],
        "assets": assets,
    }
