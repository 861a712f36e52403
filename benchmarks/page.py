"""The tables of runs as Markdown, and the page that takes them between marks."""

from __future__ import annotations

import os
import platform
import statistics
from datetime import date
from importlib.metadata import distributions, version
from pathlib import Path

from .data import SHAPES
from .runs import Run
from .sections import END_TO_END, TABLES, replace_marked

ACTS = {
    "end_to_end": "esgvzarr: scan, proof, write",
    "kerchunk": "kerchunk: makes references",
    "virtualizarr": "VirtualiZarr: makes references",
    "esgcet": "esgcet: makes references",
    "esgvzarr": "esgvzarr: makes references",
}
"""Tool -> what it does, in the order of the table of whole runs."""
_PACKAGES = (
    "esgvzarr",
    "kerchunk",
    "virtualizarr",
    "esgcet",
    "h5py",
    "xarray",
    "zarr",
    "urllib3",
)


def write_tables(page: Path, runs: list[Run]) -> None:
    """Replace the tables of a page, and nothing else of it.

    Args:
        page: Markdown with the marks `TABLES` and `END_TO_END` of `sections`.
        runs: of which the tables are made. Without runs of ``end_to_end`` that table stays.
    """
    replace_marked(page, TABLES, tables(runs))
    if any(run.tool == "end_to_end" for run in runs):
        replace_marked(page, END_TO_END, f"{_made_by()}\n\n{end_to_end_table(runs)}")


def tables(runs: list[Run]) -> str:
    """A table for each data set: medians, and ratios to ours."""
    lines = [_made_by()]
    for shape in SHAPES.values():
        mine = [run for run in runs if run.data == shape.name]
        if mine:
            lines += [f"\n## {shape.name}: {shape.title}\n", *_rows(mine), *_proof_costs(mine)]
    return "\n".join(lines) + "\n"


def end_to_end_table(runs: list[Run]) -> str:
    """One table of all data sets: publishing with its proof, beside mere generation by others."""
    places = list(dict.fromkeys(run.where for run in runs))
    lines = [
        f"| | | {' | '.join(places)} | CPU, s | requests | MB moved |",
        "|---|---|" + "--:|" * (len(places) + 3),
    ]
    for shape in SHAPES.values():
        mine = [run for run in runs if run.data == shape.name]
        for tool, act in ACTS.items():
            if any(run.tool == tool for run in mine):
                times = [_times(mine, tool, place)[0] for place in places]
                requests, moved, _, _ = _costs(mine, tool)
                cells = [shape.name, act, *times, _cpu(mine, tool), requests, moved]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _made_by() -> str:
    """When and where it was measured, and with which versions."""
    installed = {found.name for found in distributions()}
    named = [f"{name} {version(name)}" for name in _PACKAGES if name in installed]
    return (
        "Made by `python -m benchmarks --page docs/explanation/benchmarks.md` on "
        f"{date.today()}, {os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}; {', '.join(named)}."
    )


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
