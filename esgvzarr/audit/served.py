"""A reference file as readers get it, and the files that it refers to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..errors import ProofError, TransportError
from ..output import Artefact, of_place
from ..proof import stated
from ..transport import Transport, is_url
from .judgement import RecordedFile, recorded_files, stated_files
from .targets import Target


@dataclass(frozen=True, slots=True)
class ServedReferences:
    """A reference file as readers get it."""

    artefact: Artefact | TransportError | ProofError
    """The reference file, or the error why it cannot be read."""
    sha256: str = ""
    """SHA-256 of the served bytes; empty if they cannot be read, and for a directory, which has
    many files.
    """


def read_served(
    location: str, body: bytes | TransportError, transport: Transport
) -> ServedReferences:
    """Return the reference file at a location, from the answer or error of the request for it, and
    from its side file.
    """
    if isinstance(body, TransportError):
        return ServedReferences(body)
    sha256 = hashlib.sha256(body).hexdigest()
    try:
        return ServedReferences(of_place(location).parse(body, location, transport), sha256)
    except (ProofError, TransportError) as error:
        return ServedReferences(error, sha256)


def recorded_files_of(target: Target, served: ServedReferences) -> list[RecordedFile] | ProofError:
    """Return the files that a reference file refers to, and what was known about them when it was
    made.
    """
    artefact = served.artefact
    if isinstance(artefact, ProofError):
        return artefact
    if isinstance(artefact, TransportError):
        return []  # Without its contents, readers reach no file.
    contents = artefact.contents
    try:
        if "files" in contents.provenance:
            return recorded_files(contents.provenance, target.location)
        return stated_files(stated(contents).reach)
    except ProofError as error:
        return error


def is_asked(target: Target, kept: RecordedFile) -> bool:
    """Whether a file is checked: by URL always; by path only if the reference file is local too."""
    return is_url(kept.file.url) or ("://" not in kept.file.url and not is_url(target.location))
