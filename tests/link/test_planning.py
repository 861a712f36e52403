"""A dry run shows the plan that the act follows: both go on, or both stop for the same reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from esgvzarr.cli import main
from esgvzarr.link.resume import Selection, resume
from esgvzarr.link.states import State
from esgvzarr.testing import DATASET_ID, StacServer, Status, make_item
from esgvzarr.testing.node import DataNode

from .test_live import (
    beside,
    link,
    link_item,
    register,
    settings_of,
    shown,
    two_nodes,
    use_paths,
)

pytest.importorskip("esgcet", reason="esgcet's STAC client is in the extra `publisher`")


def retract(server: StacServer) -> None:
    """What esgunpublish sends, less the removal of the assets."""
    item = server.item("CMIP6", DATASET_ID)
    item["properties"].update({"retracted": True, "latest": False})
    server._store.replace("CMIP6", DATASET_ID, item)


def without_a_url(node: DataNode, server: StacServer) -> None:
    register(node, server)
    node.write_config(esgcet={"data_roots": {}})


def of_another_node(node: DataNode, server: StacServer) -> None:
    hrefs = {file.name: "https://other.example/x.nc" for file in node.data.rglob("*.nc")}
    server.add_item(make_item(DATASET_ID, hrefs, data_node="other.example"))


def retracted(node: DataNode, server: StacServer) -> None:
    register(node, server)
    retract(server)


def unregistered(node: DataNode, server: StacServer) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (without_a_url, "index-asset-invalid"),
        (of_another_node, "index-asset-invalid"),
        (retracted, "source-retracted"),
        (unregistered, "index-item-missing"),
    ],
)
def test_a_dry_run_stops_where_the_act_stops(
    prepare: Callable[[DataNode, StacServer], None],
    code: str,
    node: DataNode,
    stac_server: StacServer,
) -> None:
    use_paths(node)
    prepare(node, stac_server)
    planned = link(node, dry_run=True)
    done = link(node)
    assert (planned.code, planned.state) == (done.code, done.state)
    assert done.code == code, done.detail
    assert beside(node) == set()
    assert shown(stac_server) == {} if code != "index-item-missing" else True


def test_data_roots_of_esg_yaml_are_enough_to_link_from_a_mapfile(
    node: DataNode, stac_server: StacServer
) -> None:
    node.write_config()
    register(node, stac_server)
    assert link(node, dry_run=True).state is State.PLANNED
    done = link(node)
    assert done.state is State.LINKED, done.detail


def test_a_dataset_that_is_retracted_after_it_was_decided_is_not_linked_by_resume(
    node: DataNode, stac_server: StacServer
) -> None:
    use_paths(node)
    register(node, stac_server)
    stac_server.fault(Status(503), methods=("PATCH",))
    assert link(node).code == "index-http-503"
    stac_server.heal()
    retract(stac_server)
    (outcome,) = resume(Selection(), settings_of(node))
    assert (outcome.state, outcome.code) == (State.FAILED, "source-retracted")
    assert shown(stac_server) == {}


def test_force_replaces_no_link_of_another_data_node(
    tmp_path: Path, stac_server: StacServer
) -> None:
    with two_nodes(tmp_path, stac_server) as (original, replica):
        before = shown(stac_server)
        place = {
            "reference_dir": str(replica.data / "zarr"),
            "reference_url": f"{replica.thredds.url}{replica.thredds.prefix}/zarr",
        }
        hosts = [original.thredds.host, replica.thredds.host]
        use_paths(replica, allowed_hosts=hosts, **place)
        refused = link_item(replica, stac_server, force=True)
        assert refused.code == "index-link-foreign"
        assert replica.thredds.host in refused.detail
        assert shown(stac_server) == before


def test_a_backfill_on_the_node_of_a_replica_leaves_the_link_of_the_original(
    tmp_path: Path, stac_server: StacServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The index of both shows the original's files first."""
    with two_nodes(tmp_path, stac_server) as (original, replica):
        before = stac_server.item("CMIP6", DATASET_ID)["assets"]["reference_file"]
        assert before["alternate:name"] == original.thredds.host
        hosts = [original.thredds.host, replica.thredds.host]
        place = {
            "reference_dir": str(replica.data / "zarr"),
            "reference_url": f"{replica.thredds.url}{replica.thredds.prefix}/zarr",
        }
        use_paths(replica, allowed_hosts=hosts, **place)
        with pytest.raises(SystemExit, match="1"):
            main(["backfill", "--config", str(replica.config), "--jobs", "1"])
        assert "index-link-foreign" in capsys.readouterr().err
        after = stac_server.item("CMIP6", DATASET_ID)["assets"]["reference_file"]
        assert after == before


def test_force_replaces_a_link_of_the_own_data_node_that_was_made_elsewhere(
    node: DataNode, stac_server: StacServer
) -> None:
    use_paths(node)
    register(node, stac_server)
    item = stac_server.item("CMIP6", DATASET_ID)
    elsewhere = f"https://elsewhere.example/{DATASET_ID}.json"
    asset = {"href": elsewhere, "alternate:name": node.thredds.host}
    item["assets"]["reference_file"] = asset
    stac_server._store.replace("CMIP6", DATASET_ID, item)
    assert link(node).code == "index-link-foreign"
    assert link(node, force=True).state is State.LINKED
    assert shown(stac_server) == {node.thredds.host: node.url_of(DATASET_ID)}
