"""The proof: references read back as the files do, or they are not published.

The reader's side is stock xarray + kerchunk. The other side is an independent read of the NetCDF
files (``truth``), which has no part in making references. Works on any kerchunk JSON, ours or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..errors import ProofError
from ..inflate import limited_codecs
from ..model import Check, FileRecord, Report
from ..output import DIRECTORIES, ICECHUNK, JSON, check_installed, output_of
from ..output.icechunk import named_places, read_icechunk
from ..output.kerchunk import read as decompressed
from ..output.parquet import read_parquet
from ..transport import Transport, is_url
from ..transport.fsspec_guard import remote_options
from .comparison import Comparison, whole
from .documented import DECODED as DECODED
from .documented import check_documented
from .file_side import Counted as Counted
from .file_side import open_sources, open_truth, stored_chunks
from .identity import check_identity
from .parts import Part, check_all_named, check_listing, scenes
from .reference_side import (
    UNREADABLE,
    check_places,
    largest_chunk,
    open_shown,
    reading_options,
)
from .reference_side import parse as parse
from .reference_side import stated as stated

_TOOLS = ("esgvzarr", "xarray", "zarr", "kerchunk", "fsspec", "netCDF4", "h5py", "numpy")
LARGEST = 2 * 2**30
"""Bytes of a reference file, as it is read."""


def read_references(location: str, transport: Transport) -> bytes:
    """A reference file, by URL or path, as kerchunk JSON, whatever output it is.

    Raises:
        TransportError: it cannot be read.
        SettingsError: the package that reads the output is missing.
        ProofError: no such output is there.
    """
    output = output_of(location)
    check_installed(output)
    transport.check_allowed(location)
    data = b"" if output in DIRECTORIES else transport.read_document(location, limit=LARGEST)
    try:
        if output == ICECHUNK:
            return _read_icechunk(location, transport)
        if output not in DIRECTORIES:
            return decompressed(data, LARGEST)
        with remote_options(transport) as guarded:
            return read_parquet(location, **(guarded if is_url(location) else {}))
    except UNREADABLE as error:
        raise ProofError(
            location,
            f"cannot be read: {error}",
            expected=f"kerchunk references as {output}",
            code="proof-not-references",
        ) from error


def through_of(location: str) -> str:
    """What the proof opens of references that are published: an output of this machine, and a
    repository wherever it is.

    Empty for others, whose document was read, and checked, before.
    """
    output = output_of(location)
    return location if output == ICECHUNK or (output != JSON and not is_url(location)) else ""


def _read_icechunk(location: str, transport: Transport) -> bytes:
    """Without the chunks. Icechunk asks servers by itself: only where it may."""
    for place in named_places(location):
        if is_url(place):
            transport.check_allowed(place)
        elif is_url(location):
            raise ProofError(
                location, f"leads readers to {place}", expected="HTTP", code="proof-place-refused"
            )
    return read_icechunk(location)


def referenced_urls(
    document: bytes, location: str, transport: Transport, named: Collection[str] = ()
) -> list[str]:
    """The files that references, or their provenance, name; in the order of the provenance, then of
    the references.

    Args:
        document: the reference file's bytes.
        location: its URL or path.
        transport: knows the hosts that may be fetched from.
        named: files of this machine that the operator named.

    Raises:
        ProofError: not kerchunk references, or they lead where they may not.
        TransportError: a host is not allowed.
    """
    parsed = parse(document, location)
    provenance = parsed["provenance"] if isinstance(parsed["provenance"], dict) else {}
    named_files = [
        file.get("url") for file in provenance.get("files") or () if isinstance(file, dict)
    ]
    said = [
        url for url in (*named_files, *(provenance.get("left_out") or ())) if isinstance(url, str)
    ]
    places = stated(parsed)
    check_places({*said, *places.urls()}, transport, location, named)
    return list(dict.fromkeys([*said, *(url for url, _ in places.chunks)]))


def verify(
    document: bytes,
    sources: Sequence[FileRecord],
    transport: Transport,
    *,
    location: str,
    dataset_id: str = "",
    samples: int = 8,
    full: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    counted: Mapping[str, Mapping[str, Counted]] | None = None,
    through: str = "",
) -> Report:
    """Compare a reference file with the NetCDF files that it should show.

    Counts of chunks by HDF5's own count; dimensions, types and attributes; coordinates, bounds and
    scalars whole; of each data variable the first, last and corner chunks of each file and
    ``samples`` random ones, or all chunks when ``full``. All numbers of the time steps that several
    files hold, against each of these files.

    Args:
        document: the reference file's bytes.
        sources: all files of the dataset; read from their path where there is one.
        transport: reads files by URL.
        location: URL or path of the reference file, for messages.
        dataset_id: seeds the sample; the location if empty.
        samples: random chunks per data variable and file.
        full: compare everything.
        storage_options: of fsspec's reference file system, for the reader's side.
        through: URL or path of the output that is opened, where it is not plain JSON; ``document``
            is what it should show.
        counted: URL -> variable -> (chunks, bytes, filtered), where libhdf5 has counted before;
            spares the count over HTTP.

    Returns:
        A report, passed or not.

    Raises:
        ProofError: the reference file is none, or does not open.
        TransportError: a source file cannot be read.
    """
    parsed = parse(document, location)
    places = stated(parsed)
    options = dict(storage_options or {})
    check_places(places.urls(), transport, location, {file.path or file.url for file in sources})
    with remote_options(transport) as guarded, limited_codecs(largest_chunk(parsed["refs"])):
        options["remote_options"] = {**guarded, **options.get("remote_options", {})}
        shown = open_shown(parsed, options, location, through)
        found = scenes(parsed, shown, sources, location)
        checks = [*check_listing(places.refs), *check_all_named(found, shown, sources)]
        for scene in found:
            compared = []
            for part in scene.parts:
                one = Comparison(
                    part.shown,
                    places,
                    seed=dataset_id or location,
                    samples=samples,
                    full=full,
                    alone=not scene.named,
                )
                checks += _compare(one, part, transport, counted or {})
                checks += check_identity(one.attrs, part.name or dataset_id)
                compared.append(one)
            checks += whole(scene.shown, compared, but=("coordinates",) if scene.named else ())
        checks += check_documented(
            through or dict(parsed),
            [group.path for group in shown],
            reading_options(parsed, options, through),
        )
    return Report(
        dataset_id,
        location,
        tuple(checks),
        _tools(),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _compare(
    comparison: Comparison,
    part: Part,
    transport: Transport,
    counted: Mapping[str, Mapping[str, Counted]],
) -> Iterator[Check]:
    """All files of one dataset."""
    opened = open_sources(part.files, transport)
    for file in part.files:
        source = opened.pop(0)  # what was fetched of a file goes with it
        known = None if isinstance(source, str) else counted.get(file.url)
        stored = stored_chunks(source) if known is None else known
        with open_truth(source, file.url) as truth:
            yield from comparison.file(
                file, source, truth.drop_vars(part.dropped, errors="ignore"), stored
            )
    again = comparison.shared()
    for file, source in zip(again, open_sources(again, transport), strict=True):
        with open_truth(source, file.url) as truth:
            yield from comparison.repeated(
                file, source, truth.drop_vars(part.dropped, errors="ignore")
            )


def _tools() -> dict[str, str]:
    found = {}
    for name in _TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
