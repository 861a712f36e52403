"""The proof of an output through what was staged, and advice on outputs that are right, and yet not
what every reader opens at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import FormatError, ProofError
from ..formats import Fetched
from ..model import FileRecord, Finding, ReferenceSet, Report
from ..output import Artefact, named, reading_of
from ..proof import DECODED, verify
from ..transport import Transport, is_url
from .damage import check_served_bytes, explained
from .telling import Share

if TYPE_CHECKING:
    from ..settings import Settings  # pydantic costs a quarter of a second


SEGMENTS = "segments"
"""Code of the finding that stock readers see an empty root."""


def advice(
    references: ReferenceSet, output: str, path: str, settings: Settings
) -> Iterator[Finding]:
    """Advise on an output that is right, but that not every reader opens at once.

    Args:
        references: what was written.
        output: name of the output.
        path: where it goes, as the findings name it.
        settings: from how many chunks on to advise.
    """
    reading = reading_of(references.provenance)
    if reading.segments:
        yield Finding(
            SEGMENTS,
            2,
            path,
            "files that form one array",
            f"{reading.segments} segments",
            'Readers open it with engine="esgvzarr"; stock xarray shows an empty root that says '
            "so. See what `esgvzarr inspect` says of the files.",
            refuse=False,
        )
    if reading.segmented:
        yield Finding(
            SEGMENTS,
            2,
            path,
            "files that form one array for each variable",
            f"segments in the groups {list(reading.segmented)}",
            'Readers open it with xarray.open_datatree(href, engine="esgvzarr"), which joins them; '
            "stock xarray shows empty groups. See what `esgvzarr inspect` says of the files.",
            refuse=False,
        )
    if reading.codec:
        yield Finding(
            "segments-codec",
            2,
            path,
            "chunks as long as they are shown",
            "file ends that are stored padded",
            "Readers need esgvzarr, whose codec crops them. `file_ends: copy` lets stock readers "
            "open it.",
            refuse=False,
        )
    if references.chunk_count > settings.many_chunks and not named(output).directory:
        yield Finding(
            "chunks-many",
            0,
            path,
            f"at most {settings.many_chunks} chunks",
            str(references.chunk_count),
            "Readers load the whole file to open it; set `output: parquet`.",
            refuse=False,
        )


def prove(
    artefact: Artefact,
    name: str,
    files: Sequence[FileRecord],
    transport: Transport,
    settings: Settings,
    *,
    location: str,
    scanned: Mapping[str, Fetched] | None = None,
    told: Share = lambda *_: None,
) -> Report:
    """The report of a passed proof.

    Args:
        artefact: what was written.
        name: the dataset, or the name of a document.
        files: the files that the references were made of.
        transport: reads the files.
        settings: how many samples are compared, and where files are read.
        location: where the output will be.
        scanned: what the scan has read over HTTP.
        told: how much is compared, and how much there is.

    Raises:
        ProofError: the references do not read back as the files do.
        FormatError: a file cannot be read.
        TransportError: they do not, for the data node does not answer as it should.
    """
    nearest = _nearest(files, settings.read)
    try:
        report = verify(
            artefact,
            nearest,
            transport,
            location=location,
            dataset_id=name,
            samples=settings.proof_samples,
            storage_options=storage_options(files, settings),
            scanned=scanned,
            told=told,
        )
    except FormatError as error:
        raise explained(error, nearest, transport, settings.read) from error.__cause__
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
        check_served_bytes(nearest, transport)
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
