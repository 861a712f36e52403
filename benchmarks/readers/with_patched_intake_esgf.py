# /// script
# requires-python = ">=3.12"
# dependencies = ["intake-esgf==2026.9.28", "kerchunk", "zarr", "aiohttp"]
# ///
"""intake-esgf with the patch of `docs/upstream/`: `ESGFCatalog().search(...)`, then
`to_dataset_dict(prefer_streaming=True)`.

It opens the dataset's link, and downloads the files of a link whose engine is not installed, or
that shows no variables.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from program import Case, Job, fresh_directory, run

PATCH = (
    Path(__file__).parents[2] / "docs" / "upstream" / "intake-esgf-2026.9.28-virtual.patch"
).resolve()


def use_patched() -> None:
    """Put a copy of intake-esgf with the patch before the installed one."""
    spec = importlib.util.find_spec("intake_esgf")
    assert spec is not None
    assert spec.origin is not None
    root = fresh_directory()
    shutil.copytree(Path(spec.origin).parent, root / "intake_esgf")
    subprocess.run(["git", "apply", "-p1", PATCH], cwd=root, check=True)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()


def read(job: Job, case: Case) -> Any:
    """Opens the dataset; returns the files instead, if any were downloaded."""
    import intake_esgf

    where = {"stac": urlsplit(job["stac"]).netloc, "solr": job["solr"], "globus": job["globus"]}
    for name, place in where.items():
        intake_esgf.conf[f"{name}_indices"] = {place: True} if name == job["index"] else {}
    cache = fresh_directory()
    intake_esgf.conf.set(
        local_cache=[str(cache)], esg_dataroot=[], requests_cache={"expire_after": "DO_NOT_CACHE"}
    )
    catalog = intake_esgf.ESGFCatalog()
    catalog.search(
        quiet=True,
        project=case["collection"],
        variable_id=case["variable"],
        source_id=case["source_id"],
    )
    opened = catalog.to_dataset_dict(prefer_streaming=True, quiet=True)
    downloaded = [path for path in cache.rglob("*") if path.is_file()]
    if downloaded:
        return downloaded
    (dataset,) = opened.values()
    return dataset


if __name__ == "__main__":
    use_patched()
    run(read, "intake-esgf", "xarray", besides="with our patch")
