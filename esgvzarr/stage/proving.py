"""Prove an output as it was staged, and warn of correct outputs that some readers cannot open
directly.
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
from ..proof.share import WHOLE, Share
from ..scan.damage import check_served_bytes, explained
from ..transport import Transport, is_url
from .telling import ReportAmount
from .work import Made

if TYPE_CHECKING:
    from ..settings import Settings  # Importing pydantic takes a quarter of a second.


SEGMENTS = "segments"
"""Code of the finding that stock readers see an empty root group."""


def advice(
    references: ReferenceSet, output: str, path: str, settings: Settings
) -> Iterator[Finding]:
    """Warn of properties of a correct output that readers need to know.

    Args:
        references: the references that were written.
        output: name of the output.
        path: path of the output, which the findings name.
        settings: the number of chunks above which to warn.
    """
    reading = reading_of(references.provenance)
    if reading.segments:
        yield Finding(
            SEGMENTS,
            2,
            path,
            "files that form one array",
            f"{reading.segments} segments",
            'Readers open it with engine="esgvzarr"; stock xarray shows an empty root with '
            "a note. `esgvzarr inspect` says how to repack the files.",
            refuse=False,
        )
    if reading.segmented:
        yield Finding(
            SEGMENTS,
            2,
            path,
            "files that form one array for each variable",
            f"segments in the groups {list(reading.segmented)}",
            'Readers open it with xarray.open_datatree(href, engine="esgvzarr"), which '
            "joins the segments; stock xarray shows empty groups. `esgvzarr inspect` says "
            "how to repack the files.",
            refuse=False,
        )
    if reading.codec:
        yield Finding(
            "segments-codec",
            2,
            path,
            "chunks that are stored at the length at which they are shown",
            "file ends that are stored padded",
            "Readers need esgvzarr, whose codec crops them. Set `file_ends: copy` if stock "
            "readers should open it.",
            refuse=False,
        )
    if references.chunk_count > settings.many_chunks and not named(output).directory:
        yield Finding(
            "chunks-many",
            0,
            path,
            f"at most {settings.many_chunks} chunks",
            str(references.chunk_count),
            "Readers load the whole reference file to open it; set `output: parquet` to "
            "avoid that.",
            refuse=False,
        )


def compared(
    artefact: Artefact,
    name: str,
    files: Sequence[FileRecord],
    transport: Transport,
    settings: Settings,
    *,
    location: str,
    scanned: Mapping[str, Fetched] | None = None,
    share: Share = WHOLE,
    told: ReportAmount = lambda *_: None,
) -> Report:
    """Compare an output with its files, and return the report, passed or not.

    Args:
        artefact: the output as it was written.
        name: the dataset, or the name of a document.
        files: the files that the references were made of.
        transport: reads the files.
        settings: how many samples are compared, and where files are read.
        location: where the output will be.
        scanned: what the scan has read over HTTP.
        share: the files whose chosen chunks are compared here.
        told: is told how many bytes are compared, and how many there are.

    Raises:
        ProofError: there are no references, or they do not open.
        FormatError, TransportError: a file cannot be read.
    """
    nearest = _nearest(files, settings.read)
    try:
        return verify(
            artefact,
            nearest,
            transport,
            location=location,
            dataset_id=name,
            samples=settings.proof_samples,
            storage_options=storage_options(files, settings),
            scanned=scanned,
            share=share,
            told=told,
        )
    except FormatError as error:
        raise explained(error, nearest, transport, settings.read) from error.__cause__
    except ProofError:
        _check_answers(files, transport)
        raise


def check_passed(report: Report, made: Made, read: str) -> None:
    """Check that the proof of an output passed.

    Args:
        report: the checks of the whole proof.
        made: the output and its files, and what reads the files.
        read: where files are read, as the setting of that name.

    Raises:
        ProofError: the references do not read back as the files do.
        TransportError: they do not, because the data node answers wrongly.
    """
    if report.passed:
        return
    _check_answers(made.files, made.transport)
    if {check.name for check in report.failures} == {DECODED}:
        raise ProofError(
            made.name,
            f"{report.failures[0].subject}: {report.failures[0].detail}",
            expected="a dataset that stock xarray decodes",
            todo="Correct the attribute of the NetCDF files that the message names.",
            code="proof-not-decoded",
        )
    check_served_bytes(_nearest(made.files, read), made.transport)
    first = "; ".join(f"{c.name} of {c.subject}: {c.detail}" for c in report.failures[:3])
    raise ProofError(
        made.name,
        f"{len(report.failures)} of {len(report.checks)} checks failed: {first}",
        expected="what the NetCDF files hold, value for value",
        todo="Nothing was published. Please report this as a bug.",
    )


def _check_answers(files: Sequence[FileRecord], transport: Transport) -> None:
    """Raise the data node's own error, if its answers and not the references are the cause.

    fsspec does not distinguish a busy server from a missing file.
    """
    transport.read_heads([file.url for file in files if is_url(file.url)], 1)


def _nearest(files: Sequence[FileRecord], read: str) -> list[FileRecord]:
    """Return the files without paths that the setting ``read`` does not allow."""
    return [replace(file, path=None) for file in files] if read == "http" else list(files)


def storage_options(files: Sequence[FileRecord], settings: Settings) -> dict[str, Any]:
    """Return the options that readers of the proof need beyond the defaults: a private certificate
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
