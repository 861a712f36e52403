"""The files that a reference consists of, and the size and checksum of all of them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from . import of_place
from .disk_errors import writing


def measure(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Bytes and SHA-256 of a reference file; 0 and empty where there is none.

    Of a directory: the bytes of all files in it, and the SHA-256 of what ``sha256sum`` prints of
        them, in the order of their names.

    Raises:
        StoreError: it is there and cannot be read.
    """
    target = Path(path)
    if not target.exists():
        return 0, ""
    with writing(target):
        if not target.is_dir():
            return target.stat().st_size, _sha256_of(target)
        size = 0
        lines = ""
        for file in files_of(target):
            size += file.stat().st_size
            lines += f"{_sha256_of(file)}  {file.relative_to(target).as_posix()}\n"
        return size, hashlib.sha256(lines.encode()).hexdigest()


def _sha256_of(path: Path) -> str:
    """Of one file, however large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """The files of a directory, all the way down, in the order of their names; a file is its own
    only one.
    """
    target = Path(path)
    return (
        sorted((file for file in target.rglob("*") if file.is_file()), key=Path.as_posix)
        if target.is_dir()
        else [target]
    )


def side_path(path: Path) -> Path | None:
    """Where the file lies that belongs to a reference file, beside it; None where its output has no
    such file.
    """
    output = of_place(path.name)
    if not output.side_suffix or not path.name.endswith(output.suffix):
        return None
    return path.with_name(path.name.removesuffix(output.suffix) + output.side_suffix)


def parts_of(path: str | os.PathLike[str]) -> list[Path]:
    """All files of a reference file or directory: its own, and what belongs to it beside it."""
    side = side_path(Path(path))
    beside = [side] if side is not None and side.is_file() else []
    return [*beside, *files_of(path)]
