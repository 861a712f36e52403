"""A reference file, or a directory of references, on the data node: whole or not at all.

ESGF servers cache what they serve for years, so bytes under a published name never change: equal
bytes are left alone, others are refused unless forced. A file that is not whole yet has a name that
begins with a dot, which ESGF servers hide.
"""

from __future__ import annotations

import fcntl
import glob
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


@contextmanager
def staging(path: str | os.PathLike[str], *, aside: bool = False) -> Iterator[Path]:
    """A hidden place on the file system of ``path`` for what shall be put there. What is left in it
    in the end goes, and with it the directories that were made and hold nothing.

    Args:
        path: of the reference file. Its directory is made if it is missing.
        aside: take a place elsewhere, and leave that directory alone.

    Raises:
        StoreError: nothing can be written there.
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
    """A new hidden directory, locked. One that another writer took for left over, before it was
    locked, is let go.
    """
    while True:
        holder = Path(tempfile.mkdtemp(prefix=prefix, suffix=".tmp", dir=directory))
        try:
            handle = os.open(holder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if _lock(handle) is not False and holder.exists():
            return holder, handle
        os.close(handle)


def _lock(handle: int) -> bool | None:
    """Take the lock that tells what is being written from what was left; False if another has it,
    None if there are none here.
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
    """Put what was staged in its place.

    Args:
        staged: a file or directory in ``staging(path)``.
        path: of the reference file, or directory of references.
        href: public URL; the path where there is none.
        force: replace other bytes under the same name.
        sha256: of what was proved, as ``measure`` gives it; not compared if empty.

    Raises:
        StoreError: it cannot be written (nothing is left behind), other bytes are there, or what is
            staged is not what was proved.
    """
    planned = plan_reference(staged, path, href=href, force=force, sha256=sha256)
    if planned.written:
        with writing(path):
            _put(staged, Path(path))
    return planned


def write_document(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a small file, whole or not at all, in place of what is there.

    Raises:
        StoreError: it cannot be written; what was there is still there.
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
    """What ``write_reference`` would leave there. Nothing is touched.

    Args:
        staged: what was written beside its place.
        path: its place.
        href: under which it will be read; empty where it is not served.
        force: whether other bytes may be replaced.
        sha256: of what was proved; empty where nothing was.

    Raises:
        StoreError: other bytes are there, or what is staged is not what was proved.
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
            f"is there already, with {present[0]} other bytes",
            expected="no such file, or equal bytes",
            todo="Publish a new version; or use --force: caches may hold the old file for years.",
            code="store-bytes-differ",
        )
    return ReferenceFile(str(target), address, *new)


def _check_staged(staged: Path, output: Output, *, found: str, proved: str) -> None:
    """Check that what is staged is what was proved.

    Args:
        staged: what was written beside its place.
        output: which wrote it.
        found: its SHA-256.
        proved: the SHA-256 of what was proved; empty where nothing was.

    Raises:
        StoreError: it is not.
    """
    if proved and found != proved:
        raise StoreError(
            str(staged),
            f"changed after it was proved: its SHA-256 is {found}",
            expected=proved,
            todo="Nothing was published. Is the disk sound? Try again.",
            code="store-staged-changed",
        )
    if not output.is_whole(staged):
        raise StoreError(
            str(staged),
            f"does not go with its {output.side_suffix} any more",
            expected="what was proved",
            todo="Nothing was published. Is the disk sound? Try again.",
            code="store-staged-changed",
        )


def clear(path: Path) -> None:
    """Delete whatever lies at a staged place."""
    side = side_path(path)
    if side is not None:
        side.unlink(missing_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_reference(path: str | os.PathLike[str]) -> bool:
    """Delete a reference file or directory of references; False where there was none. A directory
    is hidden first, as a whole. A file that belongs to it goes after it.

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
    """Delete what writers of ``path`` left beside it when they were killed, and count it. What is
    being written is let be.
    """
    target = Path(path)
    removed = 0
    is_being_written = False
    with writing(target):
        for left in target.parent.glob(f"{glob.escape(_temporary_prefix(target))}*.tmp"):
            with suppress(FileNotFoundError):  # its writer is through with it
                if (
                    left.is_symlink() or not left.is_dir()
                ):  # not made by us: nothing is opened, or followed
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
    """Move a reference file into ``directory``, which is not served; None where there was none.

    It is whole in one of the two places at any moment. An older one of the same name there is
    replaced.

    Raises:
        StoreError: it cannot be moved.
    """
    source = Path(path)
    target = Path(directory) / Path(path).name
    if not source.exists():
        remove_reference(source)  # what belongs to it may be there still
        return None
    with staging(target) as staged, writing(target):
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, staged)
        side = side_path(source)
        if side is not None and side.is_file():
            shutil.copyfile(side, staged.with_name(side.name))
        _put(staged, target)
    remove_reference(source)
    return target


def _temporary_prefix(path: Path) -> str:
    """Hidden, and no other file's: long names are cut, so a part of their hash stands in."""
    return f".{path.stem[:100]}.{hashlib.sha256(path.name.encode()).hexdigest()[:8]}."


def _put(staged: Path, path: Path) -> None:
    """All of it on the disk, readable by all, then in its place. A directory that lies there is
    hidden first. A file that belongs to it comes before it, and goes after it.
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
    """A file or directory without what belongs to it."""
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
"""What says in an Icechunk repository, of specification version 1 and 2, which snapshot is the
newest.
"""


def _add_snapshot(staged: Path, path: Path) -> None:
    """The files of a repository that went on from the one in ``path``; last of all what points to
    the newest snapshot.
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
    """Make a file, or the names in a directory, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
