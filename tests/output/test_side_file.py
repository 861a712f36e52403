"""Copied file ends that are too many for a document lie in a file beside it: there before the
document, and gone after it.
"""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import xarray
import zarr

import esgvzarr
from esgvzarr.audit import audit, find_targets
from esgvzarr.audit.judgement import State
from esgvzarr.errors import EsgvzarrError, ProofError, StoreError
from esgvzarr.generate import Progress, generate, make_transport, verify_published
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.link.decision import decide
from esgvzarr.link.lifecycle import carry_out
from esgvzarr.link.means import Means, tell_no_one
from esgvzarr.link.remove import unpublish
from esgvzarr.link.resume import Selection, resume
from esgvzarr.link.task import IndexAddress
from esgvzarr.model import DatasetId, DatasetRecord, FileRecord
from esgvzarr.outcome import Outcome, Verb
from esgvzarr.output import kerchunk, side_file
from esgvzarr.output.parts import parts_of
from esgvzarr.output.placing import (
    remove_leftovers,
    remove_reference,
    staging,
    withdraw_reference,
    write_reference,
)
from esgvzarr.output.side_file import SideFile, SidePart, stated_part
from esgvzarr.output.zarr3 import KerchunkZarr3
from esgvzarr.settings import Settings
from esgvzarr.testing import DATASET_ID, DRS_PATH, FileSpec, NginxServer, write_files
from esgvzarr.testing.nginx import available
from esgvzarr.transport import Transport

from . import skip_unless_installed

ID = DatasetId.parse(DATASET_ID)
NAME = f"{DATASET_ID}.zarr3.json"
SIDE = f"{DATASET_ID}.ends"
FIVES = [
    FileSpec(
        start=12 * number,
        chunks=(5, 80, 200),
        compression="zlib",
        shuffle=True,
        level=1,
        grid=(160, 200),
    )
    for number in range(3)
]
"""Years in chunks of five months; the ends of two files have 0.4 MB."""


def write_document(path: Path, side: bytes | None) -> None:
    """A document that says what its side file holds, and that file."""
    facts: dict[str, Any] = {}
    if side is not None:
        digest = hashlib.sha256(side).hexdigest()
        facts = {"copied_ends": {"file": asdict(SidePart("x", 0, len(side), digest))}}
        path.with_name(SIDE).write_bytes(side)
    with path.open("wb") as file:
        kerchunk.write_parts([b'"zarr.json":"{}"'], facts, file)


def put(place: Path, side: bytes | None, *, force: bool = False) -> bool:
    """Stage and place such a document; whether it was written."""
    with staging(place) as staged:
        write_document(staged, side)
        return write_reference(staged, place, force=force).written


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_both_are_placed_and_removed_together(tmp_path: Path) -> None:
    place = tmp_path / NAME
    assert put(place, b"ends")
    assert names_in(tmp_path) == {NAME, SIDE}
    assert [path.name for path in parts_of(place)] == [SIDE, NAME]
    assert not put(place, b"ends"), "equal ones are left alone"
    assert remove_reference(place)
    assert names_in(tmp_path) == set()


def test_both_are_withdrawn(tmp_path: Path) -> None:
    place = tmp_path / "served" / NAME
    put(place, b"ends")
    assert withdraw_reference(place, tmp_path / "away") == tmp_path / "away" / NAME
    assert names_in(tmp_path / "served") == set()
    assert names_in(tmp_path / "away") == {NAME, SIDE}


def test_a_document_that_needs_none_any_more_takes_it_away(tmp_path: Path) -> None:
    place = tmp_path / NAME
    put(place, b"ends")
    assert put(place, None, force=True)
    assert names_in(tmp_path) == {NAME}


def test_one_that_is_gone_is_put_there_again(tmp_path: Path) -> None:
    """The document has equal bytes, and would lead to nothing."""
    place = tmp_path / NAME
    put(place, b"ends")
    (tmp_path / SIDE).unlink()
    assert put(place, b"ends")
    assert (tmp_path / SIDE).read_bytes() == b"ends"


def test_one_that_changed_after_the_proof_is_not_placed(tmp_path: Path) -> None:
    place = tmp_path / NAME
    with staging(place) as staged:
        write_document(staged, b"ends")
        staged.with_name(SIDE).write_bytes(b"sdne")
        with pytest.raises(StoreError) as caught:
            write_reference(staged, place)
    assert caught.value.code == "store-staged-changed"
    assert names_in(tmp_path) == set()


def test_one_without_its_document_is_a_leftover_unless_it_is_being_written(tmp_path: Path) -> None:
    place = tmp_path / NAME
    with staging(place):
        (tmp_path / SIDE).write_bytes(b"ends")
        assert remove_leftovers(place) == 0
        assert (tmp_path / SIDE).exists()
    assert remove_leftovers(place) == 1
    assert names_in(tmp_path) == set()


def test_it_only_grows_so_that_earlier_documents_stay_right(tmp_path: Path) -> None:
    earlier, grown, again = (tmp_path / name for name in ("earlier", "grown", "again"))
    assert side_file._append([b"ab", b"c"], 3, earlier, tmp_path / "nothing") == 0
    assert side_file._append([b"xy"], 2, grown, earlier) == 3
    assert grown.read_bytes() == b"abcxy"
    assert side_file._append([b"x", b"y"], 2, again, grown) == 3
    assert again.read_bytes() == b"abcxy"


@pytest.mark.parametrize(("held", "todo"), [(None, "copy it there"), (b"end", "Copy it again")])
def test_one_that_is_gone_or_cut_says_what_to_do_about_it(
    held: bytes | None, todo: str, tmp_path: Path
) -> None:
    place = tmp_path / SIDE
    if held is not None:
        place.write_bytes(held)
    with Transport() as transport, pytest.raises(EsgvzarrError, match=todo) as caught:
        SideFile(SidePart(str(place), 0, 4, ""), str(place), transport).check_there()
    assert caught.value.subject == str(place)


def test_a_reference_beyond_the_part_is_refused() -> None:
    """Numbers of another document's ends are not shown."""
    part = SidePart("x.ends", 4, 4, "")
    assert side_file.put_in({"a/c/0": ["x.ends", 6, 2]}, part, b"0123") == {"a/c/0": b"23"}
    for place in ([0, 2], [6, 4], []):
        with pytest.raises(ProofError) as caught:
            side_file.put_in({"a/c/0": ["x.ends", *place]}, part, b"0123")
        assert caught.value.code == "proof-ends-differ"


@pytest.mark.parametrize("said", [{"url": "x"}, {"url": 1, "offset": 0, "size": 1, "sha256": ""}])
def test_a_provenance_that_does_not_say_which_part_is_no_part(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="side file"):
        stated_part({"copied_ends": {"file": said}})


@dataclass(frozen=True)
class Site:
    """A data node that serves a dataset, and a static catalogue that shows it."""

    directory: Path
    server: NginxServer
    settings: Settings
    record: DatasetRecord
    truth: np.ndarray[Any, Any]

    @property
    def place(self) -> Path:
        return self.directory / DRS_PATH / NAME

    @property
    def side(self) -> Path:
        return self.place.with_name(SIDE)

    @property
    def index(self) -> CatalogIndex:
        return CatalogIndex(self.directory / "stac")

    def link(self, progress: Progress = tell_no_one) -> Outcome:
        address = IndexAddress("catalog", str(self.directory / "stac"))
        task = decide(Verb.PUBLISH, self.record, address, self.settings)
        return carry_out(task, Means(self.settings, progress))

    def unpublish(self, *, delete: bool = False) -> Outcome:
        config = self.directory / "esg.yaml"
        return unpublish(ID, config, self.settings, delete=delete)

    def others(self) -> set[str]:
        """What lies beside the NetCDF files, hidden files too."""
        return {name for name in names_in(self.place.parent) if not name.endswith(".nc")}


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """With more lines of nginx' configuration, where a test has them as the parameter."""
    skip_unless_installed("zarr3")
    if available():
        pytest.skip(available())
    paths = write_files(tmp_path / DRS_PATH, FIVES)
    values = []
    for path in paths:
        with xarray.open_dataset(path) as dataset:
            values.append(dataset["tas"].values)
    with NginxServer(tmp_path, lines=getattr(request, "param", "")) as server:
        settings = Settings(
            ledger=tmp_path / "ledger.sqlite",
            outputs=("zarr3", "json"),
            retries=0,
            copied_fraction=1.0,
            pages=False,
            data_paths={str(tmp_path): f"{server.url}{server.prefix}"},
        )
        files = tuple(
            FileRecord(path.name, server.url_of(path), path.stat().st_size, path=str(path))
            for path in paths
        )
        record = DatasetRecord(ID, server.host, files)
        CatalogIndex(tmp_path / "stac").add_dataset(record)
        yield Site(tmp_path, server, settings, record, np.concatenate(values))


def by_stock_zarr(href: str) -> xarray.Dataset:
    """As the asset's description tells those who have no esgvzarr."""
    remote = {"remote_protocol": "http", "remote_options": {"asynchronous": True}}
    options = {"fo": href, "skip_instance_cache": True, **remote}
    with zarr.config.set({"array.rectilinear_chunks": True}):
        return xarray.open_dataset(
            "reference://", engine="zarr", consolidated=False, chunks={}, storage_options=options
        )


def test_the_whole_life_of_a_link_beside_json(site: Site) -> None:
    """Linked, read by two readers, verified, audited, withdrawn, each with its file ends."""
    made = site.link()
    assert made.state == "linked", made.detail
    assert site.others() == {NAME, SIDE, f"{DATASET_ID}.json"}
    keys = {link.asset_key for link in site.index.links(ID)}
    assert keys == {"zarr3", "reference_file"}
    href = site.server.url_of(site.place)
    document = orjson.loads(site.place.read_bytes())
    ends = [value for value in document["refs"].values() if value[0].endswith(SIDE)]
    assert len(ends) == 2 * 2
    assert sum(size for _, _, size in ends) == site.side.stat().st_size
    assert np.array_equal(by_stock_zarr(href)["tas"].values, site.truth)
    with esgvzarr.open_dataset(href) as dataset:
        assert np.array_equal(dataset["tas"].values, site.truth)
    with make_transport(site.settings) as transport:
        assert verify_published(href, (), transport, site.settings, full=True).passed
    found = list(audit(find_targets((), site.settings), site.settings))
    assert [one.state for one in found] == [State.FINE, State.FINE], found
    gone = site.unpublish()
    assert gone.state == "withdrawn", gone.detail
    assert site.others() == set()
    assert {NAME, SIDE} <= names_in(site.directory / "withdrawn")
    assert site.index.links(ID) == ()


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_run_that_ended_before_the_link_is_resumed_with_what_is_whole(
    is_cut: bool, site: Site
) -> None:
    """What was written is not made anew, unless its file ends were damaged since."""

    def end_before_the_link(_: str, step: str) -> None:
        if step.startswith("linking"):
            raise SystemExit

    with pytest.raises(SystemExit):
        site.link(end_before_the_link)
    whole = site.side.read_bytes()
    made = site.place.stat().st_ino
    if is_cut:
        site.side.write_bytes(whole[:-1])
    (done,) = resume(Selection([DATASET_ID]), site.settings)
    assert done.state == "linked", done.detail
    assert (site.place.stat().st_ino == made) is not is_cut
    assert whole in site.side.read_bytes()
    href = site.server.url_of(site.place)
    assert np.array_equal(by_stock_zarr(href)["tas"].values, site.truth)


def test_an_audit_finds_file_ends_that_are_gone_or_changed(site: Site) -> None:
    made = site.link()
    assert made.state == "linked", made.detail
    whole = site.side.read_bytes()
    cut = whole[:-1]
    flipped = bytes([whole[0] ^ 1]) + whole[1:]
    for data, samples, state in (
        (None, False, State.DANGLING),
        (cut, False, State.STALE),
        (flipped, True, State.CHANGED),
    ):
        site.side.unlink(missing_ok=True)
        if data is not None:
            site.side.write_bytes(data)
        found = _audited(site, samples=samples)
        assert found == {state, State.FINE}, data and len(data)
        with make_transport(site.settings) as transport, pytest.raises(esgvzarr.EsgvzarrError):
            verify_published(str(site.place), (), transport, site.settings)


def _audited(site: Site, *, samples: bool) -> set[State]:
    from esgvzarr.audit.auditor import Thoroughness

    targets = find_targets((), site.settings)
    return {one.state for one in audit(targets, site.settings, Thoroughness(samples=samples))}


@pytest.mark.parametrize("site", ['if ($uri ~ "[.]ends$") { return 404; }'], indirect=True)
def test_file_ends_that_are_not_served_get_no_link(site: Site) -> None:
    failed = site.link()
    assert failed.state == "failed"
    assert failed.code == "transport-http-404"
    assert SIDE in failed.detail
    assert site.index.links(ID) == ()
    assert site.others() == set()


_DIES = """
import os, shutil, signal, sys
from pathlib import Path

real_replace = os.replace
real_unlink = os.unlink
kind, count = sys.argv[1], int(sys.argv[2])

def die_after(call):
    def called(*words, **more):
        global count
        done = call(*words, **more)
        names = (".ends", ".zarr3.json")
        if str(words[-1]).endswith(names) and "/." not in str(words[-1]):
            count -= 1
            if not count:
                os.kill(os.getpid(), signal.SIGKILL)
        return done
    return called

if kind == "replace":
    os.replace = die_after(real_replace)
else:
    os.unlink = die_after(real_unlink)
from esgvzarr.output.placing import remove_reference, staging, write_reference

place = Path(sys.argv[3])
if kind == "replace":
    with staging(place) as staged:
        shutil.copytree(sys.argv[4], staged.parent, dirs_exist_ok=True)
        write_reference(staged, place)
else:
    remove_reference(place)
"""


def die(kind: str, count: int, place: Path) -> None:
    """Place, or remove, in a process that is killed after so many files."""
    made = place.parent / "made"
    made.mkdir()
    write_document(made / NAME, b"ends")
    words = [sys.executable, "-c", _DIES, kind, str(count), str(place), str(made)]
    killed = subprocess.run(words, check=False)
    shutil.rmtree(made)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("count", [1, 2])
def test_killed_while_both_are_placed_no_document_leads_to_nothing(
    count: int, tmp_path: Path
) -> None:
    place = tmp_path / NAME
    die("replace", count, place)
    assert not place.exists() or (tmp_path / SIDE).exists()
    assert put(place, b"ends") == (count == 1)
    assert names_in(tmp_path) == {NAME, SIDE}


@pytest.mark.parametrize("count", [1, 2])
def test_killed_while_both_are_removed_the_rest_goes_at_the_next(
    count: int, tmp_path: Path
) -> None:
    place = tmp_path / NAME
    put(place, b"ends")
    die("unlink", count, place)
    assert not place.exists()
    assert withdraw_reference(place, tmp_path / "away") is None
    assert not (tmp_path / SIDE).exists()


def test_on_this_machine_the_side_file_goes_with_the_document(tmp_path: Path) -> None:
    """Generated without an index; moved to another directory, it is verified there."""
    skip_unless_installed("zarr3")
    paths = write_files(tmp_path / "in", FIVES)
    files = tuple(FileRecord(path.name, str(path), path.stat().st_size) for path in paths)
    settings = Settings(output="zarr3", copied_fraction=1.0)
    with Transport() as transport:
        record = DatasetRecord(ID, "", files)
        generate(record, tmp_path / "out", transport, settings)
        assert names_in(tmp_path / "out") == {NAME, SIDE}
        (tmp_path / "out").rename(tmp_path / "moved")
        moved = str(tmp_path / "moved" / NAME)
        assert verify_published(moved, (), transport, settings, full=True).passed
        (tmp_path / "moved" / SIDE).unlink()
        with pytest.raises(EsgvzarrError, match="copy it there"):
            verify_published(moved, (), transport, settings)
    (found,) = audit(find_targets([moved], settings), settings)
    assert found.state is State.DANGLING
    assert f"{SIDE}, which belongs to it, is gone" in found.detail


def test_file_ends_of_files_elsewhere_stay_in_a_document_on_this_machine(
    site: Site, tmp_path: Path
) -> None:
    """Stock readers fetch all references by one protocol."""
    with make_transport(site.settings) as transport:
        transport.allow(site.server.host, named=True)
        settings = site.settings.model_copy(update={"outputs": ("zarr3",)})
        generate(site.record, tmp_path / "out", transport, settings)
    assert names_in(tmp_path / "out") == {NAME}


@pytest.mark.parametrize(
    ("said", "location"),
    [
        (f"/data/{SIDE}", f"https://node.example/{NAME}"),
        ("https://node.example/other.ends", f"https://node.example/{NAME}"),
        ("/etc/passwd", f"/data/{NAME}"),
    ],
)
def test_a_document_leads_to_no_side_file_but_its_own(said: str, location: str) -> None:
    part = SidePart(said, 0, 1, "")
    with pytest.raises(ProofError) as caught:
        KerchunkZarr3()._place_of(part, location)
    assert caught.value.code == "proof-place-refused"
