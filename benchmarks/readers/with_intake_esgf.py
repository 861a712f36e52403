# /// script
# requires-python = ">=3.12"
# dependencies = ["intake-esgf"]
# ///
"""`ESGFCatalog().search(...)`, then `to_path_dict(prefer_streaming=True)`.

It looks for links of files only: none of its indexes gives it a dataset's link.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import intake_esgf
from program import Case, Job, fresh_directory, run


def read(job: Job, case: Case) -> list[Path]:
    """Downloads into an empty cache."""
    kinds = ("stac_indices", "solr_indices", "globus_indices")
    where = {"stac": urlsplit(job["stac"]).netloc, "solr": job["solr"], "globus": job["globus"]}
    for kind in kinds:
        intake_esgf.conf[kind] = (
            {where[job["index"]]: True} if kind.startswith(job["index"]) else {}
        )
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
    catalog.to_path_dict(prefer_streaming=True, quiet=True)
    return [path for path in cache.rglob("*") if path.is_file()]


if __name__ == "__main__":
    run(read, "intake-esgf")
