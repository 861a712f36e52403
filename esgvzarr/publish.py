"""Publish references: generate, then link; with esgcet, or for a dataset that is registered already.

The link comes after the reference file is served. No link ever points at nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import bridge
from .errors import EsgvzarrError, SettingsError, TransportError
from .generate import Outcome, Progress, failure, generate, keep, make_transport
from .indexes import Index, LinkState, connect
from .model import AccessLink, DatasetRecord, ReferenceFile
from .records import from_records
from .settings import Settings
from .store import remove_reference
from .transport import Transport, host_of, is_url
from .verify import read_references

OPEN_KWARGS = {"engine": "kerchunk", "chunks": {}}
"""With these, ``xarray.open_dataset(href, **kwargs)`` opens a link."""
ROLES = ("data", "virtual", "references")


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
        options = {"index_node": node, "transport": transport, "certificate": bridge.client_certificate(config)}
        return connect("solr", **options, poll_timeout_s=wait_s, registered=registration.sent)
    if registration.index_kind == "globus":
        options = {"index_uuid": str(config.get("index_UUID")), "retries": settings.retries}
        return connect("globus", **options, poll_timeout_s=wait_s, registered=registration.sent)
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
