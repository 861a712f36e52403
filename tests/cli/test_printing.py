"""What commands print on a terminal, and what where it is piped into a file or another program."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray
from rich.console import Console
from rich.text import Text

from esgvzarr import cli
from esgvzarr.audit import find_targets
from esgvzarr.cli.doctor import _print_diagnoses
from esgvzarr.cli.printing import step_bar
from esgvzarr.doctor import Diagnosis
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry
from esgvzarr.settings import Settings
from esgvzarr.stage import StepProgress
from esgvzarr.testing import DATASET_ID, ThreddsServer, write_monthly

COLUMNS = 100


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    return int(stop.value.code or 0)


def on_a_terminal(*arguments: object, on_error: bool = False) -> list[str]:
    """The lines that a command writes to a terminal: its results, or its messages."""
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "esgvzarr", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "TERM": "xterm"}
    stream = {"stderr" if on_error else "stdout": terminal}
    with subprocess.Popen(command, env=environment, **stream):
        os.close(terminal)
        said = b""
        try:
            while part := os.read(master, 65536):
                said += part
        except OSError:  # the other end is closed
            pass
    os.close(master)
    return said.decode().replace("\r\n", "\n").splitlines()


def test_steps_are_shown_on_a_terminal_and_nowhere_else() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=COLUMNS)
    with step_bar(terminal) as progress:
        progress(DATASET_ID, "scanning 3 files")
        progress(DATASET_ID, StepProgress("scanning 3 files", 3, 12))
    log = Console(file=io.StringIO(), width=COLUMNS)
    with step_bar(log) as progress:
        progress(DATASET_ID, "scanning 3 files")
    assert f"{DATASET_ID[-40:]}: scanning 3 files" in terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "25%" in terminal.file.getvalue()  # type: ignore[attr-defined]
    assert log.file.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_the_step_is_whole_on_a_terminal_of_any_width(width: int) -> None:
    """What has no room is the beginning of the dataset id."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width)
    with step_bar(terminal) as progress:
        progress(DATASET_ID, "proving 1234 chunks")
        progress(DATASET_ID, StepProgress("proving 1234 chunks", 3, 12))
    said = Text.from_ansi(terminal.file.getvalue()).plain  # type: ignore[attr-defined]
    (line,) = {line.strip() for line in said.splitlines() if "25%" in line}
    assert "proving 1234 chunks" in line
    assert (DATASET_ID[-12:] in line) is (width > 40)


def test_a_step_that_has_no_room_shows_its_beginning() -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=40)
    with step_bar(terminal) as progress:
        progress(DATASET_ID, f"writing {DATASET_ID}.json")
    assert "writing CMIP6.CMIP" in terminal.file.getvalue()  # type: ignore[attr-defined]


def test_generate_shows_a_percentage_on_a_terminal(tmp_path: Path) -> None:
    """What is done is told from the process that scans and proves."""
    write_monthly(tmp_path / "files")
    with ThreddsServer(tmp_path / "files") as server:
        urls = [server.url_of(path) for path in sorted((tmp_path / "files").rglob("*.nc"))]
        arguments = ["generate", *urls, "--dataset-id", DATASET_ID, "--output-dir", tmp_path]
        said = "\n".join(on_a_terminal(*arguments, on_error=True))
    assert re.search(r"scanning 3 files.* 100%", said), said
    assert re.search(r"proving \d+ chunks.* 100%", said), said


def test_status_has_the_message_and_fits_a_terminal(tmp_path: Path) -> None:
    message = "the index answers with 503, " * 9
    entry = Entry(
        DATASET_ID, Verb.LINK, State.OPEN, "", "", "", "2026-11-20T10:00:00", step=Step.DECIDED
    )
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.add(entry)
    failed = Entry(
        DATASET_ID,
        Verb.LINK,
        State.FAILED,
        "index-down",
        message,
        "",
        "2026-11-20T10:00:00",
        step=Step.DONE,
    )
    ledger.add(failed)
    config = tmp_path / "esg.yaml"
    config.write_text(f"esgvzarr:\n  ledger: {ledger.path}\n")
    lines = on_a_terminal("status", "--config", config)
    assert lines[0] == DATASET_ID
    assert max(map(len, lines)) <= COLUMNS
    assert " ".join(" ".join(lines[1:]).split()) == (
        f"failed [index-down] since 2026-11-20T10:00:00: {message.strip()}"
    )


def test_piped_diagnoses_are_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    _print_diagnoses([Diagnosis("ranges", "bad", "long " * 60, "first\nsecond")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bad   ranges      long long")
    assert lines[1:] == ["    -> first", "    -> second"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A reference file of files on disk, and what ``generate`` printed."""
    root = tmp_path_factory.mktemp("made")
    files = write_monthly(root / "data")
    command = [sys.executable, "-m", "esgvzarr", "generate", *files]
    options = ["--dataset-id", DATASET_ID, "--output-dir", root / "out"]
    environment = {**os.environ, "ESGVZARR_LEDGER": str(root / "ledger.sqlite")}
    done = subprocess.run(
        [*command, *options], env=environment, capture_output=True, text=True, check=True
    )
    return root / "out" / f"{DATASET_ID}.json", done.stdout


class TestOfReferences:
    def test_generate_ends_with_the_line_that_opens_its_file(self, made: tuple[Path, str]) -> None:
        line = made[1].splitlines()[-1]
        dataset = eval(line, {"xarray": xarray})  # noqa: S307  (what people paste)
        assert dataset.sizes["time"] == 36

    def test_verify_counts_and_prints_all_only_with_verbose(
        self, made: tuple[Path, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run("verify", made[0]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert " checks passed (" in line
        assert run("verify", made[0], "--verbose") == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) > 10
        assert lines[-1] == line

    def test_verify_prints_what_is_wrong_in_one_line_each(
        self, made: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        wrong = tmp_path / made[0].name
        wrong.write_text(made[0].read_text().replace('\\"units\\":\\"K\\"', '\\"units\\":\\"k\\"'))
        assert run("verify", wrong) == 1
        lines = capsys.readouterr().out.splitlines()
        failures = [line for line in lines if line.startswith("WRONG")]
        assert len(failures) == len(lines) - 2  # the heading, and the counts
        assert "units" in failures[0]

    def test_verify_takes_the_item_that_shows_references(
        self, made: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As esg-publisher's pull request 353 writes them."""
        asset = {"href": str(made[0]), "type": "vnd.zarr+kerchunk"}
        item = {"type": "Feature", "id": DATASET_ID, "assets": {"reference_file": asset}}
        path = tmp_path / "item.json"
        path.write_text(json.dumps(item))
        assert run("verify", path) == 0
        assert capsys.readouterr().out.startswith(str(made[0]))
        assert [target.location for target in find_targets([str(path)], Settings())] == [
            str(made[0])
        ]
