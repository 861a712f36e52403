"""``python -m benchmarks.audit``: seconds and memory of `esgvzarr audit` over many datasets, served
by nginx on this machine.

The files of all datasets are one file under many names; a file of every hundredth dataset is then
cut short, and must be found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from esgvzarr import DatasetId, Settings, Transport, read_source
from esgvzarr.generate import generate
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry
from esgvzarr.testing import DATASET_ID, NginxServer, write_monthly

_PROGRAM = """
import resource, sys
from esgvzarr.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
"""


def make(root: Path, server: NginxServer, datasets: int, files: int) -> Path:
    """Datasets that the ledger says are written, and the esg.yaml that leads to it."""
    settings = Settings(ledger=root / "ledger.sqlite", allowed_hosts=(server.host,))
    first = server.root / DATASET_ID
    written = write_monthly(first, lengths=[1] * files)
    with Transport(allowed_hosts=[server.host]) as transport:
        urls = [server.url_of(path) for path in written]
        record = read_source(urls, DatasetId.parse(DATASET_ID), transport, {})
        reference = generate(
            record, first, transport, settings, href=server.url_of(first / f"{DATASET_ID}.json")
        ).reference
    assert reference is not None
    document = Path(reference.path).read_text()
    ledger = Ledger(settings.ledger)
    for number in range(datasets):
        name = DATASET_ID.replace("r1i1p1f2", f"r{number + 2}i1p1f2")
        (directory := server.root / name).mkdir()
        for path in written:
            os.link(path, directory / path.name)
        (directory / f"{name}.json").write_text(document.replace(DATASET_ID, name))
        href = server.url_of(directory / f"{name}.json")
        ledger.add(
            Entry(
                name,
                Verb.GENERATE,
                State.WRITTEN,
                "",
                "",
                href,
                "2026-01-01T00:00:00+00:00",
                step=Step.DONE,
            )
        )
    (root / "esg.yaml").write_text(
        f"data_node: {server.host}\nesgvzarr: {{ledger: {settings.ledger}}}\n"
    )
    return root / "esg.yaml"


def main() -> None:
    """Make, audit, harm, audit again, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "data").mkdir()
        with NginxServer(root / "data") as server:
            config = make(root, server, options.datasets, options.files)
            print(
                f"| {options.datasets} datasets of {options.files} files | seconds | requests | "
                "MiB | found |"
            )
            print("|---|---|---|---|---|")
            _audit("all as it was", config, server)
            for harmed in sorted(server.root.glob("*"))[::100]:
                path = sorted(harmed.glob("*.nc"))[0]
                data = path.read_bytes()
                path.unlink()
                path.write_bytes(data[:-1])
            _audit("a file of every hundredth cut short", config, server)


def _audit(title: str, config: Path, server: NginxServer) -> None:
    before = len(server.access_log())
    started = time.perf_counter()
    command = [sys.executable, "-c", _PROGRAM, "audit", "--json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    states = [one["state"] for one in json.loads(done.stdout)]
    found = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    print(
        f"| {title} | {seconds:.1f} | {len(server.access_log()) - before} | "
        f"{done.stderr.split()[-1]} | {found} |"
    )


if __name__ == "__main__":
    main()
