"""The command line: exit status, and what is printed where."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from esgvzarr import cli
from esgvzarr.link.ledger import Ledger
from esgvzarr.link.states import State, Step, Verb
from esgvzarr.link.task import Entry
from esgvzarr.testing import DATASET_ID
from esgvzarr.version import __version__

OTHER = DATASET_ID.replace("tas", "pr")
LINKED = Entry(
    DATASET_ID,
    Verb.PUBLISH,
    State.LINKED,
    "",
    "is shown",
    "https://node/a.json",
    "2026-11-20T10:00:00+00:00",
    step=Step.DONE,
)
PENDING = replace(
    LINKED, dataset_id=OTHER, state=State.PENDING, code="index-pending", retryable=True
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """An esg.yaml with a ledger of two datasets: linked, and pending."""
    config = tmp_path / "esg.yaml"
    config.write_text(f"esgvzarr:\n  ledger: {tmp_path / 'ledger.sqlite'}\n")
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for name, last in ((DATASET_ID, LINKED), (OTHER, PENDING)):
        begun = replace(LINKED, dataset_id=name, state=State.OPEN)
        ledger.add(replace(begun, step=Step.DECIDED))
        ledger.add(replace(begun, step=Step.WRITTEN))
        ledger.add(last)
    return config


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    return int(stop.value.code or 0)


def in_a_new_process(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "esgvzarr", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_package_can_be_run_as_a_module() -> None:
    assert in_a_new_process("--version") == f"esgvzarr {__version__}\n"


class TestCompletion:
    def complete(self, *words: str) -> list[str]:
        """What bash offers for the last of these words."""
        pytest.importorskip("shtab", reason="shtab is in the extra `completion`")
        script = in_a_new_process("--print-completion", "bash")
        line = " ".join(f"'{word}'" for word in words)
        asked = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_esgvzarr"
        show = 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{asked}\n{show}"],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    def test_of_a_command(self) -> None:
        assert self.complete("esgvzarr", "un") == ["unpublish"]

    def test_of_an_option(self) -> None:
        assert self.complete("esgvzarr", "generate", "--output-") == ["--output-dir"]

    def test_of_a_choice(self) -> None:
        assert self.complete("esgvzarr", "link", "--read", "lo") == ["local"]

    def test_of_a_path(self, tmp_path: Path) -> None:
        (tmp_path / "esg.yaml").touch()
        wanted = f"{tmp_path}/es"
        assert self.complete("esgvzarr", "status", "--config", wanted) == [f"{tmp_path}/esg.yaml"]


class TestStatus:
    def test_shows_each_dataset_once(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """State, code, time, href and message, whole, on one line each; 1, for one is not done."""
        assert run("status", "--config", config) == 1
        lines = capsys.readouterr().out.splitlines()
        (linked,) = [line for line in lines if DATASET_ID in line]
        (pending,) = [line for line in lines if OTHER in line]
        assert linked.split() == [DATASET_ID, "linked", LINKED.created, LINKED.href]
        assert pending.split() == [
            OTHER,
            "pending",
            "index-pending",
            LINKED.created,
            LINKED.href,
            *PENDING.detail.split(),
        ]

    def test_of_what_is_done_is_0(self, config: Path) -> None:
        assert run("status", DATASET_ID, "--config", config) == 0

    def test_of_the_unknown_is_1_and_says_so(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        unknown = DATASET_ID.replace("tas", "ua")
        assert run("status", unknown, "--config", config) == 1
        assert f"[source-not-in-ledger] {unknown}" in capsys.readouterr().err

    def test_as_json(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """For scripts; an interrupted run says after which step."""
        begun = replace(LINKED, state=State.OPEN, retryable=True)
        for step in (Step.DECIDED, Step.WRITTEN):
            Ledger(config.parent / "ledger.sqlite").add(replace(begun, step=step))
        assert run("status", DATASET_ID, "--json", "--config", config) == 1
        (told,) = json.loads(capsys.readouterr().out)
        assert (told["dataset_id"], told["state"], told["retryable"], told["live"]) == (
            DATASET_ID,
            "interrupted after written",
            True,
            [LINKED.href],
        )

    def test_of_no_ledger_makes_none(self, tmp_path: Path) -> None:
        (tmp_path / "esg.yaml").write_text(f"esgvzarr:\n  ledger: {tmp_path / 'ledger.sqlite'}\n")
        assert run("status", "--config", tmp_path / "esg.yaml") == 0
        assert not (tmp_path / "ledger.sqlite").exists()

    def test_of_a_ledger_that_is_none_is_1(
        self, config: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (config.parent / "ledger.sqlite").write_text(
            "not a database, but long enough to be taken for one" * 20
        )
        assert run("status", "--config", config) == 1
        assert "[store-ledger]" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["status", "resume", "unpublish"])
def test_what_is_no_dataset_id_is_said(
    config: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """It would become a path."""
    assert run(command, "../../etc/passwd", "--config", config) == 1
    assert "[source-dataset-id]" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--catalog", "--output-dir"])
def test_an_empty_path_is_not_this_directory(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable of the shell that is not set gives one."""
    places = {"--output-dir": str(tmp_path), option: ""}
    words = [word for pair in places.items() for word in pair]
    assert run("generate", "a.nc", *words) == 2
    assert f"argument {option}: the path is empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["link", "unpublish"])
def test_a_configuration_that_is_not_there_is_2(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, DATASET_ID, "--config", tmp_path / "no.yaml") == 2
    assert "[settings-invalid]" in capsys.readouterr().err


def test_a_configuration_without_an_index_is_2(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("link", DATASET_ID, "--config", config) == 2
    assert "names no index" in capsys.readouterr().err


class TestFullAndClosedStreams:
    def ended(self, command: str, *arguments: object) -> tuple[int, str]:
        """The exit status of the first program in a pipe, and what it says on standard error."""
        words = [sys.executable, "-m", "esgvzarr", *map(str, arguments)]
        done = subprocess.run(
            ["bash", "-c", f'"$@" {command}; exit ${{PIPESTATUS[0]}}', "bash", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    def test_a_full_disk_is_said_in_one_line(self, config: Path) -> None:
        """Though all fits into memory, and is written when the program ends."""
        status, said = self.ended("> /dev/full", "status", "--config", config)
        assert status == 1
        assert said.startswith("esgvzarr: [store-stdout] standard output: cannot be written: No ")
        assert said.count("\n") == 1

    def test_a_full_disk_is_noticed_by_help_texts(self) -> None:
        status, said = self.ended("> /dev/full", "link", "--help")
        assert (status, said.count("\n")) == (1, 1)
        assert "store-stdout" in said

    def test_a_reader_that_ends_early_ends_the_command_quietly(self, config: Path) -> None:
        """Messages of 50 kB in each of 20 lines are more than a pipe and a buffer hold."""
        ledger = Ledger(config.parent / "ledger.sqlite")
        opened = replace(LINKED, state=State.OPEN, step=Step.DECIDED, detail="long " * 10_000)
        for number in range(20):
            name = DATASET_ID.replace("r1i1p1f2", f"r{number}i1p1f2")
            ledger.add(replace(opened, dataset_id=name))
        status, said = self.ended("| head -n 1", "status", "--json", "--config", config)
        assert (status, said) == (141, "")

    def test_a_full_standard_error_changes_no_exit_status(self, tmp_path: Path) -> None:
        status, _ = self.ended("2> /dev/full", "status", "--config", tmp_path / "none")
        assert status == 2

    def test_closed_streams_are_as_good_as_any(self, config: Path) -> None:
        """What is closed receives nothing, neither a traceback nor what goes to the other one."""
        assert self.ended(">&-", "status", DATASET_ID, "--config", config) == (0, "")
        without = self.ended(">&- 2>&-", "status", "--config", config.parent / "none")
        assert without == (2, "")


def test_a_program_that_calls_main_gets_its_garbage_collector_back() -> None:
    before = gc.get_threshold()
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert gc.get_threshold() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["--debug", "status"],
        ["--debug", "show", "nowhere/missing.json"],
        ["--debug", "no-such-command"],
    ],
)
def test_a_program_that_calls_main_gets_its_logger_and_environment_back(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ESGVZARR_LEDGER", str(tmp_path / "ledger.sqlite"))
    logger = logging.getLogger("esgvzarr")
    before = (list(logger.handlers), logger.level, logger.propagate)
    environment = dict(os.environ)
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert (logger.handlers, logger.level, logger.propagate) == before
    assert dict(os.environ) == environment
