# /// script
# requires-python = ">=3.12"
# dependencies = ["numpy", "pystac-client", "rasterio"]
# ///
"""GDAL's Zarr driver opens `ZARR:"/vsikerchunk_json_ref/{/vsicurl/<href>}":/<variable>`, here in rasterio's wheel."""

from __future__ import annotations

from typing import Any

import rasterio
from program import Case, Job, find, run


def read(job: Job, case: Case) -> dict[str, Any]:
    """As a stack of bands."""
    href = find(job, case).assets["reference_file"].href
    with rasterio.open(f'ZARR:"/vsikerchunk_json_ref/{{/vsicurl/{href}}}":/{case["variable"]}') as opened:
        return {case["variable"]: opened.read()}


if __name__ == "__main__":
    run(read, "rasterio")
