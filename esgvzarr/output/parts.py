"""The files of a reference, and their common size and checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..directories import files_below, is_there
from . import of_place
from .disk_errors import writing


def measure(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Return the size in bytes and the SHA-256 of a reference file; 0 and empty if it does not
    exist.

    For a directory: the bytes of all files in it, and the SHA-256 of what ``sha256sum`` prints for
    them, in the order of their names.

    Raises:
        StoreError, TransportError: it exists and cannot be read.
    """
    target = Path(path)
    with writing(target):
        if not is_there(target):
            return 0, ""
        if not target.is_dir():
            return target.stat().st_size, _sha256_of(target)
        size = 0
        lines = ""
        for file in files_of(target):
            size += file.stat().st_size
            lines += f"{_sha256_of(file)}  {file.relative_to(target).as_posix()}\n"
        return size, hashlib.sha256(lines.encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    """Return the SHA-256 of one file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a directory at any depth, in the order of their names; for a file, the
    file.

    Raises:
        TransportError: a directory cannot be listed.
    """
    target = Path(path)
    return files_below(target) if target.is_dir() else [target]


def side_path(path: Path) -> Path | None:
    """Return the path of the side file of a reference file; None if its output has no side
    files.
    """
    output = of_place(path.name)
    if not output.side_suffix or not path.name.endswith(output.suffix):
        return None
    return path.with_name(path.name.removesuffix(output.suffix) + output.side_suffix)


def parts_of(path: str | os.PathLike[str]) -> list[Path]:
    """Return all files of a reference file or directory, with its side file."""
    side = side_path(Path(path))
    beside = [side] if side is not None and side.is_file() else []
    return [*beside, *files_of(path)]
