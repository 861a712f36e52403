"""Ctrl-C ends the program with its documented exit status, whatever it was doing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from esgvzarr.cli.exit_status import ExitStatus

CUSTOM = """
import os, signal, sys, types

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_IMPORT"]:
            exec(os.environ["INTERRUPTED_TEXT"])
            raise KeyboardInterrupt

class Late:
    def __del__(self, kill=os.kill, process=os.getpid(), number=signal.SIGINT):
        kill(process, number)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
if os.environ["INTERRUPTED_IMPORT"] == "late":
    sys.modules["late"] = types.ModuleType("late")
    sys.modules["late"].object = Late()
"""
"""What Python runs before the program: it interrupts an import, or Python's own end."""


def run(
    place: Path, *arguments: str, imports: str = "", text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m esgvzarr``.

    Args:
        place: an empty directory.
        arguments: of the command.
        imports: the module whose import is interrupted; ``late`` for Python's end.
        text: what ``exec`` runs then, before.
    """
    (place / "sitecustomize.py").write_text(CUSTOM)
    environment = {
        **os.environ,
        "PYTHONPATH": str(place),
        "INTERRUPTED_IMPORT": imports,
        "INTERRUPTED_TEXT": text,
    }
    command = [sys.executable, "-m", "esgvzarr", *arguments]
    return subprocess.run(
        command, env=environment, cwd=place, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("imports", "text"),
    [
        ("esgvzarr.cli", ""),
        ("esgvzarr.output", ""),
        ("esgvzarr.output", "raise KeyboardInterrupt"),
    ],
)
def test_ctrl_c_is_said_and_is_the_exit_status(tmp_path: Path, imports: str, text: str) -> None:
    """While the command line is imported, and in a command. Python would kill itself by the signal
    where that passed through ``exec`` of a text.
    """
    done = run(tmp_path, "pages", str(tmp_path), imports=imports, text=text)
    assert (done.returncode, done.stderr) == (
        ExitStatus.INTERRUPTED,
        "esgvzarr: interrupted\n",
    )


def test_ctrl_c_while_python_ends_changes_nothing(tmp_path: Path) -> None:
    done = run(tmp_path, "--version", imports="late")
    assert (done.returncode, done.stderr) == (ExitStatus.DONE, "")
    assert done.stdout.startswith("esgvzarr ")
