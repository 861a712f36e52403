# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp", "cftime", "dask", "kerchunk", "pystac-client", "requests", "xarray",
# "xpystac", "zarr"]
# ///
"""pystac-client finds the item, xpystac opens its asset: `xarray.open_dataset(asset,
engine="stac")`.
"""

from __future__ import annotations

import xarray
from program import Case, Job, find, run


def read(job: Job, case: Case) -> xarray.Dataset:
    """The asset object itself is what xpystac opens."""
    return xarray.open_dataset(find(job, case).assets["reference_file"], engine="stac")


if __name__ == "__main__":
    run(read, "xpystac", "xarray", "zarr")
