"""A whole data node on the loopback: files below a data root, a THREDDS server, mapfiles, and the
account of a publisher.

The real esgpublish can run on it: every endpoint in its ``esg.yaml`` is on the loopback, and its
token never expires.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from .loopback import Asked, LoopbackServer, Response, text_response
from .thredds import ThreddsServer

SCHEMA_VERSIONS = {"CMIP6": "v3.0.4", "CMIP7": "v1.2.6", "input4MIPs": "v1.0.0"}
"""Project -> version of its STAC schema. esgcet gets the versions from an esgvoc database, which a
test machine may not have.
"""
_PROGRAM = """import sys
from esgvzarr.cli import main
from esgvzarr.testing.node import schema_versions
with schema_versions():
    main(sys.argv[1:])
"""
_DATA_ROOT = "esg_dataroot"
_FOREVER_S = 4102444800
"""The year 2100, in seconds since 1970-01-01."""


class DataNode:
    """A data node, served while the context is open.

    ::

        DIRECTORY/data/             data root, below the DRS
        DIRECTORY/maps/<DSID>.map   mapfiles
        DIRECTORY/esg.yaml          settings of esgpublish and esgvzarr
        DIRECTORY/egi-token.json
        DIRECTORY/esgvzarr.sqlite   ledger

    >>> with StacServer() as index, DataNode(tmp_path, index.url) as node:
    ...     mapfile = node.add_dataset(DATASET_ID, files) ...     subprocess.run(command("publish",
    "--map", mapfile, "--config", node.config))

    Args:
        directory: holds all files; made if it is missing.
        stac_url: STAC API, discovery and transactions, to which esgpublish registers.
        tls: serve the files over https; ``thredds.ca_bundle`` is the PEM file to verify it with.
        settings: settings of the ``esgvzarr:`` section.
    """

    def __init__(
        self, directory: Path, stac_url: str, *, tls: bool = False, **settings: Any
    ) -> None:
        self.directory = Path(directory).resolve()
        self.data, self.maps, self.config = (
            self.directory / name for name in ("data", "maps", "esg.yaml")
        )
        self.stac_url = stac_url
        self.thredds = ThreddsServer(self.data, prefix=f"/thredds/fileServer/{_DATA_ROOT}", tls=tls)
        self._settings = {"ledger": str(self.directory / "esgvzarr.sqlite"), **settings}
        self._login = _Login()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for directory in (self.data, self.maps):
            directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(self.thredds)
            stack.enter_context(self._login)
            self.write_config()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def directory_of(self, dataset_id: str) -> Path:
        """Return the directory of a dataset's files."""
        return self.data / dataset_id.replace(".", "/")

    def url_of(self, dataset_id: str) -> str:
        """Return the public URL of its ``<DSID>.json``, which need not exist."""
        return self.thredds.url_of(self.directory_of(dataset_id) / f"{dataset_id}.json")

    def add_dataset(self, dataset_id: str, files: Iterable[Path]) -> Path:
        """Copy a dataset's files below the data root, replacing files of equal name; return the
        path of its new mapfile.
        """
        directory = self.directory_of(dataset_id)
        directory.mkdir(parents=True, exist_ok=True)
        copies = []
        for file in files:
            copy = directory / Path(file).name
            copy.unlink(
                missing_ok=True
            )  # Otherwise libhdf5 would show the old file to a process that still has it open.
            copies.append(Path(shutil.copy2(file, copy)))
        return self.write_map(dataset_id, copies)

    def write_map(self, dataset_id: str, files: Iterable[Path]) -> Path:
        """Write the mapfile of a dataset whose files are in place."""
        path = self.maps / f"{dataset_id}.map"
        path.write_text("".join(map_line(dataset_id, file) for file in files))
        return path

    def write_config(self, *, esgcet: Mapping[str, Any] | None = None, **settings: Any) -> Path:
        """Write ``esg.yaml`` again.

        Args:
            esgcet: keys of esgcet, in addition to the usual ones or in their place.
            settings: settings of the ``esgvzarr:`` section, in addition to those of this node.
        """
        token = self.directory / "egi-token.json"
        forever = {"expires_at": _FOREVER_S, "refresh_expires_at": _FOREVER_S}
        token.write_text(json.dumps({"access_token": "x", "refresh_token": "x", **forever}))
        document = {
            "project": "none",
            "data_node": self.thredds.host,
            "data_roots": {str(self.data): _DATA_ROOT},
            "https_url": (
                f"{self.thredds.url}/thredds/fileServer/{{}}/{{}}|application/netcdf|HTTPServer"
            ),
            "globus_uuid": "none",
            "mountpoint_map": "none",
            "non_netcdf": False,
            "cmor_path": "none",
            "disable_citation": True,
            "disable_qaqc": True,
            "user_project_config": {},
            "stac_config": self._stac_config(token),
            **(esgcet or {}),
            "esgvzarr": {**self._settings, **settings},
        }
        self.config.write_text(yaml.safe_dump(document, sort_keys=False))
        return self.config

    def _stac_config(self, token: Path) -> dict[str, Any]:
        nowhere = f"{self._login.url}/none"
        api = {
            "base_url": self.stac_url,
            "scope_endpoint": f"{self._login.url}/scope",
            "client_id": "loopback",
            "token_endpoint": nowhere,
            "device_endpoint": nowhere,
        }
        return {
            "stac_api": self.stac_url,
            "token_storage_file": str(token),
            "stac_client": {},
            "stac_transaction_api": api,
        }


class _Login(LoopbackServer):
    """Answers what esgcet's EGI client requests before it uses an existing token."""

    def answer(self, asked: Asked) -> Response:
        """Return the scope, and 404 to other requests."""
        return (
            text_response(200, '{"scope": "publish"}', "application/json")
            if asked.path == "/scope"
            else text_response(404)
        )


def map_line(dataset_id: str, file: Path) -> str:
    """Return a file's line in the mapfile of a dataset (``<master_id>.v<version>``)."""
    master_id, _, version = dataset_id.rpartition(".v")
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    stat = file.stat()
    fields = (
        f"{stat.st_size} | mod_time={int(stat.st_mtime)}.0 | checksum={checksum} | "
        "checksum_type=SHA256"
    )
    return f"{master_id}#{version} | {file} | {fields}\n"


@contextmanager
def schema_versions() -> Iterator[None]:
    """Let esgcet register in this process without an esgvoc database; if there is one, esgcet uses
    it.
    """
    from esgcet.util.settings import STAC_schema_versions

    before = dict(STAC_schema_versions)
    STAC_schema_versions.update(SCHEMA_VERSIONS)
    try:
        yield
    finally:
        STAC_schema_versions.clear()
        STAC_schema_versions.update(before)


def command(*arguments: object) -> list[str]:
    """Return the command line of ``esgvzarr`` with these arguments, run under
    ``schema_versions``.
    """
    return [sys.executable, "-c", _PROGRAM, *map(str, arguments)]
