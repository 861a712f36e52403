"""Commands for people who use data: extract, show."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .arguments import add_command
from .exit_status import ExitStatus


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    parser = add_command(
        commands,
        "extract",
        _extract,
        "write a part of a dataset to a NetCDF file, fetching only the chunks that it needs",
    )
    parser.add_argument("source", metavar="SOURCE", help="URL or path of a reference file")
    parser.add_argument(
        "-o", "--out", metavar="FILE", type=Path, required=True, help="the file to write"
    )
    parser.add_argument(
        "--variable",
        metavar="NAME",
        action="append",
        default=[],
        help="a variable, with its coordinates and bounds; may be given several times",
    )
    parser.add_argument(
        "--time",
        metavar="FIRST/LAST",
        default="",
        help="dates, both included: 2000/2010, 2000-03/2000-05 or 1999-12-31",
    )
    parser.add_argument(
        "--bbox",
        metavar=("WEST", "SOUTH", "EAST", "NORTH"),
        nargs=4,
        type=float,
        help="degrees; WEST may be larger than EAST, for a box across the date line",
    )
    parser.add_argument(
        "--level",
        metavar="LOW/HIGH",
        default="",
        help="one or two values of the vertical coordinate, in its own units",
    )
    show = add_command(
        commands,
        "show",
        _show,
        "print what a dataset is and how to open it",
    )
    show.add_argument("source", metavar="SOURCE", help="URL or path of a reference file")


def _extract(options: argparse.Namespace) -> int:
    from ..extract import Box, Request, extract
    from ..pages.html import size_text

    box = Box(*options.bbox) if options.bbox else None
    request = Request(tuple(options.variable), options.time, box, options.level)
    with _progress() as progress:
        made = extract(options.source, options.out, request, progress=progress)
    print(f"{made.path}: {size_text(made.size)}, {', '.join(made.variables)}")
    return ExitStatus.DONE


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar with bytes on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda *_: None
        return
    with Progress(
        "extracting", BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
    ) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(options: argparse.Namespace) -> int:
    from ..pages.facts import read_facts
    from ..pages.html import openings, size_text, summary_of
    from ..proof import read_artefact
    from ..settings import Settings
    from ..transport import Transport, host_of, is_url

    with Transport(timeout_s=Settings().timeout_s) as transport:
        if is_url(options.source):
            transport.allow(host_of(options.source), named=True)
        contents = read_artefact(options.source, transport).contents
    provenance = json.dumps(dict(contents.provenance))
    document = json.dumps({"refs": dict(contents.metadata), "provenance": provenance})
    facts = read_facts(document.encode(), options.source)
    out = sys.stdout
    print(facts.title, summary_of(facts), sep="\n", file=out)
    for facet, value in facts.facets.items():
        print(f"{facet}: {value}", file=out)
    for variable in facts.variables:
        sizes = " x ".join(map(str, variable.shape)) or "scalar"
        print(f"  {variable.name} ({', '.join(variable.dimensions)}) {sizes} {variable.units}")
    total = sum(file.size for file in facts.files)
    print(f"{len(facts.files)} files, {size_text(total)}; segments: {facts.segments or 1}")
    print(f"\n{openings(facts, options.source)[0].code}")
    return ExitStatus.DONE
