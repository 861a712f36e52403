"""``python -m benchmarks.many_chunks``: the references of data sets of up to ten million chunks,
scanned, proved and written by ``esgvzarr generate`` as a whole process.

The files are local, and their chunks are tiny: time and memory grow with the number of chunks, not
with what is in them. For each size the row says how long it took, and how much memory the largest
process had at most.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from .__main__ import Case, run
from .data import Shape, build

_FILES = 10
_TILES = (50, 20)
"""Chunks of one time step, by latitude and longitude."""
_EDGE = 4
"""Points of a chunk, along each of both."""


def shape_of(chunks: int) -> Shape:
    """A data set of about this many chunks of the large variable."""
    steps = max(chunks // (_FILES * _TILES[0] * _TILES[1]), 1)
    grid = tuple(_EDGE * count for count in _TILES)
    return Shape(f"M{steps}", f"{chunks:,} chunks", _FILES, steps, 1, grid, (_EDGE, _EDGE))


def main() -> None:
    """Build the files, make the references, print a row for each number of chunks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_chunks", description=__doc__)
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(tempfile.gettempdir()) / "esgvzarr-benchmarks",
        help="where the data are kept (10^7 chunks: 3 GB)",
    )
    parser.add_argument("--chunks", nargs="+", type=int, default=[10**6, 10**7])
    parser.add_argument("--output", default="json", help="which output is written")
    parser.add_argument("--most-mib", type=int, default=3072, help="limit of the process's memory")
    parser.add_argument("--limit-s", type=float, default=1800, help="what takes longer is ended")
    options = parser.parse_args()
    os.environ["ESGVZARR_OUTPUT"] = options.output
    os.environ["ESGVZARR_WORKER_MEMORY_MIB"] = str(options.most_mib)
    print("| chunks | output | seconds | CPU, s | peak MiB | exit status |")
    print("|--:|---|--:|--:|--:|--:|")
    for chunks in options.chunks:
        shape = shape_of(chunks)
        paths = build(shape, options.root, say=lambda _: None)
        with tempfile.TemporaryDirectory(dir=options.root) as folder:
            out = Path(folder, f"{shape.name}.json")
            case = Case(shape.name, "local", "end_to_end")
            done = run(case, out, [str(path) for path in paths], options.limit_s)
            if done.status:
                print(out.with_suffix(".log").read_text())
        cells = f"{done.seconds:.0f} | {done.cpu_s:.0f} | {done.peak_mib:.0f} | {done.status}"
        print(f"| {chunks:,} | {options.output} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
