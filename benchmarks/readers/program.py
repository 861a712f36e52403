"""What the programs have in common. It runs in each client's own environment, so it imports nothing
but the standard library.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.request import urlopen

Job = Mapping[str, Any]
"""``stac``: URL; ``solr``: host; ``globus``: UUID; ``index``: which of them to ask; ``cases``;
``out``: JSON file to write.
"""
Case = Mapping[str, Any]
"""``name``, ``dataset_id``, ``collection``, ``variable``, ``source_id``; ``urls`` of its files."""


def run(read: Callable[[Job, Case], Any], *packages: str, besides: str = "") -> None:
    """Read all cases: ``read`` returns an xarray dataset, arrays by name, or the paths of the files
    that it downloaded.

    The versions of ``packages`` are told, and what stands ``besides``.
    """
    job = json.loads(Path(sys.argv[1]).read_text())
    results = {}
    for case in job["cases"]:
        try:
            results[case["name"]] = _described(read(job, case))
        except Exception as error:  # noqa: BLE001  (whatever a client raises is its outcome)
            traceback.print_exc()
            results[case["name"]] = {"fails": f"{type(error).__name__}: {error}"}
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    versions = [*(f"{name} {version(name)}" for name in packages), besides, python]
    Path(job["out"]).write_text(
        json.dumps({"versions": list(filter(None, versions)), "results": results})
    )


def find(job: Job, case: Case) -> Any:
    """The item that pystac-client finds."""
    import pystac_client

    (item,) = (
        pystac_client.Client.open(job["stac"])
        .search(collections=[case["collection"]], ids=[case["dataset_id"]])
        .items()
    )
    return item


def groups_of(href: str) -> list[str]:
    """Paths of the groups that hold the data: those of the segments, or the root."""
    with urlopen(href) as answer:
        attributes = json.loads(json.load(answer)["refs"][".zattrs"])
    return [f"/{name}" for name in attributes.get("esgvzarr_segments", [])] or [""]


def fresh_directory() -> Path:
    """An empty directory, for downloads."""
    return Path(tempfile.mkdtemp())


def _described(found: Any) -> dict[str, Any]:
    if isinstance(found, list):
        return {"files": sorted(str(path) for path in found)}
    arrays = dict(found if isinstance(found, dict) else found.variables)
    return {
        "variables": {
            name: {"shape": list(array.shape), "data": plain(array)}
            for name, array in arrays.items()
        }
    }


def plain(array: Any) -> list[Any]:
    """The values in C order: numbers, or times as text."""
    import numpy

    values = numpy.asarray(array.values if hasattr(array, "values") else array)
    if values.dtype.kind == "M":
        return [str(time) for time in values.astype("M8[s]").ravel()]
    if values.dtype.kind == "O":
        return [
            f"{time:%Y-%m-%dT%H:%M:%S}" if hasattr(time, "calendar") else str(time)
            for time in values.ravel()
        ]
    return (
        [str(text) for text in values.ravel()]
        if values.dtype.kind in "SU"
        else values.ravel().astype(float).tolist()
    )
