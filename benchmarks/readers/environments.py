"""An environment of its own for each program, of what the program says that it needs (PEP 723)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_NPM = ("zarrita@0.7", "@zarrita/storage@0.2")


class CannotRunError(Exception):
    """A client cannot be had; the reason."""


def command_of(program: Path, directory: Path) -> list[str]:
    """The command that runs the program in an environment that is made for it, by uv or npm.

    Raises:
        CannotRunError: no uv or npm, no such Python, or packages that cannot be had.
    """
    if program.suffix == ".mjs":
        _run("npm", "install", "--silent", *_NPM, cwd=directory)
        return ["node", shutil.copy(program, directory)]
    _run("uv", "sync", "--script", program)
    return [_run("uv", "python", "find", "--script", program), str(program)]


def _run(name: str, *words: str | Path, cwd: Path | None = None) -> str:
    here = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = shutil.which(name, path=here)
    if found is None:
        raise CannotRunError(f"needs {name}")
    pythons = [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin"))]
    environment = {**os.environ, "PATH": os.pathsep.join([*pythons, here])}
    done = subprocess.run(
        [found, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotRunError(f"{name}: {' '.join(done.stderr.split())[-200:]}")
    return done.stdout.strip()
