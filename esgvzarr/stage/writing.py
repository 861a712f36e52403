"""Write the outputs of a dataset beside their places, and read them back from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..combine.rectilinear import Bound, join_segments
from ..errors import ProofError
from ..formats import Fetched, location_of
from ..model import FileRecord, Finding, ReferenceSet
from ..output import Artefact, named
from ..output.disk_errors import writing
from ..output.parts import measure
from ..output.placing import clear
from ..output.protocol import UNREADABLE
from ..transport import Range, Transport
from .proving import advice as advice_on
from .work import Destination, Made, Place, Unproved


def write_outputs(
    references: ReferenceSet,
    files: Sequence[FileRecord],
    destination: Destination,
    transport: Transport,
    scanned: Mapping[str, Fetched],
) -> Made:
    """Write references into each of the places. Nothing is proved yet.

    Args:
        references: the references to write.
        files: the files that they were made of.
        destination: the places and the settings.
        transport: reads the files.
        scanned: what the scan has read over HTTP.

    Raises:
        FormatError, StoreError: an output cannot be written.
    """
    outputs = []
    joined, advice = _joined(references, destination, transport)
    for place in destination.places:
        own = joined if named(place.output).joins_segments else references
        outputs.append(_written(own, place))
        advice += advice_on(own, place.output, place.path, destination.settings)
    warnings = (*references.warnings, *advice)
    return Made(references, tuple(outputs), tuple(files), scanned, warnings, transport)


def _joined(
    references: ReferenceSet, destination: Destination, transport: Transport
) -> tuple[ReferenceSet, list[Finding]]:
    """Join the segments, for outputs that support chunks of different lengths.

    Returns:
        The joined references, and the findings why they could not be joined.
    """
    places = [place for place in destination.places if named(place.output).joins_segments]
    settings = destination.settings
    is_padded = settings.file_ends == "codec"
    joined = join_segments(references, padded=is_padded) if places else None
    if joined is None:
        return references, []
    most = Bound(settings.copied_fraction, settings.copied_mib * 2**20).of(references)
    if joined.copied > most:
        finding = Finding(
            "segments-copies",
            2,
            places[0].path,
            f"at most {most} bytes to be copied",
            f"{joined.copied} bytes of file ends",
            "The dataset stays in segments. To store it as one array, raise "
            "`copied_fraction` and `copied_mib`.",
            refuse=False,
        )
        return references, [finding]
    files = [file.file for file in references.files]
    nearest = [location_of(file, settings.read) for file in files]

    def read(pieces: Sequence[tuple[int, int, int]]) -> list[bytes]:
        ranges = [Range(nearest[number], start, stop) for number, start, stop in pieces]
        return list(transport.read_ranges(ranges))

    return joined.filled(read), []


def _written(references: ReferenceSet, place: Place) -> Unproved:
    """Write one output, and measure it."""
    staged = Path(place.staged)
    with writing(place.path):
        clear(staged)  # A killed process may have left a part of it.
        named(place.output).write(references, staged, Path(place.path), place.location)
    size, sha256 = measure(staged)
    return Unproved(place, references, size, sha256)


def read_back(unproved: Unproved) -> Artefact:
    """Read a staged output from disk.

    Raises:
        ProofError: it cannot be read.
    """
    references = unproved.references
    output = named(unproved.place.output)
    try:
        return output.staged(Path(unproved.place.staged), references)
    except UNREADABLE as error:
        raise ProofError(
            str(references.id),
            f"the staged {output.name} output cannot be read: {type(error).__name__}: {error}",
            expected="the output that was just written",
            todo="Nothing was published. Check the disk, then try again.",
            code="proof-not-written",
        ) from error
