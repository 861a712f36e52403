"""Make the STAC documents of a static catalogue from records: catalogue, collection and item."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..model import DatasetRecord, FileRecord
from .asset import timestamp

EXTENSIONS = (
    "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
MULTIHASHES = {"SHA256": "1220", "MD5": "d50110"}
"""checksum_type -> the first bytes of a multihash of that kind."""


def make_item(
    record: DatasetRecord, now: datetime, time_range: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Make the STAC item of a dataset, with its files as assets, named as in ESGF's own items. It
    states no place on earth.
    """
    import pystac

    project = record.id.project
    namespace = record.id.project.lower()
    properties: dict[str, Any] = {
        "title": record.id.master_id,
        "base_id": record.id.master_id,
        "version": record.id.version,
        "project": project,
        "created": timestamp(now),
        "updated": timestamp(now),
    }
    if record.pid:
        properties[f"{namespace}:pid"] = record.pid
    if time_range:
        properties["start_datetime"], properties["end_datetime"] = time_range
    when = None if time_range else _version_date(record.id.version) or now
    item = pystac.Item(
        str(record.id),
        None,
        None,
        when,
        properties,
        stac_extensions=list(EXTENSIONS),
        collection=project,
    )
    for key, file in zip(_asset_keys(record.files), record.files, strict=True):
        item.assets[key] = pystac.Asset.from_dict(_file_asset(record, file, now))
    for rel, href in (
        ("root", "../../catalog.json"),
        ("parent", "../collection.json"),
        ("collection", "../collection.json"),
    ):
        item.add_link(pystac.Link(rel, href, media_type="application/json"))
    return item.to_dict(include_self_link=False, transform_hrefs=False)


def _version_date(version: str) -> datetime | None:
    try:
        return datetime.strptime(version, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _asset_keys(files: tuple[FileRecord, ...]) -> list[str]:
    """Return the file names as keys. Equal names in different directories get a number, from the
    second one on.
    """
    keys: list[str] = []
    for file in files:
        earlier = sum(other.name == file.name for other in files[: len(keys)])
        keys.append(f"{file.name}.{earlier + 1}" if earlier else file.name)
    return keys


def _file_asset(record: DatasetRecord, file: FileRecord, now: datetime) -> dict[str, Any]:
    scheme = file.url.partition("://")[0]
    multihash = MULTIHASHES.get((file.checksum_type or "").upper())
    fields = {
        "href": file.url,
        "type": "application/netcdf",
        "description": "HTTPServer Link",
        "roles": ["data"],
        "alternate:name": record.data_node or None,
        "file:size": file.size,
        "file:checksum": f"{multihash}{file.checksum}".lower()
        if multihash and file.checksum
        else None,
        f"{record.id.project.lower()}:tracking_id": file.tracking_id,
        "created": timestamp(now),
        "updated": timestamp(now),
        "protocol": scheme if scheme in ("http", "https") else None,
        "file:local_path": f"{str(record.id).replace('.', '/')}/{file.name}",
    }
    return {name: value for name, value in fields.items() if value is not None}


def make_collection(project: str) -> dict[str, Any]:
    """Make the collection of a project, without items."""
    import pystac

    everywhere = pystac.Extent(
        pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]), pystac.TemporalExtent([None, None])
    )
    collection = pystac.Collection(
        project,
        f"{project} datasets with virtual Zarr references",
        everywhere,
        title=project,
        license="other",
    )
    for rel in ("root", "parent"):
        collection.add_link(pystac.Link(rel, "../catalog.json", media_type="application/json"))
    return collection.to_dict(include_self_link=False, transform_hrefs=False)


def make_catalog() -> dict[str, Any]:
    """Make the root of a catalogue, without collections."""
    import pystac

    catalog = pystac.Catalog("esgvzarr", "Datasets with virtual Zarr references", title="esgvzarr")
    document = catalog.to_dict(include_self_link=False, transform_hrefs=False)
    return {
        **document,
        "links": [{"rel": "root", "href": "./catalog.json", "type": "application/json"}],
    }
