"""``python -m benchmarks.reading``: what readers pay, against a native Zarr v3 store and against
the files themselves, at several latencies.

Each figure is the median of fresh processes; imports are not counted. Also: how large the reference
file is, and how long it takes to open, with and without templates, consolidated metadata and
compression.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path

from esgvzarr.output import named, provenance_at, reading_of
from esgvzarr.testing import Latency, NginxServer, ThreddsServer

from .data import SHAPES, build
from .tools import esgvzarr

_CODE = """
import time, warnings; warnings.filterwarnings("ignore")
import aiohttp, dask, fsspec, kerchunk, xarray, zarr, netCDF4
import esgvzarr.reader.joining
dask.config.set(scheduler="threads", num_workers=8)
OPEN = {{
    "stock, the asset's keywords": lambda: xarray.open_dataset("{json}", **{keywords}),
    "stock, chunks={{}} outside": lambda: xarray.open_dataset(
        "{json}", engine="kerchunk", chunks={{}}),
    "stock, without dask": lambda: xarray.open_dataset(
        "{json}", engine="kerchunk", open_dataset_options={{"chunks": None}},
        storage_options={{"skip_instance_cache": True}}),
    "engine=esgvzarr": lambda: esgvzarr.open_dataset("{json}"),
    "native Zarr v3": lambda: xarray.open_dataset("{zarr}", engine="zarr", chunks={{}}),
    "native Zarr v3, same tasks": lambda: xarray.open_dataset(
        "{zarr}", engine="zarr", chunks={chunks}),
    "open_mfdataset, local files": lambda: xarray.open_mfdataset(
        {files!r}, combine="nested", concat_dim="time",
        data_vars="minimal", coords="minimal", compat="override"),
}}
import esgvzarr
times = {{}}
t = time.perf_counter(); data = OPEN["{way}"](); times["open"] = time.perf_counter() - t
if not {only_open}:
    t = time.perf_counter()
    point = data.tas.isel(lat=70, lon=90).values
    times["point series"] = time.perf_counter() - t
    t = time.perf_counter(); step = data.tas.isel(time=700).values; times["map"] = time.perf_counter() - t
    t = time.perf_counter(); mean = float(data.tas.mean()); times["full mean"] = time.perf_counter() - t
    times["check"] = float(point.sum()) + float(step.sum()) + mean
import json; print(json.dumps(times))
"""  # noqa: E501
OVER_HTTP = (
    "stock, the asset's keywords",
    "stock, chunks={} outside",
    "engine=esgvzarr",
    "native Zarr v3",
    "native Zarr v3, same tasks",
)
LOCAL = "open_mfdataset, local files"
ONLY_OPEN = "stock, without dask"
KINDS = ("open", "point series", "map", "full mean")


def ask(way: str, only_open: bool = False, **places: object) -> dict[str, float]:
    """Times of one fresh process, in seconds."""
    nothing = {"json": "", "zarr": "", "files": [], "keywords": {}, "chunks": {}}
    code = _CODE.format(way=way, only_open=only_open, **{**nothing, **places})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def median(rounds: int, way: str, **options: object) -> dict[str, float]:
    """Medians of several processes."""
    results = [ask(way, **options) for _ in range(rounds)]  # type: ignore[arg-type]
    medians = {}
    for key in results[0]:
        medians[key] = statistics.median([result[key] for result in results])
    return medians


def write_native(paths: list[Path], store: Path) -> None:
    """The same data as a Zarr v3 store with the same chunks."""
    import xarray

    if not store.exists():
        files = [str(path) for path in paths]
        with xarray.open_mfdataset(
            files,
            combine="nested",
            concat_dim="time",
            data_vars="minimal",
            coords="minimal",
            compat="override",
        ) as data:
            encoding = {"tas": {"chunks": (1, 144, 192)}}
            for name in data.variables:
                data[name].encoding.pop("chunksizes", None)
                data[name].encoding = {
                    k: v
                    for k, v in data[name].encoding.items()
                    if k in ("units", "calendar", "dtype", "_FillValue")
                }
            data.chunk(time=64).to_zarr(store, zarr_format=3, encoding=encoding, consolidated=True)


def variants(document: bytes) -> dict[str, bytes]:
    """The same references, written otherwise."""
    parsed = json.loads(document)
    refs = parsed["refs"]
    urls = dict.fromkeys(value[0] for value in refs.values() if isinstance(value, list))
    short = {url: f"u{number}" for number, url in enumerate(urls)}
    templated = {
        key: ["{{" + short[v[0]] + "}}", *v[1:]] if isinstance(v, list) else v
        for key, v in refs.items()
    }
    meta = {
        key: json.loads(value)
        for key, value in refs.items()
        if key.rpartition("/")[2].startswith(".z")
    }
    consolidated = {
        **refs,
        ".zmetadata": json.dumps({"zarr_consolidated_format": 1, "metadata": meta}),
    }
    compact = {"separators": (",", ":")}
    return {
        "plain (what is written)": document,
        "with templates": json.dumps(
            {"version": 1, "templates": {v: k for k, v in short.items()}, "refs": templated},
            **compact,
        ).encode(),
        "with .zmetadata": json.dumps({"version": 1, "refs": consolidated}, **compact).encode(),
    }


def _serve(root: Path, latency: int, stack: ExitStack) -> str:
    """A server of the directory that takes this many milliseconds to answer."""
    if not latency:
        return stack.enter_context(NginxServer(root, prefix="")).url
    server = stack.enter_context(ThreddsServer(root, prefix="/data"))
    server.fault(Latency(latency / 1000))
    return f"{server.url}/data"


def _places(root: Path, base: str, paths: list[Path], name: str) -> dict[str, object]:
    """Make the references of the files at this server; what the ways need to open them."""
    reference = root / f"{name}.json"
    esgvzarr(reference, [f"{base}/{path.relative_to(root)}" for path in paths])
    reading = reading_of(provenance_at(reference))
    keywords = named("json").open_kwargs("http", reading)
    return {
        "json": f"{base}/{name}.json",
        "zarr": f"{base}/A.zarr",
        "files": [str(path) for path in paths],
        "keywords": keywords,
        "chunks": keywords["chunks"],
    }


def main() -> None:
    """Build, serve, measure, print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(tempfile.gettempdir()) / "esgvzarr-benchmarks"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, help="Markdown file to append to")
    parser.add_argument(
        "--latency", nargs="+", type=int, default=[0, 50, 100], help="milliseconds per request"
    )
    options = parser.parse_args()
    paths = {name: build(SHAPES[name], options.root) for name in "AB"}
    write_native(paths["A"], options.root / "A.zarr")
    lines = [
        "\n## Reading A, seconds\n",
        f"| ms per request | | {' | '.join(KINDS)} |",
        f"|---|---|{'---|' * len(KINDS)}",
    ]
    sums = set()
    with ExitStack() as stack:
        for latency in options.latency:
            base = _serve(options.root, latency, stack)
            places = _places(options.root, base, paths["A"], f"A{latency}")
            ways = OVER_HTTP if latency else (*OVER_HTTP, LOCAL)
            for way in ways:
                found = median(options.rounds, way, **places)
                sums.add(round(found["check"], 1))
                cells = " | ".join(f"{found[kind]:.2f}" for kind in KINDS)
                lines.append(f"| {latency} | {way} | {cells} |")
                print(lines[-1], flush=True)
    if len(sums) > 1:
        raise SystemExit(f"the ways do not read the same: {sums}")
    with NginxServer(options.root, prefix="") as server:
        base = server.url
        _places(options.root, base, paths["B"], "B")
        lines += [
            "\n## Opening B (73,000 chunks), by how the references are written\n",
            "| | MB | MB with gzip | open, s |",
            "|---|---|---|---|",
        ]
        for name, document in variants((options.root / "B.json").read_bytes()).items():
            (options.root / "variant.json").write_bytes(document)
            found = median(options.rounds, ONLY_OPEN, only_open=True, json=f"{base}/variant.json")
            lines.append(
                f"| {name} | {len(document) / 1e6:.1f} | "
                f"{len(zlib.compress(document, 6)) / 1e6:.1f} | {found['open']:.2f} |"
            )
    print("\n".join(lines))
    if options.page:
        options.page.write_text(options.page.read_text() + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
