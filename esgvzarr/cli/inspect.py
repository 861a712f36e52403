"""The command that looks at files before they are published: inspect."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .arguments import add_command, add_json
from .exit_status import ExitStatus

if TYPE_CHECKING:
    from ..inspect import Inspection, VariableInspection


def add_commands(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "inspect",
        _inspect,
        "say whether NetCDF files form one array, and if not, which chunks would make them one",
        "Exit status: 0 the files form one array, 1 they do not, 2 wrong usage.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="all NetCDF files of one dataset; paths or URLs"
    )
    add_json(parser, "print everything as JSON")


def _inspect(options: argparse.Namespace) -> int:
    from ..inspect import inspect
    from ..transport import Transport, host_of, is_url

    hosts = [host_of(file) for file in options.files if is_url(file)]
    with Transport(allowed_hosts=hosts) as transport:
        found = inspect(options.files, transport)
    if options.json:
        _print_json(found)
    else:
        _print_table(found)
    return ExitStatus.DONE if found.one_array else ExitStatus.REFUSED


def _print_json(found: Inspection) -> None:
    from dataclasses import asdict

    print(json.dumps({"one_array": found.one_array, **asdict(found)}, indent=1))


def _print_table(found: Inspection) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("file", overflow="fold"),
        "steps",
        "chunk",
        "MiB",
        "time",
        "bounds",
        "metadata",
        "requests",
        box=None,
    )
    for file in found.files:
        table.add_row(
            file.file.rpartition("/")[2],
            str(file.steps),
            str(file.chunk_steps),
            f"{file.chunk_bytes / 2**20:.1f}",
            "one chunk" if file.time_in_one_chunk else "many chunks",
            "one chunk" if file.bounds_in_one_chunk else "many chunks",
            "together" if file.metadata_together else "scattered",
            str(file.requests),
        )
    console = Console(highlight=False)
    console.print(table)
    for line in _lines(found):
        console.print(line, markup=False, soft_wrap=True)


def _lines(found: Inspection) -> list[str]:
    if not found.segments:
        lines = ["The files cannot be referenced."]
    elif found.variables:
        lines = [
            (f"The files hold {len(found.variables)} variables; each variable is in its own files.")
        ]
    else:
        lines = [_verdict("The files", found.segments)]
    lines += [f"{one.file.rpartition('/')[2]}: [{one.code}] {one.text}" for one in found.obstacles]
    for one in found.variables:
        lines += [_verdict(f"The files of {one.name}", one.segments), *_advice(one)]
    if not found.variables:
        lines += _advice(found)
    return [*lines, *found.notes]


def _verdict(subject: str, segments: int) -> str:
    if segments == 1:
        return f"{subject} form one array."
    if segments:
        return f'{subject} form {segments} arrays: readers need engine="esgvzarr".'
    return f"{subject} cannot be referenced."


def _advice(found: Inspection | VariableInspection) -> list[str]:
    lines = list(found.repacking)
    if found.chunk_steps:
        lines.insert(
            0,
            f"Repacked with chunks of {found.chunk_steps} time steps, the files would form one "
            "array.",
        )
    return lines
