"""No name that others give leads out of its directory, and what is written has the rights that it
shall have.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from esgvzarr.backfill.queue import Plan
from esgvzarr.errors import EsgvzarrError, LinkError, SourceError, StoreError
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.remove import reference_paths
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry, IndexAddress, Task
from esgvzarr.model import (
    AccessLink,
    DatasetId,
    DatasetRecord,
    FileRecord,
)
from esgvzarr.output.parts import measure
from esgvzarr.output.placing import (
    remove_leftovers,
    remove_reference,
    staging,
    withdraw_reference,
    write_reference,
)
from esgvzarr.settings import Settings
from esgvzarr.sources import with_local_paths
from esgvzarr.sources.records import from_mapfile, from_records
from esgvzarr.sources.thredds_page import parse_catalogue
from esgvzarr.testing import DATASET_ID

ID = DatasetId.parse(DATASET_ID)
NAME = f"{DATASET_ID}.json"
PREFIX = "https://node.example/thredds/fileServer/root"
ENTRY = Entry(
    DATASET_ID,
    Verb.LINK,
    State.OPEN,
    "",
    "",
    "",
    "2026-11-20T00:00:00+00:00",
    Step.DECIDED,
)


def write(
    directory: Path, data: bytes = b'{"refs": {}, "provenance": "{}"}', *, force: bool = False
) -> Path:
    """As `generate` does."""
    with staging(directory / NAME) as staged:
        staged.write_bytes(data)
        return Path(write_reference(staged, directory / NAME, force=force).path)


@pytest.fixture(params=[0o077, 0o000], ids=["077", "000"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """That of the publishing user."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_reference_files_are_readable_and_directories_writable_by_their_owner_alone(
    umask: int, tmp_path: Path
) -> None:
    """With any umask: a web server reads them, and no other user writes there."""
    target = write(tmp_path / "made" / "on the way")
    assert mode(target) == 0o644
    assert {mode(path) for path in (tmp_path / "made", target.parent)} == {0o755}
    away = tmp_path / "ledger" / "withdrawn"
    assert withdraw_reference(target, away) == away / NAME
    assert (mode(away), mode(away / NAME)) == (0o755, 0o644)
    CatalogIndex(tmp_path / "catalogue").add_dataset(
        DatasetRecord(ID, "node", (FileRecord("a.nc", f"{PREFIX}/a.nc"),))
    )
    made = list((tmp_path / "catalogue").rglob("*"))
    assert made
    assert {mode(path) for path in made if path.is_dir()} == {0o755}
    assert {mode(path) for path in made if path.is_file()} == {
        0o644,
        0o600,
    }  # the lock is the owner's alone


def test_the_ledger_is_its_owners_alone(umask: int, tmp_path: Path) -> None:
    """Its errors tell of paths on this machine and of what others' servers say. It holds no secret,
    but it is no public page.
    """
    ledger = Ledger(tmp_path / "esg" / "ledger.sqlite")
    with ledger.claimed(DATASET_ID):
        ledger.add(ENTRY)
        assert {mode(path) for path in ledger.path.parent.iterdir()} == {0o600}
    assert mode(ledger.path.parent) == 0o755


def test_rights_that_the_operator_gave_stay(tmp_path: Path) -> None:
    """A group may share a ledger."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.add(ENTRY)
    ledger.path.chmod(0o660)
    tmp_path.chmod(0o770)
    ledger.add(ENTRY)
    assert (mode(ledger.path), mode(tmp_path)) == (0o660, 0o770)


def test_a_link_in_the_place_of_a_reference_file_is_replaced_not_followed(tmp_path: Path) -> None:
    """Who may write in the directory can lay one there. What it leads to stays as it is."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"data")
    directory = tmp_path / "served"
    directory.mkdir()
    (directory / NAME).symlink_to(precious)
    with pytest.raises(StoreError, match="other bytes"):
        write(directory)
    write(directory, force=True)
    assert not (directory / NAME).is_symlink()
    assert precious.read_bytes() == b"data"
    for remove in (remove_reference, lambda path: withdraw_reference(path, tmp_path / "away")):
        (directory / NAME).unlink(missing_ok=True)
        (directory / NAME).symlink_to(precious)
        remove(directory / NAME)
        assert not os.path.lexists(directory / NAME)
        assert precious.read_bytes() == b"data"


def test_a_link_to_a_directory_is_removed_and_the_directory_stays(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a.nc").write_bytes(b"data")
    (tmp_path / NAME).symlink_to(tmp_path / "precious")
    assert remove_reference(tmp_path / NAME)
    assert not os.path.lexists(tmp_path / NAME)
    assert (tmp_path / "precious" / "a.nc").read_bytes() == b"data"


def test_names_of_what_is_being_written_cannot_be_foreseen(tmp_path: Path) -> None:
    """And no other user may look into it before it is in its place."""
    names = set()
    for _ in range(5):
        with staging(tmp_path / NAME) as staged:
            names.add(staged.parent.name)
            assert staged.parent.name.startswith(".")
            assert mode(staged.parent) == 0o700
    assert len(names) == 5


def test_what_lies_there_under_names_like_ours_is_neither_opened_nor_followed(
    tmp_path: Path,
) -> None:
    """A pipe would wait for ever; a link may lead anywhere."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a.nc").write_bytes(b"data")
    with staging(tmp_path / NAME) as staged:
        prefix = staged.parent.name[:-12]
    os.mkfifo(tmp_path / f"{prefix}pipe.tmp")
    (tmp_path / f"{prefix}link.tmp").symlink_to(precious)
    (tmp_path / f"{prefix}file.tmp").write_bytes(b"of an older version")
    assert remove_leftovers(tmp_path / NAME) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (precious / "a.nc").read_bytes() == b"data"


def test_of_two_writers_one_wins_whole(tmp_path: Path) -> None:
    """At any moment there is one file or the other, and nothing else is left."""
    versions = [bytes([65 + number]) * 300_000 for number in range(8)]

    def put(data: bytes) -> None:
        with contextlib.suppress(StoreError):
            write(tmp_path, data, force=True)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, versions * 3))
    assert (tmp_path / NAME).read_bytes() in versions
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert measure(tmp_path / NAME)[0] == 300_000


BAD_NAMES = [
    "../../etc/x",
    "a/b",
    "/etc/passwd",
    "..",
    ".",
    "a\0b",
    "a.b.v1/../../x",
    "a.b.v1\n",
    "~root.x.v1",
    "a.b.v1|",
    "%2e%2e.a.v1/..",
    "a..b.v1",
    ".a.b.v1",
    "a.b.v1.json",
    "a.b\u2215c.v1",
    "a\\b.c.v1",
    "-a.b.v1",
    f"{'a.' * 200}b.v1",
]


@pytest.mark.parametrize("text", BAD_NAMES)
def test_a_dsid_is_no_path(text: str) -> None:
    """It becomes a file name, of letters, digits, ``_``, ``-`` and dots between them."""
    with contextlib.suppress(SourceError):
        name = str(DatasetId.parse(text))
        assert name == "a.b.v1"  # blanks and the data node are not part of it


@pytest.mark.parametrize("title", ["..", ".", "../a.nc", "/etc/passwd", "a\0.nc", "a\n.nc"])
def test_a_file_name_in_a_record_is_no_path(title: str) -> None:
    file = {
        "type": "File",
        "title": title,
        "dataset_id": "x",
        "url": [f"{PREFIX}/a.nc|application/netcdf|HTTPServer"],
    }
    dataset = {"type": "Dataset", "id": "x", "instance_id": DATASET_ID, "data_node": "node.example"}
    with pytest.raises(SourceError):
        from_records([file, dataset])


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/x.nc",
        "..%2f..%2fetc%2fx.nc",
        "%2e%2e/x.nc",
        "a/../../../../x.nc",
        "//evil.example/x.nc",
        "x.nc?../../a.nc",
        "\\..\\x.nc",
        "/x.nc",
    ],
)
def test_a_url_path_leads_to_no_file_outside_the_data_paths(path: str, tmp_path: Path) -> None:
    """Of a catalogue, or of an item: the local path of a URL lies below the directory whose prefix
    it has, or there is none.
    """
    service = '<service name="s" serviceType="HTTPServer" base="/thredds/fileServer/root/"/>'
    page = (
        f'<catalog>{service}<dataset ID="{DATASET_ID}"><dataset name="x.nc" serviceName="s" '
        f'urlPath="{path}"/></dataset></catalog>'
    )
    with contextlib.suppress(EsgvzarrError):
        files = parse_catalogue(page.encode(), "https://node.example/catalog.xml").datasets[0].files
        files += (FileRecord("x.nc", f"{PREFIX}/{path}"),)
        (*located,) = with_local_paths(
            DatasetRecord(ID, "node.example", files), {str(tmp_path): PREFIX}
        ).files
        for found in located:
            assert found.path is None or os.path.normpath(found.path).startswith(f"{tmp_path}/")


def test_an_entry_of_a_mapfile_outside_the_data_paths_has_no_public_url() -> None:
    """However it is written."""
    line = f"{DATASET_ID.replace('.v', '#')} | {{}} | 5 | mod_time=1.0"
    for path in ("/data/../etc/x.nc", "/data/CMIP6/../../etc/x.nc", "/database/x.nc"):
        (file,) = from_mapfile(line.format(path), {"/data": PREFIX}).files
        assert not file.url.startswith("http")


@pytest.mark.parametrize(
    "href",
    [
        f"{PREFIX}/CMIP6",
        f"{PREFIX}/",
        f"{PREFIX}/CMIP6/tas.nc",
        f"{PREFIX}/{DATASET_ID}",
        f"{PREFIX}/other.json",
        f"{PREFIX}/../{NAME}",
        f"{PREFIX}/%2e%2e/{NAME}",
        "file:///etc/passwd",
    ],
)
def test_an_index_cannot_make_unpublish_remove_other_files(href: str, tmp_path: Path) -> None:
    """A writer of items could name the data themselves, or their directory, as our
    reference file.
    """
    settings = Settings(ledger=tmp_path / "ledger.sqlite", data_paths={"/data": PREFIX})
    task = Task(
        Verb.UNPUBLISH,
        DatasetRecord(ID, "node.example", ()),
        "",
        "",
        IndexAddress("stac", "https://index.example"),
    )
    link = AccessLink(href, "node.example", "application/json", (), 0, "", {})
    with pytest.raises(EsgvzarrError) as caught:
        reference_paths([link], task, settings)
    assert caught.value.code in ("index-link-foreign", "settings-reference-dir")
    assert reference_paths([replace(link, href=f"{PREFIX}/x/{NAME}")], task, settings) == [
        f"/data/x/{NAME}"
    ]
    with pytest.raises(LinkError):
        reference_paths([replace(link, href=f"{PREFIX}/x/{NAME}x")], task, settings)


def test_the_plan_of_a_backfill_is_its_owners_alone(umask: int, tmp_path: Path) -> None:
    """As the ledger beside it."""
    plan = Plan(tmp_path / "esg" / "plan.sqlite", "backfill")
    try:
        assert {mode(path) for path in plan.path.parent.iterdir()} == {0o600}
    finally:
        plan.close()
