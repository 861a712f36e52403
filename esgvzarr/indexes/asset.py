"""The asset that a STAC item shows, and the one JSON Patch operation that adds it. No input or
output.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from copy import copy, deepcopy
from datetime import UTC, datetime
from typing import Any

from ..errors import LinkError
from ..model import AccessLink, DatasetRecord, Layout
from ..output import asset_keys, known_outputs, of_place, opening_call

DEFAULT_KEY = "reference_file"
"""Key of the asset of kerchunk references, in any output; other outputs have keys of their own."""
SERVICE = "VirtualZarr"
"""Value in ``properties.access``, as in the Dataset documents of the legacy indexes."""
PROTOCOLS = (
    "http",
    "https",
    "globus",
    "gridftp",
    "kerchunk",
    "netcdfsubset",
    "opendap",
    "wms",
    "wps",
    "s3",
)
"""Values that the ESGF schemas allow as an asset's ``protocol``."""

_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
TRACKING_IDS = {
    "CORDEX-CMIP6": rf"hdl:21\.14103/{_UUID}",
    "obs4REF": rf"hdl:21\.14102/{_UUID}",
    "input4MIPs": rf"(hdl:21\.[0-9]{{5}}/)?{_UUID}",
}
"""Projects whose schema requires a tracking id on every asset, and its form."""

_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
_PATTERNS = {
    "href": r"\S+",
    "type": r"[\w.+-]+/[\w.+-]+",
    "description": "(?!HTTPServer Link$).+",  # intake-esgf would download the JSON as data.
    "created": _TIME,
    "updated": _TIME,
    "protocol": "|".join(PROTOCOLS),
    "file:checksum": "1220[0-9a-f]{64}",  # multihash: sha2-256, 32 bytes.
}

_TITLES = {
    Layout.SEGMENTS: ", in segments",
    Layout.GROUPS: ", in groups",
    Layout.SEGMENTED_GROUPS: ", in groups and segments",
}
"""Text added to the title of an asset for which stock readers see an empty root."""
_HOW_TO_OPEN = {
    Layout.PADDED: (
        "File ends are stored padded: pip install esgvzarr, then "
        'xarray.open_dataset(href, engine="esgvzarr") opens it.'
    ),
    Layout.SEGMENTS: (
        "The files do not form one grid: pip install esgvzarr, then "
        'xarray.open_dataset(href, engine="esgvzarr") opens all of them as one dataset.'
    ),
    Layout.GROUPS: (
        "The variables do not fit into one dataset: pip install esgvzarr, then "
        'xarray.open_datatree(href, engine="esgvzarr") opens all of them in groups.'
    ),
    Layout.SEGMENTED_GROUPS: (
        "The variables do not fit into one dataset, and the files of some do not form one grid: "
        'pip install esgvzarr, then xarray.open_datatree(href, engine="esgvzarr") opens all of '
        "them in groups, each joined."
    ),
}
"""Text added to the description of an asset that not every reader can open."""

Asset = Mapping[str, Any]
Item = Mapping[str, Any]
Operation = dict[str, Any]


def timestamp(now: datetime) -> str:
    """Return a time in RFC 3339 in UTC, with microseconds as in ESGF's items."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_asset(link: AccessLink, item: Item, now: datetime) -> dict[str, Any]:
    """Make the asset for a link on an item. The creation date of an older asset of the same data
    node is kept.

    Raises:
        LinkError: the project requires a tracking id, and the item's ``pid`` cannot be one.
    """
    before = present_nodes(item, link.asset_key).get(link.data_node, {})
    asset: dict[str, Any] = {
        "href": link.href,
        "type": link.media_type,
        "title": "",
        "description": "",
        "roles": list(link.roles),
        "created": before.get("created") or timestamp(now),
        "updated": timestamp(now),
        "protocol": "http" if link.href.startswith("http:") else "https",
        "xarray:open_kwargs": dict(link.open_kwargs),
    }
    asset |= _fields_of(link)
    asset["title"] += _TITLES.get(link.layout, "")
    asset["description"] += _how_to_open(link)
    if asset["protocol"] == "kerchunk":
        asset["open_zarr_kwargs"] = _for_datapoint(link.open_kwargs)
    if link.sha256:  # A directory has neither.
        asset |= {"file:size": link.size, "file:checksum": _multihash(link)}
    if link.data_node:
        asset["alternate:name"] = link.data_node
    if link.local_path is not None:
        asset["file:local_path"] = link.local_path
    if item.get("collection") in TRACKING_IDS:
        asset[_tracking_key(item)] = _tracking_id(item)
    return asset


def _how_to_open(link: AccessLink) -> str:
    """Return the description's text for people, after the output's own text."""
    text = ""
    call = opening_call(link.href, link.layout)
    if link.layout in _HOW_TO_OPEN:
        text = f". {_HOW_TO_OPEN[link.layout]}"
    elif call.is_stock:
        text = f". Open it with: {call.line(link.href)}"
    if link.page:
        text += f" | Look at it: {link.page}"
    return text


def _for_datapoint(open_kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ceda-datapoint passes to ``engine="kerchunk"``, which adds no chunks."""
    options: dict[str, Any] = {}
    if "open_dataset_options" in open_kwargs:
        options["open_dataset_options"] = {"chunks": open_kwargs.get("chunks", {})}
    if "storage_options" in open_kwargs:
        options["storage_options"] = open_kwargs["storage_options"]
    return options


def _fields_of(link: AccessLink) -> Mapping[str, Any]:
    """Return the fields with which the link's output describes itself in an asset."""
    output = of_place(link.href)
    if output.asset_key == link.asset_key:
        return output.asset_fields
    fitting = [one for one in known_outputs().values() if one.asset_key == link.asset_key]
    return fitting[0].asset_fields if fitting else output.asset_fields


def _tracking_key(item: Item) -> str:
    return f"{str(item['collection']).lower()}:tracking_id"


def _tracking_id(item: Item) -> str:
    """Return the dataset's pid as tracking id. esgcet registers input4MIPs without a pid; there the
    UUID is used from which it makes pids.
    """
    project = str(item["collection"])
    pid = str(item.get("properties", {}).get(f"{project.lower()}:pid") or "")
    bare = str(uuid.uuid3(uuid.NAMESPACE_URL, str(item.get("id"))))
    if not pid and re.fullmatch(TRACKING_IDS[project], bare):
        return bare
    if not re.fullmatch(TRACKING_IDS[project], pid):
        raise LinkError(
            str(item.get("id")),
            f"pid {pid!r} cannot be the tracking id that {project} requires on every asset",
            expected=TRACKING_IDS[project],
            todo="Register the dataset with the right PID prefix.",
            code="index-tracking-id",
        )
    return pid


def present_nodes(item: Item, key: str = DEFAULT_KEY) -> dict[str, dict[str, Any]]:
    """Return the reference asset of each data node on this item, the primary one first, without
    nested alternates.

    Raises:
        LinkError: the item's assets are not an object.
    """
    assets = item.get("assets", {})
    if not isinstance(assets, Mapping):
        raise LinkError(
            str(item.get("id")),
            f"has 'assets': {assets!r:.80}",
            expected="an object, as the STAC specification requires",
            code="index-item-invalid",
        )
    primary = assets.get(key)
    if not isinstance(primary, Mapping):
        return {}  # It is absent, or the string that esgcet's own generation leaves.
    nodes = {
        str(primary.get("alternate:name", "")): {
            name: value for name, value in primary.items() if name != "alternate"
        }
    }
    for node, asset in _objects(primary.get("alternate")).items():
        nodes.setdefault(node, dict(asset))
    return nodes


def _objects(value: Any) -> dict[str, Asset]:
    """Return the objects among a map's values; the API accepts values of any type."""
    return (
        {str(key): one for key, one in value.items() if isinstance(one, Mapping)}
        if isinstance(value, Mapping)
        else {}
    )


def bare_item(record: DatasetRecord, now: datetime) -> dict[str, Any]:
    """Make as much of the item of a dataset that is not registered yet as a link needs."""
    project = record.id.project
    properties = {"datetime": timestamp(now)}
    if record.pid:
        properties[f"{project.lower()}:pid"] = record.pid
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": str(record.id),
        "collection": project,
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {},
    }


def data_node_of(item: Item) -> str:
    """Return the data node of the item's files; empty if it states none."""
    assets = _objects(item.get("assets"))
    nodes = (asset.get("alternate:name") for asset in assets.values())
    return next((str(node) for node in nodes if node), "")


def shows(item: Item, link: AccessLink) -> bool:
    """Whether the item has this link, with these bytes."""
    asset = present_nodes(item, link.asset_key).get(link.data_node, {})
    return (asset.get("href"), asset.get("file:checksum")) == (link.href, _multihash(link))


def _multihash(link: AccessLink) -> str | None:
    """Return the multihash, sha2-256 of 32 bytes; None for a directory."""
    return f"1220{link.sha256}" if link.sha256 else None


def plan(item: Item, link: AccessLink, now: datetime) -> Operation | None:
    """Return the one operation after which the item shows the link; None if it does already.

    The asset of the first data node is the primary one and holds the others as ``alternate``. The
    name of a data node may contain ``-``, which is not allowed in a path, so the map of alternates
    is sent whole.
    """
    if shows(item, link):
        return None
    key = link.asset_key
    nodes = present_nodes(item, key)
    asset = make_asset(link, item, now)
    primary = next(iter(nodes), link.data_node)
    others = {
        node: deepcopy(other)
        for node, other in nodes.items()
        if node not in (primary, link.data_node)
    }
    if primary != link.data_node:
        return {
            "op": "add",
            "path": f"/assets/{key}/alternate",
            "value": {**others, link.data_node: asset},
        }
    return {
        "op": "add",
        "path": f"/assets/{key}",
        "value": {**asset, "alternate": others} if others else asset,
    }


def plan_checked(item: Item, link: AccessLink, now: datetime) -> Operation | None:
    """Return the operation of `plan`, after a check of the asset that it adds.

    Raises:
        LinkError: the asset is invalid; the message names the field, its value and what is allowed.
    """
    operation = plan(item, link, now)
    if operation is not None:
        shown = present_nodes(apply(item, operation), link.asset_key)
        check_asset(shown[link.data_node], item, link.asset_key)
    return operation


def plan_removal(item: Item, link: AccessLink) -> Operation | None:
    """Return the one operation that removes the link from the item; None if the item does not show
    it.

    ESGF's API cannot remove an asset, so all of the item's assets are replaced by all except this
    one. If it was the primary asset, its first alternate replaces it.
    """
    key = link.asset_key
    nodes = present_nodes(item, key)
    if nodes.get(link.data_node, {}).get("href") != link.href:
        return None
    del nodes[link.data_node]
    assets = {name: deepcopy(asset) for name, asset in item["assets"].items() if name != key}
    if nodes:
        primary, *others = nodes
        assets[key] = {
            **nodes[primary],
            **({"alternate": {node: nodes[node] for node in others}} if others else {}),
        }
    return {"op": "replace", "path": "/assets", "value": assets}


def plan_access(item: Item) -> Operation | None:
    """Return the one operation that makes the item's list of services state whether it has
    references; None if it does, or has no list.
    """
    before = item.get("properties", {}).get("access")
    if not isinstance(before, list) or (SERVICE in before) == bool(present_nodes(item)):
        return None
    others = [service for service in before if service != SERVICE]
    return {
        "op": "replace",
        "path": "/properties/access",
        "value": [*others, SERVICE] if present_nodes(item) else others,
    }


def apply(item: Item, operation: Operation) -> dict[str, Any]:
    """Return the item after ``operation``, which must be one that was planned here; the server
    applies the general case. Shares with the item what the operation does not change.
    """
    changed: dict[str, Any] = dict(item)
    *parents, last = operation["path"].split("/")[1:]
    target = changed
    for name in parents:
        target[name] = copy(target.get(name, {}))
        target = target[name]
    target[last] = deepcopy(operation["value"])
    return changed


def read_links(item: Item) -> tuple[AccessLink, ...]:
    """Return the reference links that the item shows. Values that another publisher left out are
    empty or 0.
    """
    links = []
    for key in asset_keys():
        for node, asset in present_nodes(item, key).items():
            links.append(_read_link(key, node, asset))
    return tuple(links)


def _read_link(key: str, node: str, asset: Asset) -> AccessLink:
    checksum = str(asset.get("file:checksum") or "")
    roles = asset.get("roles")
    size = asset.get("file:size")
    kwargs = asset.get("xarray:open_kwargs")
    local_path = asset.get("file:local_path")
    return AccessLink(
        href=str(asset.get("href", "")),
        data_node=node,
        media_type=str(asset.get("type", "")),
        roles=tuple(map(str, roles)) if isinstance(roles, list) else (),
        size=size if isinstance(size, int) else 0,
        sha256=checksum.removeprefix("1220") if checksum.startswith("1220") else "",
        open_kwargs=dict(kwargs) if isinstance(kwargs, Mapping) else {},
        local_path=local_path if isinstance(local_path, str) else None,
        asset_key=key,
    )


def check_asset(asset: Asset, item: Item, key: str = DEFAULT_KEY) -> None:
    """Check an asset before it is sent, by the rules of the ESGF schemas, of common readers and of
    pystac: the API checks little.

    Raises:
        LinkError: the asset is invalid; the message names the field, its value and what is allowed.
    """
    for name, pattern in _PATTERNS.items():
        value = asset.get(name)
        fits = isinstance(value, str) and bool(re.fullmatch(pattern, value))
        is_without = name == "file:checksum" and name not in asset
        _require(fits or is_without, item, name, value, pattern)
    roles = asset.get("roles")
    size = asset.get("file:size")
    _require(
        isinstance(roles, list) and bool(roles) and all(type(role) is str for role in roles),
        item,
        "roles",
        roles,
        "strings",
    )
    whole = "file:size" in asset or "file:checksum" in asset
    _require(
        not whole or (type(size) is int and size > 0), item, "file:size", size, "bytes, at least 1"
    )
    _require("name" not in asset, item, "name", asset.get("name"), "no such field")
    node = asset.get("alternate:name")
    nodes = _file_nodes(item)
    _require(
        node in nodes or not nodes,
        item,
        "alternate:name",
        node,
        f"a data node of the item's files: {sorted(nodes)}",
    )
    if item.get("collection") in TRACKING_IDS:
        tracking = _tracking_key(item)
        found = asset.get(tracking)
        _require(found == _tracking_id(item), item, tracking, found, "the item's pid")
    _check_with_pystac(asset, item, key)


def _file_nodes(item: Item) -> set[str]:
    """Return the data nodes that serve the item's files: the API checks whether a user may publish
    for them. Contains None for a file that is not served.
    """
    ours = asset_keys()
    assets = [asset for name, asset in _objects(item.get("assets")).items() if name not in ours]
    names = {str(asset["alternate:name"]) for asset in assets if "alternate:name" in asset}
    return names.union(*(_objects(asset.get("alternate")) for asset in assets))


def _check_with_pystac(asset: Asset, item: Item, key: str) -> None:
    import pystac

    linked = apply(item, {"op": "add", "path": f"/assets/{key}", "value": dict(asset)})
    try:
        again = pystac.Item.from_dict(linked, preserve_dict=True).to_dict(
            include_self_link=False, transform_hrefs=False
        )
    except (
        pystac.STACError,
        pystac.STACTypeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise LinkError(
            str(item.get("id")), f"is not a STAC item: {error}", code="index-item-invalid"
        ) from error
    _require(
        again["assets"][key] == dict(asset),
        item,
        "",
        again["assets"][key],
        "an asset that pystac reads and writes without a change",
    )


def check_schema(item: Item, operation: Operation, schema: Mapping[str, Any]) -> None:
    """Check that a change breaks no rule of the project's JSON schema. Rules that the item broke
    before are ignored.

    Raises:
        LinkError: the change breaks a rule; the message names the field and the rule.
    """
    from jsonschema import Draft7Validator

    validator = Draft7Validator(schema)
    before, after = (
        _broken_rules(validator.iter_errors(state)) for state in (item, apply(item, operation))
    )
    for place, message in sorted(
        (place, message) for (place, rule), message in after.items() if (place, rule) not in before
    ):
        raise _invalid(item, place, message, f"what the schema of {item.get('collection')} allows")


def _broken_rules(errors: Iterable[Any]) -> dict[tuple[str, str], str]:
    """Return what is wrong, by place in the item and rule of the schema; for alternatives, the
    reasons of each.
    """
    broken: dict[tuple[str, str], str] = {}
    for error in errors:
        here = (
            "/".join(map(str, error.absolute_path)),
            "/".join(map(str, error.absolute_schema_path)),
        )
        broken |= _broken_rules(error.context) if error.context else {here: error.message}
    return broken


def _require(holds: bool, item: Item, name: str, found: object, expected: str) -> None:
    if not holds:
        raise _invalid(item, name, found, expected)


def _invalid(item: Item, name: str, found: object, expected: str) -> LinkError:
    subject = f"{item.get('id')}, asset {name}".rstrip()
    return LinkError(subject, repr(found), expected=expected, code="index-asset-invalid")
