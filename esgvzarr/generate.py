"""Make references: stage and prove them, and only then move them to their places. No index is
touched.

``verify_published`` compares published references with their files, whatever tool wrote them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import EsgvzarrError
from .model import DatasetId, DatasetRecord, FileRecord, ReferenceFile, Report
from .outcome import Verb, Written
from .output.placing import plan_reference, write_reference
from .permissions import absolute
from .proof import read_artefact, referenced_urls, verify
from .stage import Place, Staged, Work, places_of, staging_places
from .stage import Progress as Progress
from .stage import Stager as Stager
from .stage import limits_of as limits_of
from .stage import make_references as make_references
from .stage import make_transport as make_transport
from .stage import reference_name as reference_name
from .stage import storage_options as storage_options
from .stage.apart import staged_apart
from .transport import Transport, host_of, is_url
from .workers import in_a_worker

if TYPE_CHECKING:
    from .pages import ProofOf
    from .settings import Settings  # pydantic costs a quarter of a second

_log = logging.getLogger(__name__)


def generate(
    record: DatasetRecord,
    directory: Path,
    transport: Transport,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
    progress: Progress = lambda *_: None,
    stager: Stager | None = None,
) -> Written:
    """Write the proved references of a dataset into ``directory``. No index is touched.

    Args:
        record: the dataset.
        directory: a directory of this machine.
        transport: reads the files; it must allow the hosts of the record's files.
        settings: the outputs, where files are read from, and how many samples the proof reads.
        href: public URL of the first output, if it has one. The other outputs lie beside it.
        force: replace a file of the same name that holds other bytes.
        progress: is told of each step.
        stager: does what ``stage`` does, in another process.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    with staging_places(record.id, directory, settings, href=href) as places:
        work = Work(record, places, settings)
        staged = stager(work) if stager else staged_apart(work, transport, progress=progress)
        progress(str(record.id), f"writing {', '.join(Path(one.path).name for one in places)}")
        made = place_staged(Verb.GENERATE, record.id, staged, places, force=force)
    if settings.pages:
        add_page(made, settings)
    return made


def add_page(made: Written, settings: Settings, proof_of: ProofOf = lambda _: None) -> None:
    """Write the pages of references that are served.

    A page that cannot be written is logged as a warning; the references stay valid without it.

    Args:
        made: the references, with their proofs.
        settings: say where the references are served.
        proof_of: finds the proof of references that an earlier run proved.
    """
    from .pages import renew_page  # Local references have no page.

    for reference, report in made.proved:
        href = reference.href if is_url(reference.href) else served_url(reference.path, settings)
        if not href:
            continue
        try:
            renew_page(reference.path, href, report, proof_of)
        except EsgvzarrError as error:
            _log.warning("%s has no page: %s", made.dataset_id, error)
        except Exception:  # noqa: BLE001  (a page says what strangers wrote in files)
            _log.exception("%s has no page; please report this as a bug", reference.path)


def index_pages(
    directory: Path, settings: Settings, proof_of: ProofOf = lambda _: None
) -> Path | None:
    """Write ``index.html`` for a served directory of references, and the pages that are missing.

    Returns:
        The path of ``index.html``. None if the directory is not served, holds no references, or
            cannot be written to, which is logged as a warning.

    Args:
        directory: a directory of references.
        settings: say where it is served.
        proof_of: finds the proof of references.
    """
    from .pages import write_pages

    url = served_url(directory, settings)
    if not (settings.pages and url and directory.is_dir()):
        return None
    try:
        return write_pages(directory, url, proof_of)[0]
    except EsgvzarrError as error:
        _log.warning("%s has no index.html: %s", directory, error)
        return None


def served_url(path: str | Path, settings: Settings) -> str:
    """Return the public URL of a path whose directory the settings serve; empty if it is not
    served.
    """
    served = dict(settings.data_paths)
    if settings.reference_dir is not None and settings.reference_url is not None:
        served[str(settings.reference_dir.expanduser())] = settings.reference_url
    for directory, prefix in served.items():
        if absolute(path).is_relative_to(directory):
            below = absolute(path).relative_to(directory).as_posix()
            return f"{prefix.rstrip('/')}/{below}".removesuffix("/.")
    return ""


def place_staged(
    verb: Verb,
    dataset_id: DatasetId | str,
    staged: Staged,
    places: Sequence[Place],
    *,
    force: bool = False,
) -> Written:
    """Move proved outputs to their places; keep an existing output that has the same content.

    Args:
        verb: what the user asked for, for the outcome.
        dataset_id: the dataset, or the name of a document.
        staged: the proved outputs.
        places: where each output is staged, and where it goes.
        force: replace an existing output that holds other bytes.

    Raises:
        StoreError: the output cannot be written, an output with other bytes exists, or the staged
            output changed after its proof.
    """
    # Check all outputs before the first one is placed.
    for proved, place in zip(staged.outputs, places, strict=True):
        plan_reference(Path(place.staged), place.path, force=force, sha256=proved.sha256)
    references = [
        write_reference(
            Path(place.staged), place.path, href=place.location, force=force, sha256=proved.sha256
        )
        for proved, place in zip(staged.outputs, places, strict=True)
    ]
    return Written(
        str(dataset_id),
        verb,
        ", ".join(map(_said_of, references)),
        reference=references[0],
        report=staged.outputs[0].report,
        others=tuple(references[1:]),
        other_reports=tuple(proved.report for proved in staged.outputs[1:]),
        warnings=staged.warnings,
        files=staged.files,
        chunks=staged.chunks,
    )


def _said_of(reference: ReferenceFile) -> str:
    state = "written" if reference.written else "existed already, with equal bytes"
    return f"{reference.path} {state}"


def plan_staged(
    staged: Staged, places: Sequence[Place], *, force: bool = False
) -> tuple[ReferenceFile, ...]:
    """Return the reference files that ``place_staged`` would leave. Nothing is touched.

    Raises:
        StoreError: an output with other bytes exists.
    """
    return tuple(
        plan_reference(
            Path(place.staged), place.path, href=place.location, force=force, sha256=proved.sha256
        )
        for proved, place in zip(staged.outputs, places, strict=True)
    )


def verify_published(
    target: str,
    sources: Sequence[str],
    transport: Transport,
    settings: Settings,
    *,
    full: bool = False,
) -> Report:
    """Compare any references with their NetCDF files.

    Args:
        target: URL or path of the references.
        sources: the files, by URL or path; if empty, the files that the references name.
        transport: reads the files; the hosts that ``target`` or ``sources`` name are allowed.
        settings: sample size, certificate authority.
        full: compare every value.

    Raises:
        ProofError: the target holds no references, or they refer to files or hosts that are not
            allowed.
        TransportError: the target or a file cannot be read.
        WorkerError: the process of the comparison died, or reached a limit of time or memory.
    """
    for named in filter(is_url, (target, *sources)):
        transport.allow(host_of(named), named=True)
    compare = partial(_compare, full=full)
    limits = limits_of(settings)
    return in_a_worker(compare, target, tuple(sources), transport, settings, limits=limits)


def _compare(
    target: str,
    sources: Sequence[str],
    transport: Transport,
    settings: Settings,
    *,
    full: bool,
) -> Report:
    """Do the work of `verify_published`; runs in a process of its own."""
    artefact = read_artefact(target, transport)
    urls = referenced_urls(artefact.contents, target, transport, sources)
    files = _named_files(urls, sources)
    transport.forget(places_of(files))
    return verify(
        artefact,
        files,
        transport,
        location=target,
        samples=settings.proof_samples,
        full=full,
        storage_options=storage_options(files, settings),
    )


def _named_files(urls: Sequence[str], sources: Sequence[str]) -> list[FileRecord]:
    """Return the files to compare with.

    These are the operator's sources, under the URLs by which the references name them; without
    sources, the URLs of the references.
    """
    names: dict[str, list[str]] = {}
    for url in urls:
        names.setdefault(url.rsplit("/", 1)[-1], []).append(url)
    files = []
    for source in sources or urls:
        name = source.rsplit("/", 1)[-1]
        known = names.get(name, [])
        files.append(
            FileRecord(
                name,
                known[0] if len(known) == 1 else source,
                path=None if is_url(source) else source,
            )
        )
    return files
