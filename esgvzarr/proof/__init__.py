"""The proof: references read back as the files do, or they are not published.

The reader's side is stock xarray + kerchunk. The other side is an independent read of the NetCDF
files by netCDF-C (``file_side``), which has no part in making references. Works on any kerchunk
JSON, ours or not. The argument is in docs/internals/proof.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .. import drs
from ..formats import Fetched, fetch_metadata
from ..inflate import limited_codecs
from ..model import Check, FileRecord, Report
from ..output import LARGEST as LARGEST
from ..output import Artefact, Contents, of_place
from ..output.document import largest_chunk
from ..output.local_files import local_files
from ..transport import Range, Transport, is_url
from ..transport.fsspec_guard import StockClients, stock_clients
from .boxes import Desk, compare_boxes, sizes_of
from .comparison import Comparison, Sampling
from .documented import DECODED as DECODED
from .documented import check_documented
from .file_side import OpenFiles, fetch, judge_all, local_path, sources_of
from .group import whole
from .hints import Hints
from .identity import check_identity
from .jobs import Job, values_of
from .parts import Part, Scene, check_all_named, check_listing, scenes
from .reference_side import Stated, check_places, open_shown
from .reference_side import stated as stated
from .stack import versions

FIRST_LOOK = 8
"""Bytes of each file that are looked at again after the proof, where no data were compared."""


def read_artefact(location: str, transport: Transport) -> Artefact:
    """References by URL or path, of any output, written by any tool.

    Raises:
        TransportError: they cannot be read.
        SettingsError: the package that reads the output is missing.
        ProofError: no such output is there, or it leads readers astray.
    """
    return of_place(location).read(location, transport)


def referenced_urls(
    contents: Contents, location: str, transport: Transport, named: Collection[str] = ()
) -> list[str]:
    """The files that references, or their provenance, name; in the order of the provenance, then of
    the references.

    Args:
        contents: what the references state.
        location: their URL or path.
        transport: knows the hosts that may be fetched from.
        named: files of this machine that the operator named.

    Raises:
        ProofError: they lead where they may not.
        TransportError: a host is not allowed.
    """
    provenance = contents.provenance
    named_files = [
        file.get("url") for file in provenance.get("files") or () if isinstance(file, dict)
    ]
    said = [
        url for url in (*named_files, *(provenance.get("left_out") or ())) if isinstance(url, str)
    ]
    check_places({*said, *contents.all_urls()}, transport, location, named)
    return list(dict.fromkeys([*said, *(url.removeprefix("file://") for url in contents.urls)]))


def verify(
    artefact: Artefact,
    sources: Sequence[FileRecord],
    transport: Transport,
    *,
    location: str,
    dataset_id: str = "",
    samples: int = 8,
    full: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    scanned: Mapping[str, Fetched] | None = None,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Compare a reference file with the NetCDF files that it should show.

    Counts of chunks by HDF5's own count; dimensions, types and attributes; coordinates, bounds and
    scalars whole; of each data variable the first, last and corner chunks of each file and
    ``samples`` random ones, or all chunks when ``full``. All numbers of the time steps that several
    files hold, against each of these files.

    Args:
        artefact: what is proved, as it was staged or published.
        sources: all files of the dataset; read from their path where there is one.
        transport: reads files by URL.
        location: URL or path of the reference file, for messages.
        dataset_id: seeds the sample; the location if empty.
        samples: random chunks per data variable and file.
        full: compare everything.
        storage_options: of fsspec's reference file system, for the reader's side.
        scanned: URL -> what a scan has read of a file over HTTP. Its bytes are not asked for again;
            what it made of them is not believed.
        told: how much is compared, and how much there is.

    Returns:
        A report, passed or not.

    Raises:
        ProofError: the reference file is none, or does not open.
        TransportError: a source file cannot be read.
    """
    contents = artefact.contents
    places = stated(contents)
    options = dict(storage_options or {})
    check_places(places.urls(), transport, location, {file.path or file.url for file in sources})
    files = list({file.url: file for file in sources}.values())
    most = largest_chunk(contents.metadata)
    with stock_clients(transport) as clients, limited_codecs(most):
        asked = options.get("remote_options", {})
        options["remote_options"] = {**clients.options, **asked}
        if not any(is_url(url) for url in places.urls()):
            options["fs"] = local_files()
        desk = replace(_prepare(files, transport, clients, places, scanned or {}), told=told)
        shown = open_shown(artefact, options, location)
        found = scenes(contents.provenance, shown, files, location)
        checks = [*check_listing(contents.metadata), *check_all_named(found, shown, files)]
        sampling = Sampling(dataset_id or location, samples, full)
        with closing(desk.open_files):
            checks += _check_scenes(found, desk, sampling, dataset_id)
        checks += check_documented(shown)
        transport.look_at_paths(
            source.path for source in desk.sources.values() if source.path is not None
        )
        clients.look_again(asked)
    return Report(
        dataset_id,
        location,
        tuple(checks),
        dict(versions()),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _check_scenes(
    found: Sequence[Scene], desk: Desk, sampling: Sampling, dataset_id: str
) -> Iterator[Check]:
    """Compare each dataset with its files, then what the groups of a scene show in all.

    Args:
        found: which groups show which files.
        desk: reads the files, and the groups.
        sampling: how much is compared.
        dataset_id: the dataset, where the document does not name it.
    """
    compared: list[tuple[Scene, Part, Comparison]] = []
    for scene in found:
        for part in scene.parts:
            one = Comparison(part.shown, desk.stated, sampling, alone=not scene.named)
            compared.append((scene, part, one))
    yield from _compare([(part, one) for _, part, one in compared], desk)
    for scene in found:
        own = []
        for where, part, one in compared:
            if where is scene:
                own.append(one)
                known = drs.facets(part.name) is not None  # else a stream, or a variable
                yield from check_identity(one.attrs, part.name if known else dataset_id)
        yield from whole(scene.shown, own, but=("coordinates",) if scene.named else ())


def _prepare(
    files: Sequence[FileRecord],
    transport: Transport,
    clients: StockClients,
    places: Stated,
    scanned: Mapping[str, Fetched],
) -> Desk:
    """Fetch what is read of each file whatever is chosen: its metadata, and what is no data."""
    remote = [file.url for file in files if local_path(file) is None]
    known = fetch_metadata(remote, transport, scanned)
    sources = sources_of(files, known)
    contents = {
        url: source.content for url, source in sources.items() if source.content is not None
    }
    ranges = [
        Range(url, start, stop)
        for url, source in sources.items()
        if source.hint is not None and source.content is not None
        for start, stop in Hints(source.hint).beside_data()
    ]
    fetch(ranges, contents, transport)
    clients.known = contents
    for url, content in contents.items():
        stop = min(content.size, FIRST_LOOK)
        if stop:
            clients.looks[url] = (0, content.read(0, stop))
    sizes = sizes_of(files, sources, transport)
    return Desk(transport, clients, places, sources, sizes, OpenFiles())


def _compare(parts: Sequence[tuple[Part, Comparison]], desk: Desk) -> Iterator[Check]:
    """All files of all datasets."""
    firsts = []
    others = []
    for part, one in parts:
        firsts += [(part, one, file) for file in part.files[:1]]
        others += [(part, one, file) for file in part.files[1:]]
    jobs: list[Job] = []
    for some in (firsts, others):  # the first file of a dataset says which variables are its own
        works = [
            (desk.sources[file.url], one.describe(file, part.dropped)) for part, one, file in some
        ]
        results = judge_all(works, desk.transport, desk.open_files, counts=True)
        for (_, one, _), found in zip(some, results, strict=True):
            one.accept(found)
            yield from found.checks
            jobs += found.jobs
    compare_boxes(jobs, desk)
    yield from values_of(jobs)
    yield from _compare_repeated(parts, desk)


def _compare_repeated(parts: Sequence[tuple[Part, Comparison]], desk: Desk) -> Iterator[Check]:
    """All numbers of the time steps that several files hold."""
    works = []
    for part, one in parts:
        for file in one.shared():
            works.append((desk.sources[file.url], one.repeated(file, part.dropped)))
    jobs: list[Job] = []
    for own in judge_all(works, desk.transport):
        jobs += own
    compare_boxes(jobs, desk)
    yield from values_of(jobs)
