"""Pages for people: ``<DSID>.html`` beside a reference file, and ``index.html`` for a directory.

A page says what the dataset is, how to open it and what was proved. It draws a map and a time
series in the browser, from the references. It is one file; its script is built from ``web/``.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from ..directories import exists, named_below
from ..errors import (
    EsgvzarrError,
    ProofError,
    SettingsError,
    SourceError,
    StoreError,
    TransportError,
)
from ..model import Report
from ..output import is_json, is_stock_json, of_place, protocol_of, provenance_at, suffixes
from ..output.disk_errors import writing
from ..output.parts import measure
from ..output.placing import remove_leftovers, staging
from ..output.protocol import UNREADABLE
from ..transport import Transport
from ..transport.paths import path_error
from .facts import AnotherDocumentError, PageFacts, ProofFacts, facts_of, read_facts
from .html import LISTED, dataset_page, directory_page
from .trees import OpenedTree, hosts_of

_log = logging.getLogger(__name__)

SUFFIX = ".html"
INDEX = "index.html"
_REFERENCE_SUFFIX = ".json"
MOST_BYTES = 128 * 2**20
"""The largest reference file that gets a page, in bytes."""
_HEAD = 256 * 1024
"""The entry for the directory's page stands in this many bytes at the beginning of a page."""
_ENTRY = re.compile(rb'<script type="application/json" id="entry">(.*?)</script>', re.DOTALL)


ProofOf = Callable[[Path], Report | None]
"""Returns the proof of the references at a path; None if no proof of these bytes was kept."""
LeftOut = Callable[[EsgvzarrError], None]
"""Is told why a dataset is not listed."""


def page_path(reference: str | os.PathLike[str]) -> Path:
    """Return the path of the page of references, beside them."""
    path = Path(reference)
    return path.with_name(path.name.removesuffix(_REFERENCE_SUFFIX) + SUFFIX)


def page_href(href: str) -> str:
    """Return the URL of the page of references; empty for a path."""
    if "://" not in href:
        return ""
    return href.rstrip("/").removesuffix(_REFERENCE_SUFFIX) + SUFFIX


def write_page(
    reference: str | os.PathLike[str], href: str = "", report: Report | None = None
) -> Path:
    """Write the page of references beside them, and replace an existing page.

    Args:
        reference: path of ``<DSID>.json``, or of another output.
        href: its public URL; empty if it is not served.
        report: its proof; without it, the page keeps what the existing page states about a proof of
            the same bytes.

    Raises:
        SourceError: it is not a reference file by esgvzarr, or too large for a browser.
        StoreError: the page cannot be written.
        TransportError: the references cannot be read.
    """
    path = Path(reference)
    _check_size(path)
    if is_stock_json(path.name):
        with _reading(path):
            document = path.read_bytes()
        facts = read_facts(document, str(path), report)
        sha256 = hashlib.sha256(document).hexdigest()
    else:
        facts = _facts_of_output(path, report)
        _, sha256 = measure(path)
    facts = replace(facts, proof=_proof_of_bytes(path, sha256, facts.proof))
    return _put(page_path(path), dataset_page(facts, href, path.name, _page_with_map(path)))


def _proof_of_bytes(path: Path, sha256: str, proof: ProofFacts | None) -> ProofFacts | None:
    """Return a proof with the hash of the references, or the one that their page states about
    references with this hash.
    """
    if proof is not None:
        return replace(proof, sha256=sha256)
    page = page_path(path)
    if not page.is_file():
        return None
    with _reading(page):
        said = _entry_of(page) or {}
    match said:
        case {
            "proved": str(created),
            "proof": {"sha256": of, "checks": int(n), "tools": str(tools)},
        }:
            return ProofFacts(created, n, tools, sha256) if of == sha256 else None
    return None


def _check_size(path: Path) -> None:
    """Check that a browser can load the reference file, which the page's script reads.

    Raises:
        SourceError: it is too large.
        TransportError: it does not exist.
    """
    with _reading(path):
        size = path.stat().st_size
    if is_json(path.name) and size > MOST_BYTES:
        raise SourceError(
            str(path),
            f"has {size} bytes, which a browser would have to load",
            expected=f"at most {MOST_BYTES}",
            todo="It gets no page; the references are valid without one.",
        )


def _facts_of_output(path: Path, report: Report | None) -> PageFacts:
    """Return the facts about an output that is not a kerchunk document of Zarr version 2."""
    output = of_place(path.name)
    try:
        provenance = provenance_at(path)
        with Transport(allowed_hosts=hosts_of(path)) as transport:
            artefact = output.read(str(path), transport)
            tree = OpenedTree(artefact, output.storage_options(protocol_of(provenance)))
            return facts_of(tree, provenance, str(path), report)
    except (*UNREADABLE, ProofError, TransportError, SettingsError) as error:
        raise SourceError(
            str(path),
            f"cannot be opened: {error}",
            expected=f"the output {output.name} of esgvzarr",
            todo="It gets no page; the references are valid without one.",
            code="source-not-references",
        ) from error


def _page_with_map(path: Path) -> str:
    """Return the name of the page of the JSON that lies beside an output; empty if there is
    none.
    """
    if is_json(path.name):
        return ""
    beside = path.with_name(path.name.removesuffix(of_place(path.name).suffix) + _REFERENCE_SUFFIX)
    return page_path(beside).name if beside.is_file() else ""


def renew_page(
    reference: str | os.PathLike[str],
    href: str = "",
    report: Report | None = None,
    proof_of: ProofOf = lambda _: None,
) -> Path:
    """Write the page of references if it is missing or outdated: older than they are, with another
    URL, or without the proof or the link to the page beside it that draws the map.

    Args:
        reference: path of ``<DSID>.json``, or of another output.
        href: its public URL; if empty, the URL in the existing page.
        report: its proof.
        proof_of: finds the proof, if there is no report.

    Returns:
        The path of the page.

    Raises:
        SourceError: it is not a reference file by esgvzarr, or too large for a browser.
        StoreError: the page cannot be written, or the proof cannot be read.
        TransportError: the references cannot be read.
    """
    path = Path(reference)
    page = page_path(path)
    if not _is_newer(page, path):
        write_page(path, href, report or proof_of(path))
        return page
    said = _entry_of(page)
    if said is None:
        return page  # esgvzarr did not make this page.
    known = said.get("href", "")
    is_changed = said.get("page_with_map", "") != _page_with_map(path)
    is_outdated = is_changed or (bool(href) and known != href)
    if is_outdated or not said.get("proved"):
        report = report or proof_of(path)
        if is_outdated or report is not None:
            write_page(path, href or known, report)
    return page


def _is_newer(page: Path, reference: Path) -> bool:
    with _reading(reference):
        return page.is_file() and page.stat().st_mtime >= reference.stat().st_mtime


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Translate errors of the file system inside the block.

    Raises:
        TransportError: the file system refuses an operation.
    """
    try:
        yield
    except OSError as error:
        raise path_error(str(path), error) from error


def remove_page(reference: str | os.PathLike[str]) -> bool:
    """Delete the page of a reference file; return False if there was none."""
    path = page_path(reference)
    remove_leftovers(path)
    if not path.is_file():
        return False
    with writing(path):
        path.unlink(missing_ok=True)
    return True


def renew_beside(reference: str | os.PathLike[str], proof_of: ProofOf = lambda _: None) -> None:
    """Renew the pages of the outputs that lay beside a reference file that was removed: they lead
    to its page. One that cannot be renewed is logged as a warning.

    Args:
        reference: path of what was removed.
        proof_of: finds the proofs of the others.
    """
    path = Path(reference)
    dataset = path.name.removesuffix(of_place(path.name).suffix)
    for suffix in suffixes():
        other = path.with_name(dataset + suffix)
        if other.exists() and page_path(other).is_file():
            try:
                renew_page(other, proof_of=proof_of)
            except EsgvzarrError as error:
                _log.warning("the page of %s may lead to one that is gone: %s", other, error)


def _log_left_out(error: EsgvzarrError) -> None:
    _log.warning("left out: %s", error)


def write_pages(
    directory: str | os.PathLike[str],
    url: str = "",
    proof_of: ProofOf = lambda _: None,
    left_out: LeftOut = _log_left_out,
) -> tuple[Path, int]:
    """Write the missing pages below a directory, and its ``index.html``.

    Args:
        directory: a directory that holds reference files, at any depth.
        url: public URL of the directory; empty if it is not served.
        proof_of: finds the proof of a reference file.
        left_out: is told of each damaged reference file, and of others that get no page.

    Returns:
        The path of ``index.html``, and the number of datasets that it lists.

    Raises:
        SourceError: the directory does not exist, or holds no reference files that can be listed.
        StoreError: a page cannot be written there.
    """
    root = Path(directory)
    _check_directory(root)
    entries: dict[Path, dict[str, Any]] = {}
    reasons: list[EsgvzarrError] = []

    def leave_out(error: EsgvzarrError) -> None:
        reasons.append(error)
        left_out(error)

    for reference in named_below(root, suffixes(), leave_out):
        below = reference.relative_to(root).as_posix()
        href = f"{url.rstrip('/')}/{below}" if url else ""
        try:
            page = renew_page(reference, href, proof_of=proof_of)
            entry = _listed(page)
        except AnotherDocumentError as error:
            _log.info("no page: %s", error)
            continue
        except EsgvzarrError as error:
            if error.blocks_all:
                raise
            leave_out(error)
            continue
        dataset = reference.with_name(reference.name.removesuffix(of_place(reference.name).suffix))
        if dataset not in entries or is_stock_json(reference.name):
            entries[dataset] = {**entry, "page": page.relative_to(root).as_posix()}
    if not entries:
        raise _nothing_to_list(root, len(reasons))
    in_order = sorted(entries.values(), key=lambda entry: str(entry["id"]))
    return _put(root / INDEX, directory_page(in_order, root.resolve().name)), len(in_order)


def _check_directory(root: Path) -> None:
    """Check that a directory exists.

    Raises:
        SourceError: it does not.
    """
    if exists(root) and root.is_dir():
        return
    raise SourceError(
        str(root),
        "is not a directory" if root.exists() else "does not exist",
        expected="a directory that holds reference files",
        todo="Check the path.",
        code="source-none",
    )


def _listed(page: Path) -> dict[str, Any]:
    """Return what the page of a directory takes from a dataset's page.

    Raises:
        StoreError: the page is damaged, or esgvzarr did not write it.
        TransportError: it cannot be read.
    """
    with _reading(page):
        entry = _entry_of(page)
    if entry is None or not entry.keys() >= set(LISTED):
        raise StoreError(
            str(page),
            "does not say which dataset it shows",
            expected="a page that esgvzarr wrote",
            todo="If the file is not needed, remove it, and run esgvzarr pages again.",
            code="store-bytes-differ",
        )
    return {name: entry[name] for name in LISTED}


def _nothing_to_list(root: Path, left_out: int) -> SourceError:
    found = "holds no reference files"
    todo = "Make some with esgvzarr generate."
    if left_out:
        found += f" that can be listed: {left_out} left out"
        todo = "Make the named files again with esgvzarr generate."
    return SourceError(
        str(root),
        found,
        expected="<DSID>.json files that esgvzarr wrote",
        todo=todo,
        code="source-none",
    )


def proved_on(page: bytes) -> str:
    """Return the day of the proof, as a page states it; empty if it states none."""
    entry = _entry_in(page)
    return str(entry.get("proved", ""))[:10] if entry else ""


def _entry_of(page: Path) -> dict[str, Any] | None:
    """Return the entry of a page by esgvzarr for the page of its directory; None for other or
    damaged pages.
    """
    with page.open("rb") as file:
        return _entry_in(file.read(_HEAD))


def _entry_in(page: bytes) -> dict[str, Any] | None:
    found = _ENTRY.search(page)
    if found is None:
        return None
    try:
        return dict(orjson.loads(found[1]))
    except (ValueError, TypeError):
        return None


def _put(path: Path, text: str) -> Path:
    with staging(path) as staged, writing(path):
        staged.write_text(text, encoding="utf-8")
        staged.chmod(0o644)
        os.replace(staged, path)
    return path
