"""Commands for people who use data: extract, show."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import add_command, given_path
from .exit_status import ExitStatus

if TYPE_CHECKING:
    from ..output import Artefact
    from ..pages.facts import PageFacts
    from ..pages.trees import Tree
    from ..transport import Transport

_SOURCE = "the id of a dataset, or the URL or path of a reference file or of its STAC item"


def add_commands(commands: Any) -> None:
    """Add the commands of this family."""
    parser = add_command(
        commands,
        "extract",
        _extract,
        "write a part of a dataset to a NetCDF file; fetch only the chunks that it needs",
    )
    parser.add_argument("source", metavar="DSID|HREF|ITEM", help=_SOURCE)
    parser.add_argument(
        "-o", "--out", metavar="FILE", type=given_path, required=True, help="the file to write"
    )
    parser.add_argument(
        "--variable",
        metavar="NAME",
        action="append",
        default=[],
        help="a variable, with its coordinates and bounds; may be given several times; "
        "GROUP/NAME where several groups have a variable of this name",
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
        help="a box in degrees; WEST may be larger than EAST, for a box across the date line",
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
    show.add_argument("source", metavar="DSID|HREF|ITEM", help=_SOURCE)
    show.add_argument("--page", action="store_true", help="also open its page in a browser")


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
    """Show a bar of the bytes fetched on a terminal, and nothing elsewhere."""
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
    from ..directories import exists
    from ..indexes.item_references import references_at
    from ..pages.facts import facts_of
    from ..pages.trees import hosts_of
    from ..proof import read_artefact
    from ..reader import open_named
    from ..settings import Settings
    from ..transport import Transport, host_of, is_url

    place: str = options.source
    if not is_url(place) and not exists(place):
        place = open_named(place).href
    with Transport(timeout_s=Settings().timeout_s) as transport:
        if is_url(place):
            transport.allow(host_of(place), named=True)
        place = references_at(place, transport)[0]
        for host in [host_of(place)] if is_url(place) else hosts_of(Path(place)):
            transport.allow(host, named=True)
        artefact = read_artefact(place, transport)
        page = _page_of(place, transport) if options.page else ""
        proof = _proof_of(place, transport)
    _print_facts(
        facts_of(_tree_of(artefact, place), artefact.contents.provenance, place), place, proof
    )
    if page:
        print(f"page: {page}")
        webbrowser.open(page)
    return ExitStatus.DONE


def _tree_of(artefact: Artefact, place: str) -> Tree:
    """Return the groups and arrays of references: as the document states them, or as readers open
    them.
    """
    from ..output import is_stock_json, of_place, protocol_of
    from ..pages.trees import DocumentTree, OpenedTree

    metadata = artefact.contents.metadata
    if is_stock_json(place) or any(key.endswith(".zarray") for key in metadata):
        return DocumentTree(metadata)
    protocol = protocol_of(artefact.contents.provenance)
    return OpenedTree(artefact, of_place(place).storage_options(protocol))


def _page_of(place: str, transport: Transport) -> str:
    """Return the URL of the page of a reference file.

    Raises:
        SourceError: the reference file has no page.
    """
    from ..errors import SourceError
    from ..pages import page_href, page_path
    from ..transport import is_url

    if is_url(place):
        page = page_href(place)
        is_there = bool(page) and transport.ask(page, method="HEAD").status == HTTPStatus.OK
    else:
        page = page_path(place).absolute().as_uri()
        is_there = page_path(place).is_file()
    if not is_there:
        raise SourceError(
            place,
            f"has no page at {page or 'any address'}",
            expected="a page beside the reference file",
            todo="Its data node makes one with: esgvzarr pages DIR --url URL",
            code="source-none",
        )
    return page


def _proof_of(place: str, transport: Transport) -> str:
    """Return what is known of the proof: from the ledger of this machine, or from the page beside
    the references on a server.
    """
    from ..errors import StoreError, TransportError
    from ..link.attempt import kept_proof
    from ..link.ledger import Ledger
    from ..pages import page_href, proved_on
    from ..settings import read_settings
    from ..transport import is_url

    day = ""
    if is_url(place):
        with suppress(TransportError, ValueError):  # There is no page, or another program wrote it.
            answer = transport.ask(page_href(place))
            day = proved_on(answer.data) if answer.status == HTTPStatus.OK else ""
    else:
        with suppress(StoreError):
            report = kept_proof(Path(place), Ledger(read_settings(None).ledger))
            day = report.created[:10] if report is not None and report.passed else ""
    if day:
        return f"proved: compared with the NetCDF files on {day}, all checks passed"
    return (
        "proof: no record of one is known here; to compare with the NetCDF files: esgvzarr "
        f"verify {place}"
    )


def _print_facts(facts: PageFacts, place: str, proof: str) -> None:
    from ..pages.html import openings, size_text, summary_of

    print(facts.title, summary_of(facts), sep="\n")
    for facet, value in facts.facets.items():
        print(f"{facet}: {value}")
    group = ""
    for variable in facts.variables:
        if variable.group != group:
            group = variable.group
            print(f"group {group}:")
        sizes = " x ".join(map(str, variable.shape)) or "scalar"
        print(f"  {variable.name} ({', '.join(variable.dimensions)}) {sizes} {variable.units}")
    total = sum(file.size for file in facts.files)
    print(f"{len(facts.files)} files, {size_text(total)}; segments: {facts.segments or 1}")
    print(proof)
    print(f"\n{openings(facts, place)[0].code}")
