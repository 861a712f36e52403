"""The output ``zarr3``: kerchunk references to arrays of Zarr version 3, whose chunks may differ in
length.

Stock xarray and zarr-python 3.2 or later open it as the asset's description says. kerchunk's own
engine reads version 2 alone.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from ..model import ReferenceSet
from . import kerchunk, zarr_v3
from .contents import Contents
from .document import contents_of, parse, read_own
from .kerchunk_file import KerchunkJson, References
from .protocol import LARGEST
from .reading import NO_ADVICE, OURS, Reading

if TYPE_CHECKING:
    from ..transport import Transport

ZARR_FORMAT = 3


class KerchunkZarr3(KerchunkJson):
    """One file of references with metadata of Zarr version 3; what was copied is in it."""

    name = "zarr3"
    suffix = ".zarr3.json"
    joins_segments = True
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
        """It needs a zarr-python that reads chunks of different lengths."""
        zarr_v3.require_rectilinear(self.name)

    def write(self, references: ReferenceSet, staged: Path, present: Path | None = None) -> None:
        """One file, written part by part."""
        with staged.open("wb") as file:
            kerchunk.write_parts(_parts(references), references.provenance, file)

    def staged(self, place: Path, references: ReferenceSet) -> References:
        """The file, parsed block by block, and opened by its path."""
        with (
            place.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as document,
        ):
            contents = read_own(document, str(place), ZARR_FORMAT)
        return _references(contents, str(place))

    def read(self, location: str, transport: Transport) -> References:
        """The document is fetched once, checked, and opened as it was parsed."""
        transport.check_allowed(location)
        return self.parse(transport.read_document(location, limit=LARGEST), location)

    def parse(self, data: bytes, location: str) -> References:
        """The bytes of such a file, written by any tool."""
        self.check_installed()
        parsed = parse(data, location)
        return _references(contents_of(parsed, ZARR_FORMAT), parsed)

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """By our engine, which takes the file's own URL. Stock readers open ``reference://`` and
        name the URL beside it; the asset's description says how.
        """
        return dict(OURS)


def _references(contents: Contents, fo: str | dict[str, Any]) -> References:
    protocols = [url.partition("://")[0] for url in contents.urls if "://" in url]
    options = {"remote_protocol": protocols[0]} if protocols else {}
    return References(contents, fo, options, ZARR_FORMAT)


def _parts(references: ReferenceSet) -> Iterator[bytes]:
    """``"key":value`` pairs of JSON, comma-separated; several to a part."""
    from zarr.storage import MemoryStore

    metadata: dict[str, Any] = {}
    zarr_v3.create_groups(MemoryStore(metadata), references, {})
    for key, value in sorted(metadata.items()):
        yield kerchunk.pair(key, orjson.dumps(orjson.loads(value.to_bytes())).decode())
    urls = [file.file.url for file in references.files]
    for group in references.groups:
        for array in group.arrays:
            path = f"{zarr_v3.path_of(group.path, array)}/c"
            yield from kerchunk.array_parts(array, path, urls, ZARR_FORMAT)
