"""``python -m benchmarks.backfill``: a whole back catalogue, a worker and the coordinator killed on
the way; 2 million on paper.

An archive of small datasets, and the real ones of the sample package, are served by a mock THREDDS
server, registered in a STAC API, and linked by ``esgvzarr backfill`` on a Dask cluster of two
workers, all on this machine. What is published is checked against index and ledger.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from esgvzarr.backfill.queue import Page, Plan, Planned
from esgvzarr.link.ledger import Ledger
from esgvzarr.testing import StacServer
from esgvzarr.testing.archive import register, write_archive
from esgvzarr.testing.cluster import dask_cluster
from esgvzarr.testing.node import DataNode
from esgvzarr.testing.samples import sample_datasets, sample_files

REFUSED = 20
MILLIONS = 2_000_000
SETTLED = ("linked", "refused")
_LOOK_S = 2.0
"""Seconds between two looks at the processes and files: a look takes some 25 ms of CPU time."""


def main() -> None:
    """Run it, check it, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument(
        "--datasets", type=int, default=1000, help="of the archive, besides the sample package's"
    )
    parser.add_argument(
        "--dir", type=Path, help="where the archive is made; default: a temporary directory"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        figures = run(Path(folder), options.datasets)
    figures |= listing(100_000)
    for name, value in {**figures, **on_paper(figures)}.items():
        print(
            f"| {name} | {value:,.3g} |" if isinstance(value, float) else f"| {name} | {value:,} |",
            flush=True,
        )


def run(folder: Path, count: int) -> dict[str, float]:
    """Link all, with two kills; the figures."""
    with (
        StacServer() as index,
        DataNode(folder / "node", index.url) as node,
        dask_cluster(2) as scheduler,
    ):
        archive = write_archive(node.data, count, refused=min(REFUSED, count // 10))
        archive |= link_samples(node.data)
        register(archive, index, node.thredds)
        node.write_config(
            data_paths={str(node.data): f"{node.thredds.url}/thredds/fileServer/esg_dataroot"}
        )
        watch = Watch(node, len(archive), scheduler)
        began = time.monotonic()
        watch.until(len(archive) // 10)
        os.kill(children_like(b"spawn_main")[0], signal.SIGKILL)
        watch.until(len(archive) // 2)
        watch.process.kill()
        watch.process.wait()
        watch.start()
        watch.until(len(archive) + 1)
        seconds = time.monotonic() - began
        counts = check(archive, index, node)
        done = counts["linked"] + counts["refused"]
        size = sum(path.stat().st_size for path in node.directory.glob("esgvzarr.sqlite*"))
        plan = sum(path.stat().st_size for path in node.directory.glob("esgvzarr-plan.sqlite*"))
        reads = [request for request in node.thredds.requests if request.path.endswith(".nc")]
        return {
            "datasets": len(archive),
            "linked": counts["linked"],
            "refused": counts["refused"],
            "other": len(archive) - done,
            "seconds": seconds,
            "datasets per minute": 60 * done / seconds,
            "CPU seconds of the coordinator, per dataset": sum(watch.cpu.values()) / done,
            "peak memory of the coordinator, MiB": watch.peaks["coordinator"] / 1024,
            "peak memory of a worker, MiB": watch.peaks["worker"] / 1024,
            "ledger, bytes per dataset": size / done,
            "plan, bytes per dataset": plan / done,
            "requests to the data node, per dataset": len(reads) / done,
            "bytes from the data node, per dataset": sum(request.sent for request in reads) / done,
            "requests to the index, per dataset": len(index.requests) / done,
        }


def link_samples(root: Path) -> dict[str, list[Path]]:
    """The sample package's datasets, hard-linked or copied below the data root."""
    archive: dict[str, list[Path]] = {}
    for name, files in sample_datasets(sample_files()).items():
        directory = root / name.replace(".", "/")
        directory.mkdir(parents=True)
        archive[name] = [directory / file.name for file in files]
        for file, copy in zip(files, archive[name], strict=True):
            copy.write_bytes(file.read_bytes())
    return archive


class Watch:
    """A running backfill, its progress and its memory."""

    def __init__(self, node: DataNode, count: int, scheduler: str) -> None:
        self.node = node
        self.count = count
        self.scheduler = scheduler
        self.peaks: Counter[str] = Counter()
        self.cpu: dict[int, float] = {}
        """Of the coordinators, by process: seconds."""
        self.start()

    def start(self) -> None:
        """The coordinator."""
        program = [sys.executable, "-m", "esgvzarr", "backfill"]
        words = ("--config", str(self.node.config), "--scheduler", self.scheduler)
        report = str(self.node.directory / "report.html")
        self.process = subprocess.Popen([*program, *words, "--per-node", "8", "--report", report])

    def until(self, done: int) -> None:
        """Wait until so many reference files are there, or the coordinator has ended."""
        while self.process.poll() is None:
            self.look("coordinator", self.process.pid)
            self.look_at_cpu(self.process.pid)
            for pid in children_like(b"spawn_main", b"fork_server"):
                self.look("worker", pid)
            if sum(1 for _ in self.node.data.rglob("*.json")) >= done:
                return
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_LOOK_S)

    def look(self, name: str, pid: int) -> None:
        """Its peak memory so far, KiB."""
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        peaks = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
        self.peaks[name] = max(self.peaks[name], *peaks, 0)

    def look_at_cpu(self, pid: int) -> None:
        """CPU time of a process so far."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_like(*any_of: bytes) -> list[int]:
    """The processes below this one with one of these words in their command line."""
    parents: dict[int, int] = {}
    words: dict[int, bytes] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            words[int(path.name)] = (path / "cmdline").read_bytes()
        except OSError:
            continue
    below = {os.getpid()}
    while True:
        more = {pid for pid, parent in parents.items() if parent in below} - below
        if not more:
            said = {pid: words.get(pid, b"") for pid in below}
            return sorted(pid for pid in below if any(word in said[pid] for word in any_of))
        below |= more


def check(archive: dict[str, list[Path]], index: StacServer, node: DataNode) -> Counter[str]:
    """Ledger, index and files agree, and no change was sent twice; how many datasets have which
    outcome.
    """
    last = {step.dataset_id: step for step in Ledger(node.directory / "esgvzarr.sqlite").latest()}
    patched = Counter(request.path for request in index.requests if request.method == "PATCH")
    assert not patched or max(patched.values()) == 1, "a link was sent twice"
    for name in archive:
        asset = index.item("CMIP6", name)["assets"].get("reference_file")
        file = node.directory_of(name) / f"{name}.json"
        outcome = last[name].state if name in last else "unknown"
        assert (outcome == "linked") == (asset is not None) == file.exists(), name
        if asset is not None:
            assert asset["file:checksum"] == f"1220{last[name].sha256}", name
            assert asset["file:size"] == file.stat().st_size, name
        elif outcome not in SETTLED:
            print(name, last.get(name), flush=True)
    assert not list(node.data.rglob(".*")), "something is left"
    return Counter(last[name].state for name in archive if name in last)


def listing(rows: int) -> dict[str, float]:
    """What it costs to list datasets: the plan alone, a hundred on a page, as a search gives
    them.
    """
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(Path(folder, "plan.sqlite"), "benchmark")
        began = time.perf_counter()
        for page in range(rows // 100):
            name = f"CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r{page}i1p1f2.Amon"
            locator = "stac:https://api.example.org"
            found = [
                Planned(
                    f"{name}.tas{number}.gn.v20190406", f"node{number % 20}.example.org", locator
                )
                for number in range(100)
            ]
            plan.keep_page(Page(locator, str(page)), found, [])
        listed = time.perf_counter() - began
        began = time.perf_counter()
        for node in plan.open_nodes():
            plan.open_datasets(node, 0, 100)
        taken = time.perf_counter() - began
        plan.close()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {
        "listed per second, into the plan": rows / listed,
        "plan of an index, bytes per dataset": size / rows,
        "taking 100 datasets of each of 20 nodes, s": taken,
    }


def on_paper(figures: dict[str, float]) -> dict[str, float]:
    """2 million datasets, from the figures of one."""
    alone = MILLIONS * figures["CPU seconds of the coordinator, per dataset"] / 3600
    rate = figures["datasets per minute"] / 2
    each = figures["requests to the data node, per dataset"]
    return {
        "2 million: ledger, GB": MILLIONS * figures["ledger, bytes per dataset"] / 1e9,
        "2 million: plan, GB": MILLIONS * figures["plan of an index, bytes per dataset"] / 1e9,
        "2 million: hours on 2 workers": MILLIONS / (2 * rate) / 60,
        "2 million: hours on 64 workers, if the coordinator keeps up": MILLIONS / (64 * rate) / 60,
        "2 million: hours of the coordinator's CPU": alone,
        "2 million: hours until all are listed, at 1 s a page of 100": MILLIONS / 100 / 3600,
        "2 million on 20 nodes: requests to each, millions": MILLIONS * each / 20 / 1e6,
        "2 million on 20 nodes, 64 workers: requests to each, per second": 64
        * rate
        * each
        / 60
        / 20,
        "2 million: requests to the index, millions": MILLIONS
        * figures["requests to the index, per dataset"]
        / 1e6,
    }


if __name__ == "__main__":
    main()
