"""The verbs. Each takes a dataset through the rooms: scan, check, combine, prove, write, link.

The proof comes before the first byte is written under a public name, and the link after it is served.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import bridge
from .checks import check
from .combine import combine
from .errors import EsgvzarrError, ProofError, RefusedError, SettingsError, SourceError, TransportError
from .formats import check_served, scan
from .indexes import Index, LinkState, connect
from .ledger import Ledger
from .model import AccessLink, DatasetId, DatasetRecord, Entry, FileRecord, Finding, ReferenceFile, ReferenceSet, Report
from .outputs.kerchunk import encode
from .records import from_records
from .settings import Settings
from .store import remove_reference, write_reference
from .transport import Transport, host_of, is_url
from .verify import read_references, referenced_urls, verify

_log = logging.getLogger(__name__)
OPEN_KWARGS = {"engine": "kerchunk", "chunks": {}}
"""With these, ``xarray.open_dataset(href, **kwargs)`` opens a link."""
ROLES = ("data", "virtual", "references")
Progress = Callable[[str, str], None]
"""Told the dataset id and what is being done."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one dataset."""

    dataset_id: str
    verb: str
    state: str
    """``written``, ``linked``, ``pending`` (the index has not shown the link yet), ``refused`` or ``failed``."""
    detail: str
    code: str = ""
    """Stable error code; empty on success."""
    reference: ReferenceFile | None = None
    report: Report | None = None
    warnings: tuple[Finding, ...] = ()
    files: int = 0
    chunks: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in ("written", "linked")


def make_transport(settings: Settings) -> Transport:
    """A transport as the settings say."""
    return Transport(
        allowed_hosts=settings.allowed_hosts, timeout_s=settings.timeout_s, retries=settings.retries,
        connections=settings.connections, ca_bundle=settings.ca_bundle.expanduser() if settings.ca_bundle else None,
    )  # fmt: skip


def make_references(record: DatasetRecord, transport: Transport, *, read: str = "auto") -> ReferenceSet:
    """The references of a dataset, checked but not proved yet.

    Raises:
        RefusedError, FormatError, TransportError: the reason why there are none.
    """
    served = check_served(record.files, transport, read=read)
    return combine(check(scan(record.files, transport, read=read, served=served), str(record.id)), record.id)


def generate(
    record: DatasetRecord, directory: Path, transport: Transport, settings: Settings, *,
    href: str = "", force: bool = False, progress: Progress = lambda *_: None,
) -> Outcome:  # fmt: skip
    """Write the proved references of a dataset into ``directory``. No index is touched.

    Args:
        record: the dataset.
        directory: on this machine.
        transport: the hosts of the record's files must be allowed.
        settings: where to read from, how much to read back.
        href: public URL of the reference file, if it has one.
        force: replace other bytes under the same name.
        progress: told of each step.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    name = str(record.id)
    for file in record.files:
        transport.check_allowed(file.url)
    progress(name, f"scanning {len(record.files)} files")
    references = make_references(record, transport, read=settings.read)
    document = encode(references)
    progress(name, f"proving {references.chunk_count} chunks")
    report = prove(document, record, transport, settings, location=href or str(directory / f"{name}.json"))
    progress(name, f"writing {len(document)} bytes")
    reference = write_reference(document, directory, record.id, href=href, force=force)
    detail = f"{reference.path} {'written' if reference.written else 'was there already, with equal bytes'}"
    return Outcome(
        name, "generate", "written", detail, reference=reference, report=report, warnings=references.warnings,
        files=len(references.files), chunks=references.chunk_count,
    )  # fmt: skip


def prove(document: bytes, record: DatasetRecord, transport: Transport, settings: Settings, *, location: str) -> Report:
    """The report of a passed proof.

    Raises:
        ProofError: the references do not read back as the files do.
    """
    report = verify(
        document, _nearest(record.files, settings.read), transport, location=location, dataset_id=str(record.id),
        samples=settings.proof_samples, storage_options=storage_options(record.files, settings),
    )  # fmt: skip
    if not report.passed:
        first = "; ".join(f"{c.name} of {c.subject}: {c.detail}" for c in report.failures[:3])
        raise ProofError(
            str(record.id), f"{len(report.failures)} of {len(report.checks)} checks failed: {first}",
            expected="what the NetCDF files hold, value for value", todo="Nothing was published. Please report this as a bug.",
        )  # fmt: skip
    return report


def _nearest(files: Sequence[FileRecord], read: str) -> list[FileRecord]:
    """The files without paths that may not be used."""
    return [FileRecord(**{**asdict(file), "path": None}) for file in files] if read == "http" else list(files)


def storage_options(files: Sequence[FileRecord], settings: Settings) -> dict[str, Any]:
    """What the reader's side of the proof needs beyond the defaults: a private certificate authority."""
    if settings.ca_bundle is None or not any(file.url.startswith("https://") for file in files):
        return {}
    import ssl

    return {"remote_options": {"ssl": ssl.create_default_context(cafile=str(settings.ca_bundle.expanduser()))}}


def link(record: DatasetRecord, reference: ReferenceFile, index: Index, transport: Transport, settings: Settings) -> LinkState:
    """Let the index show the reference file, after a look at it as a user has it.

    Raises:
        TransportError, LinkError: no link was added.
    """
    _probe(reference, transport)
    return index.add_link(record.id, access_link(record, reference, settings))


def access_link(record: DatasetRecord, reference: ReferenceFile, settings: Settings) -> AccessLink:
    """The link to a reference file."""
    name = str(record.id)
    return AccessLink(
        href=reference.href, data_node=record.data_node, media_type=settings.media_type, roles=ROLES, size=reference.size,
        sha256=reference.sha256, open_kwargs=OPEN_KWARGS, local_path=f"{name.replace('.', '/')}/{name}.json",
    )  # fmt: skip


def _probe(reference: ReferenceFile, transport: Transport) -> None:
    """Fetch the reference file by its public URL."""
    if not is_url(reference.href):
        return
    served = read_references(reference.href, transport)
    if served != Path(reference.path).read_bytes():
        raise TransportError(
            reference.href, f"serves {len(served)} other bytes than {reference.path}", expected=f"its {reference.size} bytes",
            todo="Does `reference_url` serve `reference_dir`? A cache may hold an older file.", code="transport-not-served",
        )  # fmt: skip


def place(record: DatasetRecord, settings: Settings) -> tuple[Path, str]:
    """Where ``<DSID>.json`` is written, and its public URL.

    Raises:
        SettingsError: the files give no single directory, and none is set.
    """
    if settings.reference_dir is not None and settings.reference_url is not None:
        return settings.reference_dir.expanduser(), f"{settings.reference_url.rstrip('/')}/{record.id}.json"
    directories = {os.path.dirname(file.path) if file.path else None for file in record.files}
    prefixes = {file.url.rpartition("/")[0] for file in record.files}
    directory = directories.pop() if len(directories) == len(prefixes) == 1 else None
    if not directory:
        raise SettingsError(
            str(record.id), "its files lie in no single directory of this machine", expected="one directory for the reference file",
            todo="Set `reference_dir` and `reference_url`.", code="settings-reference-dir",
        )  # fmt: skip
    return Path(directory), f"{prefixes.pop()}/{record.id}.json"


def publish(
    record: DatasetRecord,
    index: Index,
    transport: Transport,
    settings: Settings,
    *,
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> Outcome:
    """Generate, prove, write and link one registered dataset.

    Raises:
        EsgvzarrError: no link was added. What this run wrote is removed, unless trying again later can finish it.
    """
    directory, href = place(record, settings)
    written = generate(record, directory, transport, settings, href=href, force=force, progress=progress)
    reference = written.reference
    assert reference is not None  # noqa: S101  (generate returns one or raises)
    progress(str(record.id), "linking")
    try:
        state = link(record, reference, index, transport, settings)
    except EsgvzarrError as error:
        if reference.written and not error.retryable and not force:
            remove_reference(reference.path)
        raise
    done = state in (LinkState.ADDED, LinkState.UNCHANGED)
    detail = f"{href} {'is shown by' if done else 'was sent to'} the index"
    return Outcome(
        written.dataset_id, "publish", "linked" if done else "pending", detail, "" if done else "index-pending",
        reference, written.report, written.warnings, written.files, written.chunks,
    )  # fmt: skip


def verify_published(
    target: str, sources: Sequence[str], transport: Transport, settings: Settings, *, full: bool = False
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
        ProofError, TransportError: there is nothing to compare.
    """
    location = target if is_url(target) or os.path.exists(target) else _href_of(target, settings)
    for named in filter(is_url, (location, *sources)):
        transport.allow(host_of(named))
    document = read_references(location, transport)
    files = _named_files(referenced_urls(document, location), sources)
    for file in files:
        transport.check_allowed(file.path or file.url)
    options = storage_options(files, settings)
    return verify(document, files, transport, location=location, samples=settings.proof_samples, full=full, storage_options=options)


def _href_of(dataset_id: str, settings: Settings) -> str:
    """Where the ledger says that the references of a dataset are."""
    asked = str(DatasetId.parse(dataset_id))
    hrefs = [kept.href for kept in Ledger(settings.ledger).entries(asked) if kept.href]
    if not hrefs:
        raise SourceError(
            asked, f"is not in the ledger {settings.ledger}", expected="a dataset that was generated or published from here",
            todo="Give the URL or path of its reference file.", code="source-not-in-ledger",
        )  # fmt: skip
    return hrefs[-1]


def _named_files(urls: Sequence[str], sources: Sequence[str]) -> list[FileRecord]:
    """The files to compare with: the operator's sources, under the URLs that the references know them by; else those URLs."""
    names: dict[str, list[str]] = {}
    for url in urls:
        names.setdefault(url.rsplit("/", 1)[-1], []).append(url)
    files = []
    for source in sources or urls:
        name = source.rsplit("/", 1)[-1]
        known = names.get(name, [])
        files.append(FileRecord(name, known[0] if len(known) == 1 else source, path=None if is_url(source) else source))
    return files


def failure(dataset_id: str, verb: str, error: EsgvzarrError) -> Outcome:
    """The outcome of a dataset that was not published."""
    return Outcome(dataset_id, verb, "refused" if isinstance(error, RefusedError) else "failed", str(error), error.code)


def entry(outcome: Outcome) -> Entry:
    """The outcome as the ledger keeps it."""
    report = json.dumps(asdict(outcome.report), sort_keys=True) if outcome.report else ""
    return Entry(
        outcome.dataset_id, outcome.verb, outcome.state, outcome.code, outcome.detail,
        outcome.reference.href if outcome.reference else "", report, datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def keep(outcome: Outcome, settings: Settings) -> None:
    """Write the outcome into the ledger; a ledger that cannot be written stands in nobody's way."""
    try:
        Ledger(settings.ledger).add(entry(outcome))
    except EsgvzarrError as error:
        _log.warning("%s", error)


def publish_with_esgcet(
    arguments: Sequence[str], settings: Settings, *, force: bool = False, progress: Progress = lambda *_: None
) -> tuple[int, list[Outcome]]:
    """Run the real esgpublish, and publish the references of each dataset that it registers.

    Args:
        arguments: of esgpublish, without the program's name.
        settings: from the same esg.yaml.
        force: replace reference files that hold other bytes.
        progress: told of each step.

    Returns:
        esgpublish's own exit status, and what became of each dataset.

    Raises:
        PublisherError, SettingsError: before esgpublish began.
    """
    bridge.check_config(bridge.config_path(arguments))
    outcomes: list[Outcome] = []

    def registered(registration: bridge.Registration) -> None:
        if registration.dry_run:
            outcomes.append(Outcome(registration.instance_id, "publish", "skipped", "dry run: nothing was written or linked"))
            return
        try:
            outcomes.append(_publish_registration(registration, settings, force=force, progress=progress))
        except EsgvzarrError as error:
            outcomes.append(failure(registration.instance_id, "publish", error))
        keep(outcomes[-1], settings)

    status = bridge.run_esgpublish(arguments, registered)
    return status, outcomes


def _publish_registration(registration: bridge.Registration, settings: Settings, *, force: bool, progress: Progress) -> Outcome:
    record = from_records(registration.records, paths=registration.paths)
    with make_transport(settings) as transport:
        transport.allow(record.data_node)
        index = _index_of(registration, transport, settings)
        return publish(record, index, transport, settings, force=force, progress=progress)


def _index_of(registration: bridge.Registration, transport: Transport, settings: Settings) -> Index:
    """The index in which esgcet registered the dataset."""
    config, wait_s = registration.config, settings.poll_timeout_s
    if registration.index_kind == "solr":
        node = str(registration.records[-1].get("index_node"))
        transport.allow(host_of(f"https://{node}"))
        certificate = bridge.client_certificate(config)
        return connect("solr", index_node=node, transport=transport, certificate=certificate, poll_timeout_s=wait_s)
    if registration.index_kind == "globus":
        return connect("globus", index_uuid=str(config.get("index_UUID")), poll_timeout_s=wait_s, retries=settings.retries)
    stac = config.get("stac_config") or {}
    api = str(stac.get("stac_api") or config.get("stac_api") or "")
    if is_url(api):
        transport.allow(host_of(api))
    client = bridge.TransactionClient(config)
    return connect("stac", api_url=api, client=client, transport=transport, poll_timeout_s=wait_s)


def catalogue(record: DatasetRecord, reference: ReferenceFile, directory: Path, settings: Settings) -> LinkState:
    """Show a reference file in a static STAC catalogue on disk."""
    index: Any = connect("catalog", directory=directory)
    index.add_dataset(record)
    return LinkState(index.add_link(record.id, access_link(record, reference, settings)))
