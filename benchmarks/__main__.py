"""``python -m benchmarks``: build the data, run every tool as a whole process in turn, print and
keep a table with ratios.

0 ms is nginx; latencies are added by the test server of ``esgvzarr.testing``, which also counts
requests and bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

from esgvzarr.testing import Latency, NginxServer, ThreddsServer

from .data import SHAPES, build


@dataclass(frozen=True)
class Run:
    """One process."""

    data: str
    where: str
    tool: str
    seconds: float
    peak_mib: float
    status: int
    requests: int = 0
    sent: int = 0


def run(tool: str, data: str, where: str, out: Path, locations: list[str], limit_s: float) -> Run:
    """Run one tool and wait for it."""
    started = time.perf_counter()
    with open(out.with_suffix(".log"), "a") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.tools", tool, str(out), *locations],
            stdout=log,
            stderr=log,
        )
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds = time.perf_counter() - started
            if pid:
                break
            if seconds > limit_s:
                process.kill()
            time.sleep(0.005)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Run(data, where, tool, seconds, usage.ru_maxrss / 1024, process.returncode)


def measure(options: argparse.Namespace, stack: ExitStack) -> list[Run]:
    """All runs, round after round, the tools in turn."""
    root = Path(options.root)
    runs = []
    places = {"local": ""}
    if 0 in options.latency:
        places["0 ms"] = stack.enter_context(NginxServer(root, prefix="")).url
    servers = {}
    for latency in filter(None, options.latency):
        server = servers[f"{latency} ms"] = stack.enter_context(ThreddsServer(root, prefix="/data"))
        server.fault(Latency(latency / 1000))
        places[f"{latency} ms"] = f"{server.url}/data"
    out = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for name in options.data:
        paths = build(SHAPES[name], root)
        for round_number in range(options.rounds):
            for where, base in places.items():
                for tool in options.tools:
                    if (tool == "esgcet" and base) or (
                        round_number
                        and any(
                            r.status
                            for r in runs
                            if (r.data, r.where, r.tool) == (name, where, tool)
                        )
                    ):
                        continue
                    if round_number and any(
                        r.seconds > options.once_s
                        for r in runs
                        if (r.data, r.where, r.tool) == (name, where, tool)
                    ):
                        continue
                    locations = [
                        f"{base}/{path.relative_to(root)}" if base else str(path) for path in paths
                    ]
                    if where in servers:
                        servers[where].clear()
                    made = tool.removesuffix("_proof")
                    done = run(
                        tool,
                        name,
                        where,
                        out / f"{name}-{made}-{where.replace(' ', '')}.json",
                        locations,
                        options.limit_s,
                    )
                    if where in servers:
                        log = servers[where].requests.snapshot()
                        done = Run(
                            **{
                                **asdict(done),
                                "requests": len(log),
                                "sent": sum(entry.sent for entry in log),
                            }
                        )
                    print(done, flush=True)
                    runs.append(done)
                    if options.keep:
                        Path(options.keep).write_text(
                            json.dumps([asdict(r) for r in runs], indent=1)
                        )
    return runs


def main() -> None:
    """Parse arguments, measure, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--root",
        default=str(Path(tempfile.gettempdir()) / "esgvzarr-benchmarks"),
        help="where the data are kept (13 GB)",
    )
    parser.add_argument("--data", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument(
        "--latency", nargs="+", type=int, default=[0, 20, 100], help="milliseconds per request"
    )
    parser.add_argument(
        "--tools",
        nargs="*",
        default=[
            "esgvzarr",
            "end_to_end",
            "esgvzarr_proof",
            "kerchunk",
            "virtualizarr",
            "esgcet",
        ],
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--once-s", type=float, default=30, help="what takes longer is run once")
    parser.add_argument("--limit-s", type=float, default=600, help="what takes longer is ended")
    parser.add_argument("--keep", help="JSON file for all runs")
    parser.add_argument(
        "--add",
        nargs="+",
        default=[],
        type=Path,
        help="files that --keep wrote, whose runs belong to the table too",
    )
    parser.add_argument("--page", help="Markdown file to write")
    options = parser.parse_args()
    runs = []
    for path in options.add:
        runs += [Run(**run) for run in json.loads(path.read_text())]
    with ExitStack() as stack:
        runs += measure(options, stack) if options.tools else []
    page = table(runs)
    print(page)
    if options.page:
        Path(options.page).write_text(page)


def table(runs: list[Run]) -> str:
    """The results as Markdown: medians, and ratios to ours."""
    lines = [
        "# Benchmarks\n",
        "Made by `python -m benchmarks --page docs/explanation/benchmarks.md` on "
        f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; "
        + ", ".join(
            f"{name} {version(name)}"
            for name in (
                "esgvzarr",
                "kerchunk",
                "virtualizarr",
                "esgcet",
                "h5py",
                "xarray",
                "zarr",
                "urllib3",
            )
        )
        + ".\n",
        "Whole processes, medians, imports included. Ratio: how many times as long as esgvzarr "
        "takes. 0 ms is nginx on the same machine; at 20 and 100 ms each request waits that "
        "long. Serial rounds: (time at 100 ms - time at 20 ms) / 80 ms. `esgvzarr` makes "
        "references, as the others do, and `end_to_end` is the command `esgvzarr generate`: scan, "
        "proof and write. `esgvzarr_proof` is `esgvzarr verify`, which knows nothing of a scan. "
        "What took longer than its limit was not run at every latency.\n",
        "Over HTTP time goes into the number of dependent round trips: kerchunk and VirtualiZarr "
        "let libhdf5 read one node of a chunk index after the other, esgvzarr fetches those of "
        "one level, of all variables and files, together. With small data sets most of its time "
        "is Python's imports. How combining and writing scale is simulated by `python -m "
        "benchmarks.scaling --plot FILE`:\n",
        "![time and memory against chunks and files](scaling.svg)\n",
    ]
    for shape in SHAPES.values():
        mine = [r for r in runs if r.data == shape.name]
        if mine:
            lines += [f"\n## {shape.name}: {shape.title}\n", *_rows(mine), *_proof_costs(mine)]
    return "\n".join(lines) + "\n"


def _rows(runs: list[Run]) -> list[str]:
    tools = list(dict.fromkeys(run.tool for run in runs))
    places = list(dict.fromkeys(run.where for run in runs))
    rows = [
        "| | "
        + " | ".join(f"{place}, s | ratio" for place in places)
        + " | requests | MB moved | serial rounds | peak MiB |",
        "|---" * (2 * len(places) + 5) + "|",
    ]
    for tool in tools:
        cells = []
        for place in places:
            median = _median(runs, tool, place)
            ours = _median(runs, "esgvzarr", place)
            failed = any(run.status for run in runs if (run.tool, run.where) == (tool, place))
            cells += [
                "fails" if failed else f"{median:.2f}" if median else "",
                f"{median / ours:.1f}" if median and ours and not failed else "",
            ]
        served = [run for run in runs if run.tool == tool and run.requests and not run.status]
        slow = _median(runs, tool, "100 ms")
        fast = _median(runs, tool, "20 ms")
        cells += [
            str(served[-1].requests) if served else "",
            f"{served[-1].sent / 1e6:.1f}" if served else "",
            f"{(slow - fast) / 0.08:.0f}" if slow and fast and served else "",
            f"{max(run.peak_mib for run in runs if run.tool == tool):.0f}",
        ]
        rows.append(f"| {tool} | " + " | ".join(cells) + " |")
    return rows


def _proof_costs(runs: list[Run]) -> list[str]:
    """What the proof asks of the data node: the command's requests without those of the scan."""
    counted = {}
    for run in runs:
        if run.requests and not run.status:
            counted[run.tool] = run
    if not {"esgvzarr", "end_to_end"} <= counted.keys():
        return []
    scan = counted["esgvzarr"]
    whole = counted["end_to_end"]
    requests = whole.requests - scan.requests
    moved = (whole.sent - scan.sent) / 1e6
    return [f"\nThe proof in `end_to_end`: {requests} requests, {moved:.1f} MB moved."]


def _median(runs: list[Run], tool: str, place: str) -> float | None:
    times = [
        run.seconds for run in runs if (run.tool, run.where) == (tool, place) and not run.status
    ]
    return statistics.median(times) if times else None


if __name__ == "__main__":
    main()
