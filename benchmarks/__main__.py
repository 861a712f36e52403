"""``python -m benchmarks``: build the data, run every tool as a whole process in turn, print and
keep a table with ratios.

0 ms is nginx; latencies are added by the test server of ``esgvzarr.testing``, which also counts
requests and bytes.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path

import esgvzarr
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
    cpu_s: float = 0.0
    """Of the process and its children, user and system."""


@dataclass(frozen=True, slots=True)
class Case:
    """One tool on one dataset at one place."""

    data: str
    where: str
    tool: str

    def is_of(self, run: Run) -> bool:
        """Whether a run was one of this case."""
        return (run.data, run.where, run.tool) == (self.data, self.where, self.tool)


def run(case: Case, out: Path, locations: list[str], limit_s: float) -> Run:
    """Run one tool and wait for it."""
    started = time.perf_counter()
    program = [sys.executable, "-W", "ignore", "-m", "benchmarks.tools"]
    with open(out.with_suffix(".log"), "a") as log:
        process = subprocess.Popen(
            [*program, case.tool, str(out), *locations], stdout=log, stderr=log
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
    peak_mib = usage.ru_maxrss / 1024
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(case.data, case.where, case.tool, seconds, peak_mib, process.returncode, cpu_s=cpu_s)


class Measurement:
    """The servers, and the runs so far."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        self._root = Path(options.root)
        self._out = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._servers: dict[str, ThreddsServer] = {}
        self._places = {"local": ""}
        self.runs: list[Run] = []
        if 0 in options.latency:
            self._places["0 ms"] = stack.enter_context(NginxServer(self._root, prefix="")).url
        for latency in filter(None, options.latency):
            server = stack.enter_context(ThreddsServer(self._root, prefix="/data"))
            server.fault(Latency(latency / 1000))
            self._servers[f"{latency} ms"] = server
            self._places[f"{latency} ms"] = f"{server.url}/data"

    def measure(self) -> list[Run]:
        """All runs, round after round, the tools in turn."""
        for name in self._options.data:
            paths = build(SHAPES[name], self._root)
            for _ in range(self._options.rounds):
                for where, tool in product(self._places, self._options.tools):
                    case = Case(name, where, tool)
                    if self._is_wanted(case):
                        self._run(case, paths)
        return self.runs

    def _is_wanted(self, case: Case) -> bool:
        """A tool that failed, or took too long, is not tried in further rounds."""
        if case.tool == "esgcet" and self._places[case.where]:
            return False  # it reads local files only
        before = [run for run in self.runs if case.is_of(run)]
        return not any(run.status or run.seconds > self._options.once_s for run in before)

    def _run(self, case: Case, paths: list[Path]) -> None:
        base = self._places[case.where]
        locations = list(map(str, paths))
        if base:
            locations = [f"{base}/{path.relative_to(self._root)}" for path in paths]
        made = case.tool.removesuffix("_proof")
        out = self._out / f"{case.data}-{made}-{case.where.replace(' ', '')}.json"
        server = self._servers.get(case.where)
        if server:
            server.clear()
        done = run(case, out, locations, self._options.limit_s)
        if server:
            log = server.requests.snapshot()
            done = replace(done, requests=len(log), sent=sum(entry.sent for entry in log))
        print(done, flush=True)
        self.runs.append(done)
        if self._options.keep:
            kept = [asdict(run) for run in self.runs]
            Path(self._options.keep).write_text(json.dumps(kept, indent=1))


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
    compileall.compile_dir(esgvzarr.__path__[0], quiet=1)
    runs = []
    for path in options.add:
        runs += [Run(**run) for run in json.loads(path.read_text())]
    with ExitStack() as stack:
        if options.tools:
            runs += Measurement(options, stack).measure()
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
        "What took longer than its limit was not run at every latency. CPU: of the process and its "
        "children, median over all places.\n",
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
    heads = [f"{place}, s | ratio" for place in places]
    heads += ["CPU, s", "requests", "MB moved", "serial rounds", "peak MiB"]
    rows = [f"| | {' | '.join(heads)} |", "|---" * (2 * len(places) + 6) + "|"]
    for tool in tools:
        cells = []
        for place in places:
            cells += _times(runs, tool, place)
        cells += [_cpu(runs, tool), *_costs(runs, tool)]
        rows.append(f"| {tool} | {' | '.join(cells)} |")
    return rows


def _times(runs: list[Run], tool: str, place: str) -> list[str]:
    """The median, and how many times ours it is."""
    if any(run.status for run in runs if (run.tool, run.where) == (tool, place)):
        return ["fails", ""]
    median = _median(runs, tool, place)
    if not median:
        return ["", ""]
    ours = _median(runs, "esgvzarr", place)
    return [f"{median:.2f}", f"{median / ours:.1f}" if ours else ""]


def _costs(runs: list[Run], tool: str) -> list[str]:
    """Requests, megabytes, rounds that wait for each other, and the most memory."""
    peak = f"{max(run.peak_mib for run in runs if run.tool == tool):.0f}"
    served = [run for run in runs if run.tool == tool and run.requests and not run.status]
    if not served:
        return ["", "", "", peak]
    slow = _median(runs, tool, "100 ms")
    fast = _median(runs, tool, "20 ms")
    rounds = f"{(slow - fast) / 0.08:.0f}" if slow and fast else ""
    return [str(served[-1].requests), f"{served[-1].sent / 1e6:.1f}", rounds, peak]


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


def _cpu(runs: list[Run], tool: str) -> str:
    """CPU seconds of a tool, over all places: the median, which depends less on what else the
    machine does than times do.
    """
    times = [run.cpu_s for run in runs if run.tool == tool and run.cpu_s and not run.status]
    return f"{statistics.median(times):.2f}" if times else ""


def _median(runs: list[Run], tool: str, place: str) -> float | None:
    times = [
        run.seconds for run in runs if (run.tool, run.where) == (tool, place) and not run.status
    ]
    return statistics.median(times) if times else None


if __name__ == "__main__":
    main()
