"""The command that checks published references again: audit."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .arguments import (
    CONFIG_OF_ESGPUBLISH,
    add_command,
    add_dry_run,
    add_json,
    add_settings,
    config_if_any,
    settings_of,
)
from .exit_status import ExitStatus
from .printing import make_console, print_outcomes, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from ..audit import AuditResult, Target
    from ..outcome import Outcome
    from ..settings import Settings


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    parser = add_command(
        commands,
        "audit",
        _audit,
        "check published references again: their NetCDF files, the served reference file, the link",
        "Prints problems only; prints nothing if all is well and output is not a terminal. "
        "Exit status: 0 all is well, 1 there are problems, 2 wrong usage or configuration.",
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="DSID|HREF|PATH",
        help=(
            "datasets in the ledger; reference files, by URL or path; directories of reference "
            "files; default: all that are linked or written according to the ledger"
        ),
    )
    parser.add_argument(
        "--checksums",
        action="store_true",
        help=(
            "read every file whole, from the local disk where a path is known, and compare "
            "its checksum"
        ),
    )
    parser.add_argument(
        "--samples",
        action="store_true",
        help="read a sample of values through each reference file, and compare them with the files",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help=(
            "remove links that give wrong data, and let resume link these datasets again; "
            "files whose state is undecided are read whole first"
        ),
    )
    add_dry_run(parser, "with --repair: show what would be done; send and write nothing")
    add_json(parser, "print all findings as JSON")
    add_settings(parser, CONFIG_OF_ESGPUBLISH)


def _audit(options: argparse.Namespace) -> int:
    from ..audit import find_targets
    from ..audit.judgement import State

    if options.dry_run and not options.repair:
        raise SettingsError("--dry-run", "needs --repair: an audit alone changes nothing")
    console = make_console()
    settings = settings_of(options, config_if_any(options))
    found = _audit_all(options, find_targets(options.targets, settings), settings, console)
    repairs = _repair_all(options, found, settings) if options.repair else {}
    problems = [one for one in found if one.state is not State.FINE]
    if options.json:
        print(json.dumps([_audit_of(one, repairs.get(one.name)) for one in found], indent=1))
    else:
        lines = [(one.state, one.name, one.code, one.detail) for one in problems]
        print_table(("state", "dataset", "code", "problem"), lines)
    print_outcomes(console, list(repairs.values()))
    if console.is_terminal:
        console.print(_summary(found))
    return ExitStatus.REFUSED if problems else ExitStatus.DONE


def _audit_all(
    options: argparse.Namespace, targets: Sequence[Target], settings: Settings, console: Console
) -> list[AuditResult]:
    from ..audit import Thoroughness, audit

    audited = audit(
        targets,
        settings,
        Thoroughness(options.checksums, options.samples, options.repair),
        keep=not options.dry_run,
    )
    found = []
    with console.status("") as status:  # The status is shown on a terminal only.
        for one in audited:
            found.append(one)
            status.update(f"{len(found)} of {len(targets)} datasets")
    return found


def _repair_all(
    options: argparse.Namespace, found: Sequence[AuditResult], settings: Settings
) -> dict[str, Outcome]:
    """Repair the datasets with problems, and return the outcomes by dataset id."""
    from ..audit.repair import repair

    repairs = {}
    for one in found:
        outcome = repair(one, settings, dry_run=options.dry_run)
        if outcome:
            repairs[outcome.dataset_id] = outcome
    return repairs


def _summary(found: Sequence[AuditResult]) -> str:
    from ..audit.judgement import State

    counts = Counter(one.state for one in found)
    parts = [f"{counts[state]} {state}" for state in State if counts[state]]
    return f"{len(found)} datasets: {', '.join(parts) or 'none'}"


def _audit_of(found: AuditResult, repaired: Outcome | None) -> dict[str, Any]:
    """Return what ``--json`` prints of a dataset: its problems, and the number of checks by
    evidence.
    """
    problems = []
    for one in found.problems:
        problems.append({"state": one.state, "subject": one.subject, "detail": one.detail})
    told = {
        "dataset_id": found.target.dataset_id,
        "href": found.target.location,
        "state": found.state,
        "code": found.code,
        "problems": problems,
        "evidence": Counter(one.evidence for one in found.verdicts if one.evidence),
    }
    if repaired:
        told["repair"] = {
            "state": repaired.state,
            "code": repaired.code,
            "detail": repaired.detail,
        }
    return told
