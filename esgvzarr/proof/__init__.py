"""The proof: references are published only if they read back as the NetCDF files do.

The reader's side is stock xarray + kerchunk. The file's side is an independent read of the NetCDF
files by netCDF-C (``file_side``), which is not used to make references. The proof works on any
kerchunk JSON, whatever tool wrote it. docs/internals/proof.md explains why it can be trusted.
"""

from __future__ import annotations

from collections import Counter
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
from .boxes import ProofInputs, compare_boxes, sizes_of
from .comparison import Comparison, Sampling
from .documented import DECODED as DECODED
from .documented import check_documented
from .file_side import OpenFiles, fetch, judge_all, local_path, sources_of
from .group import whole
from .hints import Hints
from .identity import check_identity
from .jobs import Job, values_of
from .parts import DocumentGroup, Part, check_all_named, check_listing, groups_of
from .reference_side import StatedChunks, check_places, open_shown
from .reference_side import stated as stated
from .share import WHOLE, Share
from .stack import versions

FIRST_BYTES = 8
"""Bytes of each file that are fetched again after the proof, if no data of the file were
compared.
"""


def read_artefact(location: str, transport: Transport) -> Artefact:
    """Read references of any output, written by any tool, by URL or path.

    Raises:
        TransportError: they cannot be read.
        SettingsError: the package that reads the output is missing.
        ProofError: no such output exists there, or it refers to files or hosts that are not
            allowed.
    """
    return of_place(location).read(location, transport)


def referenced_urls(
    contents: Contents, location: str, transport: Transport, named: Collection[str] = ()
) -> list[str]:
    """Return the URLs of the files that the references or their provenance name.

    They are in the order of the provenance, then of the references.

    Args:
        contents: what the references state.
        location: URL or path of the references.
        transport: knows which hosts are allowed.
        named: local files that the operator named.

    Raises:
        ProofError: the references refer to files or schemes that are not allowed.
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
    share: Share = WHOLE,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Report:
    """Compare a reference file with the NetCDF files that it should show.

    Compared are: numbers of chunks, by HDF5's own count; dimensions, types and attributes; all
    values of coordinates, bounds and scalars; of each data variable the first, last and corner
    chunks of each file and ``samples`` random chunks, or all chunks if ``full``. At time steps that
    several files hold, all values are compared with each of these files.

    Args:
        artefact: the output, staged or published.
        sources: all files of the dataset; a file with a path is read from disk.
        transport: reads files by URL.
        location: URL or path of the reference file, for messages.
        dataset_id: seeds the sample; if empty, the location does.
        samples: random chunks per data variable and file.
        full: compare every value.
        storage_options: options of fsspec's reference file system, for the reader's side.
        scanned: what a scan read of each file over HTTP, by URL. The proof reuses the bytes, and
            not the scan's interpretation of them.
        share: the files whose chosen chunks are compared here, if several processes prove one
            output. `share.united` joins their reports.
        told: is told how many bytes are compared, and how many there are.

    Returns:
        A report, passed or not.

    Raises:
        ProofError: there are no references, or they do not open.
        TransportError: a source file cannot be read.
    """
    contents = artefact.contents
    places = stated(contents)
    options = dict(storage_options or {})
    check_places(places.urls(), transport, location, {file.path or file.url for file in sources})
    files = _told_apart({file.url: file for file in sources}.values())
    most = largest_chunk(contents.metadata)
    with stock_clients(transport) as clients, limited_codecs(most):
        asked = options.get("remote_options", {})
        options["remote_options"] = {**clients.options, **asked}
        if not any(is_url(url) for url in places.urls()):
            options["fs"] = local_files()
        inputs = _prepare(files, transport, clients, places, scanned or {})
        inputs = replace(inputs, own=share.urls(files), told=told)
        _note_first_bytes(inputs)
        shown = open_shown(artefact, options, location)
        found = groups_of(contents.provenance, shown, files, location)
        checks = [*check_listing(contents.metadata), *check_all_named(found, shown, files)]
        sampling = Sampling(dataset_id or location, samples, full)
        with closing(inputs.open_files):
            checks += _check_groups(found, inputs, sampling, dataset_id)
        checks += check_documented(shown)
        transport.look_at_paths(
            source.path for source in inputs.sources.values() if source.path is not None
        )
        clients.look_again(asked)
    return Report(
        dataset_id,
        location,
        tuple(checks),
        dict(versions()),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _told_apart(files: Collection[FileRecord]) -> list[FileRecord]:
    """Return the files. A name that several of them have is replaced by the end of the URL that no
    other file has, so that each check says which file it is about.
    """
    counts = Counter(file.name for file in files)
    urls = [file.url for file in files if counts[file.name] > 1]
    return [
        replace(file, name=_end_of(file.url, urls)) if counts[file.name] > 1 else file
        for file in files
    ]


def _end_of(url: str, urls: Sequence[str]) -> str:
    """Return the shortest end of a URL, in whole parts, that no other URL has."""
    parts = url.split("/")
    for count in range(2, len(parts)):
        end = "/".join(parts[-count:])
        if sum(other.endswith(f"/{end}") for other in urls) == 1:
            return end
    return url


def _check_groups(
    found: Sequence[DocumentGroup], inputs: ProofInputs, sampling: Sampling, dataset_id: str
) -> Iterator[Check]:
    """Compare each dataset with its files, then each group as a whole.

    Args:
        found: which groups show which files.
        inputs: reads the files and the groups.
        sampling: how much is compared.
        dataset_id: the dataset, if the document does not name it.
    """
    compared: list[tuple[DocumentGroup, Part, Comparison]] = []
    for document_group in found:
        for part in document_group.parts:
            one = Comparison(part.shown, inputs.stated, sampling, alone=not document_group.named)
            compared.append((document_group, part, one))
    yield from _compare([(part, one) for _, part, one in compared], inputs)
    for document_group in found:
        own = []
        for where, part, one in compared:
            if where is document_group:
                own.append(one)
                # Otherwise the name is that of a stream or of a variable.
                known = drs.facets(part.name) is not None
                yield from check_identity(one.attrs, part.name if known else dataset_id)
        yield from whole(
            document_group.shown, own, but=("coordinates",) if document_group.named else ()
        )


def _prepare(
    files: Sequence[FileRecord],
    transport: Transport,
    clients: StockClients,
    places: StatedChunks,
    scanned: Mapping[str, Fetched],
) -> ProofInputs:
    """Fetch what is always read of each file: its metadata, and the variables that are not data."""
    remote = [file.url for file in files if local_path(file) is None]
    known = fetch_metadata(remote, transport, scanned)
    fetch_beside_data(known, transport)
    sources = sources_of(files, known)
    clients.known = {url: one.content for url, one in known.items()}
    sizes = sizes_of(files, sources, transport)
    return ProofInputs(transport, clients, places, sources, sizes, OpenFiles(), WHOLE.urls(files))


def fetch_beside_data(fetched: Mapping[str, Fetched], transport: Transport) -> None:
    """Fetch the variables that the proof compares whole: times, their bounds, and variables that do
    not change with time. Their bytes are added to what is known of each file, in one batch.

    Args:
        fetched: what is known of each file, by URL.
        transport: reads.

    Raises:
        TransportError: bytes cannot be read.
    """
    ranges = []
    for url, known in fetched.items():
        if known.hint is not None:
            ranges += [Range(url, *span) for span in Hints(known.hint).beside_data()]
    fetch(ranges, {url: known.content for url, known in fetched.items()}, transport)


def _note_first_bytes(inputs: ProofInputs) -> None:
    """Note the first bytes of each file of the share, which are asked for again after the proof."""
    for url, content in inputs.clients.known.items():
        stop = min(inputs.sizes[url], FIRST_BYTES)
        if stop and url in inputs.own:
            inputs.clients.looks[url] = (0, content.read(0, stop))


def _compare(parts: Sequence[tuple[Part, Comparison]], inputs: ProofInputs) -> Iterator[Check]:
    """Compare all files of all datasets."""
    firsts = []
    others = []
    for part, one in parts:
        firsts += [(part, one, file) for file in part.files[:1]]
        others += [(part, one, file) for file in part.files[1:]]
    jobs: list[Job] = []
    # The first file of a dataset says which variables belong to the dataset.
    for some in (firsts, others):
        works = [
            (inputs.sources[file.url], one.describe(file, part.dropped)) for part, one, file in some
        ]
        results = judge_all(works, inputs.transport, inputs.open_files, counts=True)
        for (_, one, _), found in zip(some, results, strict=True):
            one.accept(found)
            yield from found.checks
            jobs += [job for job in found.jobs if job.url in inputs.own]
    compare_boxes(jobs, inputs)
    yield from values_of(jobs)
    yield from _compare_repeated(parts, inputs)


def _compare_repeated(
    parts: Sequence[tuple[Part, Comparison]], inputs: ProofInputs
) -> Iterator[Check]:
    """Compare all values at the time steps that several files hold."""
    works = []
    for part, one in parts:
        for file in one.shared():
            if file.url not in inputs.own:
                continue
            works.append((inputs.sources[file.url], one.repeated(file, part.dropped)))
    jobs: list[Job] = []
    for own in judge_all(works, inputs.transport):
        jobs += own
    compare_boxes(jobs, inputs)
    yield from values_of(jobs)
