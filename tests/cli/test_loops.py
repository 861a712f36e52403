"""How the program ends: nothing of the libraries' event loops is left, or heard of."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from esgvzarr import generate
from esgvzarr.testing import DATASET_ID, ThreddsServer
from esgvzarr.testing.datasets import specs_of, write_files
from esgvzarr.testing.faults import Status
from esgvzarr.testing.processes import hear_ctrl_c

LEFT = (
    "destroyed",
    "never awaited",
    "never retrieved",
    "unclosed",
    "Exception ignored",
    "Traceback",
)
"""Words of Python and asyncio for what a program left behind."""


@dataclass
class Held:
    """Answers wait until they are let go."""

    asked: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def apply(self, asked: Any, answer: Any) -> Any:
        self.asked.set()
        assert self.let_go.wait(60)
        return answer(asked)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ThreddsServer, str]]:
    """A server, and the URL of a reference file on it."""
    directory = tmp_path_factory.mktemp("node")
    files = write_files(directory, specs_of((12, 12), grid=(4, 6)))
    with ThreddsServer(directory) as server:
        urls = [server.url_of(file) for file in files]
        ledger = str(directory / "ledger.sqlite")
        made = generate(urls, directory, dataset_id=DATASET_ID, ledger=ledger)
        yield server, server.url_of(Path(made.reference.path))


@pytest.fixture
def served(node: tuple[ThreddsServer, str]) -> tuple[ThreddsServer, str]:
    """The same, without the faults of another test."""
    node[0].heal()
    return node


def started(*arguments: object) -> subprocess.Popen[str]:
    """The program in a process whose Python tells of all that is left open."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-m", "esgvzarr", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


def left_behind(said: str) -> list[str]:
    """The lines of standard error that tell of it."""
    return [line for line in said.splitlines() if any(word in line for word in LEFT)]


def test_an_extract_leaves_nothing_open(served: tuple[ThreddsServer, str], tmp_path: Path) -> None:
    process = started("extract", served[1], "--variable", "tas", "-o", tmp_path / "part.nc")
    said = process.communicate(timeout=120)[1]
    assert (process.returncode, left_behind(said)) == (0, [])


def test_after_ctrl_c_no_task_is_destroyed(
    served: tuple[ThreddsServer, str], tmp_path: Path
) -> None:
    """The server has not answered yet when the user has had enough."""
    server, href = served
    held = Held()
    server.fault(held, "*.nc")
    process = started("extract", href, "--variable", "tas", "-o", tmp_path / "part.nc")
    assert process.stderr is not None
    said = ""
    try:
        assert held.asked.wait(60)
        process.send_signal(signal.SIGINT)
        while "interrupted" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
    finally:
        held.let_go.set()
    said += process.communicate(timeout=120)[1]
    assert (process.returncode, left_behind(said)) == (130, [])


def test_a_failed_verify_leaves_nothing_open(served: tuple[ThreddsServer, str]) -> None:
    """The process that compares has sockets of its own, which end with it."""
    server, href = served
    server.fault(Status(404), "*_185001-185012.nc")
    process = started("verify", href)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert "[transport-http-404]" in said
    assert left_behind(said) == []


INTERRUPTED_AT_ITS_END = """
import signal, sys, threading, time
from fsspec.asyn import get_loop
from esgvzarr.cli.loops import loops_ended

def names_of_frames(frame):
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back

def interrupt(main=threading.main_thread().ident):
    while not {"_close_loops", "join"} <= set(names_of_frames(sys._current_frames()[main])):
        time.sleep(0.001)
    signal.pthread_kill(main, signal.SIGINT)
    let_go.set()

signal.signal(signal.SIGINT, signal.default_int_handler)
let_go = threading.Event()
with loops_ended():
    loop = get_loop()
loop.call_soon_threadsafe(let_go.wait)
threading.Thread(target=interrupt, daemon=True).start()
"""


def test_ctrl_c_while_python_waits_for_a_loop_to_end_prints_nothing() -> None:
    command = [sys.executable, "-c", INTERRUPTED_AT_ITS_END]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
