# /// script
# requires-python = ">=3.11"
# dependencies = ["esgpull"]
# ///
"""What `esgpull download` fetches of a dataset."""

from __future__ import annotations

import asyncio
from pathlib import Path

from esgpull import Esgpull
from esgpull.models import Query
from program import Case, Job, fresh_directory, run


def read(job: Job, case: Case) -> list[Path]:
    """Searches for files, and downloads what is found."""
    install = fresh_directory()
    where = {"stac_url": job["stac"], "index_node": f"https://{job['solr']}/esg-search/search"}
    (install / "config.toml").write_text(
        "[api]\n" + "".join(f'{name} = "{url}"\n' for name, url in where.items())
    )
    esgpull = Esgpull(install, install=True)
    selection = {
        "project": case["collection"],
        "variable_id": case["variable"],
        "source_id": case["source_id"],
    }
    query = Query(selection=selection, backend="stac" if job["index"] == "stac" else "solr")
    files = esgpull.context.search(query, file=True)
    _, errors = asyncio.run(esgpull.download(files, use_db=False, show_progress=False))
    if errors:
        raise errors[0].err
    return [path for path in esgpull.fs.paths.data.rglob("*") if path.is_file()]


if __name__ == "__main__":
    run(read, "esgpull")
