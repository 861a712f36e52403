"""The side file ``<DSID>.ends`` of a document: copied chunks that are too many for the document
itself.

The file only grows. A forced replacement appends to it, so that readers of an earlier document
still find the bytes that it refers to.
"""

from __future__ import annotations

import hashlib
import mmap
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Obstacle, ProofError, TransportError
from ..model import Array, ChunkTable, ReferenceSet

if TYPE_CHECKING:
    from ..transport import Transport

SUFFIX = ".ends"
GOES_ALONG = (
    "It holds the copied file ends of a document and must lie beside it: copy it there, or "
    "write the references again."
)
"""What to do about a missing side file."""
_FACTS = "copied_ends"
"""Keys with which the provenance describes copied chunks."""


@dataclass(frozen=True, slots=True)
class SidePart:
    """The bytes of a side file that one document refers to."""

    url: str
    """URL or path, as in the references."""
    offset: int
    size: int
    sha256: str

    @property
    def stop(self) -> int:
        """The byte after the last."""
        return self.offset + self.size


def stated_part(provenance: Any) -> SidePart | None:
    """Return the part of a side file that a document refers to; None if it has no side file.

    Raises:
        ValueError: the provenance does not state which part.
    """
    facts = provenance.get(_FACTS) if isinstance(provenance, Mapping) else None
    said = facts.get("file") if isinstance(facts, Mapping) else None
    if said is None:
        return None
    try:
        part = SidePart(**said)
    except TypeError as error:
        raise ValueError("its provenance does not describe its side file") from error
    texts = isinstance(part.url, str) and isinstance(part.sha256, str)
    numbers = isinstance(part.offset, int) and isinstance(part.size, int)
    if not (texts and numbers and part.offset >= 0 and part.size >= 0):
        raise ValueError("its provenance does not describe its side file")
    return part


def held_size(references: ReferenceSet) -> int:
    """Return the bytes of the chunks that a side file would hold."""
    return sum(len(data) for data in _held(references))


def _held(references: ReferenceSet) -> Iterator[bytes]:
    for group in references.groups:
        for array in group.arrays:
            if array.lengths:
                yield from array.inline.values()


def write_side_file(
    references: ReferenceSet, url: str, staged: Path, earlier: Path
) -> ReferenceSet:
    """Write the held chunks of arrays whose chunks differ in length to a side file.

    Args:
        references: the references of the document.
        url: URL at which the side file will be read.
        staged: path of the new side file, where nothing exists yet.
        earlier: path of the existing side file, if there is one.

    Returns:
        The references, in which these chunks lie in one more file, number
            ``len(references.files)``.
    """
    digest = hashlib.sha256()
    size = 0
    for data in _held(references):
        digest.update(data)
        size += len(data)
    offset = _append(list(_held(references)), size, staged, earlier)
    part = SidePart(url, offset, size, digest.hexdigest())
    groups = []
    for group in references.groups:
        arrays = []
        for array in group.arrays:
            if array.lengths and array.inline:
                array = _moved_out(array, offset, len(references.files))
                offset = int(array.chunks.offsets[-1] + array.chunks.sizes[-1])
            arrays.append(array)
        groups.append(replace(group, arrays=tuple(arrays)))
    facts = {**references.provenance.get(_FACTS, {}), "file": asdict(part)}
    provenance = {**references.provenance, _FACTS: facts}
    return replace(references, groups=tuple(groups), provenance=provenance)


def _append(chunks: Sequence[bytes], size: int, staged: Path, earlier: Path) -> int:
    """Write the bytes of the existing file, and after them the chunks, unless it holds them
    already.

    Returns:
        The byte at which the chunks begin.
    """
    offset = 0
    if earlier.exists() and earlier.stat().st_size:
        with (
            earlier.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as before,
        ):
            found = before.find(b"".join(chunks)) if size <= len(before) else -1
            offset = found if found >= 0 else len(before)
        shutil.copyfile(earlier, staged)
        if found >= 0:
            return offset
    with staged.open("ab") as grown:
        grown.writelines(chunks)
    return offset


def _moved_out(array: Array, offset: int, number: int) -> Array:
    """Return an array whose held chunks lie in a file, from an offset on."""
    sizes = np.array([len(data) for data in array.inline.values()], np.int64)
    keys = np.array(list(array.inline), np.int64).reshape(len(sizes), len(array.dims))
    offsets = offset + np.cumsum(sizes) - sizes
    table = array.chunks
    chunks = ChunkTable(
        np.concatenate([table.keys, keys]),
        np.concatenate([table.offsets, offsets]),
        np.concatenate([table.sizes, sizes]),
    )
    owners = np.concatenate([array.file_index, np.full(len(sizes), number, np.int64)])
    return replace(array, chunks=chunks, file_index=owners, inline={})


def is_whole(part: SidePart, path: Path) -> bool:
    """Whether a side file on disk holds a part."""
    try:
        data = _read(part, path)
    except OSError:
        return False
    return hashlib.sha256(data).hexdigest() == part.sha256


def _read(part: SidePart, path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(part.offset)
        return file.read(part.size)


@dataclass(frozen=True, slots=True, eq=False)
class SideFile:
    """A part of a side file, where it can be read."""

    part: SidePart
    place: str
    """URL or path."""
    transport: Transport | None = None
    """Reads the file; None if it was just written on this machine."""

    def check_there(self) -> None:
        """Check that the file exists and is long enough.

        Raises:
            TransportError: it cannot be read.
            ProofError: it is too short.
        """
        if self.transport is None:
            return
        self.transport.forget([self.place])
        try:
            head = self.transport.read_head(self.place, 1)
        except TransportError as error:
            if error.obstacle is Obstacle.GONE or isinstance(error.__cause__, FileNotFoundError):
                raise _gone(self.place, error) from error.__cause__
            raise
        if head.size < self.part.stop:
            raise _other(self.place, f"has {head.size} bytes", f"at least {self.part.stop}")

    def read(self) -> bytes:
        """Return the bytes of the part.

        Raises:
            TransportError: they cannot be read.
            ProofError: they changed since the document was written.
        """
        from ..transport import Range

        part = self.part
        if self.transport is None:
            data = _read(part, Path(self.place))
        else:
            self.check_there()
            wanted = [Range(self.place, part.offset, part.stop)]
            (data,) = self.transport.read_ranges(wanted)
        if hashlib.sha256(data).hexdigest() != part.sha256:
            raise _other(self.place, "holds other bytes", f"SHA-256 {part.sha256}")
        return data


def put_in(refs: Mapping[str, Any], part: SidePart, data: bytes) -> dict[str, Any]:
    """Replace the references to a side file by its bytes.

    Raises:
        ProofError: a reference points beyond the part.
    """
    filled = dict(refs)
    for key, value in refs.items():
        if not (isinstance(value, list) and value[0] == part.url):
            continue
        _, start, size = value if len(value) == 3 else (part.url, 0, -1)
        if start < part.offset or size < 0 or start + size > part.stop:
            raise _other(f"{part.url}, {key}", f"leads to {value[1:]}", f"refers to {value[1:]}")
        filled[key] = data[start - part.offset : start - part.offset + size]
    return filled


def _other(subject: str, found: str, expected: str) -> ProofError:
    return ProofError(
        subject,
        found,
        expected=f"the copied file ends of its document: {expected}",
        todo="Copy it again from where the references were written, or write them again with "
        "--force.",
        code="proof-ends-differ",
    )


def _gone(place: str, error: TransportError) -> TransportError:
    return TransportError(
        place, error.found, expected=error.expected, todo=GOES_ALONG, code=error.code
    )
