# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp", "cftime", "dask", "kerchunk", "pystac-client", "xarray", "zarr",
# "zstandard"]
# ///
"""pystac-client finds the item, xarray opens its asset as the asset says.

Segments by the recipe of "Read references".
"""

from __future__ import annotations

import xarray
from program import Case, Job, find, run


def read(job: Job, case: Case) -> xarray.Dataset:
    """As in docs/how-to/read.md."""
    asset = find(job, case).assets["reference_file"]
    keywords = asset.extra_fields["xarray:open_kwargs"]
    if keywords["engine"] == "esgvzarr":  # in segments, and esgvzarr is not installed here
        keywords = {**keywords, "engine": "kerchunk"}
    root = xarray.open_dataset(asset.href, **keywords)
    names = root.attrs.get("esgvzarr_segments", [])
    options = {
        "fo": asset.href,
        "remote_options": {"asynchronous": True},
        **keywords.get("storage_options", {}),
    }
    parts = [
        xarray.open_dataset(
            f"reference://{name}",
            engine="zarr",
            consolidated=False,
            chunks={},
            storage_options=options,
        )
        for name in names
    ]
    if not parts:
        return root
    return xarray.concat(
        parts,
        dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="drop_conflicts",
    )


if __name__ == "__main__":
    run(read, "xarray", "kerchunk", "zarr", "pystac-client")
