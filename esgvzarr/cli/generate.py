"""Commands about reference files, without an index: generate, combine, verify."""

from __future__ import annotations

import argparse
import json
import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EsgvzarrError, SourceError, StoreError
from .arguments import (
    WRITES_NOTHING,
    add_command,
    add_dry_run,
    add_force,
    add_json,
    add_output,
    add_output_dir,
    add_settings,
    add_sources,
    dataset_id_of,
    given_path,
    settings_of,
)
from .exit_status import ExitStatus
from .printing import make_console, print_table, report, step_bar

if TYPE_CHECKING:
    from ..generate import Progress
    from ..model import DatasetRecord, Report
    from ..outcome import Outcome, Written
    from ..settings import Settings
    from ..transport import Transport

_log = logging.getLogger(__name__)


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    _add_generate(commands)
    _add_combine(commands)
    _add_verify(commands)


def _add_generate(commands: Any) -> None:
    parser = add_command(
        commands,
        "generate",
        _generate,
        "write the references of a published dataset to a directory; no index is changed",
    )
    add_sources(parser)
    add_output(parser)
    add_output_dir(
        parser,
        "the directory where <DSID>.json is written, or <DSID> with the ending of the "
        "chosen output",
    )
    parser.add_argument(
        "--catalog",
        metavar="DIR",
        type=given_path,
        help="also list the reference file in a static STAC catalogue in this directory",
    )
    add_force(parser, "a reference file")
    add_dry_run(parser, WRITES_NOTHING)
    add_settings(parser)


def _generate(options: argparse.Namespace) -> int:
    from ..generate import make_transport
    from ..sources import read_source
    from ..transport.hosts import allow_hosts

    settings = settings_of(options, options.config)
    console = make_console()
    with make_transport(settings) as transport, step_bar(console) as progress:
        record = read_source(
            options.sources, dataset_id_of(options), transport, settings.data_paths
        )
        allow_hosts(transport, record)
        if options.dry_run:
            outcome = _planned(options, record, transport, settings, progress)
        else:
            outcome = _generated(options, record, transport, settings, progress)
    status = report(console, [outcome])
    for reference in outcome.references:
        print(_line_that_opens(reference.path))
    return status


def _line_that_opens(path: str) -> str:
    """Return a line of Python that opens a reference file."""
    from ..output import opening_call, provenance_at, reading_of

    layout = reading_of(provenance_at(Path(path))).layout
    return opening_call(path, layout).line(path)


def _planned(
    options: argparse.Namespace,
    record: DatasetRecord,
    transport: Transport,
    settings: Settings,
    progress: Progress,
) -> Outcome:
    from ..link.dry_run import Target, plan_files
    from ..link.means import Means
    from ..outcome import Planned, Verb

    target = Target(options.output_dir, force=options.force)
    planned = plan_files(record, target, transport, Means(settings, progress))
    said = "\n".join(map(str, planned))
    detail = f"dry run: nothing was written. {said}"
    return Planned(str(record.id), Verb.GENERATE, detail)


def _generated(
    options: argparse.Namespace,
    record: DatasetRecord,
    transport: Transport,
    settings: Settings,
    progress: Progress,
) -> Outcome:
    """Write the references, and keep the outcome in the ledger, also of a failure."""
    from ..generate import generate
    from ..link.add import catalogue
    from ..outcome import Verb, failure

    try:
        written = generate(
            record,
            options.output_dir,
            transport,
            settings,
            force=options.force,
            progress=progress,
        )
        outcome: Outcome = written
        if options.catalog:
            outcome = catalogue(written, record, options.catalog, settings)
    except EsgvzarrError as error:
        _keep(failure(str(record.id), Verb.GENERATE, error), settings)
        raise
    _keep(outcome, settings, written)
    return outcome


def _keep(outcome: Outcome, settings: Settings, made: Written | None = None) -> None:
    """Keep the outcome of a dataset in the ledger, and its proofs.

    No link depends on this entry: if the ledger cannot be written, this only prints a warning.
    """
    from ..link.attempt import keep_made
    from ..link.ledger import Ledger

    try:
        keep_made(outcome, Ledger(settings.ledger), made)
    except StoreError as error:
        _log.warning("%s", error)


def _add_combine(commands: Any) -> None:
    parser = add_command(
        commands,
        "combine",
        _combine,
        "write one document of several datasets: output streams with their static files, or a "
        "whole simulation",
    )
    parser.add_argument(
        "spec",
        metavar="SPEC",
        type=given_path,
        help="YAML file that says which datasets or files belong together",
    )
    add_output_dir(parser, "the directory where <name>.json is written")
    add_output(parser)
    add_force(parser, "a document")
    add_dry_run(parser, WRITES_NOTHING)
    add_settings(parser)


def _combine(options: argparse.Namespace) -> int:
    from ..documents import combine, plan, read_spec
    from ..generate import make_transport
    from ..outcome import Planned, Verb

    settings = settings_of(options, options.config)
    console = make_console()
    spec = read_spec(options.spec)
    directory: Path = options.output_dir
    with make_transport(settings) as transport, step_bar(console) as progress:
        if options.dry_run:
            planned, warnings = plan(
                spec, directory, transport, settings, force=options.force, progress=progress
            )
            places = [f"{one.size} bytes would be in {one.path}" for one in planned]
            detail = f"dry run: nothing was written. {'; '.join(places)}"
            return report(console, [Planned(spec.name, Verb.COMBINE, detail, warnings)])
        outcome = combine(
            spec, directory, transport, settings, force=options.force, progress=progress
        )
    _keep(outcome, settings)
    return report(console, [outcome])


def _add_verify(commands: Any) -> None:
    parser = add_command(
        commands,
        "verify",
        _verify,
        "compare a kerchunk reference file, whatever tool wrote it, with its NetCDF files",
    )
    parser.add_argument(
        "target",
        metavar="HREF|DSID",
        help="URL or path of the reference file or of a STAC item that shows it, or the id of a "
        "dataset in the ledger",
    )
    parser.add_argument(
        "--source",
        dest="sources",
        metavar="FILE",
        nargs="+",
        default=[],
        help="the NetCDF files, by URL or path; default: the files that the references name",
    )
    parser.add_argument(
        "--full", action="store_true", help="compare every value; default: a sample of chunks"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="print all checks; default: failed checks only"
    )
    add_json(parser, "print the report as JSON")
    add_settings(parser)


def _dataset_id_or_file(target: str) -> str:
    """Parse the target as a dataset id if it is not a file.

    A text that is neither is probably a misspelt path, and the error says so.

    Raises:
        SourceError: ``source-none``, the target is neither a file nor a dataset id.
    """
    from ..model import DatasetId

    try:
        DatasetId.parse(target)
    except SourceError as error:
        raise SourceError(
            target,
            "no such file",
            expected="a reference file, by path or URL, or a dataset id",
            code="source-none",
        ) from error
    return target


def _verify(options: argparse.Namespace) -> int:
    from ..directories import exists
    from ..generate import make_transport, verify_published
    from ..indexes.item_references import references_at
    from ..link.ledger import Ledger
    from ..transport import host_of, is_url

    settings = settings_of(options, options.config)
    target: str = options.target
    if not is_url(target) and not exists(target):
        target = Ledger(settings.ledger).href_of(_dataset_id_or_file(target))
    with make_transport(settings) as transport:
        if is_url(target):
            transport.allow(host_of(target), named=True)
        reports = [
            verify_published(place, options.sources, transport, settings, full=options.full)
            for place in references_at(target, transport)
        ]
    for verified in reports:
        if options.json:
            print(json.dumps({**asdict(verified), "passed": verified.passed}, indent=1))
        else:
            _print_report(verified, verbose=options.verbose)
    is_passed = all(verified.passed for verified in reports)
    return ExitStatus.DONE if is_passed else ExitStatus.REFUSED


def _print_report(verified: Report, *, verbose: bool) -> None:
    """Print the failed checks, or all of them, and how many of each kind passed."""
    from ..errors import plain

    lines = []
    for check in verified.checks if verbose else verified.failures:
        mark = "ok" if check.passed else "WRONG"
        lines.append((mark, check.name, plain(check.subject), plain(check.detail)))
    print_table(("", "check", "of", "detail"), lines)
    counts = Counter(check.name for check in verified.checks)
    kinds = ", ".join(f"{name} {number}" for name, number in counts.items())
    passed = len(verified.checks) - len(verified.failures)
    print(f"{plain(verified.href)}: {passed} of {len(verified.checks)} checks passed ({kinds})")
