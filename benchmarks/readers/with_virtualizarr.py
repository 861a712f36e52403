# /// script
# requires-python = ">=3.12"
# dependencies = ["aiohttp", "cftime", "kerchunk", "obstore", "pystac-client", "virtualizarr", "xarray", "zarr"]
# ///
"""`KerchunkJSONParser` makes a store of the reference file, which xarray opens."""

from __future__ import annotations

from urllib.parse import urlsplit

import xarray
from obspec_utils.registry import ObjectStoreRegistry
from obstore.store import HTTPStore
from program import Case, Job, find, run
from virtualizarr.parsers import KerchunkJSONParser


def read(job: Job, case: Case) -> xarray.Dataset:
    """The manifest store reads the chunks of the NetCDF files."""
    href = find(job, case).assets["reference_file"].href
    parts = urlsplit(href)
    base = f"{parts.scheme}://{parts.netloc}"
    registry = ObjectStoreRegistry({base: HTTPStore.from_url(base, client_options={"allow_http": True})})
    store = KerchunkJSONParser()(href, registry)
    return xarray.open_zarr(store, consolidated=False, zarr_format=3).load()


if __name__ == "__main__":
    run(read, "virtualizarr", "xarray", "zarr")
