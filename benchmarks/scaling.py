"""``python -m benchmarks.scaling``: time and memory of combining and writing, for 10^3 to 10^7
chunks and 1 to 2,000 files.

The scans are simulated: everything after them is arithmetic, so no file is needed. One process per
    point; a plot and a table.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CHUNKS = [10**3, 10**4, 10**5, 10**6, 10**7]
FILES = [1, 10, 100, 500, 2000]


def simulate(chunks: int, files: int) -> dict[str, float]:
    """Combine and encode ``chunks`` chunks in ``files`` files; seconds and peak MiB."""
    from esgvzarr.combine import combine
    from esgvzarr.combine.rules import check
    from esgvzarr.model import DatasetId
    from esgvzarr.output.kerchunk import encode

    scanned = [_scan(number, chunks // files) for number in range(files)]
    started = time.perf_counter()
    references = combine(check(scanned, "simulated"), DatasetId("benchmark.data", "1"))
    combined = time.perf_counter()
    size = len(encode(references))
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "chunks": chunks,
        "files": files,
        "combine_s": combined - started,
        "encode_s": done - combined,
        "mib": peak,
        "bytes": size,
    }


def _scan(number: int, steps: int):  # type: ignore[no-untyped-def]
    from esgvzarr.model import ChunkTable, FileRecord, FileReferences, Variable

    none = ChunkTable(np.empty((0, 1), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
    attrs = {
        "units": "days since 1850-01-01",
        "calendar": "noleap",
        "standard_name": "time",
        "axis": "T",
    }
    days = np.arange(steps, dtype=np.float64) + number * steps
    time_variable = Variable(
        "time", ("time",), (steps,), days.dtype, attrs, None, (steps,), (), none, values=days
    )
    keys = np.zeros((steps, 3), np.int64)
    keys[:, 0] = np.arange(steps)
    table = ChunkTable(keys, 100_000 + 60_000 * np.arange(steps), np.full(steps, 60_000))
    codecs = ({"id": "shuffle", "elementsize": 4}, {"id": "zlib", "level": 1})
    data = Variable(
        "tas",
        ("time", "lat", "lon"),
        (steps, 144, 192),
        np.dtype("f4"),
        {"units": "K"},
        np.float32(1e20),
        (1, 144, 192),
        codecs,
        table,
    )
    url = f"https://data.example/thredds/fileServer/root/CMIP6/tas_day_model_historical_r1i1p1f1_gn_{number:04}.nc"
    record = FileRecord(url.rsplit("/", 1)[1], url)
    return FileReferences(
        record,
        "hdf5",
        {"time": steps, "lat": 144, "lon": 192},
        {"frequency": "day"},
        {"time": time_variable, "tas": data},
        10**12,
    )


def main() -> None:
    """One process per point, then the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--point", nargs=2, type=int, metavar=("CHUNKS", "FILES"))
    parser.add_argument("--plot", type=Path, help="SVG file to write")
    options = parser.parse_args()
    if options.point:
        print(json.dumps(simulate(*options.point)))
        return
    points = [(chunks, 20) for chunks in CHUNKS] + [(10**6, files) for files in FILES]
    results = []
    for chunks, files in points:
        command = [sys.executable, "-m", "benchmarks.scaling", "--point", str(chunks), str(files)]
        results.append(
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        )
        print(results[-1], flush=True)
    if options.plot:
        plot(results, options.plot)


def plot(results: list[dict[str, float]], path: Path) -> None:
    """Seconds and memory against chunks, and against files."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "esgvzarr"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, key, rows in (
        (axes[0], "chunks", results[: len(CHUNKS)]),
        (axes[1], "files", results[len(CHUNKS) :]),
    ):
        xs = [row[key] for row in rows]
        axis.loglog(xs, [row["combine_s"] + row["encode_s"] for row in rows], "o-", label="seconds")
        axis.loglog(xs, [row["mib"] / 1024 for row in rows], "s--", label="peak memory, GiB")
        axis.set(
            xlabel=key + (" (20 files)" if key == "chunks" else " (10⁶ chunks)"),
            title=f"check, combine and encode against {key}",
        )
        axis.legend()
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
