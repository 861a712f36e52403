"""The asset, and the one operation that puts it there."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from esgvzarr.errors import LinkError
from esgvzarr.indexes.asset import (
    apply,
    check_asset,
    make_asset,
    plan,
    plan_removal,
    present_nodes,
    read_links,
)
from esgvzarr.indexes.catalog_documents import make_item
from esgvzarr.model import Layout
from esgvzarr.testing.conformance import CHANGED, LINK, NODE, OTHER_NODES, RECORD

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LATER = datetime(2026, 12, 24, 12, 30, 1, 5, tzinfo=UTC)
CHUNKS = {"time": 120}
OPENING = {"chunks": CHUNKS, "open_dataset_options": {"chunked_array_type": "none"}}
FOR_DATAPOINT = {"open_dataset_options": {"chunks": CHUNKS}}
"""Dask chunks that the engine makes by itself."""
UUID = "489253f7-f169-3594-ba92-5c7acdd7ae3b"


@pytest.fixture
def item() -> dict[str, Any]:
    return make_item(RECORD, NOW)


def with_links(item: dict[str, Any], *links: Any) -> dict[str, Any]:
    for link in links:
        operation = plan(item, link, NOW)
        assert operation is not None
        item = apply(item, operation)
    return item


def of_project(item: dict[str, Any], project: str, pid: str | None) -> dict[str, Any]:
    return {
        **item,
        "collection": project,
        "properties": {**item["properties"], f"{project.lower()}:pid": pid},
    }


def test_asset_has_the_fields_that_the_field_agreed_on(item: dict[str, Any]) -> None:
    """One shape that the ESGF schemas, pystac and the readers take."""
    assert make_asset(LINK, item, NOW) == {
        "href": LINK.href,
        "type": "application/vnd.zarr+kerchunk",
        "title": "Virtual Zarr (kerchunk references)",
        "description": (
            "VirtualZarr Link. Open it with: "
            f'xarray.open_dataset("{LINK.href}", engine="kerchunk", chunks={{}})'
        ),
        "roles": ["data", "virtual", "references"],
        "alternate:name": NODE,
        "created": "2026-11-20T00:00:00.000000Z",
        "updated": "2026-11-20T00:00:00.000000Z",
        "protocol": "kerchunk",
        "file:size": 123456,
        "file:checksum": "1220" + LINK.sha256,
        "file:local_path": LINK.local_path,
        "xarray:open_kwargs": {"engine": "kerchunk", **OPENING},
        "cloud_format": "kerchunk",
        "open_zarr_kwargs": FOR_DATAPOINT,
    }


def test_no_client_could_read_cube_fields(item: dict[str, Any]) -> None:
    """pystac reads what the item declares, and an item of ESGF cannot declare this extension:
    docs/internals/decisions/0017.
    """
    from pystac import Item
    from pystac.errors import ExtensionNotImplemented
    from pystac.extensions.datacube import DatacubeExtension

    made = make_asset(LINK, item, NOW)
    assert [name for name in made if name.startswith("cube:")] == []
    made["cube:dimensions"] = {"lat": {"type": "spatial", "axis": "y", "extent": [-90, 90]}}
    shown = Item.from_dict({**item, "assets": {LINK.asset_key: made}})
    with pytest.raises(ExtensionNotImplemented):
        DatacubeExtension.ext(shown.assets[LINK.asset_key])


def test_an_asset_in_segments_names_the_engine_in_title_text_and_keywords(
    item: dict[str, Any],
) -> None:
    ours = {"engine": "esgvzarr", "chunks": {}}
    link = replace(LINK, open_kwargs=ours, layout=Layout.SEGMENTS)
    asset = make_asset(link, item, NOW)
    assert asset["title"] == "Virtual Zarr (kerchunk references), in segments"
    assert 'engine="esgvzarr"' in asset["description"]
    assert asset["xarray:open_kwargs"]["engine"] == "esgvzarr"
    assert asset["open_zarr_kwargs"] == {}
    check_asset(asset, item)


def test_an_asset_that_shows_one_dataset_is_not_said_to_be_in_segments(
    item: dict[str, Any],
) -> None:
    """Also where its output is opened by our engine, as zarr3 is, or needs our codec."""
    ours = {"engine": "esgvzarr", "chunks": {}}
    link = replace(LINK, open_kwargs=ours, href=f"{LINK.href[:-5]}.zarr3.json", asset_key="zarr3")
    whole = make_asset(link, item, NOW)
    assert "segments" not in whole["title"]
    assert "do not form one grid" not in whole["description"]
    padded = make_asset(replace(link, layout=Layout.PADDED), item, NOW)
    assert "segments" not in padded["title"]
    assert "File ends are stored padded" in padded["description"]


def test_datapoint_is_told_what_fsspec_needs(item: dict[str, Any]) -> None:
    """ceda-datapoint gives these, and no others, to xarray besides the engine."""
    options = {"target_options": {"compression": "zstd"}}
    link = replace(LINK, open_kwargs={"engine": "kerchunk", **OPENING, "storage_options": options})
    told = make_asset(link, item, NOW)["open_zarr_kwargs"]
    assert told == {"storage_options": options, **FOR_DATAPOINT}


def test_first_link_becomes_the_asset(item: dict[str, Any]) -> None:
    """(a) Without a reference asset, ours is added."""
    operation = plan(item, LINK, NOW)
    assert operation == {
        "op": "add",
        "path": "/assets/reference_file",
        "value": make_asset(LINK, item, NOW),
    }


def test_the_primary_carries_the_alternates_along(item: dict[str, Any]) -> None:
    """(b) `add` replaces the whole asset, so ours is sent with the others' alternates and its date
    of creation.
    """
    item = with_links(item, LINK, OTHER_NODES)
    theirs = item["assets"]["reference_file"]["alternate"]
    operation = plan(item, CHANGED, LATER)
    assert operation is not None
    assert (operation["op"], operation["path"]) == ("add", "/assets/reference_file")
    assert operation["value"]["alternate"] == theirs
    assert operation["value"]["file:checksum"] == "1220" + CHANGED.sha256
    assert operation["value"]["created"] == "2026-11-20T00:00:00.000000Z"
    assert operation["value"]["updated"] == "2026-12-24T12:30:01.000005Z"


def test_a_replica_becomes_an_alternate(item: dict[str, Any]) -> None:
    """(c) Another node's asset stays the primary one; the whole map is sent, for a node's name may
    hold `-`.
    """
    item = with_links(item, OTHER_NODES)
    operation = plan(item, LINK, NOW)
    assert operation == {
        "op": "add",
        "path": "/assets/reference_file/alternate",
        "value": {NODE: make_asset(LINK, item, NOW)},
    }
    assert not any("-" in segment for segment in operation["path"].split("/"))


@pytest.mark.parametrize("links", [(LINK,), (LINK, OTHER_NODES), (OTHER_NODES, LINK)])
def test_a_link_that_is_there_needs_nothing(item: dict[str, Any], links: tuple[Any, ...]) -> None:
    """The same href with the same checksum, in whatever place, is no change."""
    assert plan(with_links(item, *links), LINK, LATER) is None


@pytest.mark.parametrize("changed", [CHANGED, replace(LINK, href=LINK.href + ".zst")])
def test_other_bytes_or_place_need_a_change(item: dict[str, Any], changed: Any) -> None:
    """Href and checksum both have to agree."""
    assert plan(with_links(item, LINK), changed, LATER) is not None


def test_a_string_in_place_of_the_asset_is_replaced(item: dict[str, Any]) -> None:
    """esgcet's own generation leaves a string there, which makes the item invalid."""
    item["assets"]["reference_file"] = "https://data-node.example.org/x.json"
    operation = plan(item, LINK, NOW)
    assert operation is not None
    assert operation["path"] == "/assets/reference_file"


def test_planning_changes_nothing(item: dict[str, Any]) -> None:
    """The item that was read stays as it was read."""
    item = with_links(item, OTHER_NODES, LINK)
    before = repr(item)
    plan(item, CHANGED, NOW)
    plan_removal(item, LINK)
    assert repr(item) == before


def test_removal_puts_back_all_but_ours(item: dict[str, Any]) -> None:
    """Never `remove`: the remaining assets are put in place as a whole."""
    operation = plan_removal(with_links(item, LINK), LINK)
    assert operation == {"op": "replace", "path": "/assets", "value": item["assets"]}


def test_removal_of_the_primary_lets_an_alternate_take_its_place(item: dict[str, Any]) -> None:
    """The other nodes' links are not lost with ours."""
    third = replace(
        OTHER_NODES, data_node="third.example.org", href="https://third.example.org/x.json"
    )
    item = with_links(item, LINK, OTHER_NODES, third)
    operation = plan_removal(item, LINK)
    assert operation is not None
    left = apply(item, operation)
    assert read_links(left) == (OTHER_NODES, third)
    assert list(left["assets"]["reference_file"]["alternate"]) == ["third.example.org"]


def test_links_of_others_may_lack_fields(item: dict[str, Any]) -> None:
    """esgcet's own client writes neither size nor checksum nor roles."""
    item["assets"]["reference_file"] = {
        "href": "https://x/y.json",
        "role": ["data"],
        "alternate:name": "x",
    }
    (link,) = read_links(item)
    assert (link.href, link.data_node, link.size, link.sha256, link.roles) == (
        "https://x/y.json",
        "x",
        0,
        "",
        (),
    )


def test_what_was_made_passes_the_check(item: dict[str, Any]) -> None:
    """Our own asset, read back from an item, is one that we would send."""
    item = with_links(item, LINK, OTHER_NODES)
    item["assets"][RECORD.files[0].name]["alternate"] = {OTHER_NODES.data_node: {}}
    for asset in present_nodes(item).values():
        check_asset(asset, item)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("href", ""),
        ("description", "HTTPServer Link"),
        ("description", None),
        ("created", None),
        ("updated", "yesterday"),
        ("protocol", "zarr"),
        ("protocol", None),
        ("roles", "data"),
        ("roles", []),
        ("file:size", 0),
        ("file:size", "5"),
        ("file:checksum", "ab" * 32),
        ("file:checksum", "1220" + "AB" * 32),
        ("alternate:name", "no-such-node.example.org"),
        ("alternate:name", None),
        ("name", "reference"),
        ("type", "kerchunk"),
    ],
)
def test_a_wrong_asset_is_not_sent(item: dict[str, Any], field: str, value: Any) -> None:
    """Each rule stops the asset, and the message names the field."""
    asset = {**make_asset(LINK, item, NOW), field: value}
    with pytest.raises(LinkError, match=field) as caught:
        check_asset(asset, item)
    assert caught.value.code == "index-asset-invalid"


@pytest.mark.parametrize(
    ("project", "pid"),
    [
        ("CORDEX-CMIP6", f"hdl:21.14103/{UUID}"),
        ("obs4REF", f"hdl:21.14102/{UUID}"),
        ("input4MIPs", f"hdl:21.14100/{UUID}"),
        ("input4MIPs", UUID),
    ],
)
def test_some_projects_want_a_tracking_id(item: dict[str, Any], project: str, pid: str) -> None:
    """Three projects' schemas want a tracking id on every asset: the dataset's PID is it."""
    item = of_project(item, project, pid)
    asset = make_asset(LINK, item, NOW)
    assert asset[f"{project.lower()}:tracking_id"] == pid
    check_asset(asset, item)


def test_input4mips_is_registered_without_a_pid(item: dict[str, Any]) -> None:
    """esgcet 5.5.3 gives it none; its schema takes a bare UUID: the one that esgcet makes pids of,
    the same at every run.
    """
    item = of_project(item, "input4MIPs", None)
    expected = str(uuid.uuid3(uuid.NAMESPACE_URL, item["id"]))
    asset = make_asset(LINK, item, NOW)
    assert asset["input4mips:tracking_id"] == expected
    check_asset(asset, item)


@pytest.mark.parametrize(
    ("project", "pid"),
    [
        ("CORDEX-CMIP6", f"hdl:21.14100/{UUID}"),
        ("obs4REF", None),
        ("input4MIPs", f"hdl:21:14100/{UUID}"),  # as esgcet 5.5.3 spells the prefix
    ],
)
def test_a_pid_that_cannot_be_the_tracking_id_is_refused(
    item: dict[str, Any], project: str, pid: str | None
) -> None:
    """The reason is named before anything is sent."""
    with pytest.raises(LinkError) as caught:
        make_asset(LINK, of_project(item, project, pid), NOW)
    assert caught.value.code == "index-tracking-id"
