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
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import esgvzarr
from esgvzarr.testing import Latency, NginxServer, ThreddsServer

from .data import SHAPES, build
from .page import end_to_end_table, tables, write_tables
from .runs import Run


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
    parser.add_argument(
        "--page",
        type=Path,
        help="Markdown file whose tables are replaced, between their marks; then run "
        "python docs/write_chart.py",
    )
    options = parser.parse_args()
    compileall.compile_dir(esgvzarr.__path__[0], quiet=1)
    runs: list[Run] = []
    for path in options.add:
        runs += [Run(**run) for run in json.loads(path.read_text())]
    with ExitStack() as stack:
        if options.tools:
            runs += Measurement(options, stack).measure()
    print(tables(runs), end_to_end_table(runs), sep="\n")
    if options.page:
        write_tables(options.page, runs)


if __name__ == "__main__":
    main()
