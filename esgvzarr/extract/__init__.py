"""Write a part of a dataset to a NetCDF file.

Only the chunks that hold the part are fetched. Numbers are written as the files store them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..directories import exists
from ..errors import StoreError
from ..version import __version__
from .groups import choose_group
from .netcdf import write_netcdf
from .parts import PartStore, parts_of, read_part, shape_of
from .selection import Box as Box
from .selection import Request as Request
from .selection import Selection, choose

if TYPE_CHECKING:
    import xarray

    from ..reader.source import Source

Progress = Callable[[int, int], None]
"""Is told the number of decoded bytes so far, and in all."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """The file that was written."""

    path: Path
    variables: tuple[str, ...]
    size: int
    """Size of the file in bytes."""


def extract(
    source: str,
    out: str | os.PathLike[str],
    request: Request,
    *,
    progress: Progress = lambda *_: None,
) -> Extracted:
    """Write a part of a dataset to a NetCDF-4 file.

    A repeated run continues an interrupted one: the parts that were read are kept beside ``out``
    until the file is whole.

    Args:
        source: the id of a dataset, or the URL or path of references.
        out: path of the file, which must not exist yet.
        request: variables, times, levels and places.
        progress: is told the number of decoded bytes.

    Raises:
        SourceError: the dataset does not exist, or the part is empty.
        StoreError: ``out`` exists already, or cannot be written.
        TransportError: its directory cannot be entered.
    """
    path = Path(out)
    _check_target(path)
    opened, dataset, in_group = _open(source, request)
    selection = choose(dataset, in_group)
    # Parts of an earlier run are not used if it may have read them through other references.
    references = opened.digest if opened.is_told_apart else uuid.uuid4().hex
    meaning = {"source": source, "request": asdict(request), "references": references}
    store = PartStore(path, meaning)
    total = _bytes_of(dataset, selection)
    done = 0

    def blocks(name: str) -> Iterator[tuple[int, int, np.ndarray]]:
        variable = dataset.variables[name]
        for part in parts_of(name, variable, selection):
            yield part.start, part.stop, store.load(part)

    for name in selection.names:
        variable = dataset.variables[name]
        for part in parts_of(name, variable, selection):
            if not store.has(part):
                values = read_part(variable, selection, part)
                store.keep(part, _shifted(values, selection.shifts.get(name)))
            done += _part_bytes(variable, selection, part.stop - part.start)
            progress(done, total)
    staged = store.directory / "result.nc"
    staged.unlink(missing_ok=True)
    write_netcdf(staged, dataset, selection, blocks, _history(source, request))
    os.replace(staged, path)
    store.remove()
    return Extracted(path, selection.names, path.stat().st_size)


def _check_target(path: Path) -> None:
    if exists(path):
        raise StoreError(
            str(path),
            "exists already",
            expected="no such file",
            todo="Give another name with -o, or delete the file.",
            code="store-exists",
        )
    if not os.access(path.absolute().parent, os.W_OK):
        raise StoreError(
            str(path),
            "cannot be written",
            expected="a directory that exists and that this user may write to",
            code="store-unwritable",
        )


def _open(source: str, request: Request) -> tuple[Source, xarray.Dataset, Request]:
    """Return the references; the requested dataset as stored, or decoded if its segments are stored
    in different ways; and the request within it.
    """
    from ..reader import open_dataset, open_named
    from ..reader.metadata import read_group

    opened = open_named(source)
    path, in_group = choose_group(opened, request)
    group = read_group(opened, path)
    is_mixed = False
    for name in group.arrays[0]:
        kinds = {arrays[name].kind for arrays in group.arrays}
        is_mixed = is_mixed or len(kinds) > 1
    dataset = open_dataset(
        opened,
        group=path,
        chunks=None,
        decode_times=False,
        decode_coords=False,
        mask_and_scale=is_mixed,
    )
    return opened, dataset, in_group


def _shifted(values: np.ndarray, shift: np.ndarray | None) -> np.ndarray:
    """Shift longitudes that cross the seam of the grid, so that they increase."""
    if shift is None:
        return values
    along_first = shift.reshape((-1,) + (1,) * (values.ndim - 1))
    shifted: np.ndarray = values + along_first
    return shifted.astype(values.dtype)


def _bytes_of(dataset: xarray.Dataset, selection: Selection) -> int:
    total = 0
    for name in selection.names:
        variable = dataset.variables[name]
        shape = shape_of(variable, selection)
        total += _part_bytes(variable, selection, shape[0] if shape else 1)
    return total


def _part_bytes(variable: xarray.Variable, selection: Selection, steps: int) -> int:
    inner = shape_of(variable, selection)[1:]
    itemsize: int = variable.dtype.itemsize
    return steps * int(np.prod(inner, dtype=np.int64)) * itemsize


def _history(source: str, request: Request) -> str:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = {key: value for key, value in asdict(request).items() if value}
    return f"{now}: esgvzarr {__version__} extract {source} {asked}"
