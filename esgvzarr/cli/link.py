"""Commands about the link of a dataset: publish, link, resume, status, unpublish."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import plain
from .arguments import (
    CONFIG_OF_ESGPUBLISH,
    SENDS_NOTHING,
    add_command,
    add_dataset_ids,
    add_dry_run,
    add_force,
    add_json,
    add_output,
    add_settings,
    add_sources,
    config_if_any,
    config_of_esgpublish,
    dataset_id_of,
    settings_of,
)
from .exit_status import ExitStatus
from .printing import (
    is_well,
    make_console,
    print_block,
    print_columns,
    print_outcomes,
    progress_on,
    report,
    step_bar,
)

if TYPE_CHECKING:
    from ..link.task import AuditEntry, Entry


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    _add_publish(commands)
    _add_link(commands)
    _add_resume(commands)
    _add_status(commands)
    _add_unpublish(commands)


def _add_publish(commands: Any) -> None:
    parser = add_command(
        commands,
        "publish",
        _publish,
        "run esgpublish, then write and link the references of each dataset that it registered",
        "Passes all other arguments to esgpublish (esgpublish --help lists them). Reads "
        "settings from the esgvzarr: section of the same esg.yaml. With --dry-run, esgcet "
        "makes its records, and nothing is sent. Exit status: that of esgpublish; with "
        "--strict, 1 if a registered dataset was not linked; 2 wrong usage or "
        "configuration.",
    )
    parser.set_defaults(takes_unknown=True)
    parser.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="exit with 1 if a registered dataset was not linked",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help=(
            "replace reference files with different content; caches may serve the old "
            "files for a while"
        ),
    )


def _publish(options: argparse.Namespace) -> int:
    from ..esgpublish import config_path
    from ..link.with_esgcet import publish_with_esgcet
    from ..settings import read_settings

    settings = read_settings(config_path(options.unknown), strict=options.strict)
    console = make_console()
    status, outcomes = publish_with_esgcet(
        options.unknown, settings, force=options.force, progress=progress_on(console)
    )
    print_outcomes(console, outcomes)
    if settings.strict and status == ExitStatus.DONE and not all(map(is_well, outcomes)):
        return ExitStatus.REFUSED
    return status


def _add_link(commands: Any) -> None:
    parser = add_command(
        commands,
        "link",
        _link,
        "write and link the references of a dataset that is already registered",
    )
    add_sources(parser)
    add_output(parser)
    add_force(parser, "a reference file")
    add_dry_run(parser, SENDS_NOTHING)
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _link(options: argparse.Namespace) -> int:
    from ..link.lifecycle import LinkRequest, link_source

    config = config_of_esgpublish(options)
    console = make_console()
    settings = settings_of(options, config)
    request = LinkRequest(options.sources, config, dataset_id_of(options), options.force)
    with step_bar(console) as progress:
        outcome = link_source(request, settings, dry_run=options.dry_run, progress=progress)
    return report(console, [outcome])


def _add_resume(commands: Any) -> None:
    parser = add_command(
        commands,
        "resume",
        _resume,
        "finish datasets that were interrupted, are pending, or failed for a reason that may have "
        "passed",
    )
    add_dataset_ids(
        parser,
        "the datasets to finish, whatever error they ended with, with today's settings; "
        "default: all datasets of the ledger that a new attempt may finish, with the "
        "settings of the first attempt",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="finish all unfinished datasets, whatever error they ended with, with today's "
        "settings",
    )
    parser.add_argument(
        "--code",
        metavar="CODE",
        default="",
        help="finish only datasets that ended with this error code",
    )
    add_dry_run(parser, SENDS_NOTHING)
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _resume(options: argparse.Namespace) -> int:
    from ..link.resume import Selection, resume

    console = make_console()
    settings = settings_of(options, config_if_any(options))
    selection = Selection(options.dataset_ids, options.all, options.code)
    with step_bar(console) as progress:
        outcomes = resume(selection, settings, dry_run=options.dry_run, progress=progress)
    if not outcomes:
        console.print("[dim]nothing to resume[/dim]")
    return report(console, outcomes)


def _add_status(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        _status,
        "show the state of datasets in the ledger",
        "Exit status: 0 nothing is left to do, 1 a dataset is unfinished or unknown, 2 "
        "wrong usage or configuration.",
    )
    add_dataset_ids(parser, "the datasets to show; default: all in the ledger")
    add_json(parser, "print the states as JSON")
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _status(options: argparse.Namespace) -> int:
    from ..link.ledger import Ledger
    from ..link.states import DONE as FINISHED
    from ..model import DatasetId

    ledger = Ledger(settings_of(options, config_if_any(options)).ledger)
    asked = [str(DatasetId.parse(name)) for name in options.dataset_ids]
    entries = ledger.current(asked)
    live: dict[str, list[str]] = {}
    for link in ledger.live():
        live.setdefault(link.dataset_id, []).append(link.href)
    rows = [_status_of(entry, live.get(entry.dataset_id, [])) for entry in entries]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        _print_status(rows)
    unknown = sorted(set(asked) - {entry.dataset_id for entry in entries})
    for name in unknown:
        print(
            f"esgvzarr: [source-not-in-ledger] {name}: is not in the ledger {ledger.path}; "
            "esgvzarr status lists the datasets that are",
            file=sys.stderr,
        )
    if unknown or any(entry.state not in FINISHED for entry in entries):
        return ExitStatus.REFUSED
    return ExitStatus.DONE


def _status_of(entry: Entry | AuditEntry, live: Sequence[str]) -> dict[str, Any]:
    """Return what ``--json`` prints of a dataset: how its last attempt ended, and its live links.

    A dataset that another process is working on is ``interrupted`` too.
    """
    from ..link.states import State, Verb
    from ..link.task import Entry

    state: str = entry.state
    verb = Verb.AUDIT
    if isinstance(entry, Entry):
        verb = entry.verb
        if entry.state is State.OPEN:
            state = f"interrupted after {entry.step}"
    return {
        "dataset_id": entry.dataset_id,
        "state": state,
        "code": entry.code,
        "href": entry.href,
        "when": entry.created,
        "verb": verb,
        "retryable": entry.retryable,
        "detail": entry.detail,
        "live": list(live),
    }


def _print_status(rows: Sequence[dict[str, Any]]) -> None:
    """Print a block for each dataset on a terminal, and one line for each dataset elsewhere."""
    from ..link.states import State

    names = ("dataset_id", "state", "code", "when", "href", "detail")
    lines: list[Sequence[str]] = [("dataset", "state", "code", "when", "href", "message")]
    for row in rows:
        cells = {name: plain(str(row[name])) for name in names}
        if row["live"] and row["state"] != State.LINKED:
            cells["state"] += " (a link is live)"
        if sys.stdout.isatty():
            code = f" [{cells['code']}]" if cells["code"] else ""
            told = f"{cells['state']}{code} since {cells['when']}: {cells['detail']}"
            print_block(cells["dataset_id"], [told])
        message = cells["detail"] if cells["code"] else ""
        lines.append((*(cells[name] for name in names[:-1]), message))
    if not sys.stdout.isatty():
        print_columns(lines)


def _add_unpublish(commands: Any) -> None:
    parser = add_command(
        commands,
        "unpublish",
        _unpublish,
        "remove the link of a dataset from its index, then move its reference file out of "
        "the served directory; the dataset itself stays published",
    )
    parser.add_argument("dataset_id", metavar="DSID", help="the dataset whose link is removed")
    parser.add_argument(
        "--delete",
        action="store_true",
        help="delete the reference file; default: keep a copy beside the ledger",
    )
    add_dry_run(parser, SENDS_NOTHING)
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _unpublish(options: argparse.Namespace) -> int:
    from ..link.dry_run import preview
    from ..link.means import Means
    from ..link.remove import decide_withdrawal, unpublish
    from ..model import DatasetId

    config = config_of_esgpublish(options)
    console = make_console()
    settings = settings_of(options, config)
    dataset_id = DatasetId.parse(options.dataset_id)
    if options.dry_run:
        task = decide_withdrawal(dataset_id, config, settings, delete=options.delete)
        return report(console, [preview(task, Means(settings))])
    with step_bar(console) as progress:
        outcome = unpublish(dataset_id, config, settings, delete=options.delete, progress=progress)
    return report(console, [outcome])
