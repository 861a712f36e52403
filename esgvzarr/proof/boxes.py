"""Read the chosen boxes on both sides: through the references, and from the files.

Boxes of all files are read in batches that fit into memory. The bytes of a batch are fetched at
once; then the stock readers and netCDF-C read them from memory. Readers fetch from the server what
a batch lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..errors import FormatError
from ..formats.content import SparseContent
from ..inflate import ExpandsError
from ..model import FileRecord
from ..transport import Range, Transport, is_url
from ..transport.fsspec_guard import StockClients, raise_transport_error
from .file_side import Counted, OpenFiles, Source, Work, fetch, judge_all
from .hints import Hints
from .jobs import Job
from .reference_side import UNREADABLE, StatedChunks

if TYPE_CHECKING:
    import xarray

READERS = 32
AT_ONCE = 128 * 2**20
"""Bytes of decoded boxes in memory at a time; each box is held twice, once for each side."""
FETCHED_AGAIN = 64 * 1024
"""The most bytes of each file that are fetched again after the proof."""


@dataclass(frozen=True, slots=True, eq=False)
class ProofInputs:
    """What both sides of the proof need to read: the transport, clients, sources and sizes."""

    transport: Transport
    clients: StockClients
    stated: StatedChunks
    sources: Mapping[str, Source]
    """File URL -> where netCDF-C reads the file."""
    sizes: Mapping[str, int]
    """URL -> bytes of the files whose URLs readers follow."""
    open_files: OpenFiles
    """Local files that stay open between two reads by netCDF-C."""
    own: Collection[str]
    """URLs of the files whose chosen chunks are compared here."""
    told: Callable[[int, int], None] = lambda *_: None
    """Receives the bytes compared so far, and the bytes of all jobs."""


class ComparisonProgress:
    """The progress of the comparison of some jobs. Each byte counts once when it is fetched, and
    once when it is compared.

    Args:
        jobs: all jobs.
        told: receives the bytes done so far, and the bytes of all jobs.
    """

    def __init__(self, jobs: Sequence[Job], told: Callable[[int, int], None]) -> None:
        self._done = 0
        self._total = 2 * sum(job.size for job in jobs)
        self._told = told

    def fetch(self, jobs: Sequence[Job], answers: int, requests: int) -> None:
        """Count the requests for some jobs that were answered."""
        size = sum(job.size for job in jobs)
        self._told(self._done + size * answers // requests, self._total)

    def add(self, jobs: Sequence[Job]) -> None:
        """Count jobs whose bytes were all fetched, or all compared."""
        self._done += sum(job.size for job in jobs)
        self._told(self._done, self._total)


def sizes_of(
    files: Sequence[FileRecord], sources: Mapping[str, Source], transport: Transport
) -> dict[str, int]:
    """Return the size of each file in bytes, by URL, as far as it is known."""
    sizes = {}
    for file in files:
        content = sources[file.url].content
        state = transport.state_of(file.url)
        size = content.size if content else (state.size if state else file.size)
        if size is not None and is_url(file.url):
            sizes[file.url] = size
    return sizes


def compare_boxes(jobs: Sequence[Job], inputs: ProofInputs) -> None:
    """Read the boxes of all jobs on both sides, and note the differences in the jobs' values.

    Raises:
        TransportError: netCDF-C or a reader cannot get bytes.
        FormatError: netCDF-C cannot read a box.
    """
    hints = _hints(inputs.sources)
    progress = ComparisonProgress(jobs, inputs.told)
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="esgvzarr-reader")
    try:
        for batch in _batches(jobs):
            _compare_batch(batch, inputs, hints, readers, progress)
            inputs.clients.known = {}
    finally:
        readers.shutdown(cancel_futures=True)


def _compare_batch(
    batch: Sequence[Job],
    inputs: ProofInputs,
    hints: Mapping[str, Hints],
    readers: Executor,
    progress: ComparisonProgress,
) -> None:
    works = {url: inputs.sources[url].with_more() for url in {job.url for job in batch}}
    contents = {url: source.content for url, source in works.items() if source.content is not None}
    ranges: list[Range] = []
    for job in batch:
        ranges += _ranges(job, inputs.stated, hints)
    wanted = [one for one in ranges if _content(one.location, contents, inputs.sizes)]
    with inputs.transport.watched(partial(progress.fetch, batch)):
        fetch(wanted, contents, inputs.transport)
    progress.add(batch)
    inputs.clients.known = contents
    shown = {id(job): readers.submit(job.read_shown) for job in batch}
    _judge_batch(batch, works, shown, inputs, progress)
    _remember(wanted, contents, inputs.clients)


def _hints(sources: Mapping[str, Source]) -> Mapping[str, Hints]:
    return {
        url: Hints(source.hint)
        for url, source in sources.items()
        if source.hint is not None and source.path is None
    }


def _batches(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    batch: list[Job] = []
    size = 0
    for job in jobs:
        if batch and size + job.size > AT_ONCE:
            yield batch
            batch = []
            size = 0
        batch.append(job)
        size += job.size
    if batch:
        yield batch


def _ranges(job: Job, stated: StatedChunks, hints: Mapping[str, Hints]) -> Iterator[Range]:
    """Predict the ranges that both sides will read."""
    if job.url in hints:
        for start, stop in hints[job.url].of_box(job.name, job.box):
            yield Range(job.url, start, stop)
    keys = job.group.keys_of(job.name, job.shown_box)
    yield from stated.places(job.group.path, job.name, keys)


def _content(
    url: str, contents: dict[str, SparseContent], sizes: Mapping[str, int]
) -> SparseContent | None:
    """Return the known bytes of a file, with an empty entry for a new file; None if its size is not
    known.
    """
    if url not in contents and url in sizes:
        contents[url] = SparseContent(sizes[url])
    return contents.get(url)


def _judge_batch(
    batch: Sequence[Job],
    sources: Mapping[str, Source],
    shown: dict[int, Future[np.ndarray]],
    inputs: ProofInputs,
    progress: ComparisonProgress,
) -> None:
    by_file: dict[str, list[Job]] = {}
    for job in batch:
        by_file.setdefault(job.url, []).append(job)
    works = [(sources[url], _work(own, shown)) for url, own in by_file.items()]
    results = judge_all(works, inputs.transport, inputs.open_files)
    for own, found in zip(by_file.values(), results, strict=True):
        for job, unlike in zip(own, found, strict=True):
            job.values.wrong += unlike
            del shown[id(job)]
        progress.add(own)


def _work(jobs: Sequence[Job], shown: Mapping[int, Future[np.ndarray]]) -> Work[list[list[str]]]:
    """Compare the boxes of one file."""

    def work(truth: xarray.Dataset, _: Mapping[str, Counted]) -> list[list[str]]:
        return [job.unlike(truth, _part(job, shown[id(job)])) for job in jobs]

    return work


def _part(job: Job, shown: Future[np.ndarray]) -> np.ndarray | Exception:
    """Return what a reader got, or the error that it got.

    Raises:
        FormatError: ``file-chunk-expands``. netCDF-C has no limit, so it must never read this
            chunk.
    """
    try:
        return shown.result()
    except ExpandsError as error:
        raise FormatError(
            job.url,
            f"a chunk of {job.name!r} {error}",
            expected="as many bytes as its shape says",
            todo="The chunk is damaged, or was made to fill the memory of its readers: do not "
            "publish the file.",
            code="file-chunk-expands",
        ) from error
    except UNREADABLE as error:
        raise_transport_error(error)
        return error


def _remember(
    ranges: Sequence[Range], contents: Mapping[str, SparseContent], clients: StockClients
) -> None:
    """Keep some bytes of each file, to compare them with the file again after the proof."""
    for one in ranges:
        content = contents.get(one.location)
        stop = min(one.start + FETCHED_AGAIN, one.stop)
        if content is None or not content.has(one.start, stop):
            continue
        known = clients.looks.get(one.location)
        if known is None or len(known[1]) < stop - one.start:
            clients.looks[one.location] = (one.start, content.read(one.start, stop))
