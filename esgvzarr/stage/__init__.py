"""Stage the references of a dataset: scan its files, check and combine them, write the outputs to
hidden directories beside their places, and prove what was written. Nothing is placed here.

The process that will place the outputs makes and locks their hidden directories. ``stage`` itself
can be pickled and run in any process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..formats import Fetched, location_of
from ..model import DatasetId, FileRecord, ReferenceSet, Report
from ..output import named, reading_of
from ..output.placing import staging
from ..permissions import absolute
from ..proof.share import WHOLE, Share, united
from ..proof.stack import import_readers
from ..scan import make_references as make_references
from ..transport import Transport, host_of, is_url
from ..transport.hosts import allow_hosts
from ..workers import Limits
from .proving import check_passed, compared
from .proving import storage_options as storage_options
from .telling import DetailedProgress as DetailedProgress
from .telling import Progress as Progress
from .telling import StepProgress as StepProgress
from .telling import begin as begin
from .telling import in_a_told_worker as in_a_told_worker
from .telling import over_rounds as over_rounds
from .telling import run_told as run_told
from .work import Destination as Destination
from .work import Made as Made
from .work import Place as Place
from .work import Proved as Proved
from .work import Staged as Staged
from .work import Stager as Stager
from .work import Work as Work
from .writing import read_back, write_outputs

if TYPE_CHECKING:
    from ..settings import Settings  # pydantic costs a quarter of a second


def make_transport(settings: Settings) -> Transport:
    """Make a transport from the settings. Hosts that the settings name are allowed."""
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
    """Return the limits of time and memory for the scan and proof of one dataset."""
    return Limits(settings.worker_time_s, settings.worker_memory_mib)


def reference_name(dataset_id: DatasetId | str, settings: Settings) -> str:
    """Return ``<DSID>.json``, or the name with the ending of the first output."""
    return f"{dataset_id}{named(settings.all_outputs[0]).suffix}"


def check_outputs(settings: Settings) -> None:
    """Check that the outputs of a dataset can be written here, and that each has its own STAC
    asset.

    Raises:
        SettingsError: a package is missing, or two outputs would use one asset.
    """
    taken: dict[str, str] = {}
    for name in settings.all_outputs:
        output = named(name)
        other = taken.setdefault(output.asset_key, name)
        if other != name:
            raise SettingsError(
                f"outputs {other!r} and {name!r}",
                f"both use the asset {output.asset_key!r} of a STAC item",
                expected="outputs with different assets",
                todo="Remove one of them from the setting `output`.",
                code="settings-output",
            )
    for name in settings.all_outputs:
        named(name).check_installed()


def places_for(
    dataset_id: DatasetId | str, directory: Path, settings: Settings, *, href: str = ""
) -> tuple[Place, ...]:
    """Return the places of a dataset's outputs; nothing is staged yet.

    Args:
        dataset_id: the dataset, or the name of a document.
        directory: where the outputs go.
        settings: name the outputs.
        href: public URL of the first output, if it has one. The other outputs lie beside it.
    """
    check_outputs(settings)
    directory = absolute(directory)
    prefix = f"{href.rpartition('/')[0]}/" if href else ""
    places = []
    for number, name in enumerate(settings.all_outputs):
        path = directory / f"{dataset_id}{named(name).suffix}"
        location = f"{prefix}{path.name}" if prefix else ""
        if number == 0:
            location = href
        places.append(Place(name, "", str(path), location or str(path)))
    return tuple(places)


@contextmanager
def held(place: Place, *, aside: bool = False) -> Iterator[Place]:
    """Make and lock the hidden directory of a place, and give the place; remove the directory at
    the end.

    Args:
        place: where the output goes.
        aside: stage in a temporary directory, and leave the directory of the place untouched.
    """
    with staging(place.path, aside=aside) as staged:
        yield replace(place, staged=str(staged))


@contextmanager
def staging_places(
    dataset_id: DatasetId | str,
    directory: Path,
    settings: Settings,
    *,
    href: str = "",
    aside: bool = False,
) -> Iterator[tuple[Place, ...]]:
    """Make and lock the hidden directories of all places of a dataset, and give the places.

    Args:
        dataset_id: the dataset, or the name of a document.
        directory: where the outputs go.
        settings: name the outputs.
        href: public URL of the first output, if it has one.
        aside: stage in a temporary directory, and leave ``directory`` untouched.
    """
    places = places_for(dataset_id, directory, settings, href=href)
    with ExitStack() as stack:
        yield tuple(stack.enter_context(held(place, aside=aside)) for place in places)


def stage(work: Work) -> Staged:
    """Scan a dataset, and stage and prove its outputs.

    Reads the dataset's files, writes into the staged places, and touches nothing else. It can be
    pickled and run in any process of this machine.

    Raises:
        EsgvzarrError: the references cannot be made; the error says why.
    """
    with make_transport(work.settings) as transport:
        allow_hosts(transport, work.record, named=work.named)
        return stage_with(work, transport)


def stage_with(work: Work, transport: Transport, *, progress: Progress = lambda *_: None) -> Staged:
    """Do the work of ``stage`` with a transport that exists already."""
    files = work.record.files
    remote = any(is_url(location_of(file, work.settings.read)) for file in files)
    importing = import_readers() if remote else None
    made = make(work, transport, progress=progress)
    if importing is not None:
        # xarray lists its engines once, which must not happen while one of them is being imported.
        importing.join()
    return staged_of(made, [compare_outputs(made, work.settings, progress=progress)], work.settings)


def make(work: Work, transport: Transport, *, progress: Progress = lambda *_: None) -> Made:
    """Scan a dataset, and write its outputs beside their places. Nothing is proved yet.

    Raises:
        EsgvzarrError: the references cannot be made; the error says why.
    """
    record = work.record
    for file in record.files:
        transport.check_allowed(file.url)
    transport.forget(places_of(record.files))
    told = begin(progress, str(record.id), f"scanning {len(record.files)} files")
    scanned: dict[str, Fetched] = {}
    with transport.watched(over_rounds(told)):
        references = make_references(record, transport, read=work.settings.read, keep=scanned)
    told(1, 1)
    return write_outputs(references, record.files, work.destination, transport, scanned)


def compare_outputs(
    made: Made,
    settings: Settings,
    *,
    share: Share = WHOLE,
    progress: Progress = lambda *_: None,
) -> list[Report]:
    """Compare each output, as it was written, with its files.

    Args:
        made: the outputs.
        settings: how they are proved.
        share: the files whose chosen chunks are compared here.
        progress: is told of each step.

    Returns:
        The reports, up to the first one that did not pass.

    Raises:
        ProofError: an output does not open.
        FormatError, TransportError: a file cannot be read.
    """
    reports = []
    for output in made.outputs:
        step = f"proving {output.references.chunk_count} chunks as {output.place.output}"
        told = begin(progress, made.name, step)
        report = compared(
            read_back(output),
            made.name,
            made.files,
            made.transport,
            settings,
            location=output.place.location,
            scanned=made.scanned,
            share=share,
            told=told,
        )
        reports.append(report)
        if not report.passed:
            break
    return reports


def staged_of(
    made: Made, reports_of_shares: Sequence[Sequence[Report]], settings: Settings
) -> Staged:
    """Return the result of staging, after the proof.

    Args:
        made: the outputs.
        reports_of_shares: for each share of the proof, the reports of the outputs.
        settings: where files are read.

    Raises:
        ProofError: an output does not read back as the files do.
        TransportError: it does not, because the data node answers wrongly.
    """
    outputs = []
    for number, output in enumerate(made.outputs):
        # A share ends with the first output that fails in it.
        report = united([own[number] for own in reports_of_shares if number < len(own)])
        check_passed(report, made, settings.read)
        reading = reading_of(output.references.provenance)
        name = output.place.output
        outputs.append(Proved(name, output.size, output.sha256, report, reading))
    references = made.references
    return Staged(tuple(outputs), made.warnings, len(references.files), references.chunk_count)


def places_of(files: Sequence[FileRecord]) -> list[str]:
    """Return all paths and URLs at which the files may be read."""
    places = []
    for file in files:
        places += [place for place in (file.url, file.path) if place]
    return places


def stage_references(
    references: ReferenceSet,
    files: Sequence[FileRecord],
    destination: Destination,
    transport: Transport,
    *,
    progress: Progress = lambda *_: None,
    scanned: Mapping[str, Fetched] | None = None,
) -> Staged:
    """Write references into each of the places, and prove each output as it was written.

    Args:
        references: the references to write.
        files: the files that they were made of.
        destination: the places and the settings.
        transport: reads the files.
        progress: is told of each step.
        scanned: what the scan has read over HTTP.

    Raises:
        ProofError: an output does not read back as the files do.
        FormatError, StoreError: an output cannot be written.
    """
    made = write_outputs(references, files, destination, transport, scanned or {})
    settings = destination.settings
    return staged_of(made, [compare_outputs(made, settings, progress=progress)], settings)
