"""A data node with each kind of index, for ``benchmarks.faults``: what registers a dataset there,
and what a user finds.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from esgvzarr.testing import GlobusServer, SolrServer, StacServer, make_item
from esgvzarr.testing.itemstore import Query
from esgvzarr.testing.loopback import Asked
from esgvzarr.testing.node import DataNode

from .storm import POLL_S, TIMEOUT_S, Storm

PREFIX = "thredds/fileServer/esg_dataroot"


class Site(ABC):
    """A data node and its index, served.

    Args:
        directory: holds it all.
        read: where metadata are read from.
    """

    kind = ""

    def __init__(self, directory: Path, server: Any, read: str) -> None:
        self.server = server
        self.directory = directory
        self.node = DataNode(directory, server.url if self.kind == "stac" else "")
        self.storm = Storm(self.kind, server)
        self._settings = {
            "timeout_s": TIMEOUT_S,
            "poll_timeout_s": POLL_S,
            "retries": 1,
            "read": read,
        }

    def open(self, stack: ExitStack) -> None:
        """Serve, and write the settings."""
        stack.enter_context(self.node)
        self.node.thredds.fault(self.storm, "*")
        if self.server is not None:
            self.server.fault(self.storm, "*")
        self.node.write_config(
            esgcet=self.esgcet(),
            data_paths={str(self.node.data): f"{self.node.thredds.url}/{PREFIX}"},
            allowed_hosts=[self.node.thredds.host],
            **self._settings,
        )

    def esgcet(self) -> dict[str, Any]:
        """Which index, in esgcet's own keys."""
        return {"stac_config": {}}

    def path(self, dataset_id: str) -> Path:
        """Of the reference file."""
        return self.node.directory_of(dataset_id) / f"{dataset_id}.json"

    def files(self, dataset_id: str) -> list[Path]:
        """The dataset's NetCDF files."""
        return sorted(self.node.directory_of(dataset_id).glob("*.nc"))

    @property
    def ledger(self) -> Path:
        """SQLite file."""
        return self.directory / "esgvzarr.sqlite"

    @property
    def catalog(self) -> Path | None:
        """Directory of the static catalogue, where that is the index."""
        return None

    @abstractmethod
    def register(self, dataset_id: str) -> None:
        """As another publisher does, past all faults; what is there stays."""

    @abstractmethod
    def mark_older(self, dataset_id: str) -> None:
        """A newer version is there: as esgcet does."""

    @abstractmethod
    def links(self, dataset_id: str) -> list[str]:
        """Each place in the index at which a user finds the reference file, as the index shows it
        now.
        """

    def is_whole(self, dataset_id: str, *, linked: bool) -> bool:
        """Whether the record shows the link once, in every place that it has for it, or nowhere."""
        return len(self.links(dataset_id)) == int(linked)


class StacSite(Site):
    """A STAC API with transactions."""

    kind = "stac"

    def esgcet(self) -> dict[str, Any]:
        """With the patience of the others."""
        own = yaml.safe_load(self.node.config.read_text())["stac_config"]
        own["stac_transaction_api"]["timeout"] = TIMEOUT_S
        return {"stac_config": own}

    def register(self, dataset_id: str) -> None:
        """As another publisher does, past all faults; what is there stays."""
        if self._item(dataset_id) is None:
            hrefs = {file.name: self.node.thredds.url_of(file) for file in self.files(dataset_id)}
            self.server.add_item(make_item(dataset_id, hrefs, data_node=self.node.thredds.host))

    def mark_older(self, dataset_id: str) -> None:
        """A newer version is there: as esgcet does."""
        self.server._store.patch(
            "CMIP6", dataset_id, [{"op": "replace", "path": "/properties/latest", "value": False}]
        )

    def links(self, dataset_id: str) -> list[str]:
        """Each place in the item at which a user finds the reference file."""
        assets = (self._item(dataset_id) or {"assets": {}})["assets"].values()
        hrefs = []
        for asset in assets:
            hrefs.append(asset["href"])
            hrefs += [one["href"] for one in asset.get("alternate", {}).values()]
        return [href for href in hrefs if href.endswith(".json")]

    def _item(self, dataset_id: str) -> dict[str, Any] | None:
        found, _ = self.server._store.search(Query(ids=[dataset_id]))
        return found[0] if found else None


class _LegacySite(Site):
    """An index of Dataset documents."""

    @abstractmethod
    def documents(self, dataset_id: str) -> list[dict[str, Any]]:
        """As shown now."""

    @abstractmethod
    def put(self, document: dict[str, Any]) -> None:
        """In place of one of the same id."""

    def register(self, dataset_id: str) -> None:
        """As another publisher does, past all faults; what is there stays."""
        if not self.documents(dataset_id):
            host = self.node.thredds.host
            self.put(
                {
                    "id": f"{dataset_id}|{host}",
                    "instance_id": dataset_id,
                    "type": "Dataset",
                    "data_node": host,
                    "latest": True,
                    "replica": False,
                    "access": ["HTTPServer"],
                    "xlink": ["https://example.org/errata|Errata|errata"],
                }
            )

    def mark_older(self, dataset_id: str) -> None:
        """A newer version is there: as esgcet does."""
        for document in self.documents(dataset_id):
            self.put({**document, "latest": False})

    def links(self, dataset_id: str) -> list[str]:
        """Each place in the item at which a user finds the reference file."""
        hrefs = []
        for document in self.documents(dataset_id):
            urls = document.get("url", ())
            hrefs += [url.split("|")[0] for url in urls if url.endswith("|VirtualZarr")]
        return hrefs

    def is_whole(self, dataset_id: str, *, linked: bool) -> bool:
        (document,) = self.documents(dataset_id)
        kept = document["access"][0] == "HTTPServer" and len(document["xlink"]) == 1 + linked
        return (
            kept
            and document["access"].count("VirtualZarr") == linked
            and super().is_whole(dataset_id, linked=linked)
        )


class SolrSite(_LegacySite):
    """An index node with esg-search."""

    kind = "solr"

    def esgcet(self) -> dict[str, Any]:
        """Which index."""
        self._settings["ca_bundle"] = str(self.server.ca_bundle)
        return {"stac_config": {}, "index_node": self.server.host}

    def documents(self, dataset_id: str) -> list[dict[str, Any]]:
        """As a search shows them now."""
        asked = Asked("GET", "/esg-search/search", query=f"instance_id={dataset_id}")
        answer = self.server._usual_answer(asked)
        return list(json.loads(answer.body)["response"]["docs"])

    def put(self, document: dict[str, Any]) -> None:
        """In place of one of the same id."""
        self.server.add_document(document)


class GlobusSite(_LegacySite):
    """An index of Globus Search."""

    kind = "globus"

    def esgcet(self) -> dict[str, Any]:
        """Which index."""
        return {"stac_config": {}, "globus_index": True, "index_UUID": self.server.index_uuid}

    def documents(self, dataset_id: str) -> list[dict[str, Any]]:
        """As a search shows them now."""
        self.server._usual_answer(
            Asked("GET", f"/v1/index/{self.server.index_uuid}/subject", query="subject=none")
        )  # carries out
        return [
            content for content in self.server.contents() if content["instance_id"] == dataset_id
        ]

    def put(self, document: dict[str, Any]) -> None:
        """In place of one of the same id."""
        self.server.add_entry(document)


class CatalogSite(Site):
    """A static STAC catalogue on disk."""

    kind = "catalog"

    @property
    def catalog(self) -> Path | None:
        """Its directory."""
        return self.directory / "catalog"

    def register(self, dataset_id: str) -> None:
        """It has no registration apart from the link."""

    def mark_older(self, dataset_id: str) -> None:
        """It knows no latest version."""

    def links(self, dataset_id: str) -> list[str]:
        """Each place in the item at which a user finds the reference file."""
        path = self.directory / "catalog" / "CMIP6" / dataset_id / f"{dataset_id}.json"
        if not path.exists():
            return []
        return [
            asset["href"]
            for asset in json.loads(path.read_text())["assets"].values()
            if asset["href"].endswith(".json")
        ]

    def is_whole(self, dataset_id: str, *, linked: bool) -> bool:
        """An item that shows a link must be found from the top, too. One that shows none may not be
        listed: its run was killed before that, and the next run lists it.
        """
        there = (self.directory / "catalog" / "CMIP6" / dataset_id / f"{dataset_id}.json").exists()
        collection = json.loads(
            (self.directory / "catalog" / "CMIP6" / "collection.json").read_text()
        )
        top = json.loads((self.directory / "catalog" / "catalog.json").read_text())
        listed = [link["href"] for link in collection["links"] if link["rel"] == "item"].count(
            f"./{dataset_id}/{dataset_id}.json"
        )
        found = listed == int(there) if linked else listed <= int(there)
        return found and len(top["links"]) == 2 and super().is_whole(dataset_id, linked=linked)


@contextmanager
def open_sites(directory: Path) -> Iterator[dict[str, Site]]:
    """One site of each kind, and the variables that lead globus-sdk to its index."""
    with ExitStack() as stack:
        stac, solr, globus = (
            stack.enter_context(server) for server in (StacServer(), SolrServer(), GlobusServer())
        )
        os.environ.update(globus.environment, GLOBUS_SDK_HTTP_TIMEOUT=str(TIMEOUT_S))
        sites = [
            StacSite(directory / "stac", stac, "http"),
            SolrSite(directory / "solr", solr, "auto"),
            GlobusSite(directory / "globus", globus, "http"),
            CatalogSite(directory / "catalog", None, "auto"),
        ]
        for site in sites:
            site.open(stack)
        yield {site.kind: site for site in sites}
