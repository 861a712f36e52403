"""The output ``zarr3``: kerchunk references to arrays of Zarr version 3, whose chunks may differ in
length.

The asset's description says how stock xarray with zarr-python 3.2 or later opens it. kerchunk's own
engine reads Zarr version 2 only.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import ProofError
from ..model import ReferenceSet
from . import kerchunk, side_file, zarr_v3
from .contents import Contents
from .document import contents_of, parse, read_own
from .kerchunk_file import KerchunkJson, References
from .protocol import LARGEST, Artefact
from .reading import NO_ADVICE, OURS, Reading
from .side_file import SideFile, SidePart
from .stock import OpenGroup, opener

if TYPE_CHECKING:
    from ..transport import Transport

ZARR_FORMAT = 3
INLINE = 256 * 1024
"""The most bytes of copied file ends that a document holds itself. If there are more, they go to a
side file: every reader loads the whole document, and few read all ends.
"""


@dataclass(frozen=True, slots=True, eq=False)
class WithSideFile:
    """References with a side file, whose bytes are read when the references are opened."""

    contents: Contents
    fo: str | dict[str, Any]
    """The parsed document, or its path."""
    options: Mapping[str, Any]
    side: SideFile

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """Open them by stock xarray, Zarr and fsspec; the side file is read once, whole, and its
        checksum is compared.

        Raises:
            ProofError: it holds other bytes than the document states.
            TransportError: it cannot be read.
        """
        parsed = self.fo
        if isinstance(parsed, str):
            parsed = parse(Path(parsed).read_bytes(), parsed)
        filled = side_file.put_in(parsed["refs"], self.side.part, self.side.read())
        return opener({**parsed, "refs": filled}, {**self.options, **options}, ZARR_FORMAT)


class KerchunkZarr3(KerchunkJson):
    """One file of references with metadata of Zarr version 3. Copied chunks are in it, or in a file
    beside it.
    """

    name = "zarr3"
    suffix = ".zarr3.json"
    side_suffix = side_file.SUFFIX
    joins_segments = True
    is_stock = False
    asset_key = "zarr3"
    asset_fields: Mapping[str, Any] = {
        "title": "Virtual Zarr version 3 (kerchunk references)",
        "description": (
            "Zarr3 Link. xarray:open_kwargs need esgvzarr. Stock readers with zarr >= 3.2: "
            'zarr.config.set({"array.rectilinear_chunks": True}), then '
            'xarray.open_dataset("reference://", engine="zarr", consolidated=False, chunks={}, '
            'storage_options={"fo": href, "remote_protocol": "https", '
            '"remote_options": {"asynchronous": True}}).'
        ),
        "cloud_format": "kerchunk",
    }

    def check_installed(self) -> None:
        """Check that the installed zarr-python reads chunks of different lengths."""
        zarr_v3.require_rectilinear(self.name)

    def write(
        self,
        references: ReferenceSet,
        staged: Path,
        present: Path | None = None,
        location: str = "",
    ) -> None:
        """Write one file, part by part; before it a side file, if there are many copied chunks."""
        urls = [file.file.url for file in references.files]
        at = self.beside(location or str(present or staged))
        if side_file.held_size(references) > INLINE and _are_fetched_alike(at, urls):
            earlier = Path(self.beside(str(present or staged)))
            beside = Path(self.beside(str(staged)))
            references = side_file.write_side_file(references, at, beside, earlier)
            urls.append(at)
        with staged.open("wb") as file:
            kerchunk.write_parts(_parts(references, urls), references.provenance, file)

    def staged(self, place: Path, references: ReferenceSet) -> Artefact:
        """Return the file, parsed block by block, to be opened by its path."""
        with (
            place.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as document,
        ):
            part = side_file.stated_part(kerchunk.provenance(document))
            own_file = part.url if part else ""
            contents = read_own(document, str(place), ZARR_FORMAT, own_file)
        beside = SideFile(part, self.beside(str(place))) if part else None
        return _artefact(contents, str(place), beside)

    def read(self, location: str, transport: Transport) -> Artefact:
        """Return the document, fetched once and checked, to be opened as it was parsed."""
        transport.check_allowed(location)
        return self.parse(transport.read_document(location, limit=LARGEST), location, transport)

    def parse(self, data: bytes, location: str, transport: Transport | None = None) -> Artefact:
        """Parse the bytes of such a file, written by any tool. Its side file must exist, and is not
        read yet.
        """
        self.check_installed()
        parsed = parse(data, location)
        part = _part_of(parsed, location)
        if part is None:
            return _artefact(contents_of(parsed, ZARR_FORMAT), parsed, None)
        beside = SideFile(part, self._place_of(part, location), transport)
        if transport is not None:
            transport.check_allowed(beside.place)
        beside.check_there()
        return _artefact(contents_of(parsed, ZARR_FORMAT, part.url), parsed, beside)

    def beside(self, place: str) -> str:
        """Return the path or URL of the side file of a document."""
        return place.removesuffix(self.suffix) + self.side_suffix

    def _place_of(self, part: SidePart, location: str) -> str:
        """Return where the side file of a document is read: beside a local document if it exists
        there, else where the document says.

        Raises:
            ProofError: a document from elsewhere refers to a local file, or to another file than
                its own side file.
        """
        from ..transport import is_url

        own = self.beside(location)
        if not is_url(location) and os.path.exists(own):
            return own
        is_own = os.path.basename(part.url) == os.path.basename(own)
        if not is_own or (is_url(location) and not is_url(part.url)):
            raise ProofError(
                location,
                f"refers readers to {part.url}",
                expected=f"its side file {own}",
                code="proof-place-refused",
            )
        return part.url

    def is_whole(self, place: Path) -> bool:
        """Whether the side file holds what the document states; True if it states no side file."""
        try:
            part = side_file.stated_part(self.provenance(place))
        except (OSError, ValueError):
            return True
        return part is None or side_file.is_whole(part, Path(self.beside(str(place))))

    def same(self, a: Path, b: Path) -> bool:
        """Whether everything except the provenance is equal, and the bytes in side files too."""
        if not super().same(a, b):
            return False
        parts = [side_file.stated_part(self.provenance(place)) for place in (a, b)]
        return parts[0] == parts[1]

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Return the arguments for the engine of esgvzarr, which takes the file's own URL. Stock
        readers open ``reference://`` and give the URL as an option; the asset's description says
        how.
        """
        return dict(OURS)


def _artefact(contents: Contents, fo: str | dict[str, Any], side: SideFile | None) -> Artefact:
    protocols = list(filter(None, map(_protocol, contents.urls)))
    options = {"remote_protocol": protocols[0]} if protocols else {}
    if side is None:
        return References(contents, fo, options, ZARR_FORMAT)
    return WithSideFile(contents, fo, options, side)


def _part_of(parsed: Mapping[str, Any], location: str) -> SidePart | None:
    """Return the part of the side file that a document states.

    Raises:
        ProofError: it does not state which part.
    """
    try:
        return side_file.stated_part(parsed["provenance"])
    except ValueError as error:
        raise ProofError(
            location, str(error), expected="URL, offset, size, SHA-256", code="proof-ends-differ"
        ) from error


def _are_fetched_alike(side: str, urls: list[str]) -> bool:
    """Whether the side file has the protocol of the NetCDF files: stock readers fetch all
    references of a document by one protocol.
    """
    return {_protocol(side)} == set(map(_protocol, urls))


def _protocol(place: str) -> str:
    """Return the protocol of a URL; empty for a path."""
    return place.partition("://")[0] if "://" in place else ""


def _parts(references: ReferenceSet, urls: list[str]) -> Iterator[bytes]:
    """Yield ``"key":value`` pairs of JSON, comma-separated; several to a part."""
    from zarr.storage import MemoryStore

    metadata: dict[str, Any] = {}
    zarr_v3.create_groups(MemoryStore(metadata), references, {})
    for key, value in sorted(metadata.items()):
        yield kerchunk.pair(key, orjson.dumps(orjson.loads(value.to_bytes())).decode())
    for group in references.groups:
        for array in group.arrays:
            path = f"{zarr_v3.path_of(group.path, array)}/c"
            yield from kerchunk.array_parts(array, path, urls, ZARR_FORMAT)
