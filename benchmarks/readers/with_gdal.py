# /// script
# requires-python = ">=3.12"
# dependencies = ["numpy", "pystac-client", "rasterio"]
# ///
"""GDAL's Zarr driver opens `ZARR:"/vsikerchunk_json_ref/{/vsicurl/<href>}":/<variable>`.

In rasterio's wheel. Segments one by one, as `/seg-000/<variable>`. Unpacking is the caller's work.
"""

from __future__ import annotations

from typing import Any

import numpy
import rasterio
from program import Case, Job, find, groups_of, run


def read(job: Job, case: Case) -> dict[str, Any]:
    """A band for each step, or for each level of each step; segments one after the other."""
    href = find(job, case).assets["reference_file"].href
    path = f'ZARR:"/vsikerchunk_json_ref/{{/vsicurl/{href}}}":'
    with rasterio.Env(
        GDAL_HTTP_UNSAFESSL=True
    ):  # the wheel trusts no authorities but those of certifi
        parts = [read_group(path + group, case["variable"]) for group in groups_of(href)]
    return {case["variable"]: numpy.concatenate(parts)}


def read_group(path: str, variable: str) -> Any:
    """Values by time, levels if there are any, and the grid."""
    with rasterio.open(f"{path}/time") as times, rasterio.open(f"{path}/{variable}") as opened:
        values = (
            opened.read(masked=True).astype("f8").filled(float("nan")) * opened.scales[0]
            + opened.offsets[0]
        )
        levels = [] if opened.count == times.width else [-1]
        return values.reshape([times.width, *levels, *opened.shape])


if __name__ == "__main__":
    run(read, "rasterio", besides=f"GDAL {rasterio.__gdal_version__}")
