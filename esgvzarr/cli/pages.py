"""The command that writes pages for people: pages."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .arguments import add_command
from .exit_status import ExitStatus


def add_commands(commands: Any) -> None:
    """Add the command of this family."""
    parser = add_command(
        commands,
        "pages",
        _pages,
        "write a page for each reference file of a directory, and an index.html to search them",
    )
    parser.add_argument(
        "directory",
        metavar="DIR",
        type=Path,
        help="a directory with reference files, at any depth; pages are written beside them",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        default="",
        help="the public URL of DIR; the pages then draw maps, and name the full URLs",
    )


def _pages(options: argparse.Namespace) -> int:
    from ..pages import write_pages

    index, count = write_pages(options.directory, options.url)
    datasets = "dataset" if count == 1 else "datasets"
    print(f"{index}: lists {count} {datasets}")
    return ExitStatus.DONE
