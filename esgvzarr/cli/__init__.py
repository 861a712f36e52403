"""The command line: arguments, progress, exit status. The only room that prints.

Imports stay inside functions, so that ``esgvzarr --help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EsgvzarrError, PublisherError, SettingsError
from ..version import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from ..audit import Audited
    from ..backfill import Standing
    from ..doctor import Diagnosis
    from ..link.task import AuditEntry, Entry
    from ..model import Report
    from ..outcome import Outcome
    from ..settings import Settings

DONE = 0
REFUSED = 1
USAGE = 2
_EXIT = (
    "Exit status: 0 done, 1 refused or failed (the last line says why), 2 usage or configuration."
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    options, rest = parser.parse_known_args(words)
    if rest and options.command is not _publish:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    _log_to_stderr(logging.DEBUG if options.debug else logging.WARNING)
    try:
        status = options.command(options, rest)
    except (SettingsError, PublisherError) as error:
        status = _say(error, USAGE)
    except EsgvzarrError as error:
        status = _say(error, REFUSED)
    except KeyboardInterrupt:
        print("esgvzarr: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def _log_to_stderr(level: int) -> None:
    """Show our own records. esgcet shows its own: a handler of the root logger would say each of
    them twice.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("esgvzarr")
    logger.handlers = [handler]
    logger.setLevel(level)


def _say(error: EsgvzarrError, status: int) -> int:
    print(f"esgvzarr: [{error.code}] {error}", file=sys.stderr)
    return status


def make_parser() -> argparse.ArgumentParser:
    """The commands and their options; docs/reference/commands.md is made from it."""
    parser = argparse.ArgumentParser(
        prog="esgvzarr",
        description="Virtual-Zarr access to ESGF climate data that people can trust.",
        epilog=_EXIT,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"esgvzarr {__version__}")
    parser.add_argument("--debug", action="store_true", help="log what is done on the way")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_publish(commands)
    _add_link(commands)
    _add_resume(commands)
    _add_status(commands)
    _add_unpublish(commands)
    _add_audit(commands)
    _add_generate(commands)
    _add_combine(commands)
    _add_backfill(commands)
    _add_verify(commands)
    _add_doctor(commands)
    _add_demo(commands)
    return parser


def _command(
    commands: Any, name: str, run: Callable[..., int], help: str, epilog: str = _EXIT
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=epilog,
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    return parser


def _add_publish(commands: Any) -> None:
    parser = _command(
        commands,
        "publish",
        _publish,
        "run esgpublish, and link the references of each dataset that it registers",
        "All other arguments are esgpublish's own (esgpublish --help lists them), settings come "
        "from the esgvzarr: section of the same esg.yaml. With --dry-run, esgcet makes its "
        "records and is let send nothing. Exit status: esgpublish's own; with --strict, 1 also "
        "if a registered dataset was not linked; 2 usage or configuration.",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        default=None,
        help="exit with 1 if a registered dataset was not linked",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="replace reference files that hold other bytes; caches may keep the old ones",
    )


def _add_link(commands: Any) -> None:
    parser = _command(
        commands,
        "link",
        _link,
        "write and link the references of a dataset that is registered already",
    )
    _add_sources(parser)
    _add_output(parser)
    parser.add_argument(
        "--force", action="store_true", help="replace a reference file that holds other bytes"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="send and write nothing, and show what would be done"
    )
    _add_settings(parser, _ESGCETS)


def _add_resume(commands: Any) -> None:
    parser = _command(
        commands,
        "resume",
        _resume,
        "finish what was interrupted, is pending, or failed in a way that may have passed",
    )
    parser.add_argument(
        "dataset_ids",
        nargs="*",
        metavar="DSID",
        help=(
            "these datasets, whatever they failed for; default: all in the ledger that may be "
            "finished"
        ),
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="send and write nothing, and show what would be done"
    )
    _add_settings(parser, _ESGCETS)


def _add_status(commands: Any) -> None:
    parser = _command(
        commands,
        "status",
        _status,
        "say what became of datasets, from the ledger",
        "Exit status: 0 nothing is left to do, 1 something is, or a dataset is unknown, 2 usage "
        "or configuration.",
    )
    parser.add_argument(
        "dataset_ids", nargs="*", metavar="DSID", help="these datasets; default: all in the ledger"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    _add_settings(parser, _ESGCETS)


def _add_unpublish(commands: Any) -> None:
    parser = _command(
        commands,
        "unpublish",
        _unpublish,
        "unlink a dataset, then move its reference file out of what is served; the dataset "
        "itself stays",
    )
    parser.add_argument("dataset_id", metavar="DSID", help="the dataset")
    parser.add_argument(
        "--delete",
        action="store_true",
        help="delete the reference file and keep no copy beside the ledger",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="send and write nothing, and show what would be done"
    )
    _add_settings(parser, _ESGCETS)


def _add_audit(commands: Any) -> None:
    parser = _command(
        commands,
        "audit",
        _audit,
        "look again at published references: their files, the reference file that is served, the "
        "link",
        "What is not fine is printed; where all is fine, and nobody watches on a terminal, "
        "nothing is. Exit status: 0 all is fine, 1 something is not, 2 usage or configuration.",
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="DSID|HREF|PATH",
        help=(
            "datasets that the ledger knows; reference files, by URL or path; directories of "
            "them; default: all that the ledger says are linked or written"
        ),
    )
    parser.add_argument(
        "--checksums",
        action="store_true",
        help="read every file whole, from disk where it is there, and compare its checksum",
    )
    parser.add_argument(
        "--samples",
        action="store_true",
        help="read back a sample through each reference file, as verify does",
    )
    parser.add_argument(
        "--repair",
        action="store_true",
        help=(
            "unlink what gives wrong data, and let resume link it anew; what is undecided is "
            "read whole before"
        ),
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="with --repair: send and write nothing, and show what would be done",
    )
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON")
    _add_settings(parser, _ESGCETS)


def _add_generate(commands: Any) -> None:
    parser = _command(
        commands,
        "generate",
        _generate,
        "write the references of a dataset that is published already; no index is touched",
    )
    _add_sources(parser)
    _add_output(parser)
    parser.add_argument(
        "--output-dir",
        metavar="DIR",
        type=Path,
        required=True,
        help="where <DSID>.json is written, or what --output names",
    )
    parser.add_argument(
        "--catalog",
        metavar="DIR",
        type=Path,
        help="also show it in a static STAC catalogue in this directory",
    )
    parser.add_argument(
        "--force", action="store_true", help="replace a reference file that holds other bytes"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, and show what would be done"
    )
    _add_settings(parser)


def _add_combine(commands: Any) -> None:
    parser = _command(
        commands,
        "combine",
        _combine,
        "write one document of several datasets: streams with static files, or a whole simulation",
    )
    parser.add_argument(
        "spec", metavar="SPEC", type=Path, help="YAML file that says what belongs together"
    )
    parser.add_argument(
        "--output-dir", metavar="DIR", type=Path, required=True, help="where <name>.json is written"
    )
    _add_output(parser)
    parser.add_argument(
        "--force", action="store_true", help="replace a document that holds other bytes"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing, and show what would be done"
    )
    _add_settings(parser)


def _add_backfill(commands: Any) -> None:
    parser = _command(
        commands,
        "backfill",
        _backfill,
        "link, or only generate, all datasets of a back catalogue; run it again to go on",
        "The plan of what is left lies beside the ledger. Ctrl-C ends the run after what is "
        "being computed, twice at once. Exit status: 0 every dataset is done, 1 some are "
        "refused, failed or left, 2 usage or configuration.",
    )
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help=(
            "a STAC API, https://HOST/esg-search, globus:UUID, a THREDDS catalogue with all that "
            "it refers to, a directory of mapfiles, a list of dataset ids, or a document that "
            "link takes; default: the index of esg.yaml"
        ),
    )
    parser.add_argument(
        "--filter",
        metavar="QUERY",
        default="",
        help="datasets of an index: CQL2 text for STAC, facet=value&facet=value for others",
    )
    parser.add_argument(
        "--template",
        metavar="URL",
        default="",
        help=(
            "what describes a dataset of a list, with {dataset_id} or {path} in it; default: the "
            "index of esg.yaml"
        ),
    )
    parser.add_argument(
        "--output-dir",
        metavar="DIR",
        type=Path,
        help="only write <DSID>.json there; no index is touched",
    )
    parser.add_argument("--plan-only", action="store_true", help="only list the datasets")
    parser.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        default="",
        help="compute on the workers of this Dask cluster",
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=_count,
        default=0,
        help="processes on this machine; default: one for each CPU",
    )
    parser.add_argument(
        "--per-node",
        metavar="N",
        type=_count,
        default=4,
        help="datasets read from one data node at once; default: 4",
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        help="write what became of all datasets as a page of HTML",
    )
    _add_settings(parser, _ESGCETS)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def _add_verify(commands: Any) -> None:
    parser = _command(
        commands,
        "verify",
        _verify,
        "compare a kerchunk reference file, of whatever origin, with its NetCDF files",
    )
    parser.add_argument(
        "target",
        metavar="HREF|DSID",
        help="URL or path of the reference file, or a dataset id that the ledger knows",
    )
    parser.add_argument(
        "--source",
        dest="sources",
        metavar="FILE",
        nargs="+",
        default=[],
        help="the NetCDF files, by URL or path; default: those that the reference file names",
    )
    parser.add_argument(
        "--full", action="store_true", help="compare every value; default: a sample of chunks"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    _add_settings(parser)


def _add_doctor(commands: Any) -> None:
    parser = _command(
        commands,
        "doctor",
        _doctor,
        "say whether this data node can do what publishing and reading need, and what to do "
        "where not",
        "Exit status: 0 nothing is bad, 1 something is, 2 usage or configuration.",
    )
    parser.add_argument(
        "url",
        nargs="?",
        default="",
        metavar="URL",
        help=(
            "of a published NetCDF file to try; default: one of the ledger, or one found in "
            "data_paths or esgcet's data_roots"
        ),
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    _add_settings(parser, _ESGCETS)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help=(
            "a THREDDS catalogue, publication record, STAC item or mapfile, or NetCDF files and "
            "directories; URLs or paths"
        ),
    )
    parser.add_argument(
        "--dataset-id",
        metavar="DSID",
        help="needed for plain files; else which dataset of the source",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", choices=("json", "json.zst", "parquet", "icechunk"), help="what is written"
    )


_ESGCETS = "that of esgpublish"


def _add_settings(parser: argparse.ArgumentParser, default: str = "none") -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        help=f"esg.yaml with an esgvzarr: section; default: {default}",
    )
    parser.add_argument(
        "--read",
        choices=("auto", "http", "local"),
        help="where metadata is read from; overrides the setting",
    )
    parser.add_argument(
        "--allow-host",
        metavar="HOST",
        action="append",
        default=[],
        help="a further host that may be fetched from",
    )


def _add_demo(commands: Any) -> None:
    parser = _command(
        commands,
        "demo",
        _demo,
        "publish real CMIP6 files on this machine, from esgpublish to xarray",
    )
    parser.add_argument(
        "--dir",
        metavar="DIR",
        type=Path,
        help="keep everything in this directory; default: a new one, which is named",
    )


def _settings(options: argparse.Namespace, config: Path | None) -> Settings:
    from ..settings import read_settings

    settings = read_settings(config, read=options.read, output=getattr(options, "output", None))
    return settings.model_copy(
        update={"allowed_hosts": (*settings.allowed_hosts, *options.allow_host)}
    )


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def _publish(options: argparse.Namespace, rest: list[str]) -> int:
    from ..esgpublish import config_path
    from ..link.lifecycle import publish_with_esgcet
    from ..settings import read_settings

    settings = read_settings(config_path(rest), strict=options.strict)
    console = _console()
    status, outcomes = publish_with_esgcet(
        rest, settings, force=options.force, progress=_progress(console)
    )
    _print_outcomes(console, outcomes)
    if settings.strict and status == DONE and not all(_is_well(outcome) for outcome in outcomes):
        return REFUSED
    return status


def _config_of_esgpublish(options: argparse.Namespace) -> Path:
    from ..esgpublish import config_path

    return options.config or config_path([])


def _link(options: argparse.Namespace, _: list[str]) -> int:
    from ..link.lifecycle import link_source
    from ..model import DatasetId

    config = _config_of_esgpublish(options)
    console = _console()
    settings = _settings(options, config)
    asked = DatasetId.parse(options.dataset_id) if options.dataset_id else None
    how = {"force": options.force, "dry_run": options.dry_run}
    outcome = link_source(
        options.sources, asked, config, settings, **how, progress=_progress(console)
    )
    return _report(console, [outcome])


def _resume(options: argparse.Namespace, _: list[str]) -> int:
    from ..link.lifecycle import resume

    config = _config_of_esgpublish(options)
    console = _console()
    settings = _settings(options, config if config.exists() or options.config else None)
    outcomes = resume(
        options.dataset_ids, settings, dry_run=options.dry_run, progress=_progress(console)
    )
    if not outcomes:
        console.print("[dim]nothing to resume[/dim]")
    return _report(console, outcomes)


def _unpublish(options: argparse.Namespace, _: list[str]) -> int:
    from ..link.dry_run import preview
    from ..link.remove import decide_withdrawal, unpublish
    from ..model import DatasetId

    config = _config_of_esgpublish(options)
    console = _console()
    settings = _settings(options, config)
    dataset_id = DatasetId.parse(options.dataset_id)
    if options.dry_run:
        task = decide_withdrawal(dataset_id, config, settings, delete=options.delete)
        return _report(console, [preview(task, settings)])
    outcome = unpublish(
        dataset_id, config, settings, delete=options.delete, progress=_progress(console)
    )
    return _report(console, [outcome])


def _status(options: argparse.Namespace, _: list[str]) -> int:
    from ..link.ledger import Ledger
    from ..link.states import DONE as FINISHED
    from ..model import DatasetId

    config = _config_of_esgpublish(options)
    ledger = Ledger(
        _settings(options, config if config.exists() or options.config else None).ledger
    )
    asked = [str(DatasetId.parse(name)) for name in options.dataset_ids]
    rows = [last for last in ledger.latest() if not asked or last.dataset_id in asked]
    audits = {name: found for name, found in ledger.audits().items() if found.code}
    shown = [audits.get(last.dataset_id, last) for last in rows]
    unknown = sorted(set(asked) - {last.dataset_id for last in rows})
    if options.json:
        print(json.dumps([_status_of(last) for last in shown], indent=1))
    else:
        _print_status(shown)
    for name in unknown:
        print(
            f"esgvzarr: [source-not-in-ledger] {name}: is not in the ledger {ledger.path}",
            file=sys.stderr,
        )
    return DONE if not unknown and all(last.state in FINISHED for last in shown) else REFUSED


def _status_of(last: Entry | AuditEntry) -> dict[str, Any]:
    """What scripts are told of a dataset; ``interrupted`` also while another process is at work on
    it.
    """
    from ..link.states import State, Verb
    from ..link.task import Entry

    state: str = last.state
    verb = Verb.AUDIT
    if isinstance(last, Entry):
        verb = last.verb
        if last.state is State.OPEN:
            state = f"interrupted after {last.step}"
    return {
        "dataset_id": last.dataset_id,
        "state": state,
        "code": last.code,
        "href": last.href,
        "when": last.created,
        "verb": verb,
        "retryable": last.retryable,
        "detail": last.detail,
    }


def _print_status(rows: Sequence[Entry | AuditEntry]) -> None:
    """A line for each, never broken or cut: it may be read by programs."""
    names = ("dataset_id", "state", "code", "when", "href")
    _print_columns(
        [
            ("dataset", *names[1:]),
            *(tuple(str(_status_of(row)[name]) for name in names) for row in rows),
        ]
    )


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _audit(options: argparse.Namespace, _: list[str]) -> int:
    from ..audit import audit, find_targets
    from ..audit.judgement import State
    from ..audit.repair import repair

    if options.dry_run and not options.repair:
        raise SettingsError("--dry-run", "is for --repair: an audit alone changes nothing")
    config = _config_of_esgpublish(options)
    console = _console()
    settings = _settings(options, config if config.exists() or options.config else None)
    targets = find_targets(options.targets, settings)
    how = {"checksums": options.checksums, "samples": options.samples, "decide": options.repair}
    found = []
    with console.status("") as status:  # shown on a terminal only
        for one in audit(targets, settings, **how, keep=not options.dry_run):
            found.append(one)
            status.update(f"{len(found)} of {len(targets)} datasets")
    done = (
        [repair(one, settings, dry_run=options.dry_run) for one in found] if options.repair else []
    )
    repairs = {outcome.dataset_id: outcome for outcome in done if outcome}
    if options.json:
        print(json.dumps([_audit_of(one, repairs.get(one.name)) for one in found], indent=1))
    else:
        _print_problems([one for one in found if one.state is not State.FINE])
    _print_outcomes(console, list(repairs.values()))
    if console.is_terminal:
        counts = ", ".join(
            f"{number} {state}"
            for state in State
            if (number := sum(one.state is state for one in found))
        )
        console.print(f"{len(found)} datasets: {counts or 'none'}")
    return DONE if all(one.state is State.FINE for one in found) else REFUSED


def _print_problems(found: Sequence[Audited]) -> None:
    """A table on a terminal; elsewhere a line for each, never broken or cut."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = ("state", "dataset", "code", "what")
    lines = [(one.state, one.name, one.code, one.detail) for one in found]
    if found and sys.stdout.isatty():
        table = Table(*names, box=None)
        for line in lines:
            table.add_row(*map(escape, line))
        Console(highlight=False).print(table)
    elif found:
        _print_columns([names, *lines])


def _audit_of(found: Audited, repaired: Outcome | None) -> dict[str, Any]:
    """What scripts are told: every problem, and by how many checks of which evidence the rest is
    fine.
    """
    problems = [
        {"state": one.state, "subject": one.subject, "detail": one.detail} for one in found.problems
    ]
    return {
        "dataset_id": found.target.dataset_id,
        "href": found.target.location,
        "state": found.state,
        "code": found.code,
        "problems": problems,
        "evidence": Counter(one.evidence for one in found.verdicts if one.evidence),
        **(
            {"repair": {"state": repaired.state, "code": repaired.code, "detail": repaired.detail}}
            if repaired
            else {}
        ),
    }


def _is_well(outcome: Outcome) -> bool:
    return not outcome.code


def _report(console: Console, outcomes: Sequence[Outcome]) -> int:
    _print_outcomes(console, outcomes)
    return DONE if all(_is_well(outcome) for outcome in outcomes) else REFUSED


def _progress(console: Console) -> Callable[[str, str], None]:
    return lambda dataset_id, step: console.print(f"[dim]{dataset_id}: {step}[/dim]")


def _print_outcomes(console: Console, outcomes: Sequence[Outcome]) -> None:
    """One line a dataset, reasons last."""
    for outcome in outcomes:
        for warning in outcome.warnings:
            console.print(f"{outcome.dataset_id}: warning: {warning}", style="yellow", markup=False)
    for outcome in outcomes:
        code = f" [{outcome.code}]" if outcome.code else ""
        console.print(
            f"{outcome.dataset_id}: {outcome.state}{code}: {outcome.detail}",
            style="green" if _is_well(outcome) else "red",
            markup=False,
        )


def _generate(options: argparse.Namespace, _: list[str]) -> int:
    from ..generate import generate, make_transport
    from ..link.add import catalogue
    from ..link.dry_run import plan_file
    from ..link.journal import keep
    from ..model import DatasetId
    from ..outcome import Planned, Verb, failure
    from ..sources import read_source

    settings = _settings(options, options.config)
    console = _console()
    asked = DatasetId.parse(options.dataset_id) if options.dataset_id else None
    with make_transport(settings) as transport:
        record = read_source(options.sources, asked, transport, settings.data_paths)
        transport.allow(record.data_node)
        if options.dry_run:
            said = plan_file(
                record,
                options.output_dir,
                transport,
                settings,
                force=options.force,
                progress=_progress(console),
            )[1]
            detail = f"dry run: nothing was written. {said}"
            return _report(console, [Planned(str(record.id), Verb.GENERATE, detail)])
        try:
            written = generate(
                record,
                options.output_dir,
                transport,
                settings,
                force=options.force,
                progress=_progress(console),
            )
            outcome = (
                catalogue(written, record, options.catalog, settings)
                if options.catalog
                else written
            )
        except EsgvzarrError as error:
            keep(failure(str(record.id), Verb.GENERATE, error), settings)
            raise
    keep(outcome, settings)
    _print_outcomes(console, [outcome])
    return DONE


def _combine(options: argparse.Namespace, _: list[str]) -> int:
    from ..documents import combine, prepare, read_spec
    from ..generate import make_transport, plan_prepared, reference_name
    from ..link.journal import keep
    from ..outcome import Planned, Verb

    settings = _settings(options, options.config)
    console = _console()
    spec = read_spec(options.spec)
    progress = _progress(console)
    with make_transport(settings) as transport:
        if options.dry_run:
            made = prepare(
                spec,
                str(options.output_dir / reference_name(spec.name, settings)),
                transport,
                settings,
                progress=progress,
            )
            planned = plan_prepared(
                spec.name, made, options.output_dir, settings, force=options.force
            )
            said = f"dry run: nothing was written. {planned.size} bytes would be in {planned.path}"
            return _report(console, [Planned(spec.name, Verb.COMBINE, said, made.warnings)])
        outcome = combine(
            spec, options.output_dir, transport, settings, force=options.force, progress=progress
        )
    keep(outcome, settings)
    return _report(console, [outcome])


def _backfill(options: argparse.Namespace, _: list[str]) -> int:
    from ..backfill import Job, backfill, sources_of
    from ..backfill.report import html, lines

    config = _config_of_esgpublish(options)
    console = _console()
    known = config if config.exists() or options.config else None
    job = Job(
        sources_of(options.sources), options.filter, options.template, known, options.output_dir
    )
    with _stopped_by_signals(console) as stop, _standing(console) as watch:
        summary = backfill(
            job,
            _settings(options, known),
            scheduler=options.scheduler,
            jobs=options.jobs,
            per_node=options.per_node,
            plan_only=options.plan_only,
            stop=stop,
            watch=watch,
        )
    for line in lines(summary):
        console.print(line, markup=False)
    if options.report:
        options.report.write_text(html(summary), encoding="utf-8")
        console.print(f"[dim]report: {options.report}[/dim]")
    return DONE if summary.is_done or (options.plan_only and not summary.unread) else REFUSED


@contextmanager
def _stopped_by_signals(console: Console) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; the second one ends this process at once, which the
    ledger and the plan survive.
    """
    stop = threading.Event()

    def asked(number: int, _: Any) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()
        os.write(2, b"\nesgvzarr: finishing what is being computed; once more to end at once\n")

    before = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _standing(console: Console) -> Iterator[Callable[[Standing], None]]:
    """Shows how far a backfill is: a bar on a terminal, a line now and then elsewhere."""
    from rich.progress import BarColumn, Progress, TextColumn

    from ..outcome import State

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        console=console,
    )
    task = bar.add_task("")
    next_s = 0.0
    before = 0

    def watch(now: Standing) -> None:
        nonlocal next_s, before
        if now.seconds < next_s:
            return
        next_s = now.seconds + (0.5 if console.is_terminal else 30.0)
        if console.is_terminal:
            total = sum(now.counts.values())
            bar.update(
                task,
                description=_said(now),
                total=total or None,
                completed=total - now.counts[State.OPEN],
            )
        elif now.finished != before:
            console.print(_said(now), markup=False)
            before = now.finished

    with bar if console.is_terminal else nullcontext():
        yield watch


def _said(now: Standing) -> str:
    from ..outcome import State

    left = now.counts[State.OPEN]
    rate = now.finished / now.seconds if now.seconds else 0.0
    said = [
        f"{number} {state}"
        for state, number in sorted(now.counts.items())
        if number and state != State.OPEN
    ]
    said.append(f"{left} left{', and more to be listed' if now.listing else ''}")
    if rate:
        minutes = left / rate / 60
        said.append(
            f"{60 * rate:.0f} per minute, "
            f"{f'{minutes:.0f} min' if minutes < 600 else f'{minutes / 60:.0f} h'} to go"
        )
    return ", ".join([*said, *(f"{node} gives no answer" for node in now.resting)])


def _verify(options: argparse.Namespace, _: list[str]) -> int:
    from ..generate import make_transport, verify_published
    from ..link.ledger import Ledger
    from ..transport import is_url

    settings = _settings(options, options.config)
    target = options.target
    if not is_url(target) and not os.path.exists(target):
        target = Ledger(settings.ledger).href_of(target)
    with make_transport(settings) as transport:
        report = verify_published(target, options.sources, transport, settings, full=options.full)
    if options.json:
        from dataclasses import asdict

        print(json.dumps({**asdict(report), "passed": report.passed}, indent=1))
    else:
        _print_report(report)
    return DONE if report.passed else REFUSED


def _print_report(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..errors import plain

    table = Table("", "check", "of", "detail", title=Text(plain(report.href)), box=None)
    for check in report.checks:
        said = (Text(plain(text)) for text in (check.subject, check.detail))
        table.add_row("[green]ok" if check.passed else "[red]WRONG", check.name, *said)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{len(report.checks) - len(report.failures)} of {len(report.checks)} checks passed"
    )


def _doctor(options: argparse.Namespace, _: list[str]) -> int:
    from ..doctor import examine

    config = _config_of_esgpublish(options)
    known = config if config.exists() or options.config else None
    rows = examine(known, _settings(options, known), options.url)
    if options.json:
        from dataclasses import asdict

        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print_diagnoses(rows)
    return REFUSED if any(row.health == "bad" for row in rows) else DONE


def _print_diagnoses(rows: Sequence[Diagnosis]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    colours = {"good": "green", "note": "yellow", "bad": "red"}
    table = Table("", "check", Column("found", overflow="fold"), box=None)
    for row in rows:
        table.add_row(
            f"[{colours[row.health]}]{row.health}",
            row.check,
            escape(f"{row.found}\n-> {row.todo}" if row.todo else row.found),
        )
    Console(highlight=False).print(table)


def _demo(options: argparse.Namespace, _: list[str]) -> int:
    from rich.console import Console

    from ..demo import run

    run(Console(highlight=False), options.dir)
    return DONE
