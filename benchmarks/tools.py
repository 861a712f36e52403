"""One tool, one data set, one whole process: ``python -m benchmarks.tools TOOL OUT LOCATION...``
makes references of the files.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_INLINE = 5000
"""Bytes: the time chunks of 4 KiB are inlined, or else kerchunk 0.2.10 cannot read them over HTTP
with aiohttp 3.14.
"""


def esgvzarr(out: Path, locations: list[str]) -> None:
    """This package, with all checks."""
    from esgvzarr.output.kerchunk import encode

    out.write_bytes(encode(references_of(locations)))


def references_of(locations: list[str], dataset_id: str = "benchmark.data.v1") -> Any:
    """The references of files, with all checks but the proof."""
    from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
    from esgvzarr.scan import make_references
    from esgvzarr.transport import Transport

    files = tuple(FileRecord(location.rsplit("/", 1)[-1], location) for location in locations)
    hosts = {urlsplit(location).netloc for location in locations} - {""}
    with Transport(allowed_hosts=hosts) as transport:
        record = DatasetRecord(DatasetId.parse(dataset_id), "", files)
        return make_references(record, transport)


def end_to_end(out: Path, locations: list[str]) -> None:
    """``esgvzarr generate`` as an operator runs it: scan, proof and write."""
    from esgvzarr.__main__ import program

    name = f"CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.{out.stem}.gn.v20190406"
    dataset_id = name.replace("_", "-")
    directory = out.with_suffix(".made")
    os.environ["ESGVZARR_LEDGER"] = str(out.with_suffix(".ledger"))
    options = ["--dataset-id", dataset_id, "--output-dir", str(directory), "--force"]
    sys.argv = ["esgvzarr", "generate", *locations, *options]
    program()


def esgvzarr_proof(out: Path, locations: list[str]) -> None:
    """The proof of references that ``esgvzarr`` made before, by the files' URLs."""
    from esgvzarr.model import FileRecord
    from esgvzarr.output import named
    from esgvzarr.proof import verify
    from esgvzarr.transport import Transport

    hosts = {urlsplit(location).netloc for location in locations} - {""}
    with Transport(allowed_hosts=hosts) as transport:
        files = [FileRecord(location.rsplit("/", 1)[-1], location) for location in locations]
        artefact = named("json").parse(out.read_bytes(), str(out), transport)
        report = verify(artefact, files, transport, location=str(out))
    if not report.passed:
        sys.exit(f"proof failed: {report.failures[:3]}")


def kerchunk(out: Path, locations: list[str]) -> None:
    """SingleHdf5ToZarr or NetCDF3ToZarr per file, then MultiZarrToZarr, as its documentation
    shows.
    """
    import fsspec
    from kerchunk.combine import MultiZarrToZarr
    from kerchunk.hdf import SingleHdf5ToZarr
    from kerchunk.netCDF3 import NetCDF3ToZarr

    singles = []
    for location in locations:
        with fsspec.open(location, "rb") as file:
            classic = file.read(3) == b"CDF"
            file.seek(0)
            made = (
                NetCDF3ToZarr(location, inline_threshold=_INLINE)
                if classic
                else SingleHdf5ToZarr(file, location, inline_threshold=_INLINE)
            )
            singles.append(made.translate())
    fixed = ["lat", "lon", "lev", "lat_bnds", "lon_bnds", "lev_bnds", "height"]
    protocol = urlsplit(locations[0]).scheme or "file"
    combined = MultiZarrToZarr(
        singles, remote_protocol=protocol, concat_dims=["time"], identical_dims=fixed
    ).translate()
    out.write_text(json.dumps(combined))


def virtualizarr(out: Path, locations: list[str]) -> None:
    """open_virtual_mfdataset with the parser for the format, over obstore, written as kerchunk
    JSON.
    """
    import obstore.store
    from obspec_utils.registry import ObjectStoreRegistry
    from virtualizarr import open_virtual_mfdataset
    from virtualizarr.parsers import HDFParser, NetCDF3Parser

    parts = urlsplit(locations[0])
    if parts.scheme:
        base = f"{parts.scheme}://{parts.netloc}"
        store = obstore.store.HTTPStore.from_url(base, client_options={"allow_http": True})
        urls = locations
    else:
        base = "file://"
        store = obstore.store.LocalStore()
        urls = [f"file://{location}" for location in locations]
    with open(locations[0], "rb") if not parts.scheme else _first(locations[0]) as file:
        parser = NetCDF3Parser() if file.read(3) == b"CDF" else HDFParser()
    merged = open_virtual_mfdataset(
        urls,
        registry=ObjectStoreRegistry({base: store}),
        parser=parser,
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        loadable_variables=["time", "lat", "lon", "lev"],
    )
    merged.vz.to_kerchunk(str(out), format="json")


def _first(url: str) -> Any:
    import urllib.request

    return urllib.request.urlopen(url)


def esgcet(out: Path, locations: list[str]) -> None:
    """esgcet's own generator; local files only, that is all it does."""
    from esgcet.kerchunk.kerchunk_generator import KerchunkGenerator

    root = str(Path(locations[0]).parent)
    generator = KerchunkGenerator(
        path_url=locations, backend="kerchunk", output_file=out, format="json"
    )
    generator.generate(root, "https://data.example/thredds/fileServer/root", 0)


TOOLS = {
    tool.__name__: tool
    for tool in (esgvzarr, end_to_end, esgvzarr_proof, kerchunk, virtualizarr, esgcet)
}

if __name__ == "__main__":
    TOOLS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3:])
