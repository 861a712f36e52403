"""An archive of many small datasets below one data root. It takes little time and space: its files
are hard links to a few.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from .datasets import DATASET_ID, FileSpec, write_files
from .items import make_item
from .oddities import forget_member
from .stac import StacServer
from .thredds import ThreddsServer

_VARIETIES = 5


def write_archive(root: Path, count: int, *, refused: int = 0) -> dict[str, list[Path]]:
    """Write datasets that differ in their variant label, and some of them in their values
    (``_VARIETIES``).

    Args:
        root: data root; the DRS is below it.
        count: number of datasets.
        refused: this many of the first datasets have files that overlap in time with other values.

    Returns:
        Dataset id -> its files.
    """
    archive: dict[str, list[Path]] = {}
    kinds: dict[tuple[int, bool], list[Path]] = {}
    for number in range(count):
        name = DATASET_ID.replace(".r1i1p1f2.", f".r{number + 1}i1p1f2.")
        directory = root / name.replace(".", "/")
        directory.mkdir(parents=True)
        kind = (number % _VARIETIES, number < refused)
        if kind not in kinds:
            kinds[kind] = archive[name] = write_files(directory, _specs(*kind))
            continue
        archive[name] = [directory / file.name for file in kinds[kind]]
        for file, link in zip(kinds[kind], archive[name], strict=True):
            os.link(file, link)
    return archive


def register(archive: dict[str, list[Path]], index: StacServer, node: ThreddsServer) -> None:
    """Put an item for each dataset into an index, as another publisher made it."""
    for name, files in archive.items():
        index.add_item(
            make_item(name, {file.name: node.url_of(file) for file in files}, data_node=node.host)
        )


def _specs(seed: int, overlapping: bool) -> list[FileSpec]:
    first = FileSpec(seed=seed, extra=(forget_member,))
    if overlapping:
        return [first, replace(first, start=6, seed=seed + 100)]
    return [first, replace(first, start=12)]
