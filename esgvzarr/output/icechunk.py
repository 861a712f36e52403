"""The output ``icechunk``: a repository of virtual chunks. Zarr version 3, snapshots, and a check
that source files are those of old.

Rules: Icechunk specification version 1, which releases 1 and 2 read; Zarr specification version 3;
    xarray's encoding of ``_FillValue`` in it.

Each reference carries the Last-Modified of its file: readers ask the server
for bytes of the file as it was then (If-Unmodified-Since), and get an error in place of other
bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from ..errors import ProofError, SettingsError, StoreError
from ..model import ICECHUNK_TYPE, Layout, ReferenceSet
from .contents import Contents, ContentsBuilder
from .icechunk_writing import BRANCH, location_of, metadata_of, urls_in_use, write_repository
from .protocol import ROLES, UNREADABLE, Artefact, Form, no_file
from .reading import NO_ADVICE, OURS, Reading
from .requirements import require
from .stock import OpenGroup
from .zarr_settings import rectilinear_allowed

if TYPE_CHECKING:
    import xarray

    from ..transport import Transport

_BATCH = 100_000
"""Places of chunks that are read at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Repository:
    """A repository that is there."""

    contents: Contents
    location: str

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """By xarray and Zarr through an Icechunk store; ``options`` are of no use to it."""
        return _opener(self.location)


class IcechunkRepository:
    """An Icechunk repository, whose directory is served like any other."""

    name = "icechunk"
    suffix = ".icechunk"
    form = Form.REPOSITORY
    directory = True
    side_suffix = ""
    keeps_snapshots = True
    joins_segments = True
    media_type = ICECHUNK_TYPE
    asset_key = "icechunk"
    asset_fields: Mapping[str, Any] = {
        "title": "Virtual Zarr (Icechunk repository)",
        "description": "Icechunk Link",
        "cloud_format": "icechunk",
    }
    roles = ROLES

    def check_installed(self) -> None:
        """It needs Icechunk 2.

        Raises:
            SettingsError: it is not installed.
        """
        module = require(self.name, "icechunk", "icechunk")
        if not hasattr(module, "http_storage"):
            raise SettingsError(
                f"output {self.name!r}",
                "Icechunk 1 takes the port out of URLs, and reads no repository over HTTP",
                expected="icechunk >= 2, which needs Python 3.12",
                todo="pip install 'esgvzarr[icechunk]'",
                code="settings-output",
            )

    def write(
        self,
        references: ReferenceSet,
        staged: Path,
        present: Path | None = None,
        location: str = "",
    ) -> None:
        """A repository, or one more snapshot of the one that is present. Where that shows the same
        already, the staged one is its copy.

        Raises:
            FormatError: xarray cannot read an array's ``_FillValue`` from Zarr version 3.
            StoreError: a reference was not taken, or what is there is damaged.
        """
        import icechunk

        if present is not None and present.exists():
            shutil.copytree(present, staged, copy_function=_link)
        try:
            with _errors_alone():
                write_repository(references, staged)
        except icechunk.IcechunkError as error:
            raise StoreError(
                str(present or staged),
                f"Icechunk cannot write there: {error.message}",
                expected="a whole repository, or none",
                todo=(
                    "If the repository is damaged, take it away with esgvzarr unpublish, and "
                    "publish again."
                ),
                code="store-failed",
            ) from error

    def staged(self, place: Path, references: ReferenceSet) -> Repository:
        """The newest snapshot. It tells which chunks it has of each array, and which files they
        lie in, but not where: that is taken from the references, after both were compared.
        """
        return Repository(_compared(str(place), references), str(place))

    def read(self, location: str, transport: Transport) -> Repository:
        """The newest snapshot, without the places of its chunks. Icechunk asks servers by itself:
        only where it may.

        Raises:
            ProofError: it cannot be read.
            TransportError: it leads to a host that is not allowed.
        """
        from ..transport import is_url

        self.check_installed()
        transport.check_allowed(location)
        try:
            for place in named_places(location):
                if is_url(place):
                    transport.check_allowed(place)
                elif is_url(location):
                    raise ProofError(
                        location,
                        f"leads readers to {place}",
                        expected="HTTP",
                        code="proof-place-refused",
                    )
            return Repository(_read_contents(location), location)
        except UNREADABLE as error:
            raise ProofError(
                location,
                f"cannot be read: {error}",
                expected="an Icechunk repository",
                code="proof-not-references",
            ) from error

    def parse(self, data: bytes, location: str, transport: Transport | None = None) -> Artefact:
        """It is a directory."""
        raise no_file(self.name, location)

    def is_whole(self, place: Path) -> bool:
        """A directory comes and goes as a whole."""
        return True

    def same(self, a: Path, b: Path) -> bool:
        """The newest snapshots show the same."""
        try:
            said = [metadata_of(open_repository(str(place))).get("sha256") for place in (a, b)]
        except ValueError:  # damaged
            return False
        return said[0] is not None and said[0] == said[1]

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """None: it is not read through fsspec."""
        return {}

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Of a store that has to be made of the address before, or by our engine where there are
        segments, or a codec of ours.
        """
        if reading.layout is not Layout.WHOLE:
            return dict(OURS)
        return {"engine": "zarr", "consolidated": False, "chunks": reading.chunks}

    def provenance(self, place: Path) -> dict[str, Any]:
        """Of the newest snapshot."""
        return dict(metadata_of(open_repository(str(place))).get("provenance", {}))


def _opener(href: str) -> OpenGroup:
    store = open_store(href)

    def open_group(path: str, **decode: Any) -> xarray.Dataset:
        import xarray

        with rectilinear_allowed():
            opened: xarray.Dataset = xarray.open_zarr(
                store, group=path or None, consolidated=False, **decode
            )
        return opened

    return open_group


@contextmanager
def _errors_alone() -> Iterator[None]:
    """Let Icechunk log errors alone, unless ``ICECHUNK_LOG`` says what to log: it warns that
    directories are not safe for several writers, and ours hold a claim.
    """
    import icechunk

    if "ICECHUNK_LOG" in os.environ:
        yield
        return
    icechunk.set_logs_filter("error")
    try:
        yield
    finally:
        icechunk.set_logs_filter(None)  # its default


def open_store(href: str) -> Any:
    """A repository by path or URL, as it is now, for ``xarray.open_zarr(store,
    consolidated=False)``.

    All hosts and directories that the repository names are read from. What cannot be read then is
    an OSError.

    Raises:
        ValueError: not there, or no repository.
    """
    import icechunk
    from zarr.storage import WrapperStore

    class Store(WrapperStore):  # type: ignore[type-arg]
        """Speaks of files as others do."""

        async def get(self, *place: Any, **how: Any) -> Any:
            try:
                return await super().get(*place, **how)
            except icechunk.IcechunkError as error:
                raise OSError(error.message) from error

    return Store(open_repository(href).readonly_session(BRANCH).store)


def open_repository(href: str) -> Any:
    """A repository by path or URL, with access to all that its configuration names.

    Raises:
        ValueError: not there, or no repository.
    """
    import icechunk

    storage = (
        icechunk.http_storage(href)
        if "://" in href
        else icechunk.local_filesystem_storage(os.path.abspath(href))
    )
    access = icechunk.credentials
    try:
        config = icechunk.Repository.fetch_config(storage)
        named = list((config.virtual_chunk_containers if config else None) or ())
        granted = {
            name: access.LocalFileSystemAccess if name.startswith("file:") else access.HttpAccess
            for name in named
        }
        return icechunk.Repository.open(storage, authorize_virtual_chunk_access=granted)
    except icechunk.IcechunkError as error:
        raise ValueError(f"no Icechunk repository: {error.message}") from error


def _read_contents(href: str) -> Contents:
    """What a repository shows, without its chunks: Icechunk does not tell where they are.

    Raises:
        ValueError: not there, or no repository.
    """
    import zarr

    repository = open_repository(href)
    builder = ContentsBuilder(3)
    with rectilinear_allowed():
        root = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
        for name, array in root.members(max_depth=None):
            if isinstance(array, zarr.Array):
                described = _described(array.shape, _longest(array), array.dtype)
                builder.add_metadata({f"{name}/zarr.json": described})
    said = metadata_of(repository).get("provenance", {})
    return builder.finish(said, counted=False)


def _longest(array: Any) -> list[int]:
    """The shape of an array's largest chunk."""
    grid = array.metadata.to_dict()["chunk_grid"]["configuration"]
    if "chunk_shape" in grid:
        return list(grid["chunk_shape"])
    longest = []
    for lengths in grid["chunk_shapes"]:
        parts = lengths if isinstance(lengths, list | tuple) else [lengths]
        flat = [part[0] if isinstance(part, list | tuple) else part for part in parts]
        longest.append(max(flat))
    return longest


def _described(shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype[Any]) -> str:
    """As much of an array's metadata as the proof asks for."""
    facts = {"node_type": "array", "shape": shape, "chunks": chunks, "dtype": np.dtype(dtype).str}
    return orjson.dumps(facts).decode()


def _compared(href: str, references: ReferenceSet) -> Contents:
    """The contents of a repository that was just written.

    Raises:
        ProofError: it has other chunks, or leads to other files, than the references.
    """
    session = open_repository(href).readonly_session(BRANCH)
    builder = ContentsBuilder(3)
    urls = [file.file.url for file in references.files]
    numbers = np.array([builder.file_number(url) for url in urls], np.int64)
    for group in references.groups:
        for array in group.arrays:
            path = f"{group.path}/{array.name}" if group.path else array.name
            described = _described(array.shape, array.chunk_shape, array.dtype)
            builder.add_metadata({f"{path}/zarr.json": described})
            rank = len(array.dims)
            inline = np.array(list(array.inline), np.int64).reshape(len(array.inline), rank)
            _check_chunks(session, path, np.concatenate([array.chunks.keys, inline]))
            keys = array.chunks.keys if array.dims else np.zeros((len(array.chunks), 1), np.int64)
            places = inline if array.dims else np.zeros((len(array.inline), 1), np.int64)
            builder.add_rows(
                path,
                keys,
                numbers[array.file_index],
                array.chunks.offsets,
                array.chunks.sizes,
            )
            builder.add_inline(path, places)
    expected = {location_of(url) for url in urls_in_use(references)}
    found = set(session.all_virtual_chunk_locations())
    if found != expected:
        other = sorted(found ^ expected)
        raise _other(href, f"leads to {len(found)} files, {other[0]} differs", len(expected))
    return builder.finish(references.provenance)


def _check_chunks(session: Any, path: str, expected: np.ndarray) -> None:
    """Compare the chunks that a snapshot has of an array with those that it should have."""
    from zarr.core.sync import sync

    async def read() -> list[tuple[int, ...]]:
        return [place async for place in session.chunk_coordinates(f"/{path}", _BATCH)]

    places = sync(read())
    found = np.array(places, np.int64).reshape(len(places), expected.shape[1])
    same = len(found) == len(expected)
    if same and len(found) and expected.shape[1]:
        same = np.array_equal(_sorted(found), _sorted(expected))
    if not same:
        raise _other(path, f"has {len(found)} chunks", f"{len(expected)} chunks")


def _sorted(keys: np.ndarray) -> np.ndarray:
    return keys[np.lexsort(keys.T[::-1])]


def _other(subject: str, found: str, expected: object) -> ProofError:
    return ProofError(
        subject,
        f"{found} in the repository that was written",
        expected=str(expected),
        todo="Nothing was published. Please report this as a bug.",
        code="proof-not-written",
    )


def read_provenance(href: str) -> dict[str, Any]:
    """What a repository says of the files that it was made from.

    Raises:
        ValueError: not there, or no repository.
    """
    return dict(metadata_of(open_repository(href)).get("provenance", {}))


def named_places(href: str) -> list[str]:
    """The hosts and directories that a repository has its readers ask: ``https://host/``."""
    return list((open_repository(href).config.virtual_chunk_containers) or ())


def _link(source: str, target: str) -> None:
    """The same file under another name; Icechunk never changes a file in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
