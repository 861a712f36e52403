"""``python -m benchmarks.reading``: what readers pay, against a native Zarr v3 store and against
the files themselves.

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
from pathlib import Path

from esgvzarr.testing import NginxServer

from .data import SHAPES, build
from .tools import esgvzarr

_CODE = """
import time, warnings; warnings.filterwarnings("ignore")
import aiohttp, dask, fsspec, kerchunk, xarray, zarr, netCDF4
OPEN = {{
    "references, documented call": lambda: xarray.open_dataset(
        "{json}", engine="kerchunk", chunks={{}}),
    "references, chunks=None": lambda: xarray.open_dataset(
        "{json}", engine="kerchunk", open_dataset_options={{"chunks": None}},
        storage_options={{"skip_instance_cache": True}}),
    "native Zarr v3": lambda: xarray.open_dataset("{zarr}", engine="zarr", chunks={{}}),
    "open_mfdataset, local files": lambda: xarray.open_mfdataset(
        {files!r}, combine="nested", concat_dim="time",
        data_vars="minimal", coords="minimal", compat="override"),
}}
times = {{}}
began = time.perf_counter()
data = OPEN["{way}"]()
times["open"] = time.perf_counter() - began
if not {only_open}:
    began = time.perf_counter()
    point = data.tas.isel(lat=70, lon=90).values
    times["point series"] = time.perf_counter() - began
    began = time.perf_counter()
    mean = float(data.tas.mean())
    times["full mean"] = time.perf_counter() - began
    times["check"] = float(point.sum()) + mean
import json; print(json.dumps(times))
"""
WAYS = (
    "references, documented call",
    "references, chunks=None",
    "native Zarr v3",
    "open_mfdataset, local files",
)


def ask(way: str, only_open: bool = False, **places: object) -> dict[str, float]:
    """Times of one fresh process, in seconds."""
    code = _CODE.format(
        way=way, only_open=only_open, **{"json": "", "zarr": "", "files": [], **places}
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def median(rounds: int, way: str, **options: object) -> dict[str, float]:
    """Medians of several processes."""
    results = [ask(way, **options) for _ in range(rounds)]  # type: ignore[arg-type]
    return {key: statistics.median(result[key] for result in results) for key in results[0]}


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
    urls = {
        value[0]: f"u{number}"
        for number, value in enumerate(v for v in refs.values() if isinstance(v, list))
    }
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


def main() -> None:
    """Build, serve, measure, print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reading", description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(tempfile.gettempdir()) / "esgvzarr-benchmarks"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, help="Markdown file to append to")
    options = parser.parse_args()
    paths = {name: build(SHAPES[name], options.root) for name in "AB"}
    write_native(paths["A"], options.root / "A.zarr")
    lines = [
        "\n## Reading A through nginx, seconds\n",
        "| | open | point series | full mean |",
        "|---|---|---|---|",
    ]
    with NginxServer(options.root, prefix="") as server:
        base = server.url
        for name, files in paths.items():
            esgvzarr(
                options.root / f"{name}.json",
                [f"{base}/{path.relative_to(options.root)}" for path in files],
            )
        places = {
            "json": f"{base}/A.json",
            "zarr": f"{base}/A.zarr",
            "files": [str(path) for path in paths["A"]],
        }
        sums = set()
        for way in WAYS:
            found = median(options.rounds, way, **places)
            sums.add(round(found["check"], 1))
            lines.append(
                f"| {way} | {found['open']:.2f} | {found['point series']:.2f} | "
                f"{found['full mean']:.2f} |"
            )
        if len(sums) > 1:
            raise SystemExit(f"the ways do not read the same: {sums}")
        lines += [
            "\n## Opening B (73,000 chunks), by how the references are written\n",
            "| | MB | MB with gzip | open, s |",
            "|---|---|---|---|",
        ]
        for name, document in variants((options.root / "B.json").read_bytes()).items():
            (options.root / "variant.json").write_bytes(document)
            found = median(options.rounds, WAYS[1], only_open=True, json=f"{base}/variant.json")
            lines.append(
                f"| {name} | {len(document) / 1e6:.1f} | "
                f"{len(zlib.compress(document, 6)) / 1e6:.1f} | {found['open']:.2f} |"
            )
    print("\n".join(lines))
    if options.page:
        options.page.write_text(options.page.read_text() + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
