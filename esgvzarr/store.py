"""``<DSID>.json`` on the data node: whole or not at all.

ESGF servers cache what they serve for years, so bytes under a published name never change: equal bytes are left alone, others
are refused unless forced. The temporary name begins with a dot, which ESGF servers hide.
"""

from __future__ import annotations

import glob
import hashlib
import os
import tempfile
from pathlib import Path

from .errors import StoreError
from .model import DatasetId, ReferenceFile

_MODE = 0o644


def write_reference(
    data: bytes, directory: str | os.PathLike[str], dataset_id: DatasetId | str, *, href: str = "", force: bool = False
) -> ReferenceFile:
    """Write ``<DSID>.json`` into ``directory``, which is made if it is missing.

    Args:
        data: the reference file.
        directory: on the data node.
        dataset_id: gives the name; the name of a document of several datasets is known to be fit for a file.
        href: public URL; the path where there is none.
        force: replace other bytes under the same name.

    Raises:
        StoreError: the directory cannot be written (nothing is left behind), or other bytes are there.
    """
    planned = plan_reference(data, directory, dataset_id, href=href, force=force)
    if planned.written:
        _write(Path(planned.path), data)
    return planned


def plan_reference(
    data: bytes, directory: str | os.PathLike[str], dataset_id: DatasetId | str, *, href: str = "", force: bool = False
) -> ReferenceFile:
    """What ``write_reference`` would leave there. Nothing is touched.

    Raises:
        StoreError: other bytes are there.
    """
    path = Path(directory) / f"{dataset_id}.json"
    present = _present(path)
    if present is not None and present != data and not force:
        raise StoreError(
            str(path), f"is there already, with {len(present)} other bytes", expected="no such file, or equal bytes",
            todo="Publish a new version; or use --force: caches may hold the old file for years.", code="store-bytes-differ",
        )  # fmt: skip
    return ReferenceFile(str(path), href or str(path), len(data), hashlib.sha256(data).hexdigest(), written=present != data)


def read_reference(directory: str | os.PathLike[str], dataset_id: DatasetId | str) -> bytes | None:
    """The reference file of a dataset in ``directory``; None where there is none."""
    return _present(Path(directory) / f"{dataset_id}.json")


def remove_reference(path: str | os.PathLike[str]) -> bool:
    """Delete a reference file; False where there was none.

    Raises:
        StoreError: it cannot be deleted.
    """
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unwritable(Path(path), error) from error
    return True


def remove_leftovers(path: str | os.PathLike[str]) -> int:
    """Delete the temporary files that writers of ``path`` left when they were killed, and count them.

    Nobody may be writing it meanwhile.
    """
    target, removed = Path(path), 0
    try:
        for left in target.parent.glob(f"{glob.escape(_temporary_prefix(target))}*.tmp"):
            left.unlink(missing_ok=True)
            removed += 1
    except OSError as error:
        raise _unwritable(target, error) from error
    return removed


def withdraw_reference(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> Path | None:
    """Move a reference file into ``directory``, which is not served; None where there was none.

    It is whole in one of the two places at any moment. An older one of the same name there is replaced.

    Raises:
        StoreError: it cannot be moved.
    """
    source, target = Path(path), Path(directory) / Path(path).name
    data = _present(source)
    if data is None:
        return None
    _write(target, data)
    remove_reference(source)
    return target


def _temporary_prefix(path: Path) -> str:
    """Hidden, and no other file's: long names are cut, so a part of their hash stands in."""
    return f".{path.stem[:100]}.{hashlib.sha256(path.name.encode()).hexdigest()[:8]}."


def _present(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(path, error) from error


def _write(path: Path, data: bytes) -> None:
    temporary = None
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=_temporary_prefix(path), suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
        _sync_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        if temporary is not None:
            os.unlink(temporary)


def _sync_directory(directory: Path) -> None:
    """Make the new name survive a power cut."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        str(path), f"cannot be written: {error.strerror}", expected="a directory that this user may write to",
        todo="Set `reference_dir` and `reference_url` to a directory that is writable and served.", code="store-unwritable",
    )  # fmt: skip
