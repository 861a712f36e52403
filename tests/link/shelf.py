"""A dataset of small files on this machine, and an index and an output of another package: links
are added and removed without a server, within a tenth of a second.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from outside import write_distribution

from esgvzarr.indexes import IndexAddress
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.link.attempt import Attempt
from esgvzarr.link.decision import decide
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.lifecycle import carry_out
from esgvzarr.link.making import StagingArea, make
from esgvzarr.link.means import Means
from esgvzarr.link.remove import unpublish
from esgvzarr.link.resume import _resume_one, unfinished
from esgvzarr.link.states import Verb
from esgvzarr.link.task import Task
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.outcome import Outcome
from esgvzarr.output.kerchunk_file import KerchunkJson
from esgvzarr.settings import Settings
from esgvzarr.stage import Staged, Work, make_transport, stage
from esgvzarr.testing import DATASET_ID, ThreddsServer

ID = DatasetId.parse(DATASET_ID)
NODE = "node.example"


class ShelfIndex(CatalogIndex):
    """A directory that esg.yaml names as its shelf."""

    @classmethod
    def configured(cls, config: Mapping[str, Any], index_node: str) -> IndexAddress | None:
        shelf = config.get("shelf")
        return IndexAddress("shelf", shelf) if shelf else None


class Twin(KerchunkJson):
    """The same references once more, under another name and as another asset."""

    name = "twin"
    suffix = ".twin.json"
    asset_key = "twin_file"


def install(site: Path) -> None:
    """Make the metadata of a distribution that registers the index and the output."""
    write_distribution(
        site,
        "shelf",
        "[esgvzarr.indexes]\nshelf = link.shelf:ShelfIndex\n"
        "[esgvzarr.outputs]\ntwin = link.shelf:Twin\n",
    )


@dataclass
class Shelf:
    """One dataset, registered in the index."""

    root: Path
    files: Sequence[Path]
    """Copied: each test may spoil its own."""
    outputs: tuple[str, ...] = ()
    server: ThreddsServer | None = None
    """That serves the files; without it, they have paths in place of URLs."""
    staged: list[Work] = field(default_factory=list)
    """What was scanned and proved, each time."""

    def __post_init__(self) -> None:
        self.config = self.root / "esg.yaml"
        self.node = self.server.host if self.server else NODE
        self.config.write_text(f"data_node: {self.node}\nshelf: {self.root / 'shelf'}\n")
        (self.root / "data").mkdir()
        paths = [Path(shutil.copy(path, self.root / "data")) for path in self.files]
        self.record = DatasetRecord(ID, self.node, tuple(map(self._record_of, paths)))
        self.index = ShelfIndex(self.root / "shelf")
        self.index.add_dataset(self.record)
        self.address = IndexAddress("shelf", str(self.root / "shelf"), str(self.config))

    def _record_of(self, path: Path) -> FileRecord:
        url = self.server.url_of(path) if self.server else str(path)
        return FileRecord(path.name, url, path.stat().st_size, path=str(path))

    @property
    def settings(self) -> Settings:
        hosts = (self.server.host,) if self.server else ()
        ledger = self.root / "ledger.sqlite"
        return Settings(ledger=ledger, outputs=self.outputs, pages=False, allowed_hosts=hosts)

    @property
    def means(self) -> Means:
        return Means(self.settings, stager=self._stage)

    def _stage(self, work: Work) -> Staged:
        self.staged.append(work)
        return stage(work)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.settings.ledger)

    @property
    def place(self) -> Path:
        return self.root / "data" / f"{ID}.json"

    def write(self) -> Attempt:
        """Do as a run that is killed after the reference file is in its place."""
        attempt = Attempt(self.task(), self.ledger)
        attempt.decide()
        with make_transport(self.settings) as transport, StagingArea(self.means) as staging:
            make(attempt, self.index, transport, staging)
        return attempt

    def task(self, verb: Verb = Verb.LINK, *, force: bool = False) -> Task:
        return decide(verb, self.record, self.address, self.settings, force=force)

    def link(self, *, force: bool = False) -> Outcome:
        return carry_out(self.task(force=force), self.means)

    def unlink(self, *, delete: bool = False) -> Outcome:
        return unpublish(ID, self.config, self.settings, delete=delete)

    def resume(self, *, every: bool = False) -> list[Outcome]:
        """As `resume` does it, with a scan in this process."""
        left = unfinished(self.ledger, every=every)
        return [_resume_one(last, self.ledger, self.means, anew=every) for last in left]

    def shown(self) -> list[str]:
        """The URLs of the links that the index shows."""
        return [link.href for link in self.index.links(ID)]

    def item(self) -> Path:
        return self.root / "shelf" / ID.project / str(ID) / f"{ID}.json"

    def change_item(self, **properties: Any) -> None:
        """Let the index say something else of the dataset."""
        item = json.loads(self.item().read_text())
        item["properties"].update(properties)
        self.item().write_text(json.dumps(item))
