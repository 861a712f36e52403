"""``python -m benchmarks.readers``: what the clients of the field make of datasets that esgvzarr publishes.

The real esgpublish registers three datasets on a data node and in indexes on this machine. Then each client finds them in the index
and opens or downloads them, in an environment of its own, which uv makes of the newest releases that the client takes. Same values:
all that it shows, times and bounds included, is what the NetCDF files hold. Same files: it downloads the NetCDF files, byte for
byte, and nothing else.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from esgvzarr.testing import DATASET_ID, DEFECTS, GlobusServer, SolrServer, StacServer
from esgvzarr.testing.node import DataNode, command
from esgvzarr.testing.projects import CMIP7, write_cmip7
from esgvzarr.testing.samples import sample_datasets, sample_files

from ..defects import files_alone
from .program import plain

HERE = Path(__file__).parent
SAME, FILES, NOTHING, FAILS = "same values", "same files", "shows no variables", "fails"
REAL = "CMIP6.CMIP.BCC.BCC-CSM2-MR.historical.r1i1p1f1.Amon.ta.gn.v20181126"
_NPM = ("zarrita@0.7", "@zarrita/storage@0.2")


@dataclass(frozen=True)
class Case:
    """A dataset."""

    title: str
    dataset_id: str
    make: Callable[[Path], Sequence[Path]]
    source_id: str
    variable: str = "tas"


CASES = (
    Case("CMIP6, 3 files", REAL, lambda _: sample_datasets(sample_files())[REAL], "BCC-CSM2-MR", "ta"),
    Case("CMIP6, in segments", DATASET_ID, DEFECTS["packing_differs"].make, "UKESM1-0-LL"),
    Case("CMIP7, compressed", CMIP7, lambda directory: write_cmip7(directory, compression="zlib", shuffle=True), "DUMMY-MODEL"),
)


@dataclass(frozen=True)
class Client:
    """A program, the index that it asks, and what is expected of each case: an outcome, or how it begins."""

    program: str
    index: str = "stac"
    outcomes: tuple[str, str, str] = (SAME, SAME, SAME)


CLIENTS = (
    Client("with_xarray.py"),
    Client("with_older_xarray.py"),
    Client("with_datapoint.py", outcomes=(SAME, NOTHING, SAME)),
    Client("with_xpystac.py", outcomes=(FAILS, FAILS, FAILS)),
    Client("with_xpystac.py", "stac-json", (SAME, NOTHING, SAME)),
    Client("with_esgf_pyclient.py", "solr", (SAME, NOTHING, SAME)),
    Client("with_virtualizarr.py", outcomes=(SAME, SAME, SAME)),
    Client("with_zarrita.mjs", outcomes=(SAME, FAILS, SAME)),
    Client("with_gdal.py", outcomes=(SAME, FAILS, SAME)),
    *(Client("with_intake_esgf.py", index, (FILES, FILES, FILES)) for index in ("stac", "solr", "globus")),
    *(Client("with_esgpull.py", index, (FILES, FILES, FILES)) for index in ("stac", "solr")),
)
INDEXES = {
    "stac": "STAC",
    "stac-json": "STAC, `media_type: application/json`",
    "solr": "esg-search",
    "globus": "Globus Search",
}


# ---- what is published


class Published:
    """All cases on one data node, registered and linked in some of the indexes, while the context is open."""

    def __init__(self, directory: Path, indexes: set[str]) -> None:
        self.directory, self.indexes = directory, indexes
        self.stac: dict[str, StacServer] = {}

    def __enter__(self) -> Published:
        self._stack = ExitStack()
        with self._stack:
            self.stac = {name: self._stack.enter_context(StacServer(tls=True)) for name in ("stac", "stac-json")}
            self.solr = self._stack.enter_context(SolrServer())
            self.globus = self._stack.enter_context(GlobusServer())
            authorities = [server.ca_bundle.read_text() for server in (*self.stac.values(), self.solr) if server.ca_bundle]
            (bundle := self.directory / "ca.pem").write_text("".join(authorities))
            self.environment = {
                **os.environ, "HOME": str(self.directory / "home"), "XDG_CACHE_HOME": str(self.directory / "home" / ".cache"),
                "REQUESTS_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": str(bundle), "NODE_EXTRA_CA_CERTS": str(bundle),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **self.globus.environment,
            }  # fmt: skip
            self.node = self._stack.enter_context(DataNode(self.directory / "node", self.stac["stac"].url, ca_bundle=str(bundle)))
            made = self.directory / "made"
            for number, case in enumerate(CASES):
                self.node.add_dataset(case.dataset_id, case.make(made / str(number)))
            for name in self.indexes:
                self._publish(name)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _publish(self, index: str) -> None:
        settings: dict[str, Any] = {"ledger": str(self.directory / f"{index}.sqlite")}
        esgcet: dict[str, Any] = {"stac_config": {}}
        if index in self.stac:
            self.node.stac_url, esgcet = self.stac[index].url, {}
            settings |= {"media_type": "application/json"} if index == "stac-json" else {}
        elif index == "solr":
            esgcet |= {"index_node": self.solr.host, "cert": "./cert.pem"}
        else:
            esgcet |= {"globus_index": True, "index_UUID": self.globus.index_uuid}
        config = self.node.write_config(esgcet=esgcet, **settings)
        for project in ("CMIP6", "CMIP7"):  # esgpublish takes all datasets of a run for those of the first one's project
            maps = [self.node.maps / f"{case.dataset_id}.map" for case in CASES if self.collection(case) == project]
            done = subprocess.run(
                command("publish", "--strict", "--map", *maps, "--config", config),
                cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode or done.stderr.count(": linked: ") != len(maps):
                raise SystemExit(f"publishing to {index} failed:\n{done.stdout}{done.stderr}")

    def job(self, index: str, out: Path) -> dict[str, Any]:
        """What a program is told."""
        cases = [
            {
                "name": case.title, "dataset_id": case.dataset_id, "collection": self.collection(case), "variable": case.variable,
                "source_id": case.source_id, "urls": [self.node.thredds.url_of(path) for path in self.files(case)],
            }
            for case in CASES
        ]  # fmt: skip
        kind = index.partition("-")[0]
        stac = self.stac[index if index in self.stac else "stac"].url
        return {
            "index": kind,
            "stac": stac,
            "solr": self.solr.host,
            "globus": self.globus.index_uuid,
            "cases": cases,
            "out": str(out),
        }

    @staticmethod
    def collection(case: Case) -> str:
        """The project."""
        return case.dataset_id.removeprefix("MIP-DRS7.").partition(".")[0]

    def files(self, case: Case) -> list[Path]:
        """The NetCDF files."""
        return sorted(self.node.directory_of(case.dataset_id).glob("*.nc"))


# ---- environments


class CannotRunError(Exception):
    """A client cannot be had here; the reason."""


def header(program: Path) -> dict[str, Any]:
    """What the program needs, as it says at its top (PEP 723)."""
    text = program.read_text()
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", text, re.MULTILINE)
    return tomllib.loads(re.sub(r"^# ?", "", block[1], flags=re.MULTILINE)) if block else {}


def check_here(program: Path) -> None:
    """Whether this interpreter has all that the program needs; CannotRunError if it has not."""
    needs = header(program)
    if not needs:
        raise CannotRunError("needs Node")
    if sys.version.split()[0] not in SpecifierSet(needs["requires-python"]):
        raise CannotRunError(f"needs Python {needs['requires-python']}")
    for text in needs["dependencies"]:
        requirement = Requirement(text)
        try:
            installed = version(requirement.name)
        except PackageNotFoundError as error:
            raise CannotRunError(f"needs {requirement.name}") from error
        if installed not in requirement.specifier:
            raise CannotRunError(f"needs {requirement}, here is {installed}")


def environment_of(program: Path) -> list[str]:
    """The interpreter of an environment that uv makes for the program.

    Raises:
        CannotRunError: no uv, no such Python, or packages that cannot be had.
    """
    pythons = [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin"))]
    environment = {**os.environ, "PATH": os.pathsep.join([*pythons, os.environ["PATH"]]), "UV_PYTHON_DOWNLOADS": "never"}
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise CannotRunError("needs uv: pip install uv")
    for words in (("sync", "--script"), ("python", "find", "--script")):
        done = subprocess.run([uv, *words, program], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRunError(f"uv: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return [done.stdout.strip()]


def npm_install(directory: Path) -> list[str]:
    """Node, in a directory with zarrita.

    Raises:
        CannotRunError: no npm, or it fails.
    """
    if shutil.which("npm") is None:
        raise CannotRunError("needs Node and npm")
    done = subprocess.run(["npm", "install", "--silent", *_NPM], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRunError(f"npm: {done.stderr.strip()[-200:]}")
    return ["node"]


# ---- one client


@dataclass(frozen=True)
class Row:
    """What became of a client."""

    client: Client
    versions: str
    python: str
    outcomes: tuple[str, ...]

    @property
    def expected(self) -> bool:
        """Whether it came as it should; what could not be run is no surprise."""
        return all(found.startswith(wanted) for found, wanted in zip(self.outcomes, self.client.outcomes, strict=False))


def try_client(client: Client, published: Published, directory: Path, here: bool) -> Row:
    """Run its program on all cases, and look at what it says."""
    program = HERE / client.program
    directory.mkdir()
    try:
        if here:
            check_here(program)
            interpreter = [sys.executable]
        elif program.suffix == ".mjs":
            interpreter = npm_install(directory)
            program = Path(shutil.copy(program, directory))
        else:
            interpreter = environment_of(program)
    except CannotRunError as error:
        return Row(client, "", "", (f"not run: {error}",))
    job, out = directory / "job.json", directory / "out.json"
    job.write_text(json.dumps(published.job(client.index, out)))
    done = subprocess.run(
        [*interpreter, program, job], cwd=directory, env=published.environment, capture_output=True, text=True, check=False
    )
    (directory / "said").write_text(done.stdout + done.stderr)
    if not out.exists():
        return Row(client, "", "", (f"{FAILS}: {(done.stderr.strip().splitlines() or ['no output'])[-1]}",) * len(CASES))
    about = json.loads(out.read_text())
    outcomes = tuple(judge(about["results"][case.title], published.files(case), case) for case in CASES)
    return Row(client, ", ".join(about["versions"]), about["python"], outcomes)


def judge(result: Mapping[str, Any], files: Sequence[Path], case: Case) -> str:
    """An outcome, in a few words."""
    if "fails" in result:
        return f"{FAILS}: {result['fails'].splitlines()[0][:100]}"
    if "files" in result:
        found = sorted((Path(path).name, Path(path).read_bytes()) for path in result["files"])
        return (
            FILES
            if found == [(path.name, path.read_bytes()) for path in files]
            else f"**other files**: {[name for name, _ in found]}"
        )
    shown = result["variables"]
    if not shown:
        return NOTHING
    if case.variable not in shown:
        return f"**without {case.variable}**"
    truth = files_alone([str(path) for path in files])
    wrong = [name for name, array in shown.items() if name not in truth or not same(array, truth[name])]
    return f"**other values**: {', '.join(wrong)}" if wrong else SAME


def same(array: Mapping[str, Any], truth: np.ndarray) -> bool:
    """Shape and every value; NaN where the files have nothing."""
    if tuple(array["shape"]) != truth.shape:
        return False
    wanted = plain(truth)
    if wanted and isinstance(wanted[0], str):
        return bool(array["data"] == wanted)
    return bool(np.array_equal(np.array(array["data"], dtype="f8"), np.array(wanted, dtype="f8"), equal_nan=True))


# ---- the table


def described(client: Client) -> tuple[str, str]:
    """What was done, and a remark: the two paragraphs at the program's top."""
    text = (HERE / client.program).read_text()
    if client.program.endswith(".py"):
        top = ast.get_docstring(ast.parse(text)) or ""
    else:
        top = re.sub(r"^// ?", "", text[: text.index("\nimport")], flags=re.MULTILINE)
    what, _, remark = top.strip().partition("\n\n")
    return " ".join(what.split()), " ".join(remark.split())


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown."""
    heads = ["client", "index", *(case.title for case in CASES), "what was done"]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        what, remark = described(row.client)
        names = f"{row.versions or row.client.program}; {row.python}".rstrip("; ")
        outcomes = row.outcomes if len(row.outcomes) > 1 else (*row.outcomes, *[""] * (len(CASES) - 1))
        yield "| " + " | ".join([names, INDEXES[row.client.index], *outcomes, f"{what} {remark}".strip()]) + " |"


def main() -> None:
    """Publish, read, print Markdown; status 1 if an outcome is not the one that is documented."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__)
    parser.add_argument("--page", type=Path, help="Markdown file in which to write the table, between its markers")
    parser.add_argument("--here", action="store_true", help="only clients that this interpreter has, without making environments")
    parser.add_argument("--only", nargs="+", default=[], metavar="PROGRAM", help="programs to run, for example with_xarray.py")
    parser.add_argument("--keep", type=Path, help="empty directory to work in, which is left there")
    options = parser.parse_args()
    clients = [client for client in CLIENTS if not options.only or client.program in options.only]
    with ExitStack() as stack:
        directory = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.mkdir(parents=True, exist_ok=True)
        published = stack.enter_context(Published(directory.resolve(), {client.index for client in clients}))
        rows = [try_client(client, published, directory.resolve() / str(n), options.here) for n, client in enumerate(clients)]
    lines = list(table(rows))
    print("\n".join(lines))
    surprises = [row for row in rows if not row.expected and not row.outcomes[0].startswith("not run")]
    for row in surprises:
        print(f"{row.client.program} ({row.client.index}): {row.outcomes}, expected {row.client.outcomes}", file=sys.stderr)
    if options.page:
        write(options.page, [f"Made by `python -m benchmarks.readers --page {options.page}` on {date.today()}.", "", *lines])
    sys.exit(1 if surprises else 0)


def write(page: Path, lines: Sequence[str]) -> None:
    """Replace what stands between the markers."""
    start, stop = "<!-- made by benchmarks.readers -->", "<!-- end -->"
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(stop)
    page.write_text("\n".join([f"{before}{start}", *lines, f"{stop}{after}"]))


if __name__ == "__main__":
    main()
