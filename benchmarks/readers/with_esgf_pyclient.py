# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp", "cftime", "dask", "esgf-pyclient", "kerchunk", "xarray", "zarr"]
# ///
"""`SearchConnection(...).new_context(...).search()`, then `result.urls["VirtualZarr"]`, which
xarray opens.
"""

from __future__ import annotations

import xarray
from program import Case, Job, run
from pyesgf.search import SearchConnection


def read(job: Job, case: Case) -> xarray.Dataset:
    """One dataset is found, with one such link."""
    connection = SearchConnection(f"https://{job['solr']}/esg-search", distrib=False)
    (found,) = connection.new_context(
        project=case["collection"], instance_id=case["dataset_id"], facets="project"
    ).search()
    ((url, media_type),) = found.urls["VirtualZarr"]
    assert media_type == "application/vnd.zarr+kerchunk"
    assert {file.download_url for file in found.file_context().search()} == set(case["urls"])
    return xarray.open_dataset(url, engine="kerchunk", chunks={})


if __name__ == "__main__":
    run(read, "esgf-pyclient", "xarray", "kerchunk")
