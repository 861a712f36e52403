"""``python -m benchmarks.outputs``: how large each output is, how long it takes to open, and how
many requests, through nginx.

Times are those of the fastest of several fresh processes,
which other work on the machine disturbs least; imports are not counted. The Icechunk repository
needs Python 3.12.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from esgvzarr.errors import SettingsError
from esgvzarr.output import known_outputs
from esgvzarr.output.parts import files_of, measure
from esgvzarr.testing import NginxServer

from .data import SHAPES, build
from .tools import references_of

_CODE = """
import time, warnings; warnings.simplefilter("ignore")
import aiohttp, dask.array, fsspec, kerchunk.xarray_backend, xarray, zarr
with __import__("contextlib").suppress(ImportError):
    import fastparquet, icechunk, zstandard
from esgvzarr.output.icechunk import open_store
began = time.perf_counter()
target = {href!r}
if target.endswith(".icechunk"):
    target = open_store(target)
data = xarray.open_dataset(target, **{how!r})
opened = time.perf_counter() - began
began = time.perf_counter()
total = float(data.tas.isel(time={step}).values.sum())
print(opened, time.perf_counter() - began, total)
"""


def ask(href: str, how: dict[str, object], step: int) -> tuple[float, float, float]:
    """Seconds to open it and to read one step, and the sum of its values, in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE.format(href=href, how=how, step=step)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    opened, read, total = map(float, done.stdout.split())
    return opened, read, total


def main() -> None:
    """Build, serve, measure, print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outputs", description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(tempfile.gettempdir()) / "esgvzarr-benchmarks"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", nargs="+", default=["A", "B"], choices=list(SHAPES))
    options = parser.parse_args()
    print(
        "| | output | MB | files | written in, s | open, s | requests to open | one step, s |\n|---"
        + "|---" * 7
        + "|"
    )
    with NginxServer(options.root, prefix="", dot_file=".zmetadata") as server:
        for name in options.data:
            shape = SHAPES[name]
            paths = build(shape, options.root, say=lambda _: None)
            urls = [f"{server.url}/{path.relative_to(options.root)}" for path in paths]
            references = references_of(urls)
            sums = set()
            for output_name, output in known_outputs().items():
                with suppress(SettingsError):
                    output.check_installed()
                    place = options.root / f"{name}{output.suffix}"
                    shutil.rmtree(place, ignore_errors=True)
                    began = time.perf_counter()
                    output.write(references, place)
                    written = time.perf_counter() - began
                    how = output.open_kwargs("http")
                    step = shape.files * shape.steps * 2 // 3
                    if "storage_options" in how:
                        how["storage_options"]["skip_instance_cache"] = True
                    before = len(server.access_log())
                    found = [ask(server.url_of(place), how, step) for _ in range(options.rounds)]
                    requests = (
                        sum(".nc " not in line for line in server.access_log()[before:])
                        / options.rounds
                    )
                    sums.add(found[0][2])
                    opened = min(one[0] for one in found)
                    read = min(one[1] for one in found)
                    print(
                        f"| {name} | `{output_name}` | {measure(place)[0] / 1e6:.2f} | "
                        f"{len(files_of(place))} | {written:.2f} | {opened:.2f} | {requests:.0f} "
                        f"| {read:.2f} |",
                        flush=True,
                    )
            if len(sums) > 1:
                raise SystemExit(f"they do not show the same: {sums}")


if __name__ == "__main__":
    main()
