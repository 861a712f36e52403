"""After a repair no link gives wrong data, and what can be linked again is. Read as a search user
does, with stock xarray.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from esgvzarr import cli
from esgvzarr.link.ledger import Ledger
from esgvzarr.testing import DATASET_ID, LoginRedirect, SolrServer, Status
from esgvzarr.testing.faults import Answer
from esgvzarr.testing.loopback import Asked, Response
from esgvzarr.testing.node import DataNode

from .conftest import OLD, Archive, flip, put, serving


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    out = io.StringIO()
    error = io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        pytest.raises(SystemExit) as stop,
    ):
        cli.main(list(map(str, arguments)))
    return int(stop.value.code or 0), out.getvalue(), error.getvalue()


def truth(files: list[Path]) -> np.ndarray[Any, Any]:
    parts = []
    for file in files:
        with xr.open_dataset(file) as opened:
            parts.append(opened["tas"].values)
    return np.concatenate(parts)


def served(archive: Archive, name: str) -> np.ndarray[Any, Any] | None:
    """What a search user gets who finds the dataset; None where no link is shown."""
    asset = archive.index.item("CMIP6", archive.ids[name])["assets"].get("reference_file")
    if asset is None:
        return None
    options = {"storage_options": {"skip_instance_cache": True}, **asset["xarray:open_kwargs"]}
    with xr.open_dataset(asset["href"], **options) as opened:
        return np.asarray(opened["tas"].values)


def states(archive: Archive) -> dict[str, tuple[str, str]]:
    """What `status` says, by short name."""
    told = json.loads(run("status", "--json", "--config", archive.node.config)[1])
    short = {dataset: name for name, dataset in archive.ids.items()}
    return {short[one["dataset_id"]]: (one["state"], one["code"]) for one in told}


HARMED = (
    "flipped",
    "republished",
    "cut",
    "deleted",
    "restored",
    "dangling",
    "unlinked",
    "stale",
    "login",
)
UNHARMED = ("fine", "touched", "moved", "down")


def harm(archive: Archive, small_files: list[Path], other_files: list[Path]) -> None:
    """A dataset of each kind, linked, and then not as it was."""
    for name in (*UNHARMED, *HARMED):
        archive.add(name, small_files)
    files = {name: archive.files(name) for name in archive.ids}
    os.utime(files["touched"][0])
    archive.replace_item(
        "moved", lambda item: _with_assets_of(item, archive.item("moved", moved="b"))
    )
    flip(files["flipped"][0])
    for source, file in zip(other_files, files["republished"], strict=True):
        put(source, file)
    archive.replace_item(
        "republished", lambda item: _with_assets_of(item, archive.item("republished"))
    )
    os.truncate(files["cut"][1], 3000)
    for name in ("deleted", "restored"):
        files[name][1].unlink()
    archive.reference("dangling").unlink()
    archive.replace_item("unlinked", lambda item: item["assets"].pop("reference_file"))
    archive.reference("stale").write_bytes(archive.reference("fine").read_bytes())
    for name, fault in (("login", LoginRedirect(archive.server.login_url)), ("down", Status(503))):
        archive.server.fault(fault, f"*{archive.ids[name].replace('.', '/')}*_gn_*.nc")


def _with_assets_of(item: dict[str, Any], other: dict[str, Any]) -> None:
    item["assets"] = {**other["assets"], "reference_file": item["assets"]["reference_file"]}


def test_no_link_gives_wrong_data_after_a_repair_and_resume_links_what_can_be(
    archive: Archive, small_files: list[Path], other_files: list[Path]
) -> None:
    harm(archive, small_files, other_files)
    right = truth(small_files)
    status, out, error = run("audit", "--repair", "--config", archive.node.config)
    assert (status, error.count("queued [index-relink]")) == (1, len(HARMED)), out + error
    assert {name for name in archive.ids if archive.shows_link(name)} == set(UNHARMED)
    assert {name for name in archive.ids if archive.reference(name).exists()} == set(UNHARMED)
    archive.server.heal()
    for name in UNHARMED:
        np.testing.assert_array_equal(served(archive, name), right)
    assert {states(archive)[name] for name in HARMED} == {("queued", "index-relink")}

    shutil.copy2(small_files[1], archive.files("restored")[0].parent)
    status, out, error = run("resume", "--config", archive.node.config)
    assert status == 1
    after = states(archive)
    assert after["flipped"] == ("failed", "transport-checksum-differs")
    assert after["cut"] == ("failed", "transport-checksum-differs")
    assert after["deleted"][0] == "failed"
    linked = set(HARMED) - {"flipped", "cut", "deleted"}
    assert {name for name in HARMED if archive.shows_link(name)} == linked
    for name in linked - {"republished"}:
        np.testing.assert_array_equal(served(archive, name), right)
    np.testing.assert_array_equal(
        served(archive, "republished"), truth(archive.files("republished"))
    )
    (line,) = [line for line in error.splitlines() if "store-replaced" in line]
    assert archive.ids["republished"] in line

    put(small_files[0], archive.files("flipped")[0])
    status, out, error = run("resume", archive.ids["flipped"], "--config", archive.node.config)
    assert status == 0, out + error
    np.testing.assert_array_equal(served(archive, "flipped"), right)
    assert set(run("audit", archive.ids["flipped"], "--config", archive.node.config)) >= {0}


def tree(directory: Path) -> dict[str, bytes]:
    """All files but those that SQLite makes to read."""
    found = (
        path
        for path in directory.rglob("*")
        if path.is_file() and path.suffix not in (".sqlite-shm", ".sqlite-wal")
    )
    return {str(path): path.read_bytes() for path in found}


def test_a_dry_run_changes_nothing(archive: Archive, small_files: list[Path]) -> None:
    """Neither a file, nor the index, nor the ledger; what would be done is shown."""
    for name in ("fine", "flipped"):
        archive.add(name, small_files)
    flip(archive.files("flipped")[0])
    before = tree(archive.node.directory)
    archive.index.clear()
    status, out, error = run("audit", "--repair", "--dry-run", "--config", archive.node.config)
    assert (status, error.count('-  "reference_file": {'), error.count("would be moved away")) == (
        1,
        1,
        1,
    ), out + error
    assert tree(archive.node.directory) == before
    assert not Ledger(archive.settings.ledger).audits()
    assert {request.method for request in archive.index.requests} == {"GET"}


def test_resume_shows_what_it_would_link_anew(archive: Archive, small_files: list[Path]) -> None:
    archive.add("dangling", small_files)
    archive.reference("dangling").unlink()
    run("audit", "--repair", "--config", archive.node.config)
    status, _, error = run("resume", "--dry-run", "--config", archive.node.config)
    assert (status, error.count('+  "reference_file": {')) == (0, 1), error
    assert not archive.shows_link("dangling")


def test_in_a_legacy_index(
    solr_server: SolrServer, tmp_path: Path, small_files: list[Path]
) -> None:
    """The record comes anew from the File documents."""
    with DataNode(tmp_path / "node", "", poll_timeout_s=3, retries=0) as node:
        mapfile = node.add_dataset(DATASET_ID, small_files)
        prefix = node.thredds.url_of(node.data).rstrip("/.")
        esgcet = {"stac_config": {}, "index_node": solr_server.host}
        node.write_config(
            esgcet=esgcet, ca_bundle=str(solr_server.ca_bundle), data_paths={str(node.data): prefix}
        )
        files = sorted(node.directory_of(DATASET_ID).glob("*.nc"))
        for document in documents(node, files):
            solr_server.add_document(document)
        assert run("link", mapfile, "--config", node.config)[0] == 0
        assert run("audit", "--config", node.config) == (0, "", "")
        files[1].unlink()
        status, out, error = run("audit", "--repair", "--config", node.config)
        assert (status, "queued [index-relink]" in error) == (1, True), out + error
        identifier = f"{DATASET_ID}|{node.thredds.host}"
        assert solr_server.document(identifier)["access"] == ["HTTPServer"]
        shutil.copy2(small_files[1], files[1])
        status, out, error = run("resume", "--config", node.config)
        assert status == 0, out + error
        assert solr_server.document(identifier)["access"] == ["HTTPServer", "VirtualZarr"]


def documents(node: DataNode, files: list[Path]) -> Iterator[dict[str, Any]]:
    """A dataset as esgcet registers it, files first."""
    common = {"data_node": node.thredds.host, "latest": "True", "replica": "False"}
    identifier = f"{DATASET_ID}|{node.thredds.host}"
    for file in files:
        name = f"{DATASET_ID}.{file.name}"
        facts = {
            "size": str(file.stat().st_size),
            "checksum": hashlib.sha256(file.read_bytes()).hexdigest(),
            "checksum_type": "SHA256",
        }
        own = {
            "id": f"{name}|{node.thredds.host}",
            "instance_id": name,
            "dataset_id": identifier,
            "title": file.name,
        }
        yield {
            **common,
            **own,
            **facts,
            "type": "File",
            "url": [f"{node.thredds.url_of(file)}|application/netcdf|HTTPServer"],
        }
    yield {
        **common,
        "id": identifier,
        "instance_id": DATASET_ID,
        "type": "Dataset",
        "access": "HTTPServer",
        "number_of_files": "2",
    }


def test_a_retracted_dataset_is_unlinked_and_stays_so(
    archive: Archive, small_files: list[Path]
) -> None:
    archive.add("retracted", small_files)
    archive.replace_item("retracted", lambda item: item["properties"].update(retracted=True))
    run("audit", "--repair", "--config", archive.node.config)
    assert run("resume", "--config", archive.node.config)[0] == 1
    assert not archive.shows_link("retracted")
    assert states(archive)["retracted"] == ("failed", "source-retracted")


@dataclass(frozen=True)
class Kill:
    """SIGKILL to a process at the n-th request, before it is answered or after it was acted
    upon.
    """

    at: int
    first_act: bool
    process: list[subprocess.Popen[bytes]]
    seen: list[str] = field(default_factory=list)

    def apply(self, asked: Asked, answer: Answer) -> Response:
        self.seen.append(asked.method)
        if len(self.seen) != self.at:
            return answer(asked)
        response = answer(asked) if self.first_act else Response(0, reset=True)
        self.process[0].send_signal(signal.SIGKILL)
        self.process[0].wait()
        return response


@pytest.mark.parametrize(
    ("at", "first_act"),
    [(3, False), (5, False), (5, True)],
    ids=["looks", "before it is unlinked", "after"],
)
def test_a_repair_that_is_killed_is_finished_by_resume(
    archive: Archive, small_files: list[Path], at: int, first_act: bool
) -> None:
    """No link dangles in between, and all is as after an undisturbed run."""
    archive.add("stale", small_files)
    archive.reference("stale").write_bytes(b"{}")
    process: list[subprocess.Popen[bytes]] = []
    kill = Kill(at, first_act, process)
    archive.index.fault(kill)
    command = [
        "-c",
        "from esgvzarr.cli import main; main()",
        "audit",
        "--repair",
        "--config",
        archive.node.config,
    ]
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as started:
        process.append(started)
    archive.index.heal()
    assert (started.returncode, len(kill.seen)) == (-signal.SIGKILL, at)
    assert not archive.shows_link("stale") or archive.reference("stale").exists(), "a dangling link"
    status, _, error = run("resume", "--config", archive.node.config)
    assert status == 0, error
    np.testing.assert_array_equal(served(archive, "stale"), truth(small_files))
    assert run("audit", "--config", archive.node.config) == (0, "", "")


class TestCommand:
    """Exit status, and what is printed where."""

    def test_says_nothing_where_all_is_well_and_output_is_no_terminal(
        self, archive: Archive, small_files: list[Path]
    ) -> None:
        archive.add("fine", small_files)
        assert run("audit", "--config", archive.node.config) == (0, "", "")
        assert states(archive) == {"fine": ("linked", "")}

    def test_prints_and_keeps_what_is_not(self, archive: Archive, small_files: list[Path]) -> None:
        """A line for each, whole; status shows it until something else is done."""
        archive.add("fine", small_files)
        archive.add("dead", small_files)
        archive.files("dead")[0].unlink()
        status, out, _ = run("audit", "--config", archive.node.config)
        assert status == 1
        _, line = out.splitlines()
        assert line.split()[:3] == ["dead", archive.ids["dead"], "audit-dead"]
        assert states(archive) == {"fine": ("linked", ""), "dead": ("dead", "audit-dead")}
        assert run("status", "--config", archive.node.config)[0] == 1
        shutil.copy2(small_files[0], archive.node.directory_of(archive.ids["dead"]))
        os.utime(archive.files("dead")[0], (OLD, OLD))
        assert run("audit", archive.ids["dead"], "--config", archive.node.config)[0] == 0
        assert states(archive)["dead"] == ("linked", "")

    def test_as_json(self, archive: Archive, small_files: list[Path]) -> None:
        archive.add("fine", small_files)
        archive.add("dead", small_files)
        archive.files("dead")[0].unlink()
        status, out, _ = run("audit", "--json", "--config", archive.node.config)
        fine, dead = json.loads(out)
        assert (status, fine["state"], fine["evidence"]) == (1, "fine", {"last-modified": 2})
        assert [problem["state"] for problem in dead["problems"]] == ["dead"]

    @pytest.mark.parametrize(
        ("arguments", "status"),
        [(["--dry-run"], 2), (["../../etc/passwd.v1"], 1), ([DATASET_ID], 1)],
    )
    def test_what_cannot_be_looked_at(
        self, archive: Archive, arguments: list[str], status: int
    ) -> None:
        assert run("audit", *arguments, "--config", archive.node.config)[0] == status


def test_a_dataset_that_was_worked_on_meanwhile_is_left_alone(
    tmp_path: Path, small_files: list[Path]
) -> None:
    """What was found is of the past then."""
    from esgvzarr.audit import audit, find_targets
    from esgvzarr.audit.repair import repair

    with serving(tmp_path / "node") as archive:
        archive.add("deleted", small_files)
        archive.files("deleted")[0].unlink()
        (found,) = audit(find_targets([], archive.settings), archive.settings)
        assert run("unpublish", archive.ids["deleted"], "--config", archive.node.config)[0] == 0
        outcome = repair(found, archive.settings)
        assert outcome is not None
        assert outcome.state == "skipped"
        assert states(archive)["deleted"][0] == "withdrawn"
