# /// script
# requires-python = ">=3.12"
# dependencies = ["aiohttp", "cftime", "kerchunk", "obstore", "pystac-client", "virtualizarr",
# "xarray", "zarr"]
# ///
"""`KerchunkJSONParser` makes a store of the reference file, which xarray opens; of each segment
with `group="seg-000"`.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import xarray
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import HTTPStore
from program import Case, Job, find, groups_of, run
from virtualizarr.parsers import KerchunkJSONParser


def read(job: Job, case: Case) -> xarray.Dataset:
    """The manifest store reads the chunks of the NetCDF files."""
    href = find(job, case).assets["reference_file"].href
    parts = urlsplit(href)
    base = f"{parts.scheme}://{parts.netloc}"
    registry = ObjectStoreRegistry(
        {base: HTTPStore.from_url(base, client_options={"allow_http": True})}
    )
    stores = [
        KerchunkJSONParser(group=group.strip("/") or None)(href, registry)
        for group in groups_of(href)
    ]
    parts = [xarray.open_zarr(store, consolidated=False, zarr_format=3) for store in stores]
    return xarray.concat(
        parts, dim="time", data_vars="minimal", coords="minimal", compat="override", join="override"
    )


if __name__ == "__main__":
    run(read, "virtualizarr", "xarray", "zarr")
