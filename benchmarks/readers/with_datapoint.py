# /// script
# requires-python = ">=3.11"
# dependencies = ["ceda-datapoint", "dask", "zstandard"]
# ///
"""`DataPointClient(...).search(...)`, then `collect_cloud_assets()` and `open_dataset()`."""

from __future__ import annotations

from typing import Any

from ceda_datapoint import DataPointClient
from program import Case, Job, run


def read(job: Job, case: Case) -> Any:
    """The cloud products of what is found; there is one."""
    client = DataPointClient(url=job["stac"])
    cluster = client.search(
        collections=[case["collection"]], ids=[case["dataset_id"]]
    ).collect_cloud_assets()
    return cluster.open_dataset(0)


if __name__ == "__main__":
    run(read, "ceda-datapoint", "xarray", "zarr")
