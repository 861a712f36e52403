"""The public functions: one for each command, with defaults for everything optional.

Every function takes settings by name (``read="http"``, ``output="parquet"``). They override the
settings of ``config``, the path of an ``esg.yaml``. Sources are one or several URLs or paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .extras import naming_extras

if TYPE_CHECKING:
    from .audit import AuditResult
    from .doctor import Diagnosis
    from .extract import Extracted
    from .in_memory import References
    from .inspect import Inspection
    from .link.task import AuditEntry, Entry
    from .model import DatasetId, Report
    from .outcome import Outcome, Written
    from .settings import Settings

    PathName = str | os.PathLike[str]
    Sources = PathName | Iterable[PathName]
    DatasetName = str | DatasetId


@naming_extras("esgvzarr.references")
def references(
    sources: Sources,
    *,
    dataset_id: DatasetName | None = None,
    config: PathName | None = None,
    **settings: Any,
) -> References:
    """Make the references of a dataset in memory, to look at them before anything is written.

    Args:
        sources: what describes the dataset: a THREDDS catalogue, STAC item, publication record or
            mapfile, or NetCDF files and directories.
        dataset_id: required for plain NetCDF files; otherwise it selects one dataset of the source.
        config: path of an ``esg.yaml`` with settings.
        settings: settings by name.

    Returns:
        The references: their files were compared with each other; the references are not proved
            yet.

    Raises:
        EsgvzarrError: the references cannot be made; the error says why.
    """
    from .in_memory import References
    from .scan import make_references
    from .sources import read_source
    from .stage import make_transport
    from .transport.hosts import allow_hosts

    places = _texts(sources)
    known = _allowing_hosts(_settings(config, settings), places)
    with make_transport(known) as transport:
        record = read_source(places, _parsed(dataset_id), transport, known.data_paths)
        allow_hosts(transport, record)
        made = make_references(record, transport, read=known.read)
    return References(record, made, known)


@naming_extras("esgvzarr.generate")
def generate(
    sources: Sources,
    out: PathName,
    *,
    dataset_id: DatasetName | None = None,
    force: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> Written:
    """Write the proved references of a published dataset to a directory; change no index.

    Args:
        sources: as in `references`.
        out: the directory in which ``<DSID>.json`` is written, or the outputs that the setting
            ``output`` names.
        dataset_id: as in `references`.
        force: replace a reference file with different content.
        config: path of an ``esg.yaml`` with settings.
        settings: settings by name.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    from .generate import generate as generate_record
    from .generate import make_transport
    from .sources import read_source
    from .transport.hosts import allow_hosts

    known = _settings(config, settings)
    with make_transport(known) as transport:
        record = read_source(_texts(sources), _parsed(dataset_id), transport, known.data_paths)
        allow_hosts(transport, record)
        return generate_record(record, Path(out), transport, known, force=force)


@naming_extras("esgvzarr.link")
def link(
    sources: Sources,
    *,
    dataset_id: DatasetName | None = None,
    force: bool = False,
    dry_run: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> Outcome:
    """Write and link the references of a dataset that is already registered.

    Programs that publish, such as esgcet, call this once for each registered dataset. An error
    while references are made or linked is kept in the outcome and in the ledger, and `resume` can
    finish the dataset.

    Args:
        sources: as in `references`.
        dataset_id: as in `references`.
        force: replace a reference file with different content.
        dry_run: send and write nothing; the outcome says what would be done.
        config: path of esgcet's ``esg.yaml``, which names the index; default: that of esgpublish.
        settings: settings by name.

    Returns:
        How the work on the dataset ended: ``Linked``, ``Pending``, ``Refused``, ``Failed``, ...

    Raises:
        SourceError, TransportError, SettingsError: the dataset, or the index, could not be
            determined. Nothing was done.
    """
    from .link.lifecycle import LinkRequest, link_source

    place = _config_of_esgpublish(config)
    request = LinkRequest(_texts(sources), place, _parsed(dataset_id), force)
    return link_source(request, _settings(place, settings), dry_run=dry_run)


@naming_extras("esgvzarr.resume")
def resume(
    dataset_ids: DatasetName | Iterable[DatasetName] = (),
    *,
    every: bool = False,
    code: str = "",
    dry_run: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> list[Outcome]:
    """Finish datasets that were interrupted, are pending, or failed for a reason that may have
    passed.

    Args:
        dataset_ids: the datasets to finish, whatever error they ended with, with today's settings;
            default: all datasets of the ledger that a new attempt may finish, with the settings of
            their first attempt.
        every: finish all unfinished datasets, whatever error they ended with, with today's
            settings.
        code: finish only datasets that ended with this error code.
        dry_run: send and write nothing; the outcomes say what would be done.
        config: as in `link`.
        settings: settings by name.
    """
    from .link.resume import Selection
    from .link.resume import resume as resume_from_ledger

    return resume_from_ledger(
        Selection(_names(dataset_ids), every, code),
        _settings(_config_if_any(config), settings),
        dry_run=dry_run,
    )


@naming_extras("esgvzarr.status")
def status(
    dataset_ids: DatasetName | Iterable[DatasetName] = (),
    *,
    config: PathName | None = None,
    **settings: Any,
) -> list[Entry | AuditEntry]:
    """Return the last entry of each dataset in the ledger, or the problem that an audit found
    since.

    Args:
        dataset_ids: the datasets to show; default: all in the ledger.
        config: as in `link`.
        settings: settings by name.
    """
    from .link.ledger import Ledger

    ledger = Ledger(_settings(_config_if_any(config), settings).ledger)
    return ledger.current(_names(dataset_ids))


@naming_extras("esgvzarr.unpublish")
def unpublish(
    dataset_id: DatasetName,
    *,
    delete: bool = False,
    dry_run: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> Outcome:
    """Remove the link of a dataset from its index, then move its reference file out of the served
    directory.

    Args:
        dataset_id: the dataset, which stays published.
        delete: delete the reference file; default: keep a copy beside the ledger.
        dry_run: send and write nothing; the outcome says what would be done.
        config: as in `link`.
        settings: settings by name.
    """
    from .link.dry_run import preview
    from .link.means import Means
    from .link.remove import decide_withdrawal
    from .link.remove import unpublish as unpublish_now
    from .model import DatasetId

    place = _config_of_esgpublish(config)
    known = _settings(place, settings)
    parsed = DatasetId.parse(str(dataset_id))
    if dry_run:
        return preview(decide_withdrawal(parsed, place, known, delete=delete), Means(known))
    return unpublish_now(parsed, place, known, delete=delete)


@naming_extras("esgvzarr.verify")
def verify(
    href: PathName | DatasetName,
    sources: Sources = (),
    *,
    full: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> Report:
    """Compare a kerchunk reference file, whatever tool wrote it, with its NetCDF files.

    Args:
        href: URL or path of the reference file, or the id of a dataset in the ledger.
        sources: the NetCDF files; default: the files that the references name.
        full: compare every value; default: a sample of chunks.
        config: path of an ``esg.yaml`` with settings.
        settings: settings by name.

    Returns:
        The report; ``report.passed`` says whether all checks passed.

    Raises:
        ProofError: the target holds no references, or they refer to files or hosts that are not
            allowed.
        TransportError: the target or a NetCDF file cannot be read.
    """
    from .directories import exists
    from .generate import make_transport, verify_published
    from .link.ledger import Ledger
    from .transport import is_url

    known = _settings(config, settings)
    target = href if isinstance(href, str) else _text_of(href)
    if not is_url(target) and not exists(target):
        target = Ledger(known.ledger).href_of(target)
    with make_transport(known) as transport:
        return verify_published(target, _texts(sources), transport, known, full=full)


@naming_extras("esgvzarr.combine")
def combine(
    spec: PathName,
    out: PathName,
    *,
    force: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> Written:
    """Write one document of several datasets: output streams with their static files, or a whole
    simulation.

    Args:
        spec: path of a YAML file that says which datasets or files belong together.
        out: the directory in which ``<name>.json`` is written.
        force: replace a document with different content.
        config: path of an ``esg.yaml`` with settings.
        settings: settings by name.

    Raises:
        EsgvzarrError: nothing was written; the error says why.
    """
    from .documents import combine as combine_spec
    from .documents import read_spec
    from .generate import make_transport

    known = _settings(config, settings)
    with make_transport(known) as transport:
        return combine_spec(read_spec(spec), Path(out), transport, known, force=force)


@naming_extras("esgvzarr.audit")
def audit(
    targets: Sources = (),
    *,
    checksums: bool = False,
    samples: bool = False,
    config: PathName | None = None,
    **settings: Any,
) -> list[AuditResult]:
    """Check published references again: their NetCDF files, the served reference file, the link.

    Args:
        targets: dataset ids in the ledger, reference files, or directories of reference files;
            default: all that are linked or written according to the ledger.
        checksums: read every file whole, and compare its checksum.
        samples: read a sample of values through each reference file, and compare them with the
            files.
        config: as in `link`.
        settings: settings by name.
    """
    from .audit import Thoroughness, find_targets
    from .audit import audit as audit_targets

    known = _settings(_config_if_any(config), settings)
    found = find_targets(_texts(targets), known)
    return list(audit_targets(found, known, Thoroughness(checksums, samples)))


@naming_extras("esgvzarr.inspect")
def inspect(files: Sources) -> Inspection:
    """Say whether NetCDF files form one array, and if not, which chunks would make them one.

    Args:
        files: all NetCDF files of one dataset.

    Raises:
        TransportError: a file cannot be read.
    """
    from .inspect import inspect as inspect_files
    from .transport import Transport, host_of, is_url

    places = _texts(files)
    with Transport(
        allowed_hosts=[host_of(place) for place in places if is_url(place)]
    ) as transport:
        return inspect_files(places, transport)


@naming_extras("esgvzarr.extract")
def extract(
    source: str,
    out: PathName,
    *,
    variables: str | Iterable[str] = (),
    time: str = "",
    bbox: tuple[float, float, float, float] | None = None,
    level: str = "",
) -> Extracted:
    """Write a part of a dataset to a NetCDF file; fetch only the chunks that it needs.

    Args:
        source: URL or path of a reference file.
        out: the file to write, which must not exist yet.
        variables: names; the coordinates and bounds of a variable come with it. Default: all.
        time: first and last date, both included: ``2000/2010``, ``2000-03/2000-05``.
        bbox: west, south, east, north in degrees; west may be larger than east, for a box across
            the date line.
        level: one or two values of the vertical coordinate, in its own units: ``10000/50000``.

    Raises:
        SourceError: the dataset does not exist, or no data lie in the selected part.
        StoreError: ``out`` exists already, or cannot be written.
    """
    from .extract import Box, Request
    from .extract import extract as extract_request

    box = Box(*bbox) if bbox else None
    request = Request(tuple(_texts(variables)), time, box, level)
    return extract_request(source, out, request)


@naming_extras("esgvzarr.doctor")
def doctor(url: str = "", *, config: PathName | None = None, **settings: Any) -> list[Diagnosis]:
    """Check that this data node supports publishing and reading, and suggest fixes.

    Args:
        url: a published NetCDF file to try; default: a file of the ledger, or one found on this
            node.
        config: as in `link`.
        settings: settings by name.
    """
    from .doctor import examine

    place = _config_if_any(config)
    return examine(place, _settings(place, settings), url)


def _settings(config: PathName | None, named: dict[str, Any]) -> Settings:
    from .settings import read_settings

    return read_settings(config, **named)


def _allowing_hosts(settings: Settings, sources: Sequence[str]) -> Settings:
    """Return the settings, with the hosts of the sources added to the allowed hosts."""
    from .transport import host_of, is_url

    hosts = [host_of(source) for source in sources if is_url(source)]
    return settings.model_copy(update={"allowed_hosts": (*settings.allowed_hosts, *hosts)})


def _config_of_esgpublish(config: PathName | None) -> Path:
    from .esgpublish import config_path

    return Path(config) if config is not None else config_path([])


def _config_if_any(config: PathName | None) -> Path | None:
    """Return the configuration that was named, else that of esgpublish if the file exists."""
    from .directories import exists

    place = _config_of_esgpublish(config)
    return place if config is not None or exists(place) else None


def _texts(sources: Sources) -> list[str]:
    """Return one or several URLs or paths as a list of texts."""
    if isinstance(sources, str | os.PathLike):
        return [os.fspath(sources)]
    return [os.fspath(source) for source in sources]


def _names(dataset_ids: DatasetName | Iterable[DatasetName]) -> Sequence[str]:
    """Return one or several dataset ids as texts, each checked."""
    from .model import DatasetId

    if isinstance(dataset_ids, str | DatasetId):
        dataset_ids = [dataset_ids]
    return [str(DatasetId.parse(str(name))) for name in dataset_ids]


def _parsed(dataset_id: DatasetName | None) -> DatasetId | None:
    from .model import DatasetId

    return DatasetId.parse(str(dataset_id)) if dataset_id else None


def _text_of(place: os.PathLike[str] | DatasetId) -> str:
    return os.fspath(place) if isinstance(place, os.PathLike) else str(place)
