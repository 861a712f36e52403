"""A directory with damaged reference files: each is named, and the others have their pages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from esgvzarr import cli, pages
from esgvzarr.errors import SourceError
from esgvzarr.testing import DATASET_ID, write_files
from esgvzarr.testing.datasets import specs_of

from .conftest import generate

OTHER = DATASET_ID.replace("r1i1p1f2", "r2i1p1f2")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("left-out")
    files = write_files(root / "files", specs_of((3,)))
    return generate(list(map(str, files)), root / "references")


@pytest.fixture
def directory(reference: Path, tmp_path: Path) -> Path:
    """One good reference file."""
    shutil.copy(reference, tmp_path)
    return tmp_path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def lose_an_array(path: Path) -> None:
    document = json.loads(path.read_bytes())
    document["refs"]["tas/.zarray"] = "{}"
    path.write_text(json.dumps(document))


def lose_its_files(path: Path) -> None:
    document = json.loads(path.read_bytes())
    document["provenance"] = "{}"
    path.write_text(json.dumps(document))


def lead_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.json")


def lose_the_entry_of_its_page(path: Path) -> None:
    page = pages.write_page(path)
    page.write_bytes(page.read_bytes()[:100])


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    ("damage", "code", "why"),
    [
        (cut, "source-json", "is not JSON: "),
        (lose_an_array, "source-not-references", "is damaged: it lacks '"),
        (lose_its_files, "source-not-references", "is damaged: it lacks '"),
        (lead_nowhere, "transport-path", "cannot be read: No such file"),
        (lose_the_entry_of_its_page, "store-bytes-differ", "does not say which dataset it shows"),
    ],
)
def test_a_damaged_reference_file_is_named_and_the_others_are_listed(
    damage: Callable[[Path], None],
    code: str,
    why: str,
    directory: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = directory / f"{DATASET_ID}.json"
    damaged = Path(shutil.copy(good, directory / f"{OTHER}.json"))
    damage(damaged)
    assert run("pages", directory) == 1
    said = capsys.readouterr()
    assert said.out == f"{directory / 'index.html'}: lists 1 dataset, 1 left out\n"
    (line,) = said.err.splitlines()
    assert line.startswith(f"esgvzarr: [{code}] {damaged.with_suffix('')}")
    assert why in line
    assert pages.page_path(good).is_file()


def test_json_of_another_kind_is_not_named(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A static catalogue may lie beside the references."""
    (directory / "catalog.json").write_text('{"type": "Catalog"}')
    (directory / "list.json").write_text("[]")
    assert run("pages", directory) == 0
    assert capsys.readouterr().err == ""


def test_where_all_are_damaged_nothing_is_listed(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut(directory / f"{DATASET_ID}.json")
    assert run("pages", directory) == 1
    named, last = capsys.readouterr().err.splitlines()
    assert DATASET_ID in named
    assert "holds no reference files that can be listed: 1 left out" in last
    assert not (directory / "index.html").exists()


def test_a_directory_that_is_not_there_is_said_to_be_that(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="does not exist"):
        pages.write_pages(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="is not a directory"):
        pages.write_pages(tmp_path / "file")


def test_a_library_call_logs_what_is_left_out(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut(Path(shutil.copy(directory / f"{DATASET_ID}.json", directory / f"{OTHER}.json")))
    pages.write_pages(directory)
    assert f"left out: {directory / OTHER}.json: is not JSON" in caplog.text
