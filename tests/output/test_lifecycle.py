"""The life of a link to each output: linked, found in its place, withdrawn; two outputs of one
dataset beside each other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from link.test_lifecycle import DATASET_ID, assets, beside, register, run, source

from esgvzarr.link.ledger import Ledger
from esgvzarr.link.lifecycle import LinkRequest, link_source
from esgvzarr.link.resume import Selection, resume
from esgvzarr.model import DatasetId
from esgvzarr.output import named
from esgvzarr.pages import page_path
from esgvzarr.settings import read_settings
from esgvzarr.testing import NginxServer, StacServer, Status
from esgvzarr.testing.nginx import available
from esgvzarr.testing.node import DataNode

from . import OTHERS, skip_unless_installed

pytest.importorskip("esgcet", reason="esgpublish is in the extra `publisher`")


def references(node: DataNode) -> set[str]:
    """What lies beside the NetCDF files, less the pages for people."""
    return {name for name in beside(node) if not name.endswith(".html")}


@pytest.mark.parametrize("output", OTHERS)
def test_linked_interrupted_resumed_and_withdrawn(
    output: str,
    node: DataNode,
    stac_server: StacServer,
) -> None:
    """In a directory of its own, whose server shows the dot-file of kerchunk parquet."""
    skip_unless_installed(output)
    if available():
        pytest.skip(available())
    register(node, stac_server)
    arguments = source(node)
    place = node.directory / "zarr" / f"{DATASET_ID}{named(output).suffix}"
    place.parent.mkdir()
    with NginxServer(place.parent, dot_file=".zmetadata") as server:
        node.write_config(
            reference_dir=str(place.parent),
            reference_url=f"{server.url}{server.prefix}",
            output=output,
            allowed_hosts=[node.thredds.host, server.host],
            data_paths={str(node.data): f"{node.thredds.url}/thredds/fileServer/esg_dataroot"},
        )
        stac_server.fault(Status(503), methods=("PATCH",))
        status, said = run("link", *arguments)
        assert status == 1, said
        made = place.stat()
        stac_server.heal()
        status, said = run("resume", "--config", node.config)
        assert status == 0, said
        assert place.stat() == made, "it was made anew"
        key = named(output).asset_key
        asset = assets(stac_server)[key]
        assert asset["href"] == server.url_of(place)
        assert ("file:checksum" in asset) == (not named(output).directory)
        assert run("link", *arguments)[0] == 0
        assert set(place.parent.iterdir()) == {place, page_path(place)}
        status, said = run("audit", "--config", node.config)
        assert status == 0, said
        status, said = run("unpublish", DATASET_ID, "--config", node.config)
        assert status == 0, said
    assert key not in assets(stac_server)
    assert list(place.parent.iterdir()) == []
    assert (node.directory / "withdrawn" / place.name).exists()
    assert Ledger(node.directory / "esgvzarr.sqlite").latest()[-1].state == "withdrawn"


def test_kerchunk_and_icechunk_are_linked_side_by_side_and_go_together(
    node: DataNode,
    stac_server: StacServer,
) -> None:
    skip_unless_installed("icechunk")
    register(node, stac_server)
    arguments = source(node)
    assert run("link", *arguments)[0] == 0
    status, said = run("link", *arguments, "--output", "icechunk")
    assert status == 0, said
    assert {"reference_file", "icechunk"} <= set(assets(stac_server))
    assert references(node) == {f"{DATASET_ID}.json", f"{DATASET_ID}.icechunk"}
    status, said = run("unpublish", DATASET_ID, "--delete", "--config", node.config)
    assert status == 0, said
    assert not {"reference_file", "icechunk"} & set(assets(stac_server))
    assert beside(node) == set()


def test_another_output_takes_the_place_of_the_first_in_the_index(
    node: DataNode,
    stac_server: StacServer,
) -> None:
    """One asset, one href. Both lie on the data node, and both go."""
    pytest.importorskip("zstandard")
    register(node, stac_server)
    arguments = source(node)
    assert run("link", *arguments)[0] == 0
    assert run("link", *arguments, "--output", "json.zst")[0] == 0
    assert assets(stac_server)["reference_file"]["href"].endswith(".json.zst")
    assert references(node) == {f"{DATASET_ID}.json", f"{DATASET_ID}.json.zst"}
    status, said = run("unpublish", DATASET_ID, "--delete", "--config", node.config)
    assert status == 0, said
    assert beside(node) == set()


def test_several_outputs_are_linked_audited_and_taken_back(
    node: DataNode, stac_server: StacServer, outside_output: str
) -> None:
    """Each a file, an asset and a row of what is live of its own."""
    register(node, stac_server)
    status, said = run("link", *source(node, outputs=["json", outside_output]))
    assert status == 0, said
    assert {"reference_file", outside_output} <= set(assets(stac_server)), said
    names = {f"{DATASET_ID}.json", f"{DATASET_ID}.notes.json"}
    assert references(node) == names
    live = Ledger(node.directory / "esgvzarr.sqlite").live(DATASET_ID)
    assert {Path(one.path).name for one in live} == names
    status, said = run("audit", "--config", node.config)
    assert status == 0, said
    status, said = run("unpublish", DATASET_ID, "--delete", "--config", node.config)
    assert status == 0, said
    assert not {"reference_file", outside_output} & set(assets(stac_server))
    assert beside(node) == set()


def test_several_outputs_are_scanned_once(
    node: DataNode, stac_server: StacServer, outside_output: str
) -> None:
    """Each is staged, placed and linked by itself."""
    files, _, name, *_ = source(node, outputs=["json", outside_output])
    register(node, stac_server)
    settings = read_settings(node.config)
    request = LinkRequest([str(files)], node.config, DatasetId.parse(str(name)))
    told: list[str] = []

    def progress(_: str, step: str) -> None:
        told.append(step.split()[0])

    planned = link_source(request, settings, dry_run=True, progress=progress)
    assert planned.detail.count("would be written") == 2
    assert told == ["scanning", "proving", "proving"]
    told.clear()
    done = link_source(request, settings, progress=progress)
    assert done.state == "linked", done.detail
    assert told.count("scanning") == 1
    assert told.count("proving") == told.count("linking") == 2
    assert len(Ledger(settings.ledger).live(DATASET_ID)) == 2


def test_a_run_that_ends_between_two_outputs_is_resumed_with_the_second(
    node: DataNode, stac_server: StacServer, outside_output: str
) -> None:
    files, _, name, *_ = source(node, outputs=["json", outside_output])
    register(node, stac_server)
    settings = read_settings(node.config)
    request = LinkRequest([str(files)], node.config, DatasetId.parse(str(name)))

    def end_at_the_second(_: str, step: str) -> None:
        if step == f"writing {DATASET_ID}.notes.json":
            raise SystemExit

    with pytest.raises(SystemExit):
        link_source(request, settings, progress=end_at_the_second)
    ledger = Ledger(settings.ledger)
    steps = ["decided", "written", "shown", "decided"]
    assert [entry.step for entry in ledger.entries(DATASET_ID)] == steps
    assert len(ledger.live(DATASET_ID)) == 1
    (outcome,) = resume(Selection(), settings)
    assert outcome.state == "linked", outcome.detail
    assert len(ledger.live(DATASET_ID)) == 2


_DIES = """
import os, signal, sys
from esgvzarr.cli import main
from esgvzarr.link.ledger import Ledger

keep = Ledger.add
steps = []

def keep_and_die(ledger, entry, *more, **others):
    keep(ledger, entry, *more, **others)
    steps.append(entry.step.value)
    if len(steps) == int(sys.argv[1]):
        print(*steps)
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)

Ledger.add = keep_and_die
main(sys.argv[2:])
"""
_STEPS = ["decided", "written", "shown", "decided", "written", "done"]
"""Of a dataset with two outputs."""


@pytest.mark.parametrize("kept", range(1, len(_STEPS) + 1))
def test_killed_after_each_step_of_two_outputs_resume_links_both(
    kept: int, node: DataNode, stac_server: StacServer, outside_output: str, tmp_path: Path
) -> None:
    """The transitions that only a dataset with several outputs makes."""
    arguments = source(node, outputs=["json", outside_output])
    register(node, stac_server)
    words = [sys.executable, "-c", _DIES, kept, "link", *arguments]
    killed = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "package")},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert killed.stdout.splitlines()[-1].split() == _STEPS[:kept]
    for key, name in (("reference_file", ".json"), (outside_output, ".notes.json")):
        assert key not in assets(stac_server) or f"{DATASET_ID}{name}" in beside(node)
    settings = read_settings(node.config)
    outcomes = resume(Selection([DATASET_ID]), settings)
    assert {outcome.state for outcome in outcomes} <= {"linked"}
    assert {"reference_file", outside_output} <= set(assets(stac_server))
    assert references(node) == {f"{DATASET_ID}.json", f"{DATASET_ID}.notes.json"}
    assert len(Ledger(settings.ledger).live(DATASET_ID)) == 2


def test_a_static_catalogue_shows_all_outputs_and_the_ledger_names_the_first(
    node: DataNode, tmp_path: Path, outside_output: str
) -> None:
    arguments = source(node, outputs=["json", outside_output])
    places = ["--output-dir", tmp_path / "zarr", "--catalog", tmp_path / "stac"]
    status, said = run("generate", *arguments, *places)
    assert status == 0, said
    (item,) = (tmp_path / "stac").glob("CMIP6/*/*.json")
    assert {"reference_file", outside_output} <= set(json.loads(item.read_text())["assets"])
    (kept,) = Ledger(node.directory / "esgvzarr.sqlite").latest()
    assert (kept.path, kept.href) == (str(tmp_path / "zarr" / f"{DATASET_ID}.json"),) * 2


_APPEARS = """
import sys
from esgvzarr.output import known_outputs, named
from esgvzarr.workers import Limits, in_a_worker

before = sorted(known_outputs())
assert sorted(in_a_worker(known_outputs, limits=Limits())) == before
sys.path.insert(0, sys.argv[1])
print(in_a_worker(named, "notes", limits=Limits()).suffix)
"""


def test_an_output_that_appears_after_the_first_job_is_known_to_the_next(
    outside_output: str, tmp_path: Path
) -> None:
    """The workers are copies of a process that had looked for outputs already."""
    words = [sys.executable, "-c", _APPEARS, str(tmp_path / "package")]
    said = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert said == f".{outside_output}.json\n"
