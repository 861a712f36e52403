"""The outputs ``json`` and ``json.zst``: one file of kerchunk references, plain or compressed."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProofError
from ..model import Layout, ReferenceSet
from . import kerchunk
from .contents import Contents
from .document import contents_of, parse, read_own
from .protocol import KERCHUNK_TYPE, LARGEST, ROLES, Artefact, Form
from .reading import NO_ADVICE, OURS, Reading
from .requirements import require
from .stock import OpenGroup, opener

if TYPE_CHECKING:
    from ..transport import Transport

NO_DASK_INSIDE = {"chunked_array_type": "none"}
"""Options with which only xarray makes dask arrays, and kerchunk's engine does not make its own
before.

Otherwise dask would open the references twice more to compute a name for them. ``xarray.open_zarr``
makes no lazy arrays of a type that is not installed, as with ``chunks=None``; that value would be a
null in JSON, which some STAC servers drop.
"""
ASSET_FIELDS = {
    "title": "Virtual Zarr (kerchunk references)",
    "description": "VirtualZarr Link",
    "protocol": "kerchunk",
    "cloud_format": "kerchunk",
}
"""Roles of the asset of kerchunk references, in any output."""


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Kerchunk references that exist."""

    contents: Contents
    fo: str | dict[str, Any]
    """What fsspec opens: a path, or the parsed document."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of fsspec's reference file system that this output needs."""
    zarr_format: int = 2

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """Open them by stock xarray, Zarr and fsspec."""
        return opener(self.fo, {**self.options, **options}, self.zarr_format)


class KerchunkJson:
    """Kerchunk references as strict JSON, which stock xarray and kerchunk open."""

    name = "json"
    suffix = ".json"
    form = Form.DOCUMENT
    directory = False
    side_suffix = ""
    keeps_snapshots = False
    joins_segments = False
    is_stock = True
    requirements: tuple[str, ...] = ("esgvzarr",)
    media_type = KERCHUNK_TYPE
    asset_key = "reference_file"
    asset_fields: Mapping[str, Any] = ASSET_FIELDS
    roles = ROLES

    def check_installed(self) -> None:
        """Return: the base install has all that this output needs."""

    def write(
        self,
        references: ReferenceSet,
        staged: Path,
        present: Path | None = None,
        location: str = "",
    ) -> None:
        """Write one file, part by part."""
        with staged.open("wb") as file:
            kerchunk.write(references, file, self.storage_options(""))

    def staged(self, place: Path, references: ReferenceSet) -> Artefact:
        """Return the file, parsed block by block, to be opened by its path."""
        with (
            place.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as document,
        ):
            contents = read_own(document, str(place))
        return References(contents, str(place))

    def read(self, location: str, transport: Transport) -> Artefact:
        """Return the document, fetched once and checked, to be opened as it was parsed."""
        transport.check_allowed(location)
        return self.parse(transport.read_document(location, limit=LARGEST), location, transport)

    def parse(self, data: bytes, location: str, transport: Transport | None = None) -> Artefact:
        """Parse the bytes of such a file, written by any tool.

        Raises:
            ProofError: they are not kerchunk references, or refer to files or hosts that are not
                allowed.
        """
        self.check_installed()
        try:
            document = kerchunk.read(data, LARGEST)
        except ValueError as error:
            raise ProofError(
                location,
                f"cannot be read: {error}",
                expected=f"kerchunk references as {self.name}",
                code="proof-not-references",
            ) from error
        parsed = parse(document, location)
        return References(contents_of(parsed), parsed)

    def is_whole(self, place: Path) -> bool:
        """Return True: one file is always whole."""
        return True

    def same(self, a: Path, b: Path) -> bool:
        """Whether everything except the provenance is equal, byte for byte."""
        try:
            return kerchunk.same_references(
                kerchunk.read(a.read_bytes()), kerchunk.read(b.read_bytes())
            )
        except (ValueError, IsADirectoryError):  # The file is damaged.
            return False

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """Return no options: fsspec needs none for JSON."""
        return {}

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Return the arguments for kerchunk's engine, or for that of esgvzarr if there are
        segments.
        """
        return kerchunk_kwargs(self.storage_options(protocol), reading)

    def provenance(self, place: Path) -> dict[str, Any]:
        """Return the provenance from the end of the document."""
        return kerchunk.provenance(kerchunk.read(place.read_bytes()))


class KerchunkZstd(KerchunkJson):
    """The same, compressed: a tenth of the size."""

    name = "json.zst"
    suffix = ".json.zst"
    is_stock = False
    requirements = ("esgvzarr[zstd]",)

    def check_installed(self) -> None:
        """Check that zstandard is installed."""
        require(self.name, "zstandard", self.requirements)

    def write(
        self,
        references: ReferenceSet,
        staged: Path,
        present: Path | None = None,
        location: str = "",
    ) -> None:
        """Write one zstd frame, which states its size."""
        document = kerchunk.encode(references, self.storage_options(""))
        staged.write_bytes(kerchunk.compress(document))

    def staged(self, place: Path, references: ReferenceSet) -> Artefact:
        """Return the file, decompressed and parsed block by block, to be opened by its path."""
        document = kerchunk.read(place.read_bytes())
        contents = read_own(document, str(place))
        return References(contents, str(place), self.storage_options(""))

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """Return the compression, which fsspec does not derive from the name."""
        return {"target_options": {"compression": "zstd"}}


def kerchunk_kwargs(options: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    """Return the arguments with which ``xarray.open_dataset(href, **kwargs)`` opens kerchunk
    references.
    """
    if reading.layout is not Layout.WHOLE:
        kwargs: dict[str, Any] = dict(OURS)
    else:
        kwargs = {
            "engine": "kerchunk",
            "chunks": reading.chunks,
            "open_dataset_options": dict(NO_DASK_INSIDE),
        }
    if options:
        kwargs["storage_options"] = dict(options)
    return kwargs
