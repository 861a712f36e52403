"""An audit finds what was done to published datasets, and nothing else. Real files, real
servers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from closed import closed

from esgvzarr.audit import audit, find_targets
from esgvzarr.audit.judgement import State
from esgvzarr.audit.repair import repair
from esgvzarr.cli.exit_status import ExitStatus
from esgvzarr.errors import SourceError
from esgvzarr.generate import make_references, make_transport
from esgvzarr.link.ledger import Ledger
from esgvzarr.output import named as output_named
from esgvzarr.settings import Settings
from esgvzarr.testing import (
    DATASET_ID,
    Headers,
    HtmlPage,
    LoginRedirect,
    NoRanges,
    Reset,
    Status,
    Truncated,
)

from .conftest import OLD, Archive, flip, put
from .test_repair import run

Plant = Callable[[Archive, str], Any]


def relink(archive: Archive, name: str, **changes: Any) -> None:
    archive.replace_item(name, lambda item: item["assets"]["reference_file"].update(changes))


def page_of_same_size(path: Path) -> None:
    path.write_bytes(b"<!DOCTYPE html>".ljust(path.stat().st_size))


def keep_date(change: Callable[[Path], None]) -> Plant:
    def plant(archive: Archive, name: str) -> None:
        change(archive.files(name)[0])
        os.utime(archive.files(name)[0], (OLD, OLD))

    return plant


def first(change: Callable[[Path], Any]) -> Plant:
    return lambda archive, name: change(archive.files(name)[0])


PLANTS: dict[str, tuple[Plant, State]] = {
    **{f"untouched {number}": (lambda archive, name: None, State.FINE) for number in range(4)},
    "touched": (first(lambda path: os.utime(path)), State.FINE),
    "copied": (
        first(
            lambda path: shutil.copyfile(path, f"{path}.new") and os.replace(f"{path}.new", path)
        ),
        State.FINE,
    ),
    "another byte": (first(flip), State.CHANGED),
    "cut short": (first(lambda path: os.truncate(path, path.stat().st_size // 2)), State.CHANGED),
    "empty": (first(lambda path: os.truncate(path, 0)), State.CHANGED),
    "a page in its place": (first(page_of_same_size), State.CHANGED),
    "a page, dated back": (keep_date(page_of_same_size), State.CHANGED),
    "deleted": (first(Path.unlink), State.DEAD),
    "last file deleted": (lambda archive, name: archive.files(name)[-1].unlink(), State.DEAD),
    "all deleted": (
        lambda archive, name: [path.unlink() for path in archive.files(name)],
        State.DEAD,
    ),
    "reference deleted": (lambda archive, name: archive.reference(name).unlink(), State.DANGLING),
    "reference replaced": (
        lambda archive, name: archive.reference(name).write_bytes(b'{"refs":{".zgroup":""}}'),
        State.STALE,
    ),
    "reference truncated": (
        lambda archive, name: os.truncate(archive.reference(name), 1000),
        State.STALE,
    ),
    "unlinked": (
        lambda archive, name: archive.replace_item(
            name, lambda i: i["assets"].pop("reference_file")
        ),
        State.MISSING,
    ),
    "linked elsewhere": (
        lambda archive, name: relink(archive, name, href="https://x.example/y.json"),
        State.STALE,
    ),
    "linked with other bytes": (
        lambda archive, name: relink(archive, name, **{"file:checksum": "1220" + "0" * 64}),
        State.STALE,
    ),
    "unregistered": (
        lambda archive, name: archive.index._store.delete("CMIP6", archive.ids[name]),
        State.MISSING,
    ),
    "retracted": (
        lambda archive, name: archive.replace_item(
            name, lambda item: item["properties"].update(retracted=True)
        ),
        State.STALE,
    ),
    "moved in the index": (
        lambda archive, name: archive.replace_item(
            name,
            lambda item: item.update(
                assets={
                    **archive.item(name, moved="b")["assets"],
                    "reference_file": item["assets"]["reference_file"],
                }
            ),
        ),
        State.MOVED,
    ),
}
FAULTS: dict[str, tuple[Any, State]] = {
    "login": (lambda server: LoginRedirect(server.login_url), State.UNREADABLE),
    "login on the same host": (lambda server: LoginRedirect(), State.UNREADABLE),
    "login page": (lambda server: HtmlPage(), State.UNREADABLE),
    "forbidden": (lambda server: Status(403), State.UNREADABLE),
    "no ranges": (lambda server: NoRanges(), State.UNREADABLE),
    "gone": (lambda server: Status(410), State.DEAD),
    "broken": (lambda server: Status(500), State.UNREACHABLE),
    "busy": (lambda server: Status(503), State.UNREACHABLE),
    "hangs up": (lambda server: Reset(times=99), State.UNREACHABLE),
    "answers in part": (lambda server: Truncated(), State.UNREACHABLE),
    "another ETag": (lambda server: Headers({"ETag": '"2"'}), State.FINE),
    "no date": (lambda server: Headers({"Last-Modified": None}), State.FINE),
}
"""What the data node answers for the files of a dataset."""


def states(found: dict[str, Any]) -> dict[str, State]:
    return {name: one.state for name, one in found.items()}


def test_finds_what_was_done_and_nothing_else(
    any_archive: Archive, small_files: list[Path]
) -> None:
    """Each of some dozens of datasets suffered something, or nothing."""
    archive = any_archive
    for name in PLANTS:
        archive.add(name, small_files)
    assert set(states(archive.audit()).values()) == {State.FINE}
    for name, (plant, _) in PLANTS.items():
        plant(archive, name)
    found = archive.audit()
    assert states(found) == {name: state for name, (_, state) in PLANTS.items()}
    kept = Ledger(archive.settings.ledger).audits()
    assert {name: kept[dataset].state for name, dataset in archive.ids.items()} == states(found)


def test_tells_what_a_server_does_from_what_files_are(
    archive: Archive, small_files: list[Path]
) -> None:
    """A server that is down is not a file that is gone, and a login page is neither."""
    for name, (fault, _) in FAULTS.items():
        dataset = archive.add(name, small_files)
        archive.server.fault(fault(archive.server), f"*{dataset.replace('.', '/')}*_gn_*.nc")
    assert states(archive.audit()) == {name: state for name, (_, state) in FAULTS.items()}


def test_a_node_that_is_down_says_nothing_of_its_files(
    any_archive: Archive, small_files: list[Path]
) -> None:
    """And what it said before the fall is not held against it after."""
    archive = any_archive
    for number in range(4):
        archive.add(str(number), small_files)
    archive.server.__exit__(None, None, None)
    settings = Settings(
        ledger=archive.settings.ledger, retries=0, allowed_hosts=archive.settings.allowed_hosts
    )
    assert set(states(archive.audit(settings=settings)).values()) == {State.UNREACHABLE}
    archive.server.__enter__()  # on another port


def test_an_index_that_is_down_hides_nothing_graver(
    archive: Archive, small_files: list[Path]
) -> None:
    archive.add("fine", small_files)
    archive.add("deleted", small_files)
    archive.files("deleted")[0].unlink()
    archive.index.fault(Status(503))
    assert states(archive.audit()) == {"fine": State.UNREACHABLE, "deleted": State.DEAD}


def test_only_checksums_find_a_change_that_the_server_hides(
    any_archive: Archive, small_files: list[Path]
) -> None:
    """One byte changed, size and date did not: no header shows it."""
    archive = any_archive
    archive.add("forged", small_files)
    archive.add("fine", small_files)
    keep_date(flip)(archive, "forged")
    assert set(states(archive.audit()).values()) == {State.FINE}
    found = archive.audit(checksums=True)
    assert states(found) == {"forged": State.CHANGED, "fine": State.FINE}
    assert {verdict.evidence for verdict in found["fine"].verdicts} == {"checksum"}
    assert states(archive.audit()) == states(found), "what was found once is not forgotten"


def rename_quantity(path: Path) -> None:
    """An attribute has another text, of the same length."""
    with h5py.File(path, "r+") as file:
        attributes = file["tas"].attrs
        old = attributes["standard_name"]
        attributes.modify("standard_name", np.bytes_(b"sea" + np.bytes_(old)[3:]))


def spoil_a_chunk(path: Path) -> None:
    """One bit of the compressed numbers of the last month is another."""
    with h5py.File(path) as file:
        chunks = file["tas"].id
        last = chunks.get_chunk_info(chunks.get_num_chunks() - 1)
    data = bytearray(path.read_bytes())
    data[last.byte_offset + last.size // 2] ^= 1
    path.write_bytes(data)


def test_a_wrong_record_is_told_from_bytes_that_changed_without_a_trace(
    archive: Archive, small_files: list[Path], deflated_files: list[Path]
) -> None:
    """Size and date are as they were. Chunks that are deflated check themselves, attributes are in
    the references; numbers that are stored bare tell nothing.
    """
    archive.add("record", deflated_files, checksum="ab" * 32)
    archive.add("chunk", deflated_files)
    archive.add("attribute", deflated_files)
    archive.add("bare record", small_files, checksum="ab" * 32)
    keep_date(spoil_a_chunk)(archive, "chunk")
    keep_date(rename_quantity)(archive, "attribute")
    assert set(states(archive.audit()).values()) == {State.FINE}
    expected = dict.fromkeys(archive.ids, State.CHANGED) | {"record": State.MISRECORDED}
    found = archive.audit(checksums=True)
    assert states(found) == expected, {name: one.problems for name, one in found.items()}
    details = {name: " ".join(one.detail for one in found[name].problems) for name in archive.ids}
    assert "the record is wrong" in details["record"]
    assert "netCDF-C cannot read it" in details["chunk"]
    assert "does not read back" in details["attribute"]
    assert "chunks of tas have no checksums" in details["bare record"]
    assert states(archive.audit()) == expected, "what was found once is not forgotten"
    assert repair(found["record"], archive.settings) is None, "its link gives right data"


def test_what_has_no_copy_here_is_undecided_until_it_is_read(
    archive: Archive, small_files: list[Path]
) -> None:
    """A file that was touched, looked at from another machine: it is not read unasked, and nothing
    is said that is not known. Once proved, it is not read again.
    """
    archive.add("touched", small_files)
    archive.add("flipped", small_files)
    first(lambda path: os.utime(path))(archive, "touched")
    first(flip)(archive, "flipped")
    away = archive.settings.model_copy(update={"read": "http"})
    found = archive.audit(settings=away)
    assert states(found) == {"touched": State.UNPROVEN, "flipped": State.UNPROVEN}
    assert "--checksums" in found["touched"].detail
    assert states(archive.audit(settings=away, samples=True)) == {
        "touched": State.UNPROVEN,
        "flipped": State.UNPROVEN,
    }
    assert states(archive.audit(settings=away, checksums=True)) == {
        "touched": State.FINE,
        "flipped": State.CHANGED,
    }
    assert states(archive.audit(settings=away)) == {"touched": State.FINE, "flipped": State.CHANGED}


def test_a_sample_is_read_back(
    archive: Archive, small_files: list[Path], other_files: list[Path]
) -> None:
    """References that lead to other bytes, in a file without a checksum: what is read is what
    counts.
    """
    archive.add("fine", small_files)
    archive.add("replaced", small_files)
    for name in archive.ids:
        document = json.loads(archive.reference(name).read_bytes())
        del document["provenance"]
        (archive.node.directory / f"{name}.json").write_text(json.dumps(document))
    path = archive.files("replaced")[0]
    put(other_files[0], path)
    with open(path, "ab") as file:
        file.write(bytes(20000))  # long enough for any reference
    places = [str(archive.node.directory / f"{name}.json") for name in archive.ids]
    found = list(audit(find_targets(places, archive.settings), archive.settings))
    assert [one.state for one in found] == [State.FINE, State.CHANGED]
    assert {verdict.evidence for one in found for verdict in one.verdicts} == {"sample", ""}
    assert not Ledger(archive.settings.ledger).audits()


def test_references_by_href_path_and_directory(archive: Archive, small_files: list[Path]) -> None:
    """With the provenance in them, the ledger is not needed."""
    archive.add("a", small_files)
    archive.add("b", small_files)
    for name in archive.ids:
        shutil.copy(archive.reference(name), archive.node.directory / f"{name}.copy.json")
    archive.files("b")[0].unlink()
    settings = archive.settings.model_copy(update={"ledger": archive.node.directory / "no.sqlite"})
    places = [
        archive.href("a"),
        str(archive.reference("b")),
        str(archive.node.directory_of(archive.ids["b"])),
    ]
    assert [one.state for one in audit(find_targets(places, settings), settings)] == [
        State.FINE,
        State.DEAD,
        State.DEAD,
    ]
    assert not settings.ledger.exists()


def test_compressed_references(archive: Archive, small_files: list[Path]) -> None:
    """What is served is compared as it is, and read as what it holds."""
    pytest.importorskip("zstandard")
    settings = archive.settings
    archive.node.write_config(
        esgcet={"data_node": archive.server.host}, data_paths=settings.data_paths, output="json.zst"
    )
    for name in ("fine", "deleted", "dangling", "damaged"):
        archive.add(name, small_files)
    path = {name: archive.reference(name).with_suffix(".json.zst") for name in archive.ids}
    archive.files("deleted")[0].unlink()
    path["dangling"].unlink()
    os.truncate(path["damaged"], 100)
    expected = {
        "fine": State.FINE,
        "deleted": State.DEAD,
        "dangling": State.DANGLING,
        "damaged": State.STALE,
    }
    assert states(archive.audit()) == expected


def test_parquet_and_whatever_else_is_in_a_directory(
    archive: Archive, small_files: list[Path]
) -> None:
    pytest.importorskip("fastparquet")
    archive.add("a", small_files)
    directory = archive.node.directory / "outputs"
    directory.mkdir()
    outputs = [output_named(name) for name in ("json", "json.zst", "parquet")]
    task = Ledger(archive.settings.ledger).task(archive.ids["a"])
    assert task is not None
    with make_transport(archive.settings) as transport:
        transport.allow(task.record.data_node, named=True)
        references = make_references(task.record, transport)
    for output in outputs:
        output.write(references, directory / f"a{output.suffix}")
    targets = find_targets([str(directory)], archive.settings)
    assert {Path(target.location).name for target in targets} == {
        f"a{output.suffix}" for output in outputs
    }
    assert {one.state for one in audit(targets, archive.settings)} == {State.FINE}
    archive.files("a")[0].unlink()
    assert {one.state for one in audit(targets, archive.settings)} == {State.DEAD}


def test_what_is_no_target_is_said(archive: Archive, tmp_path: Path) -> None:
    """Unknown datasets, and directories without reference files."""
    (tmp_path / "empty").mkdir()
    for named, code in (
        (DATASET_ID, "source-not-in-ledger"),
        (str(tmp_path / "empty"), "source-none"),
        ("x", "source-dataset-id"),
    ):
        with pytest.raises(SourceError) as raised:
            find_targets([named], archive.settings)
        assert raised.value.code == code


def test_a_stranger_cannot_let_files_of_this_machine_be_read(
    archive: Archive, small_files: list[Path]
) -> None:
    """References that are served, and lead to a path: the path is not opened."""
    archive.add("a", small_files)
    document = json.loads(archive.reference("a").read_bytes())
    provenance = json.loads(document["provenance"])
    for file in provenance["files"]:
        file["url"] = str(archive.files("a")[0])
    paths = {
        key: [str(archive.files("a")[0]), *value[1:]]
        for key, value in document["refs"].items()
        if isinstance(value, list)
    }
    for said in (
        {**document, "provenance": json.dumps(provenance)},
        {"version": 1, "refs": {**document["refs"], **paths}},
    ):
        stranger = archive.reference("a").with_name("stranger.json")
        stranger.write_text(json.dumps(said))
        (found,) = audit(
            find_targets([archive.server.url_of(stranger)], archive.settings), archive.settings
        )
        assert {verdict.state for verdict in found.verdicts} == {State.UNPROVEN}


def test_a_catalogue_directory_means_what_its_items_show(
    archive: Archive, small_files: list[Path], tmp_path: Path
) -> None:
    """Its own files were called stale."""
    root = tmp_path / "published"
    archive.add("a", small_files)
    reference = root / "a.json"
    place = root / "CMIP6" / "a" / "a.json"
    place.parent.mkdir(parents=True)
    shutil.copy(archive.reference("a"), reference)
    asset = {"href": "../../a.json", "type": "application/vnd.zarr+kerchunk"}
    item = {"type": "Feature", "id": "a", "assets": {"reference_file": asset}}
    place.write_text(json.dumps(item))
    (root / "catalog.json").write_text(json.dumps({"type": "Catalog"}))
    (root / "CMIP6" / "collection.json").write_text(json.dumps({"type": "Collection"}))
    for directory in (root, root / "CMIP6"):
        targets = find_targets([str(directory)], archive.settings)
        assert [os.path.abspath(target.location) for target in targets] == [str(reference)]
    assert [one.state for one in audit(targets, archive.settings)] == [State.FINE]


def test_what_cannot_be_read_in_a_directory_is_a_finding(
    archive: Archive, small_files: list[Path], tmp_path: Path
) -> None:
    """A directory was left out without a word, a file ended the audit. The others are audited."""
    archive.add("a", small_files)
    root = tmp_path / "published"
    (root / "shut").mkdir(parents=True)
    for name in ("a.json", "b.json", "shut/c.json"):
        shutil.copy(archive.reference("a"), root / name)
    with closed(root / "shut"), closed(root / "b.json"):
        found = list(audit(find_targets([str(root)], archive.settings), archive.settings))
        status, out, _ = run("audit", root, "--config", archive.node.config)
    assert [(one.name, one.state) for one in found] == [
        (str(root / "shut"), State.UNCHECKED),
        (str(root / "a.json"), State.FINE),
        (str(root / "b.json"), State.UNREACHABLE),
    ]
    assert status == ExitStatus.REFUSED
    _, directory, file = out.splitlines()
    assert directory.split()[:3] == ["unchecked", str(root / "shut"), "audit-unchecked"]
    assert "cannot be listed: Permission denied; the references below it were not" in directory
    assert "b.json: the reference file cannot be read: Permission denied" in file
