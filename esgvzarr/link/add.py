"""Add the link to the references of one registered dataset to an index."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from ..errors import EsgvzarrError, SettingsError, TransportError
from ..generate import reference_name
from ..indexes import Index, LinkState, connect
from ..model import AccessLink, DatasetRecord, ReferenceFile
from ..outcome import Linked, Pending, Verb, Written
from ..output import Reading, of_place, provenance_at, reading_of
from ..output.parts import parts_of
from ..output.placing import remove_reference
from ..output.protocol import KERCHUNK_TYPE
from ..pages import page_href, page_path, remove_page, renew_beside
from ..permissions import absolute
from ..settings import Settings
from ..transport import Transport, is_url

_log = logging.getLogger(__name__)


def link(
    record: DatasetRecord,
    reference: ReferenceFile,
    index: Index,
    transport: Transport,
    settings: Settings,
) -> LinkState:
    """Add the link to the reference file to the index, after fetching the file as a user would.

    Args:
        record: the dataset.
        reference: its reference file, which is served.
        index: the index that gets the link.
        transport: fetches the reference file.
        settings: the media type of the link, and whether pages are made.

    Raises:
        TransportError, LinkError: no link was added.
    """
    _probe(reference, transport)
    return index.add_link(record.id, access_link(record, reference, settings))


def access_link(
    record: DatasetRecord,
    reference: ReferenceFile,
    settings: Settings,
    reading: Reading | None = None,
) -> AccessLink:
    """Make the link to a reference file.

    Args:
        record: the dataset.
        reference: the file.
        settings: the media type.
        reading: advice for readers, if the references are not written yet.
    """
    output = of_place(reference.href)
    protocol = record.files[0].url.partition("://")[0]
    media_type = output.media_type
    if media_type == KERCHUNK_TYPE:
        media_type = settings.media_type
    is_planned = reading is not None and settings.pages
    advice = reading or reading_of(_provenance_of(reference))
    has_page = is_planned or page_path(reference.path).is_file()
    return AccessLink(
        href=reference.href,
        data_node=record.data_node,
        roles=output.roles,
        media_type=media_type,
        size=0 if output.directory else reference.size,
        sha256="" if output.directory else reference.sha256,
        open_kwargs=output.open_kwargs(protocol, advice),
        local_path=f"{str(record.id).replace('.', '/')}/{record.id}{output.suffix}",
        asset_key=output.asset_key,
        page=page_href(reference.href) if has_page else "",
        layout=advice.layout,
    )


def _provenance_of(reference: ReferenceFile) -> dict[str, Any]:
    """Return the provenance in a reference file; empty if the file does not exist, or esgvzarr did
    not write it.
    """
    path = Path(reference.path)
    if not path.exists():
        return {}
    try:
        return provenance_at(path)
    except (OSError, ValueError, KeyError) as error:
        _log.warning("%s does not say how it is read: %s", path, error)
        return {}


def _probe(reference: ReferenceFile, transport: Transport) -> None:
    """Fetch the reference file and its side file, or each file of its directory, by its public URL,
    and compare the bytes.
    """
    if not is_url(reference.href):
        return
    path = Path(reference.path)
    for file in parts_of(path):
        below = file.relative_to(path.parent).as_posix()
        href = reference.href.removesuffix(path.name) + below
        written = file.read_bytes()
        served = transport.read_document(href, limit=2**31)
        if served != written:
            raise TransportError(
                href,
                f"serves {len(served)} other bytes than {file}",
                expected=f"its {len(written)} bytes",
                todo="Check that `reference_url` serves `reference_dir`. A cache may serve an "
                "older file.",
                code="transport-not-served",
            )


def place(record: DatasetRecord, settings: Settings) -> tuple[Path, str]:
    """Return the place of the reference file, and its public URL.

    Raises:
        SettingsError: the files lie in several directories, and the settings name none.
    """
    name = reference_name(record.id, settings)
    if settings.reference_dir is not None and settings.reference_url is not None:
        return settings.reference_dir.expanduser(), f"{settings.reference_url.rstrip('/')}/{name}"
    directories = {os.path.dirname(file.path) if file.path else None for file in record.files}
    prefixes = {file.url.rpartition("/")[0] for file in record.files}
    directory = directories.pop() if len(directories) == len(prefixes) == 1 else None
    if not directory:
        raise SettingsError(
            str(record.id),
            "its files are not all in one directory of this machine",
            expected="one directory for the reference file",
            todo="Set `reference_dir` and `reference_url`.",
            code="settings-reference-dir",
        )
    return Path(directory), f"{prefixes.pop()}/{name}"


def show(
    made: Written, record: DatasetRecord, index: Index, transport: Transport, settings: Settings
) -> Linked | Pending:
    """Link the written references, and return the outcome.

    Args:
        made: the reference file, as it was written.
        record: the dataset.
        index: the index that gets the link.
        transport: fetches the reference file.
        settings: the media type of the link, and whether pages are made.

    Raises:
        EsgvzarrError: no link was added.
    """
    state = link(record, made.reference, index, transport, settings)
    done = state in (LinkState.ADDED, LinkState.UNCHANGED)
    detail = f"{made.reference.href} {'is shown by' if done else 'was sent to'} the index"
    verb = Verb.PUBLISH if made.verb is Verb.GENERATE else made.verb
    name = made.dataset_id
    if done:
        return Linked(name, verb, detail, made.reference, made.warnings)
    return Pending(name, verb, detail, reference=made.reference, warnings=made.warnings)


def discard(path: str, href: str, record: DatasetRecord, index: Index) -> None:
    """Delete a reference file whose link was not added.

    The file stays if the index shows a link to it nevertheless, or cannot be asked.

    Args:
        path: the reference file on disk.
        href: its public URL.
        record: the dataset.
        index: the index that was sent the link.
    """
    if not os.path.exists(path):
        return
    try:
        linked = any(shown.href == href for shown in index.links(record.id))
    except EsgvzarrError as error:
        _log.warning(
            "%s stays, because esgvzarr could not find out whether a link points to it: %s",
            path,
            error,
        )
        return
    if not linked:
        remove_page(path)
        remove_reference(path)
        renew_beside(path)


def catalogue(made: Written, record: DatasetRecord, directory: Path, settings: Settings) -> Linked:
    """Add the references of all outputs to a static STAC catalogue on disk.

    Args:
        made: the reference files, as they were written.
        record: the dataset.
        directory: the catalogue's directory.
        settings: the media type of the links, and whether pages are made.

    Raises:
        LinkError: the catalogue cannot be read or written.
    """
    directory = absolute(directory)
    index: Any = connect("catalog", directory=directory)
    index.add_dataset(record)
    for reference in made.references:
        index.add_link(record.id, access_link(record, reference, settings))
    detail = f"{made.detail}, and is shown by {directory / 'catalog.json'}"
    return Linked(made.dataset_id, made.verb, detail, made.reference, made.warnings)
