"""A data node with some dozens of linked datasets, served as TDS does or by the real nginx, and a
STAC index that shows them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from esgvzarr.audit import AuditResult, Thoroughness, audit, find_targets
from esgvzarr.link.lifecycle import LinkRequest, link_source
from esgvzarr.settings import Settings, read_settings
from esgvzarr.testing import DATASET_ID, NginxServer, StacServer, make_item, write_monthly
from esgvzarr.testing.nginx import available
from esgvzarr.testing.node import DataNode
from esgvzarr.testing.oddities import forget_member

OLD = 1_500_000_000
"""Seconds since 1970: when all files were last changed, before a test does."""


@dataclass
class Archive:
    """Linked datasets, each under a short name."""

    node: DataNode
    index: StacServer
    server: Any
    """ThreddsServer or NginxServer."""
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return read_settings(self.node.config)

    def add(self, name: str, files: Sequence[Path], *, checksum: str = "") -> str:
        """Link a dataset that holds these files; with this checksum of each in every record, if
        one is given.
        """
        dataset = DATASET_ID.replace("r1i1p1f2", f"r{len(self.ids) + 1}i1p1f2")
        self.ids[name] = dataset
        mapfile = self.node.add_dataset(dataset, files)
        for file in self.files(name):
            os.utime(file, (OLD, OLD))
        item = self.item(name)
        if checksum:
            mapped = re.sub("checksum=[0-9a-f]{64}", f"checksum={checksum}", mapfile.read_text())
            mapfile.write_text(mapped)
            for asset in item["assets"].values():
                asset["file:checksum"] = f"1220{checksum}"
        self.index.add_item(item)
        outcome = link_source(LinkRequest([str(mapfile)], self.node.config), self.settings)
        assert outcome.state == "linked", outcome
        return dataset

    def item(self, name: str, *, moved: str = "") -> dict[str, Any]:
        """The item, as a publisher registers it; with URLs in another directory where the files
        moved.
        """
        urls = {
            file.name: self.server.url_of(file).replace("/CMIP/", f"/{moved or 'CMIP'}/")
            for file in self.files(name)
        }
        item = make_item(self.ids[name], urls, data_node=self.server.host)
        for file in self.files(name):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            item["assets"][file.name].update(
                {"file:size": file.stat().st_size, "file:checksum": f"1220{digest}"}
            )
        return item

    def replace_item(self, name: str, change: Callable[[dict[str, Any]], Any]) -> None:
        """Change the item, past the API."""
        item = self.index.item("CMIP6", self.ids[name])
        change(item)
        self.index._store.replace("CMIP6", self.ids[name], item)

    def shows_link(self, name: str) -> bool:
        return "reference_file" in self.index.item("CMIP6", self.ids[name])["assets"]

    def files(self, name: str) -> list[Path]:
        return sorted(self.node.directory_of(self.ids[name]).glob("*.nc"))

    def reference(self, name: str) -> Path:
        return self.node.directory_of(self.ids[name]) / f"{self.ids[name]}.json"

    def href(self, name: str) -> str:
        return str(self.server.url_of(self.reference(name)))

    def audit(
        self, *names: str, settings: Settings | None = None, **options: bool
    ) -> dict[str, AuditResult]:
        """What is found, by short name; all datasets if none is named."""
        settings = settings or self.settings
        targets = find_targets([self.ids[name] for name in names], settings)
        short = {dataset: name for name, dataset in self.ids.items()}
        return {short[one.name]: one for one in audit(targets, settings, Thoroughness(**options))}


@contextmanager
def serving(directory: Path, *, nginx: bool = False) -> Iterator[Archive]:
    """An archive without datasets."""
    with ExitStack() as stack:
        index = stack.enter_context(StacServer())
        node = stack.enter_context(
            DataNode(directory, index.url, poll_timeout_s=3, retries=0, timeout_s=5)
        )
        server: Any = stack.enter_context(NginxServer(node.data)) if nginx else node.thredds
        prefix = server.url_of(node.data).rstrip("/.")
        node.write_config(esgcet={"data_node": server.host}, data_paths={str(node.data): prefix})
        yield Archive(node, index, server)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """Served as TDS does."""
    with serving(tmp_path / "node") as archive:
        yield archive


@pytest.fixture(params=["tds", "nginx"])
def any_archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    """Served as TDS does, and by nginx."""
    nginx = request.param == "nginx"
    if nginx and (reason := available()):
        pytest.skip(reason)
    with serving(tmp_path / "node", nginx=nginx) as archive:
        yield archive


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of a dataset, uncompressed: other data make other bytes of the same size."""
    return write_monthly(tmp_path_factory.mktemp("small"), lengths=(2, 3), extra=(forget_member,))


@pytest.fixture(scope="session")
def deflated_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of a dataset whose chunks of data have checksums of their own."""
    return write_monthly(
        tmp_path_factory.mktemp("deflated"),
        lengths=(2, 3),
        compression="zlib",
        extra=(forget_member,),
    )


@pytest.fixture(scope="session")
def other_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of the same names, with other data, compressed."""
    return write_monthly(
        tmp_path_factory.mktemp("other"),
        lengths=(2, 3),
        seed=1,
        compression="zlib",
        extra=(forget_member,),
    )


def flip(path: Path) -> None:
    """Another byte in the data, and no other size: what a broken disk or a quiet correction
    leaves.
    """
    data = bytearray(path.read_bytes())
    data[-7] ^= 0xFF
    path.write_bytes(data)


def put(source: Path, path: Path) -> None:
    """One file in place of another, as a publisher does it."""
    path.unlink(missing_ok=True)
    shutil.copyfile(source, path)
