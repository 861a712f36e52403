"""The command that writes an HTML page for each reference file: pages."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING, Any

from .arguments import add_command, given_path
from .exit_status import ExitStatus
from .printing import print_error

if TYPE_CHECKING:
    from ..errors import EsgvzarrError


def add_commands(commands: Any) -> None:
    """Add the command of this family."""
    parser = add_command(
        commands,
        "pages",
        _pages,
        "write an HTML page for each reference file of a directory, and an index.html to "
        "search them",
    )
    parser.add_argument(
        "directory",
        metavar="DIR",
        type=given_path,
        help="a directory with reference files, at any depth; pages are written beside them",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        default="",
        help="the public URL of DIR; with it the pages draw maps and show full URLs; default: "
        "the URL at which the settings serve DIR",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=given_path,
        help="esg.yaml with an esgvzarr: section, which names the ledger; default: none",
    )


def _pages(options: argparse.Namespace) -> int:
    from ..generate import served_url
    from ..link.attempt import kept_proof
    from ..link.ledger import Ledger
    from ..pages import write_pages
    from ..settings import read_settings

    settings = read_settings(options.config)
    url = options.url or served_url(options.directory, settings)
    proof_of = partial(kept_proof, ledger=Ledger(settings.ledger))
    reasons: list[EsgvzarrError] = []

    def leave_out(error: EsgvzarrError) -> None:
        print_error(error)
        reasons.append(error)

    index, count = write_pages(options.directory, url, proof_of, leave_out)
    datasets = "dataset" if count == 1 else "datasets"
    left_out = f", {len(reasons)} left out" if reasons else ""
    print(f"{index}: lists {count} {datasets}{left_out}")
    return ExitStatus.REFUSED if reasons else ExitStatus.DONE
