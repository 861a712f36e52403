# /// script
# requires-python = "==3.10.*"
# dependencies = ["aiohttp", "cftime", "dask==2024.6.*", "fsspec==2024.6.*", "kerchunk==0.2.6",
# "numcodecs<0.14", "numpy<2", "pystac-client", "xarray==2024.6.*", "zarr==2.18.2"]
# ///
"""The same with zarr-python 2, as environments of 2024 have it.

Without `remote_options`, which only zarr-python 3 needs.
"""

from __future__ import annotations

import xarray
from program import Case, Job, find, run


def read(job: Job, case: Case) -> xarray.Dataset:
    """The recipe, less what zarr-python 3 needs."""
    asset = find(job, case).assets["reference_file"]
    keywords = asset.extra_fields["xarray:open_kwargs"]
    if keywords["engine"] == "esgvzarr":  # in segments, and esgvzarr is not installed here
        keywords = {**keywords, "engine": "kerchunk"}
    root = xarray.open_dataset(asset.href, **keywords)
    names = root.attrs.get("esgvzarr_segments", [])
    parts = [
        xarray.open_dataset(
            f"reference://{name}",
            engine="zarr",
            consolidated=False,
            chunks={},
            storage_options={"fo": asset.href},
        )
        for name in names
    ]
    return (
        xarray.concat(parts, dim="time", data_vars="minimal", coords="minimal", compat="override")
        if parts
        else root
    )


if __name__ == "__main__":
    run(read, "xarray", "kerchunk", "zarr", "pystac-client")
