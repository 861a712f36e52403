"""Tests for `esgvzarr.directories`, and for what searches directories: one that cannot be listed is
never taken for an empty one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from closed import closed

from esgvzarr import cli
from esgvzarr.backfill.listing import SourceReader
from esgvzarr.backfill.queue_rows import Page
from esgvzarr.cli.exit_status import ExitStatus
from esgvzarr.directories import entries, exists, files_below, matching, named_below
from esgvzarr.doctor import Node
from esgvzarr.documents.gather import gather
from esgvzarr.documents.spec import Spec
from esgvzarr.errors import EsgvzarrError, StoreError, TransportError
from esgvzarr.indexes.catalog import CatalogIndex
from esgvzarr.link.ledger import Ledger
from esgvzarr.output.parts import measure
from esgvzarr.reader.indexes import _read_catalogue
from esgvzarr.settings import Settings
from esgvzarr.sources.plain_files import files_at
from esgvzarr.testing import DATASET_ID
from esgvzarr.transport import Transport


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """``a.nc``, ``open/b.nc`` and ``shut/c.nc``."""
    top = tmp_path / "top"
    for name in ("a.nc", "open/b.nc", "shut/c.nc"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return top


def test_what_is_there_is_found_in_order(directory: Path) -> None:
    (directory / ".hidden").mkdir()
    (directory / ".hidden" / "d.nc").touch()
    everything = [directory / name for name in ("a.nc", "open/b.nc", "shut/c.nc")]
    assert entries(directory, "*.nc") == [directory / "a.nc"]
    assert entries(directory / "nowhere") == []
    assert entries(directory / "a.nc") == []
    assert files_below(directory) == [directory / ".hidden" / "d.nc", *everything]
    assert matching(f"{directory}/**/*.nc") == list(map(str, everything))
    assert matching(f"{directory}/*/*.nc") == list(map(str, everything[1:]))
    found: list[TransportError] = []
    assert list(named_below(directory, (".nc",), found.append)) == everything
    assert found == []


def test_what_is_inside_of_a_found_directory_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.parq").mkdir()
    (tmp_path / "x.parq" / "y.json").touch()
    found = named_below(tmp_path, (".parq", ".json"), lambda error: None)
    assert list(found) == [tmp_path / "x.parq"]


def test_a_pattern_of_relative_paths_is_searched_from_here(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(directory)
    assert matching("*.nc") == ["a.nc"]
    assert matching("**/*.nc") == ["a.nc", "open/b.nc", "shut/c.nc"]


def test_a_directory_that_may_only_be_entered_is_searched_for_a_name(directory: Path) -> None:
    with closed(directory / "shut", left=0o100):
        assert matching(f"{directory}/*/c.nc") == [str(directory / "shut" / "c.nc")]
        with pytest.raises(TransportError, match="cannot be listed"):
            matching(f"{directory}/*/*.nc")
    for left in (0, 0o400):
        with closed(directory / "shut", left), pytest.raises(TransportError):
            matching(f"{directory}/*/c.nc")


def test_a_directory_that_cannot_be_listed_is_told_and_the_others_are_searched(
    directory: Path,
) -> None:
    told: list[TransportError] = []
    with closed(directory / "shut"):
        found = list(named_below(directory, (".nc",), told.append))
    assert found == [directory / "a.nc", directory / "open" / "b.nc"]
    (error,) = told
    assert (error.subject, error.code) == (str(directory / "shut"), "transport-path")
    assert "cannot be listed: Permission denied" in str(error)


def _search_catalogue(directory: Path) -> None:
    CatalogIndex(str(directory.parent)).search()


def _read_catalogue_of_a_user(directory: Path) -> None:
    (directory / "shut").rename(directory / DATASET_ID)
    try:
        _read_catalogue(directory, DATASET_ID)
    finally:
        (directory / DATASET_ID).rename(directory / "shut")


def _list_maps(directory: Path) -> None:
    with Transport() as transport:
        SourceReader(Settings(), transport).read(Page(str(directory / "shut")))


def _combine(pattern: str) -> Callable[[Path], None]:
    """Return a search for the files of a document, in this thread: a worker process was perhaps
    started before the thread lost its rights.
    """

    def find_files(directory: Path) -> None:
        spec = Spec.model_validate({"name": "doc", "streams": {"a": [f"{directory}/{pattern}"]}})
        with Transport() as transport:
            gather(spec, transport, {})

    return find_files


@pytest.mark.parametrize(
    "search",
    [
        lambda directory: entries(directory / "shut"),
        files_below,
        measure,
        lambda directory: files_at([str(directory / "shut")], {}),
        _list_maps,
        _combine("**/*.nc"),
        _combine("*/*.nc"),
        _combine("*/c.nc"),
        _search_catalogue,
        _read_catalogue_of_a_user,
    ],
    ids=[
        "entries",
        "files below",
        "a reference of several files",
        "a directory of files",
        "a directory of mapfiles",
        "a pattern at any depth",
        "a pattern of directories",
        "a pattern with a fixed name",
        "a catalogue of a backfill",
        "a catalogue of a reader",
    ],
)
def test_a_search_of_a_directory_that_cannot_be_listed_fails(
    search: Callable[[Path], object], directory: Path
) -> None:
    with closed(directory / "shut"), pytest.raises(EsgvzarrError) as caught:
        search(directory)
    assert caught.value.code == "transport-path"
    assert "cannot be listed: Permission denied" in str(caught.value)


@pytest.mark.parametrize(
    "command",
    [
        "verify {}/shut/x.json",
        "show {}/shut/x.json",
        "audit {}/shut/x.json",
        "extract {}/shut/x.json -o {}/x.nc",
        "extract {}/a.json -o {}/shut/x.nc",
        "pages {}/shut/deeper",
        "generate {}/shut/c.nc --output-dir {}/out --dataset-id " + DATASET_ID,
        "inspect {}/shut/c.nc",
        "backfill {}/shut/c.map --output-dir {}/out",
    ],
)
def test_a_command_says_into_which_place_it_may_not_look(
    command: str,
    directory: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``Path.exists`` raised, and ended the command with a traceback."""
    monkeypatch.setenv("HOME", str(directory))
    arguments = command.format(*[directory] * 2).split()
    with closed(directory / "shut"), pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == ExitStatus.REFUSED
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{directory}/shut/" in said
    assert "Permission denied" in said


def test_a_ledger_in_a_place_that_may_not_be_entered_is_no_empty_ledger(directory: Path) -> None:
    with closed(directory / "shut"), pytest.raises(StoreError) as caught:
        Ledger(directory / "shut" / "ledger.sqlite").latest()
    assert caught.value.code == "store-ledger"


def test_a_reference_in_a_place_that_may_not_be_entered_is_not_missing(directory: Path) -> None:
    with closed(directory / "shut"), pytest.raises(StoreError, match="Permission denied"):
        measure(directory / "shut" / "c.nc")


def test_a_path_that_is_too_long_leads_to_nothing(directory: Path) -> None:
    assert exists(directory)
    assert not exists(directory / ("x" * 300))
    assert not exists(directory / "a.nc" / "x")
    assert not exists(f"{directory}/\0")


def test_doctor_names_a_directory_in_which_it_could_not_look_for_a_file(directory: Path) -> None:
    os.remove(directory / "a.nc")
    os.remove(directory / "open" / "b.nc")
    settings = Settings(
        ledger=directory / "ledger.sqlite", data_paths={str(directory): "https://x.org/data"}
    )
    with (
        Transport() as transport,
        closed(directory / "shut"),
        pytest.raises(EsgvzarrError, match=f"{directory}/shut cannot be listed: Permission denied"),
    ):
        _ = Node(None, settings, transport).file
