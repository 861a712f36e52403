"""What the clients find: three datasets on a data node, which the real esgpublish registers in
indexes on the loopback.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from esgvzarr.testing import DATASET_ID, DEFECTS, GlobusServer, SolrServer, StacServer
from esgvzarr.testing.node import DataNode, command
from esgvzarr.testing.projects import CMIP7, write_cmip7
from esgvzarr.testing.samples import sample_datasets, sample_files

REAL = "CMIP6.CMIP.BCC.BCC-CSM2-MR.historical.r1i1p1f1.Amon.ta.gn.v20181126"
INDEXES = {
    "stac": "STAC",
    "stac-json": "STAC, `media_type: application/json`",
    "stac-zst": "STAC, `output: json.zst`",
    "solr": "esg-search",
    "globus": "Globus Search",
}
"""Name -> as the table has it."""
SETTINGS = {"stac-json": {"media_type": "application/json"}, "stac-zst": {"output": "json.zst"}}


@dataclass(frozen=True)
class Case:
    """A dataset."""

    title: str
    dataset_id: str
    make: Callable[[Path], Sequence[Path]]
    source_id: str
    variable: str = "tas"

    @property
    def project(self) -> str:
        """The collection of its item."""
        return self.dataset_id.removeprefix("MIP-DRS7.").partition(".")[0]


CASES = (
    Case(
        "CMIP6, 3 files", REAL, lambda _: sample_datasets(sample_files())[REAL], "BCC-CSM2-MR", "ta"
    ),
    Case("CMIP6, in segments", DATASET_ID, DEFECTS["packing_differs"].make, "UKESM1-0-LL"),
    Case(
        "CMIP7, compressed",
        CMIP7,
        lambda directory: write_cmip7(directory, compression="zlib", shuffle=True),
        "DUMMY-MODEL",
    ),
)


def cases_in(index: str) -> list[Case]:
    """Those that are published there: CMIP7 has no other than STAC indexes."""
    return [case for case in CASES if case.project != "CMIP7" or index.startswith("stac")]


class Published:
    """All cases, in the indexes that are named, while the context is open."""

    def __init__(self, directory: Path, indexes: Collection[str]) -> None:
        self._directory = directory
        self._indexes = indexes
        self._stac = {
            name: StacServer(tls=True) for name in INDEXES if name.startswith("stac")
        }  # clients take https for granted
        self._solr = SolrServer()
        self._globus = GlobusServer()
        self.environment: dict[str, str] = {}
        """Of clients: an empty home, and trust in the servers."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            bundle = self._directory / "ca.pem"
            home = str(self._directory / "home")
            node = self._node = DataNode(
                self._directory / "node", "", tls=True, ca_bundle=str(bundle)
            )
            servers = [
                stack.enter_context(server)
                for server in (*self._stac.values(), self._solr, self._globus)
            ]
            stack.enter_context(node)
            authorities = [
                server.ca_bundle.read_text()
                for server in (*servers, node.thredds)
                if server.ca_bundle
            ]
            bundle.write_text("".join(authorities))
            names = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS")
            # esgpublish runs the program `globus`
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            own = {
                "HOME": home,
                "XDG_CACHE_HOME": f"{home}/.cache",
                "PATH": path,
                **self._globus.environment,
            }
            self.environment = {**os.environ, **own, **dict.fromkeys(names, str(bundle))}
            for number, case in enumerate(CASES):
                node.add_dataset(case.dataset_id, case.make(self._directory / "made" / str(number)))
            for index in self._indexes:
                self._publish(index)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _publish(self, index: str) -> None:
        settings = {"ledger": str(self._directory / f"{index}.sqlite"), **SETTINGS.get(index, {})}
        esgcet: dict[str, Any] = {"stac_config": {}}
        if index in self._stac:
            self._node.stac_url = self._stac[index].url
            esgcet = {}
        elif index == "solr":
            esgcet |= {"index_node": self._solr.host, "cert": "./cert.pem"}
        else:
            esgcet |= {"globus_index": True, "index_UUID": self._globus.index_uuid}
        config = self._node.write_config(esgcet=esgcet, **settings)
        for project in sorted(
            {case.project for case in cases_in(index)}
        ):  # esgpublish takes those of a run for of one project
            maps = [
                self._node.maps / f"{case.dataset_id}.map"
                for case in CASES
                if case.project == project
            ]
            done = subprocess.run(
                command("publish", "--strict", "--map", *maps, "--config", config),
                cwd=self._directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode or done.stderr.count(": linked: ") != len(maps):
                raise SystemExit(f"publishing to {index} failed:\n{done.stdout}{done.stderr}")

    def files(self, case: Case) -> list[Path]:
        """The NetCDF files."""
        return sorted(self._node.directory_of(case.dataset_id).glob("*.nc"))

    def job(self, index: str, out: Path) -> dict[str, Any]:
        """What a program is told (``program.Job``)."""
        cases = [
            {
                "name": case.title,
                "dataset_id": case.dataset_id,
                "collection": case.project,
                "variable": case.variable,
                "source_id": case.source_id,
                "urls": list(map(self._node.thredds.url_of, self.files(case))),
            }
            for case in cases_in(index)
        ]
        stac = self._stac.get(index, self._stac["stac"]).url
        where = {
            "stac": stac,
            "solr": self._solr.other_host,
            "globus": self._globus.index_uuid,
        }  # esgpull wants a dot in a host
        return {"index": index.partition("-")[0], **where, "cases": cases, "out": str(out)}
