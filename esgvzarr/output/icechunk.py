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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProofError, SettingsError, StoreError
from ..model import ICECHUNK_TYPE, Layout, ReferenceSet
from .contents import Contents
from .icechunk_contents import compared, read_contents
from .icechunk_writing import BRANCH, metadata_of, write_repository
from .protocol import ROLES, UNREADABLE, Artefact, Form, no_file
from .reading import NO_ADVICE, OURS, Reading
from .requirements import in_shell, require
from .stock import OpenGroup
from .zarr_settings import rectilinear_allowed

if TYPE_CHECKING:
    import xarray

    from ..transport import Transport


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
    is_stock = False
    requirements: tuple[str, ...] = ("esgvzarr[icechunk]",)
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
        module = require(self.name, "icechunk", self.requirements)
        if not hasattr(module, "http_storage"):
            raise SettingsError(
                f"output {self.name!r}",
                "Icechunk 1 takes the port out of URLs, and reads no repository over HTTP",
                expected="icechunk >= 2, which needs Python 3.12",
                todo=f"pip install {in_shell(self.requirements)}",
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
        href = str(place)
        return Repository(compared(open_repository(href), href, references), href)

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
            return Repository(read_contents(open_repository(location)), location)
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
