"""Make references: scan, check, combine, prove, and only then write. No index is touched.

``verify_published`` looks again at what was made, by whomever.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .combine import combine
from .combine.overlaps import serve_once
from .combine.rules import check
from .errors import ProofError
from .formats import check_served, scan
from .model import (
    DatasetId,
    DatasetRecord,
    FileRecord,
    Finding,
    ReferenceFile,
    ReferenceSet,
    Report,
)
from .outcome import Verb, Written
from .output import DIRECTORIES, JSON, SUFFIXES, check_installed, kerchunk, reading_of
from .output import write as write_output
from .output.kerchunk import encode
from .output.placing import plan_reference, staging, write_reference, writing
from .proof import DECODED, Counted, read_references, referenced_urls, through_of, verify
from .transport import Transport, host_of, is_url
from .workers import Limits

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


def limits_of(settings: Settings) -> Limits:
    """What the scan and the proof of one dataset may take."""
    return Limits(settings.worker_time_s, settings.worker_memory_mib)


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
        check(
            scanned,
            str(record.id),
            partial(serve_once, transport=transport, read=read),
            dataset_id=str(record.id),
        ),
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
) -> Written:
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
    return write_prepared(
        Verb.GENERATE, record.id, made, directory, settings, href=href, force=force
    )


def write_prepared(
    verb: Verb,
    dataset_id: DatasetId | str,
    made: Prepared,
    directory: Path,
    settings: Settings,
    *,
    href: str = "",
    force: bool = False,
) -> Written:
    """Write what was proved; a file that says the same already stays.

    Raises:
        StoreError: it cannot be written, or other bytes are there.
    """
    path = directory / reference_name(dataset_id, settings)
    with staging(path) as staged:
        with writing(path):
            write_output(settings.output, made.document, staged, path)
        reference = write_reference(staged, path, href=href, force=force)
    warnings = (*made.warnings, *_advice(made, reference.path, settings))
    detail = (
        f"{reference.path} "
        f"{'written' if reference.written else 'was there already, with equal bytes'}"
    )
    return Written(
        str(dataset_id),
        verb,
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


def _advice(made: Prepared, path: str, settings: Settings) -> Iterator[Finding]:
    """What is right, and yet not what every reader opens at once."""
    segments = reading_of(kerchunk.provenance(made.document)).segments
    if segments:
        yield Finding(
            "segments",
            2,
            path,
            "files that form one array",
            f"{segments} segments",
            'Readers open it with engine="esgvzarr"; stock xarray shows an empty root that says '
            "so. See what `esgvzarr inspect` says of the files.",
            refuse=False,
        )
    if made.chunks > settings.many_chunks and settings.output not in DIRECTORIES:
        yield Finding(
            "chunks-many",
            0,
            path,
            f"at most {settings.many_chunks} chunks",
            str(made.chunks),
            "Readers load the whole file to open it; set `output: parquet`.",
            refuse=False,
        )


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
        if {check.name for check in report.failures} == {DECODED}:
            raise ProofError(
                name,
                f"{report.failures[0].subject}: {report.failures[0].detail}",
                expected="a dataset that stock xarray decodes",
                todo="Correct the attribute of the files that it stumbles over.",
                code="proof-not-decoded",
            )
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
        target: URL or path of the reference file.
        sources: the files, by URL or path; those that the references name if empty.
        transport: hosts that ``target`` or ``sources`` name are allowed.
        settings: sample size, certificate authority.
        full: compare every value.

    Raises:
        ProofError, TransportError: there is nothing to compare, or the references lead where they
            may not.
    """
    for named in filter(is_url, (target, *sources)):
        transport.allow(host_of(named), named=True)
    document = read_references(target, transport)
    files = _named_files(referenced_urls(document, target, transport, sources), sources)
    transport.forget(_places(files))
    return verify(
        document,
        files,
        transport,
        location=target,
        samples=settings.proof_samples,
        full=full,
        storage_options=storage_options(files, settings),
        through=through_of(target),
    )


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
