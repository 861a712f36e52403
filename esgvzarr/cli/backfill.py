"""The command that publishes a whole back catalogue: backfill."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .arguments import (
    CONFIG_OF_ESGPUBLISH,
    add_command,
    add_settings,
    config_if_any,
    given_path,
    positive_count,
    settings_of,
)
from .exit_status import ExitStatus
from .printing import backfill_progress, make_console


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    parser = add_command(
        commands,
        "backfill",
        _backfill,
        "write and link, or only write, the references of all datasets of a back catalogue; run "
        "it again to continue",
        "Keeps a list of the datasets still to do beside the ledger. Ctrl-C ends the run "
        "after the datasets in progress; a second Ctrl-C ends it at once. Exit status: 0 "
        "every dataset is done, 1 some were refused, failed or are left, 2 wrong usage or "
        "configuration.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help=(
            "a STAC API, https://HOST/esg-search, globus:UUID, a THREDDS catalogue with all "
            "catalogues below it, a directory of mapfiles, a list of dataset ids, or any source "
            "that link takes; default: the index of esg.yaml"
        ),
    )
    parser.add_argument(
        "--filter",
        metavar="QUERY",
        default="",
        help="only these datasets of an index: CQL2 text for STAC, else facet=value&facet=value",
    )
    parser.add_argument(
        "--template",
        metavar="URL",
        default="",
        help=(
            "for a list of dataset ids: the description of each dataset, a URL or path "
            "that contains {dataset_id} or {path}; default: the index of esg.yaml"
        ),
    )
    parser.add_argument(
        "--output-dir",
        metavar="DIR",
        type=given_path,
        help="write <DSID>.json to this directory and change no index",
    )
    parser.add_argument(
        "--plan-only", action="store_true", help="print the datasets and do nothing else"
    )
    parser.add_argument(
        "--retry",
        metavar="CODE",
        nargs="?",
        const="",
        help="try datasets again that were refused or failed: all, or those with this error "
        "code; give it after the sources",
    )
    _add_resources(parser)
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=given_path,
        help="write an HTML page with the outcome of every dataset to this file",
    )
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _add_resources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        default="",
        help="compute on the workers of the Dask cluster at this address",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=positive_count,
        default=0,
        help="number of processes on this machine; default: one for each CPU",
    )
    parser.add_argument(
        "--per-node",
        metavar="N",
        type=positive_count,
        default=4,
        help="datasets that are read from one data node at the same time; default: 4",
    )


def _backfill(options: argparse.Namespace) -> int:
    from ..backfill import Job, backfill, sources_of
    from ..backfill.report import lines
    from ..backfill.report_page import html

    config = config_if_any(options)
    console = make_console()
    job = Job(
        sources_of(options.sources), options.filter, options.template, config, options.output_dir
    )
    with _stopped_by_signals() as stop, backfill_progress(console) as watch:
        summary = backfill(
            job,
            settings_of(options, config),
            scheduler=options.scheduler,
            jobs=options.jobs,
            per_node=options.per_node,
            plan_only=options.plan_only,
            retry=options.retry,
            stop=stop,
            watch=watch,
        )
    for name, node, state in summary.listed:
        print(f"{name}  {node}  {state}")
    for line in lines(summary):
        console.print(line, markup=False)
    if options.report:
        options.report.write_text(html(summary), encoding="utf-8")
        console.print(f"[dim]report: {options.report}[/dim]")
    is_listed = options.plan_only and not summary.unread
    return ExitStatus.DONE if summary.is_done or is_listed else ExitStatus.REFUSED


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """Make an event that Ctrl-C and SIGTERM set.

    A second signal ends this process at once. The ledger and the queue stay valid.
    """
    stop = threading.Event()

    def on_signal(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        os.write(
            2,
            b"\nesgvzarr: finishing the datasets in progress; press Ctrl-C again to end at once\n",
        )

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
