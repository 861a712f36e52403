"""Commands that look at this machine: doctor, demo."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .arguments import (
    CONFIG_OF_ESGPUBLISH,
    add_command,
    add_json,
    add_settings,
    config_if_any,
    given_path,
    settings_of,
)
from .exit_status import ExitStatus

if TYPE_CHECKING:
    from ..doctor import Diagnosis

_COLOURS = {"good": "green", "note": "yellow", "bad": "red"}


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    _add_doctor(commands)
    _add_demo(commands)


def _add_doctor(commands: Any) -> None:
    parser = add_command(
        commands,
        "doctor",
        _doctor,
        "check that this data node supports publishing and reading, and suggest fixes",
        "Exit status: 0 no check is bad, 1 a check is bad, 2 wrong usage or configuration.",
    )
    parser.add_argument(
        "url",
        nargs="?",
        default="",
        metavar="URL",
        help=(
            "a published NetCDF file to try; default: one of the ledger, or one found in "
            "data_paths or esgcet's data_roots"
        ),
    )
    add_json(parser, "print the checks as JSON")
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _doctor(options: argparse.Namespace) -> int:
    from ..doctor import examine

    config = config_if_any(options)
    rows = examine(config, settings_of(options, config), options.url)
    if options.json:
        from dataclasses import asdict

        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print_diagnoses(rows)
    return ExitStatus.REFUSED if any(row.health == "bad" for row in rows) else ExitStatus.DONE


def _print_diagnoses(rows: Sequence[Diagnosis]) -> None:
    """Print a table on a terminal, and one line for each check elsewhere."""
    if not sys.stdout.isatty():
        for row in rows:
            print(f"{row.health:4}  {row.check:10}  {row.found}")
            for line in row.todo.splitlines():
                print(f"    -> {line}")
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    table = Table("", "check", Column("found", overflow="fold"), box=None)
    for row in rows:
        text = f"{row.found}\n-> {row.todo}" if row.todo else row.found
        table.add_row(f"[{_COLOURS[row.health]}]{row.health}", row.check, escape(text))
    Console(highlight=False).print(table)


def _add_demo(commands: Any) -> None:
    parser = add_command(
        commands,
        "demo",
        _demo,
        "publish real CMIP6 files on this machine, from esgpublish to xarray",
    )
    parser.add_argument(
        "--dir",
        metavar="DIR",
        type=given_path,
        help="keep all files in this directory; default: a new directory, whose path is printed",
    )
    parser.add_argument(
        "--keep-serving",
        action="store_true",
        help="add a dataset with a fine grid, print links to pages with maps, and keep the data "
        "node, pages and index running until Ctrl-C",
    )


def _demo(options: argparse.Namespace) -> int:
    from rich.console import Console

    from ..demo import run

    run(Console(highlight=False), options.dir, keep_serving=options.keep_serving)
    return ExitStatus.DONE
