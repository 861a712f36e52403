"""Two members and two variables of one experiment go through the real esgpublish in one run."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
from output import skip_unless_installed

import esgvzarr
from esgvzarr.link.with_esgcet import publish_with_esgcet
from esgvzarr.outcome import State
from esgvzarr.output import named
from esgvzarr.settings import read_settings
from esgvzarr.testing import DATASET_ID, StacServer, write_monthly
from esgvzarr.testing.node import DataNode, schema_versions
from esgvzarr.testing.oddities import state_globally

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")

MEMBER = DATASET_ID.replace("r1i1p1f2", "r2i1p1f2")
VARIABLE = DATASET_ID.replace(".tas.", ".pr.")
LENGTHS = (12, 12)
DEFLATED = {"chunks": (5, 4, 6), "compression": "zlib"}
"""In segments, but for outputs that make one array of them."""


def write_member(directory: Path) -> list[Path]:
    """Other numbers, and another ``variant_label``."""
    extra = (state_globally(variant_label="r2i1p1f2"),)
    return write_monthly(directory, lengths=LENGTHS, seed=1, extra=extra, **DEFLATED)


def write_variable(directory: Path) -> list[Path]:
    """Precipitation, in files of the usual names."""
    written = []
    for path in write_monthly(directory, lengths=LENGTHS, seed=2, **DEFLATED):
        with netCDF4.Dataset(path, "a") as file:
            file.renameVariable("tas", "pr")
            file.variable_id = "pr"
            file["pr"].setncatts({"units": "kg m-2 s-1", "standard_name": "precipitation_flux"})
        written.append(path.rename(path.with_name(path.name.replace("tas_", "pr_"))))
    return written


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # esgcet's own
@pytest.mark.filterwarnings("ignore:BBOX crossing")  # of the grid of the small files
@pytest.mark.parametrize("output", ["json", "zarr3"])
def test_each_is_linked_and_shows_its_own_numbers(
    output: str, node: DataNode, stac_server: StacServer, tmp_path: Path
) -> None:
    skip_unless_installed(output)
    files = {
        DATASET_ID: write_monthly(tmp_path / "first", lengths=LENGTHS, **DEFLATED),
        MEMBER: write_member(tmp_path / "member"),
        VARIABLE: write_variable(tmp_path / "variable"),
    }
    node.write_config(output=output)
    maps = [str(node.add_dataset(name, paths)) for name, paths in files.items()]
    settings = read_settings(node.config)
    with schema_versions():
        status, outcomes = publish_with_esgcet(
            ["--map", *maps, "--config", str(node.config)], settings
        )
    assert status == 0, outcomes
    states = {outcome.dataset_id: outcome.state for outcome in outcomes}
    assert states == dict.fromkeys(files, State.LINKED), outcomes

    for name, paths in files.items():
        asset = stac_server.item("CMIP6", name)["assets"][named(output).asset_key]
        assert asset["href"].endswith(f"{name}{named(output).suffix}")
        with esgvzarr.open_dataset(asset["href"]) as shown:
            variable = str(shown.attrs["variable_id"])
            assert f".{shown.attrs['variant_label']}.Amon.{variable}." in name
            truth = []
            for path in paths:
                with netCDF4.Dataset(path) as file:
                    truth.append(file[variable][:].filled(np.nan))
            np.testing.assert_array_equal(shown[variable].values, np.concatenate(truth))
