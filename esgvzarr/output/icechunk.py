"""The output ``icechunk``: a repository of virtual chunks. Zarr version 3, snapshots, and a check
that source files are unchanged.

Rules: Icechunk specification version 1, which releases 1 and 2 read; Zarr specification version 3;
xarray's encoding of ``_FillValue`` in it.

Each reference carries the Last-Modified of its file. Readers ask the server for bytes of the file
in that state (If-Unmodified-Since), and get an error instead of changed bytes.
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
    """A repository that exists."""

    contents: Contents
    location: str

    def opener(self, options: Mapping[str, Any]) -> OpenGroup:
        """Open it by xarray and Zarr through an Icechunk store, which ignores ``options``."""
        return _opener(self.location)


class IcechunkRepository:
    """An Icechunk repository, whose directory is served like any other directory."""

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
        """Check that Icechunk 2 is installed.

        Raises:
            SettingsError: it is not installed.
        """
        module = require(self.name, "icechunk", self.requirements)
        if not hasattr(module, "http_storage"):
            raise SettingsError(
                f"output {self.name!r}",
                "Icechunk 1 drops the port from URLs, and cannot read repositories over HTTP",
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
        """Write a repository, or add a snapshot to the present one. If the present one shows the
        same already, the staged one is its copy.

        Raises:
            FormatError: xarray cannot read an array's ``_FillValue`` from Zarr version 3.
            StoreError: Icechunk did not take a reference, or the present repository is damaged.
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
                    "If the repository is damaged, remove it with esgvzarr unpublish, and "
                    "publish again."
                ),
                code="store-failed",
            ) from error

    def staged(self, place: Path, references: ReferenceSet) -> Repository:
        """Open the newest snapshot. It states which chunks each array has and which files they lie
        in, but not where: the places are taken from the references, after both were compared.
        """
        href = str(place)
        return Repository(compared(open_repository(href), href, references), href)

    def read(self, location: str, transport: Transport) -> Repository:
        """Open the newest snapshot, without the places of its chunks. Icechunk sends requests
        itself, to allowed hosts only.

        Raises:
            ProofError: the repository cannot be read.
            TransportError: the repository refers to a host that is not allowed.
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
                        f"refers readers to {place}",
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
        """Refuse bytes: this output is a directory."""
        raise no_file(self.name, location)

    def is_whole(self, place: Path) -> bool:
        """Return True: a directory is moved and removed as a whole."""
        return True

    def same(self, a: Path, b: Path) -> bool:
        """Whether the newest snapshots show the same."""
        try:
            said = [metadata_of(open_repository(str(place))).get("sha256") for place in (a, b)]
        except ValueError:  # The repository is damaged.
            return False
        return said[0] is not None and said[0] == said[1]

    def storage_options(self, protocol: str) -> dict[str, Any]:
        """Return no options: readers open it without fsspec."""
        return {}

    def open_kwargs(self, protocol: str, reading: Reading = NO_ADVICE) -> dict[str, Any]:
        """Return the arguments for a store that readers make from the address, or for the engine of
        esgvzarr if there are segments or its codec is used.
        """
        if reading.layout is not Layout.WHOLE:
            return dict(OURS)
        return {"engine": "zarr", "consolidated": False, "chunks": reading.chunks}

    def provenance(self, place: Path) -> dict[str, Any]:
        """Return the provenance of the newest snapshot."""
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
    """Let Icechunk log errors only, unless ``ICECHUNK_LOG`` sets another level.

    Icechunk warns that directories are not safe for several writers; esgvzarr locks the directory
    while it writes.
    """
    import icechunk

    if "ICECHUNK_LOG" in os.environ:
        yield
        return
    icechunk.set_logs_filter("error")
    try:
        yield
    finally:
        icechunk.set_logs_filter(None)  # The default of Icechunk.


def open_store(href: str) -> Any:
    """Open a repository by path or URL, in its current state, for ``xarray.open_zarr(store,
    consolidated=False)``.

    The store reads from all hosts and directories that the repository names. It raises OSError if a
    chunk cannot be read.

    Raises:
        ValueError: there is no repository.
    """
    import icechunk
    from zarr.storage import WrapperStore

    class Store(WrapperStore):  # type: ignore[type-arg]
        """A store that raises the same errors for missing files as other stores."""

        snapshot: str
        """The state of the repository that it shows."""

        async def get(self, *place: Any, **how: Any) -> Any:
            try:
                return await super().get(*place, **how)
            except icechunk.IcechunkError as error:
                raise OSError(error.message) from error

    session = open_repository(href).readonly_session(BRANCH)
    store = Store(session.store)
    store.snapshot = session.snapshot_id
    return store


def open_repository(href: str) -> Any:
    """Open a repository by path or URL, with access to everything that its configuration names.

    Raises:
        ValueError: there is no repository.
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
    """Return what a repository states about the files that it was made from.

    Raises:
        ValueError: there is no repository.
    """
    return dict(metadata_of(open_repository(href)).get("provenance", {}))


def named_places(href: str) -> list[str]:
    """Return the hosts and directories from which a repository lets its readers read:
    ``https://host/``.
    """
    return list((open_repository(href).config.virtual_chunk_containers) or ())


def _link(source: str, target: str) -> None:
    """Give a file another name; Icechunk never changes a file in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
