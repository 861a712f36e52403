"""Move a reference file, or a directory of references, to its place on the data node: whole, or not
at all.

ESGF servers cache what they serve for years, so the bytes under a published name must never change:
equal bytes are left alone, other bytes are refused unless forced. A file that is not whole yet has
a name that begins with a dot; ESGF servers do not show such files.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import StoreError
from ..model import ReferenceFile
from ..permissions import make_directory, remove_empty
from . import Output, of_place
from .disk_errors import writing
from .parts import files_of, measure, side_path

_TEMPORARY = ".tmp"
"""Suffix of the hidden directories in which outputs are staged."""


@contextmanager
def staging(path: str | os.PathLike[str], *, aside: bool = False) -> Iterator[Path]:
    """Make a hidden place on the file system of ``path``, and give it. In the end everything left
    in it is deleted, and the directories that were made for it if they are empty.

    Args:
        path: path of the reference file. Its directory is made if it is missing.
        aside: use a temporary directory, and leave the directory of ``path`` untouched.

    Raises:
        StoreError: it cannot be made.
    """
    target = Path(path)
    made: tuple[Path, ...] = ()
    with writing(target):
        if not aside:
            made = make_directory(target.parent)
            remove_leftovers(target)
        holder, handle = _make_holder(_temporary_prefix(target), None if aside else target.parent)
    try:
        yield holder / target.name
    finally:
        shutil.rmtree(holder, ignore_errors=True)
        os.close(handle)
        remove_empty(made)


def _make_holder(prefix: str, directory: Path | None) -> tuple[Path, int]:
    """Make and lock a new hidden directory. If another process deleted it as a leftover before it
    was locked, try again.
    """
    while True:
        holder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_TEMPORARY, dir=directory))
        try:
            handle = os.open(holder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _lock(handle) is not False and holder.exists():
            return holder, handle
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Lock a directory, to distinguish one in use from a leftover. Return False if another process
    holds the lock, None if the file system has no locks.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def write_reference(
    staged: Path,
    path: str | os.PathLike[str],
    *,
    href: str = "",
    force: bool = False,
    sha256: str = "",
) -> ReferenceFile:
    """Move a staged output to its place.

    Args:
        staged: a file or directory in ``staging(path)``.
        path: path of the reference file, or directory of references.
        href: public URL; the path if there is none.
        force: replace an existing output that holds other bytes.
        sha256: SHA-256 of what was proved, as ``measure`` gives it; not compared if empty.

    Raises:
        StoreError: it cannot be written (nothing is left behind), an output with other bytes
            exists, or the staged output changed after its proof.
    """
    planned = plan_reference(staged, path, href=href, force=force, sha256=sha256)
    if planned.written:
        with writing(path):
            _put(staged, Path(path))
    return planned


def write_document(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a small file, whole or not at all, and replace the existing one.

    Raises:
        StoreError: it cannot be written; an existing file is unchanged.
    """
    with staging(path) as staged, writing(path):
        staged.write_bytes(content)
        _put(staged, Path(path))


def plan_reference(
    staged: Path,
    path: str | os.PathLike[str],
    *,
    href: str = "",
    force: bool = False,
    sha256: str = "",
) -> ReferenceFile:
    """Return what ``write_reference`` would leave at the place. Nothing is touched.

    Args:
        staged: the staged output.
        path: its place.
        href: URL at which it will be read; empty if it is not served.
        force: replace an existing output that holds other bytes.
        sha256: SHA-256 of what was proved; empty if nothing was.

    Raises:
        StoreError: an output with other bytes exists, or the staged output changed after its proof.
    """
    target = Path(path)
    output = of_place(target.name)
    new = measure(staged)
    _check_staged(staged, output, found=new[1], proved=sha256)
    present = measure(target)
    address = href or str(target)
    if not present[1]:
        return ReferenceFile(str(target), address, *new)
    equal = present == new or (not force and output.same(target, staged))
    if equal and output.is_whole(target):
        return ReferenceFile(str(target), address, *present, written=False)
    if not equal and not force and not output.keeps_snapshots:
        raise StoreError(
            str(target),
            f"exists already, with {present[0]} other bytes",
            expected="no such file, or a file with equal bytes",
            todo="Publish a new version. Or use --force; caches may serve the old file for years.",
            code="store-bytes-differ",
        )
    return ReferenceFile(str(target), address, *new)


def _check_staged(staged: Path, output: Output, *, found: str, proved: str) -> None:
    """Check that the staged output is the one that was proved.

    Args:
        staged: the staged output.
        output: the output that wrote it.
        found: its SHA-256.
        proved: SHA-256 of what was proved; empty if nothing was.

    Raises:
        StoreError: it changed.
    """
    if proved and found != proved:
        raise StoreError(
            str(staged),
            f"changed after it was proved: its SHA-256 is {found}",
            expected=proved,
            todo="Nothing was published. Check the disk, then try again.",
            code="store-staged-changed",
        )
    if not output.is_whole(staged):
        raise StoreError(
            str(staged),
            f"no longer matches its {output.side_suffix} file",
            expected="the files that were proved",
            todo="Nothing was published. Check the disk, then try again.",
            code="store-staged-changed",
        )


def clear(path: Path) -> None:
    """Delete the file or directory at a staged place."""
    side = side_path(path)
    if side is not None:
        side.unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_reference(path: str | os.PathLike[str]) -> bool:
    """Delete a reference file or directory of references; return False if there was none.

    A directory is renamed to a hidden name first, so that it disappears as a whole. A side file is
    deleted after its reference file.

    Raises:
        StoreError: it cannot be deleted.
    """
    target = Path(path)
    with writing(target):
        if target.is_dir():
            with staging(target) as hidden:
                os.rename(target, hidden)
            return True
        was_there = target.exists()
        target.unlink(missing_ok=True)
        side = side_path(target)
        if side is not None:
            side.unlink(missing_ok=True)
        return was_there


def remove_leftovers(path: str | os.PathLike[str]) -> int:
    """Delete what killed writers of ``path`` left beside it, and return the number of leftovers.
    Directories in use are kept.
    """
    target = Path(path)
    removed = 0
    is_being_written = False
    with writing(target):
        for left in _temporaries(target):
            with suppress(FileNotFoundError):  # Its writer has finished with it.
                if (
                    left.is_symlink() or not left.is_dir()
                ):  # esgvzarr did not make it: it is neither opened nor followed.
                    left.unlink()
                    removed += 1
                    continue
                handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    if _lock(handle):
                        shutil.rmtree(left)
                        removed += 1
                    else:
                        is_being_written = True
                finally:
                    os.close(handle)
        side = side_path(target)
        is_alone = side is not None and side.is_file() and not target.exists()
        if side is not None and is_alone and not is_being_written:
            side.unlink(missing_ok=True)
            removed += 1
    return removed


def withdraw_reference(
    path: str | os.PathLike[str], directory: str | os.PathLike[str]
) -> Path | None:
    """Move a reference file into ``directory``, which is not served; return None if there was none.

    At any moment it is whole in one of the two places. An older file of the same name in
    ``directory`` is replaced.

    Raises:
        StoreError: it cannot be moved.
    """
    source = Path(path)
    target = Path(directory) / Path(path).name
    if not source.exists():
        remove_reference(source)  # Its side file may still exist.
        return None
    with staging(target) as staged, writing(target):
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, staged)
        side = side_path(source)
        if side is not None and side.is_file():
            shutil.copyfile(side, staged.with_name(side.name))
        _put(staged, target)
    remove_reference(source)
    return target


def _temporaries(path: Path) -> list[Path]:
    """Return what `staging` made for a path, and has not removed; nothing if the directory cannot
    be listed.
    """
    prefix = _temporary_prefix(path)
    try:
        names = os.listdir(path.parent)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    found = [name for name in names if name.startswith(prefix) and name.endswith(_TEMPORARY)]
    return [path.with_name(name) for name in found]


def _temporary_prefix(path: Path) -> str:
    """Return a hidden name that no other file has: long names are cut, and a part of their hash is
    added.
    """
    return f".{path.stem[:100]}.{hashlib.sha256(path.name.encode()).hexdigest()[:8]}."


def _put(staged: Path, path: Path) -> None:
    """Sync a staged output to disk, make it readable by all, and rename it to its place.

    An existing directory is renamed to a hidden name first. A side file is placed before its
    reference file, and deleted after it.
    """
    side = side_path(path)
    staged_side = staged.with_name(side.name) if side else None
    if side is not None and staged_side is not None and staged_side.is_file():
        staged_side.chmod(0o644)
        _sync(staged_side)
        os.replace(staged_side, side)
        _sync(path.parent)
        side = None
    _put_alone(staged, path)
    if side is not None:
        side.unlink(missing_ok=True)


def _put_alone(staged: Path, path: Path) -> None:
    """Move a file or directory without its side file."""
    for item in (*staged.rglob("*"), staged):
        item.chmod(0o755 if item.is_dir() else 0o644)
        _sync(item)
    if path.is_dir() and of_place(path.name).keeps_snapshots:
        _add_snapshot(staged, path)
        return
    if path.is_dir():
        os.rename(path, staged.with_name("older"))
    os.replace(staged, path)
    _sync(path.parent)


_POINTERS = ("refs", "repo")
"""Files of an Icechunk repository, of specification version 1 and 2, that name its newest
snapshot.
"""


def _add_snapshot(staged: Path, path: Path) -> None:
    """Move the new files of a repository into the one at ``path``; the file that names the newest
    snapshot comes last.
    """
    for file in sorted(
        files_of(staged), key=lambda file: file.relative_to(staged).parts[0] in _POINTERS
    ):
        target = path / file.relative_to(staged)
        if not (target.exists() and os.path.samefile(file, target)):
            make_directory(target.parent)
            os.replace(file, target)
            _sync(target.parent)


def _sync(path: Path) -> None:
    """Make a file, or the names in a directory, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
