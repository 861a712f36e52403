"""Make references: scan, check, combine, prove, and only then write. No index is touched.

``verify_published`` looks again at what was made, by whomever.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .combine import combine
from .combine.overlaps import serve_once
from .combine.rules import check
from .errors import EsgvzarrError, ProofError, RefusedError, SourceError
from .formats import check_served, scan
from .link.ledger import DONE, Ledger
from .model import (
    DatasetId,
    DatasetRecord,
    Entry,
    FileRecord,
    Finding,
    ReferenceFile,
    ReferenceSet,
    Report,
)
from .output import DIRECTORIES, JSON, SUFFIXES, check_installed
from .output import write as write_output
from .output.kerchunk import encode
from .output.placing import plan_reference, staging, write_reference, writing
from .proof import Counted, read_references, referenced_urls, through_of, verify
from .transport import Transport, host_of, is_url

if TYPE_CHECKING:
    from .settings import (
        # pydantic costs a quarter of a second, which programs that only make references need not
        # pay
        Settings,
    )

_log = logging.getLogger(__name__)
Progress = Callable[[str, str], None]
"""Told the dataset id and what is being done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one dataset."""

    dataset_id: str
    verb: str
    state: str
    """``written``, ``linked``, ``pending`` (the index has not shown the change yet), ``absent`` (it
    does not show the dataset), ``withdrawn``, ``deleted``, ``queued`` (to be linked anew),
    ``refused``, ``failed``, ``skipped`` or ``planned`` (in a dry run).
    """
    detail: str
    code: str = ""
    """Stable error code; empty on success."""
    reference: ReferenceFile | None = None
    report: Report | None = None
    warnings: tuple[Finding, ...] = ()
    files: int = 0
    chunks: int = 0
    retryable: bool = False
    """Whether trying again later can help."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in DONE


@dataclass(frozen=True, slots=True)
class Prepared:
    """The proved references of a dataset, to be written; made in this process or in another."""

    document: bytes
    report: Report
    warnings: tuple[Finding, ...]
    files: int
    chunks: int


Preparer = Callable[[DatasetRecord, str], Prepared]
"""The dataset, and the location under which its references will be read, to what is to be written
there; or raises.
"""


def make_transport(settings: Settings) -> Transport:
    """A transport as the settings say. Whatever host they name may be fetched from."""
    prefixes = filter(None, (settings.reference_url, *settings.data_paths.values()))
    return Transport(
        allowed_hosts=(*settings.allowed_hosts, *map(host_of, prefixes)),
        timeout_s=settings.timeout_s,
        retries=settings.retries,
        connections=settings.connections,
        connections_at_first=settings.connections_at_first,
        ca_bundle=settings.ca_bundle.expanduser() if settings.ca_bundle else None,
    )


def make_references(
    record: DatasetRecord, transport: Transport, *, read: str = "auto"
) -> ReferenceSet:
    """The references of a dataset, checked but not proved yet.

    Raises:
        RefusedError, FormatError, TransportError: the reason why there are none.
    """
    served = check_served(record.files, transport, read=read)
    scanned = scan(record.files, transport, read=read, served=served)
    return combine(
        check(scanned, str(record.id), partial(serve_once, transport=transport, read=read)),
        record.id,
    )


def generate(
    record: DatasetRecord,
    directory: Path,
    transport: Transport,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
    progress: Progress = lambda *_: None,
    preparer: Preparer | None = None,
) -> Outcome:
    """Write the proved references of a dataset into ``directory``. No index is touched.

    Args:
        record: the dataset.
        directory: on this machine.
        transport: the hosts of the record's files must be allowed.
        settings: where to read from, how much to read back.
        href: public URL of the reference file, if it has one.
        force: replace other bytes under the same name.
        progress: told of each step.
        preparer: does what ``prepare`` does, in another process.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    name = str(record.id)
    path = directory / reference_name(record.id, settings)
    location = href or str(path)
    made = (
        preparer(record, location)
        if preparer
        else prepare(record, location, transport, settings, progress=progress)
    )
    progress(name, f"writing {path.name}")
    return write_prepared("generate", record.id, made, directory, settings, href=href, force=force)


def write_prepared(
    verb: str,
    dataset_id: DatasetId | str,
    made: Prepared,
    directory: Path,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
) -> Outcome:
    """Write what was proved; a file that says the same already stays.

    Raises:
        StoreError: it cannot be written, or other bytes are there.
    """
    path = directory / reference_name(dataset_id, settings)
    with staging(path) as staged:
        with writing(path):
            write_output(settings.output, made.document, staged, path)
        reference = write_reference(staged, path, href=href, force=force)
    warnings = (*made.warnings, *_advice(made.chunks, reference.path, settings))
    detail = (
        f"{reference.path} "
        f"{'written' if reference.written else 'was there already, with equal bytes'}"
    )
    return Outcome(
        str(dataset_id),
        verb,
        "written",
        detail,
        reference=reference,
        report=made.report,
        warnings=warnings,
        files=made.files,
        chunks=made.chunks,
    )


def reference_name(dataset_id: DatasetId | str, settings: Settings) -> str:
    """``<DSID>.json``, or what the setting ``output`` makes of it."""
    return f"{dataset_id}{SUFFIXES[settings.output]}"


def plan_prepared(
    dataset_id: DatasetId | str,
    made: Prepared,
    directory: Path,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
) -> ReferenceFile:
    """What ``write_prepared`` would leave there. Nothing is touched.

    Raises:
        StoreError: other bytes are there.
    """
    path = directory / reference_name(dataset_id, settings)
    with staging(path, aside=True) as staged:
        write_output(settings.output, made.document, staged, path)
        return plan_reference(staged, path, href=href, force=force)


def prepare(
    record: DatasetRecord,
    location: str,
    transport: Transport,
    settings: Settings,
    *,
    progress: Progress = lambda *_: None,
) -> Prepared:
    """All of ``generate`` but the writing. It reads the dataset's files, and nothing else.

    Args:
        location: URL or path under which the references will be read.

    Raises:
        EsgvzarrError: the reason why there are none.
    """
    name = str(record.id)
    check_installed(settings.output)
    for file in record.files:
        transport.check_allowed(file.url)
    transport.forget(_places(record.files))
    progress(name, f"scanning {len(record.files)} files")
    references = make_references(record, transport, read=settings.read)
    return encode_proved(references, record.files, location, transport, settings, progress=progress)


def _places(files: Sequence[FileRecord]) -> list[str]:
    """Wherever files may be read."""
    return [place for file in files for place in (file.url, file.path) if place]


def encode_proved(
    references: ReferenceSet,
    files: Sequence[FileRecord],
    location: str,
    transport: Transport,
    settings: Settings,
    *,
    progress: Progress,
) -> Prepared:
    """The bytes to write for references to ``files``, and the passed proof of them.

    Raises:
        ProofError: the references do not read back as the files do.
    """
    document = encode(references)
    name = str(references.id)
    progress(name, f"proving {references.chunk_count} chunks")
    counted = _counted(references)
    if settings.output == JSON:
        report = prove(
            document, name, files, transport, settings, location=location, counted=counted
        )
    else:
        with staging(reference_name(name, settings), aside=True) as staged:
            write_output(settings.output, document, staged)
            report = prove(
                document,
                name,
                files,
                transport,
                settings,
                location=location,
                counted=counted,
                through=str(staged),
            )
    return Prepared(
        document, report, references.warnings, len(references.files), references.chunk_count
    )


def _advice(chunks: int, path: str, settings: Settings) -> Iterator[Finding]:
    """What is right, and yet slow to open."""
    if chunks > settings.many_chunks and settings.output not in DIRECTORIES:
        yield Finding(
            "chunks-many",
            0,
            path,
            f"at most {settings.many_chunks} chunks",
            str(chunks),
            "Readers load the whole file to open it; set `output: parquet`.",
            refuse=False,
        )


def generate_all(
    records: Sequence[DatasetRecord],
    directory: Path,
    settings: Settings,
    *,
    executor: Executor | None = None,
    force: bool = False,
) -> Iterator[Outcome]:
    """Write the references of many datasets, several at once; one that fails does not stop the
    others.

    Args:
        records: the datasets; each one's own data node may be fetched from.
        directory: on this machine, and on the executor's workers.
        settings: as for ``generate``.
        executor: one dataset a task: ``ProcessPoolExecutor``, or a Dask client's
            ``get_executor()``. Default: one after the other.
        force: replace other bytes under the same name.

    Yields:
        One outcome per record, in the order of the records; the caller keeps them.
    """
    work = partial(_generate_one, directory=directory, settings=settings, force=force)
    yield from executor.map(work, records) if executor else map(work, records)


def _generate_one(
    record: DatasetRecord, *, directory: Path, settings: Settings, force: bool
) -> Outcome:
    try:
        with make_transport(settings) as transport:
            transport.allow(record.data_node)
            return generate(record, directory, transport, settings, force=force)
    except EsgvzarrError as error:
        return failure(str(record.id), "generate", error)


def _counted(references: ReferenceSet) -> dict[str, dict[str, Counted]]:
    """The chunks of each file as the scan found them, which libhdf5 has counted then; but of files
    that are shown in part.
    """
    return {
        file.file.url: {
            name: (len(v.chunks) + len(v.inline), int(v.chunks.sizes.sum()), bool(v.codecs))
            for name, v in file.variables.items()
        }
        for file in references.files
        if file.format == "hdf5" and not file.repeated
    }


def prove(
    document: bytes,
    name: str,
    files: Sequence[FileRecord],
    transport: Transport,
    settings: Settings,
    *,
    location: str,
    counted: Mapping[str, Mapping[str, Counted]] | None = None,
    through: str = "",
) -> Report:
    """The report of a passed proof.

    Raises:
        ProofError: the references do not read back as the files do.
        TransportError: they do not, for the data node does not answer as it should.
    """
    try:
        report = verify(
            document,
            _nearest(files, settings.read),
            transport,
            location=location,
            dataset_id=name,
            samples=settings.proof_samples,
            storage_options=storage_options(files, settings),
            counted=counted,
            through=through,
        )
    except ProofError:
        _check_answers(files, transport)
        raise
    if not report.passed:
        _check_answers(files, transport)
        first = "; ".join(f"{c.name} of {c.subject}: {c.detail}" for c in report.failures[:3])
        raise ProofError(
            name,
            f"{len(report.failures)} of {len(report.checks)} checks failed: {first}",
            expected="what the NetCDF files hold, value for value",
            todo="Nothing was published. Please report this as a bug.",
        )
    return report


def _check_answers(files: Sequence[FileRecord], transport: Transport) -> None:
    """Whether not the references are to blame, but the data node: fsspec does not tell a busy
    server from a missing file.
    """
    transport.read_heads([file.url for file in files if is_url(file.url)], 1)


def _nearest(files: Sequence[FileRecord], read: str) -> list[FileRecord]:
    """The files without paths that may not be used."""
    return [replace(file, path=None) for file in files] if read == "http" else list(files)


def storage_options(files: Sequence[FileRecord], settings: Settings) -> dict[str, Any]:
    """What the reader's side of the proof needs beyond the defaults: a private certificate
    authority.
    """
    if settings.ca_bundle is None or not any(file.url.startswith("https://") for file in files):
        return {}
    import ssl

    return {
        "remote_options": {
            "ssl": ssl.create_default_context(cafile=str(settings.ca_bundle.expanduser()))
        }
    }


def verify_published(
    target: str,
    sources: Sequence[str],
    transport: Transport,
    settings: Settings,
    *,
    full: bool = False,
) -> Report:
    """Compare any kerchunk reference file with its NetCDF files.

    Args:
        target: URL or path of the reference file, or a dataset id that the ledger knows.
        sources: the files, by URL or path; those that the references name if empty.
        transport: hosts that ``target`` or ``sources`` name are allowed.
        settings: sample size, certificate authority, ledger.
        full: compare every value.

    Raises:
        SourceError: the ledger does not know the dataset.
        ProofError, TransportError: there is nothing to compare, or the references lead where they
            may not.
    """
    location = target if is_url(target) or os.path.exists(target) else _href_of(target, settings)
    for named in filter(is_url, (location, *sources)):
        transport.allow(host_of(named), named=True)
    document = read_references(location, transport)
    files = _named_files(referenced_urls(document, location, transport, sources), sources)
    transport.forget(_places(files))
    return verify(
        document,
        files,
        transport,
        location=location,
        samples=settings.proof_samples,
        full=full,
        storage_options=storage_options(files, settings),
        through=through_of(location),
    )


def _href_of(dataset_id: str, settings: Settings) -> str:
    """Where the ledger says that the references of a dataset are."""
    asked = str(DatasetId.parse(dataset_id))
    hrefs = [kept.href for kept in Ledger(settings.ledger).entries(asked) if kept.href]
    if not hrefs:
        raise SourceError(
            asked,
            f"is not in the ledger {settings.ledger}",
            expected="a dataset that was generated or published from here",
            todo="Give the URL or path of its reference file.",
            code="source-not-in-ledger",
        )
    return hrefs[-1]


def _named_files(urls: Sequence[str], sources: Sequence[str]) -> list[FileRecord]:
    """The files to compare with: the operator's sources, under the URLs that the references know
    them by; else those URLs.
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


def failure(dataset_id: str, verb: str, error: EsgvzarrError) -> Outcome:
    """The outcome of a dataset that was not published."""
    state = "refused" if isinstance(error, RefusedError) else "failed"
    return Outcome(dataset_id, verb, state, str(error), error.code, retryable=error.retryable)


def entry(outcome: Outcome) -> Entry:
    """The outcome as the ledger keeps it."""
    report = json.dumps(asdict(outcome.report), sort_keys=True) if outcome.report else ""
    reference = outcome.reference
    return Entry(
        outcome.dataset_id,
        outcome.verb,
        outcome.state,
        outcome.code,
        outcome.detail,
        reference.href if reference else "",
        report,
        datetime.now(UTC).isoformat(timespec="seconds"),
        step="done",
        retryable=outcome.retryable,
        path=reference.path if reference else "",
        sha256=reference.sha256 if reference else "",
    )


def keep(outcome: Outcome, settings: Settings) -> None:
    """Write the outcome into the ledger; a ledger that cannot be written stands in nobody's way."""
    try:
        Ledger(settings.ledger).add(entry(outcome))
    except EsgvzarrError as error:
        _log.warning("%s", error)
