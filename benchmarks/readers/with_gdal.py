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
    """A band for each step, or for each level of each step."""
    path = f'ZARR:"/vsikerchunk_json_ref/{{/vsicurl/{find(job, case).assets["reference_file"].href}}}":/'
    with rasterio.open(path + "time") as times, rasterio.open(path + case["variable"]) as opened:
        values = opened.read(masked=True).filled(float("nan"))
        levels = [] if opened.count == times.width else [-1]
        return {case["variable"]: values.reshape([times.width, *levels, *opened.shape])}


if __name__ == "__main__":
    run(read, "rasterio")
