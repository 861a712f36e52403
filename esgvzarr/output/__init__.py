"""How a ReferenceSet is written, one module per output, and what stock readers are told to open
each with.

An output is known by the suffix of its name, ``<DSID>.json`` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from ..errors import SettingsError

JSON = "json"
ZST = "json.zst"
PARQUET = "parquet"
ICECHUNK = "icechunk"
SUFFIXES = {JSON: ".json", ZST: ".json.zst", PARQUET: ".parq", ICECHUNK: ".icechunk"}
"""Output -> how its name ends."""
RECORD = "provenance.json"
"""File of a directory that says what made it, from which files. Readers do not look there."""
DIRECTORIES = (PARQUET, ICECHUNK)
_NEEDS = {
    ZST: ("zstandard", "zstd"),
    PARQUET: ("fastparquet", "parquet"),
    ICECHUNK: ("icechunk", "icechunk"),
}
"""Output -> the package without which nobody writes or reads it, and our extra that brings it."""


def output_of(name: str) -> str:
    """The output that a path or URL leads to; ``json`` for any other name."""
    return next(
        (output for output, suffix in SUFFIXES.items() if name.rstrip("/").endswith(suffix)), JSON
    )


def check_installed(output: str) -> None:
    """Look whether an output can be written and read back here.

    Raises:
        SettingsError: its package is missing.
    """
    package, extra = _NEEDS.get(output, ("", ""))
    try:
        module = import_module(package) if package else None
    except ImportError as error:
        raise SettingsError(
            f"output {output!r}",
            f"the package {package} is not installed",
            todo=f"pip install 'esgvzarr[{extra}]'",
            code="settings-output",
        ) from error
    if output == ICECHUNK and not hasattr(module, "http_storage"):
        raise SettingsError(
            f"output {output!r}",
            "Icechunk 1 takes the port out of URLs, and reads no repository over HTTP",
            expected="icechunk >= 2, which needs Python 3.12",
            todo=f"pip install 'esgvzarr[{extra}]'",
            code="settings-output",
        )


def write(output: str, document: bytes, path: Path, present: Path | None = None) -> None:
    """Write one output.

    Args:
        output: which.
        document: what it shall show, as kerchunk JSON.
        path: where nothing is yet.
        present: what lies in its place, which is not touched: an Icechunk repository is gone on
            with.

    Raises:
        FormatError: it cannot show that.
        StoreError: it cannot be written.
    """
    from . import kerchunk

    if output == ICECHUNK:
        from .icechunk import write_icechunk

        write_icechunk(document, path, present)
        return
    own = kerchunk.with_options(
        document, storage_options(output, protocol_of(kerchunk.provenance(document)))
    )
    if output == PARQUET:
        from .parquet import write_parquet

        write_parquet(own, path)
    else:
        path.write_bytes(kerchunk.compress(own) if output == ZST else own)


def same(output: str, a: Path, b: Path) -> bool:
    """Whether readers see the same in both: all but what says how they were made is equal, byte for
    byte.
    """
    if a.is_dir() or b.is_dir():
        return _tree(a) == _tree(b)
    from . import kerchunk

    try:
        return kerchunk.same_references(
            kerchunk.read(a.read_bytes()), kerchunk.read(b.read_bytes())
        )
    except ValueError:  # damaged
        return False


def _tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path != directory / RECORD
    }


def protocol_of(provenance: Mapping[str, Any]) -> str:
    """How the files are fetched: ``https``, ``http``, or ``file``."""
    return next(
        (file["url"].partition("://")[0] for file in provenance["files"] if "://" in file["url"]),
        "file",
    )


def storage_options(output: str, protocol: str) -> dict[str, Any]:
    """What fsspec's reference file system is told beyond the address.

    Args:
        output: which.
        protocol: of the files' URLs. fsspec finds it by itself in JSON; in parquet it reads all
            tables for it, and fails on groups.
    """
    options: Mapping[str, dict[str, Any]] = {
        ZST: {"target_options": {"compression": "zstd"}},
        PARQUET: {"remote_protocol": protocol},
    }
    return dict(options.get(output, {}))


@dataclass(frozen=True, slots=True)
class Reading:
    """How the references of one dataset are best read, as their provenance says."""

    dimension: str = ""
    """The name of the time dimension."""
    steps: int = 0
    """Time steps that make a task of 16 to 64 MiB; 0 where there is no advice."""
    segments: int = 0
    """Groups that have to be joined; 0 where the root shows everything."""


def reading_of(provenance: Mapping[str, Any]) -> Reading:
    """How references are best read; no advice where their provenance has none."""
    said = provenance.get("reading", {})
    return Reading(said.get("dimension") or "", said.get("steps", 0), said.get("segments", 0))


def provenance_at(path: Path) -> dict[str, Any]:
    """What an output on disk says of the files that it was made from.

    Raises:
        OSError, ValueError: not there, or not ours.
    """
    from . import kerchunk

    output = output_of(str(path))
    if output == ICECHUNK:
        from .icechunk import read_provenance

        return read_provenance(str(path))
    if output == PARQUET:
        return dict(orjson.loads((path / RECORD).read_bytes()))
    return kerchunk.provenance(kerchunk.read(path.read_bytes()))


def open_kwargs(output: str, protocol: str, reading: Reading | None = None) -> dict[str, Any]:
    """With these, ``xarray.open_dataset(href, **kwargs)`` opens it; a repository's ``store`` in
    place of ``href`` for Icechunk, unless the engine is ours.

    Args:
        output: which.
        protocol: of the files' URLs.
        reading: how these references are best read.
    """
    advice = reading or Reading()
    chunks = {advice.dimension: advice.steps} if advice.steps else {}
    if advice.segments:
        return {"engine": "esgvzarr", "chunks": {}}
    if output == ICECHUNK:  # a store has to be made of the href before
        return {"engine": "zarr", "consolidated": False, "chunks": chunks}
    options = storage_options(output, protocol)
    # chunks inside: with chunks outside, dask arrays are put around dask arrays
    how = {"engine": "kerchunk", "open_dataset_options": {"chunks": chunks}}
    return {**how, "storage_options": options} if options else how
