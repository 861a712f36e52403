"""Read an output as its readers do: opened by stock readers, without decoding."""

from __future__ import annotations

import itertools
import os
import reprlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import cf
from ..errors import ProofError
from ..model import ChunkTable, Variable
from ..output import Artefact, Contents
from ..output.protocol import UNREADABLE as UNREADABLE
from ..output.stock import UNDECODED
from ..output.zarr_settings import decoding_together
from ..transport import Range, Transport, is_url

if TYPE_CHECKING:
    import xarray

_NO_CHUNKS = ChunkTable(np.empty((0, 0), np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class ShownGroup:
    """One group that has arrays."""

    path: str
    dataset: xarray.Dataset
    time: str | None
    times: np.ndarray
    """(time,) int64 microseconds since 1970-01-01 of the calendar; empty for fixed fields."""

    def chunk_shape(self, name: str, step: int = 0) -> tuple[int, ...]:
        """Return the elements per dimension of the array's chunks; if they differ along time, those
        of the chunk that holds the step.
        """
        variable = self.dataset.variables[name]
        chunks = variable.encoding.get("chunks") or variable.shape
        shape = []
        for axis, length in enumerate(chunks):
            if isinstance(length, int):
                shape.append(length)
            else:
                ends = self.chunk_ends(name, axis)
                shape.append(int(length[min(np.searchsorted(ends, step, "right"), len(ends) - 1)]))
        return tuple(shape)

    def chunk_ends(self, name: str, axis: int) -> np.ndarray:
        """Return where the chunks end along a dimension."""
        variable = self.dataset.variables[name]
        length = (variable.encoding.get("chunks") or variable.shape)[axis]
        if not isinstance(length, int):
            return np.cumsum(length)
        count = -(-variable.shape[axis] // max(length, 1))
        return np.arange(1, count + 1) * length

    def is_irregular(self, name: str) -> bool:
        """Whether the chunks of an array differ in length."""
        chunks = self.dataset.variables[name].encoding.get("chunks") or ()
        return not all(isinstance(length, int) for length in chunks)

    def keys_of(self, name: str, box: Sequence[slice]) -> Iterator[tuple[int, ...]]:
        """Return the indices in the chunk grid of the chunks that hold a box."""
        ranges = []
        for axis, part in enumerate(box):
            ends = self.chunk_ends(name, axis)
            first = int(np.searchsorted(ends, part.start, "right"))
            last = int(np.searchsorted(ends, max(part.stop - 1, part.start), "right"))
            ranges.append(range(first, last + 1))
        yield from itertools.product(*ranges)

    def only(self, names: Iterable[str]) -> ShownGroup:
        """Return the group with these variables alone, as if it showed one dataset of several."""
        kept = set(names)
        time = self.time if self.time in kept else None
        dataset = self.dataset.drop_vars(
            [name for name in self.dataset.variables if name not in kept]
        )
        return ShownGroup(self.path, dataset, time, self.times if time else self.times[:0])


@dataclass(frozen=True, slots=True, eq=False)
class StatedChunks:
    """What the references state about the places of chunks."""

    chunks: Mapping[tuple[str, str], int]
    """(file URL, ``group/variable``) -> number of chunks."""
    sizes: Mapping[tuple[str, str], int]
    """(file URL, ``group/variable``) -> bytes of chunks."""
    reach: Mapping[str, int]
    """File URL -> end of the last byte range that is referenced."""
    contents: Contents
    """The references themselves."""
    _found: dict[str, _Places] = field(default_factory=dict)

    def urls(self) -> set[str]:
        """All URLs that a reader may follow, also those of references that are not chunks."""
        return self.contents.all_urls()

    def places(self, path: str, name: str, keys: Iterable[tuple[int, ...]]) -> Iterator[Range]:
        """Return where chunks of an array lie, by their indices in the chunk grid. Used only to
        decide what to fetch.
        """
        place = place_of(path, name)
        table = self.contents.arrays.get(place)
        if table is None or not len(table.keys):
            return
        if place not in self._found:
            self._found[place] = _Places(table.keys)
        for key in keys:
            row = self._found[place].row(key or (0,))
            if row is not None and table.sizes[row] >= 0:
                start = int(table.offsets[row])
                url = self.contents.urls[int(table.file_index[row])]
                yield Range(url, start, start + int(table.sizes[row]))

    def inline_within(
        self,
        path: str,
        name: str,
        axis: int | None,
        steps: tuple[int, int],
        ends: np.ndarray,
    ) -> int:
        """Count the inline chunks of a variable that lie within some steps.

        Args:
            path: the group.
            name: the variable.
            axis: the axis of the steps; None counts all inline chunks.
            steps: first step, and the step after the last.
            ends: where each chunk along the axis ends.
        """
        table = self.contents.arrays.get(place_of(path, name))
        if table is None:
            return 0
        if axis is None or axis >= table.inline.shape[1]:
            return len(table.inline)
        begins = np.concatenate([[0], ends[:-1]])
        places = table.inline[:, axis]
        places = places[places < len(ends)]
        inside = (steps[0] < ends[places]) & (begins[places] < steps[1])
        return int(np.count_nonzero(inside))

    def held(self, path: str, name: str) -> np.ndarray:
        """Return the indices in the chunk grid of the chunks whose bytes the output itself
        holds.
        """
        table = self.contents.arrays.get(place_of(path, name))
        return np.empty((0, 0), np.int64) if table is None else table.inline


class _Places:
    """Finds rows of a table by their keys."""

    def __init__(self, keys: np.ndarray) -> None:
        self._grid = tuple(int(most) + 1 for most in keys.max(axis=0))
        self._numbers = np.ravel_multi_index(tuple(keys.T), self._grid)
        self._order = np.argsort(self._numbers, kind="stable")

    def row(self, key: Sequence[int]) -> int | None:
        """Return the row of the chunk with this key; None if the table has none."""
        if len(key) != len(self._grid) or any(
            part >= most for part, most in zip(key, self._grid, strict=True)
        ):
            return None
        number = np.ravel_multi_index(tuple(key), self._grid)
        at = int(np.searchsorted(self._numbers, number, sorter=self._order))
        if at == len(self._order) or self._numbers[self._order[at]] != number:
            return None
        return int(self._order[at])


def place_of(path: str, name: str) -> str:
    """Return ``group/variable``, the name of an array in the references."""
    return f"{path}/{name}" if path else name


def check_places(
    urls: Iterable[str], transport: Transport, location: str, named: Collection[str]
) -> None:
    """Check that references refer to allowed hosts only, and to local files only if the reference
    file is local too.

    Args:
        urls: URLs in the references.
        transport: knows which hosts are allowed.
        location: URL or path of the reference file.
        named: local files that the operator named.

    Raises:
        ProofError: a reference file at a URL refers to local files, or a reference refers to a
            directory or to another scheme than HTTP.
        TransportError: the host is not allowed.
    """
    for url in urls:
        path = url.removeprefix("file://")
        if is_url(url) and "::" not in _without_host(url):
            transport.check_allowed(url)
        elif "://" in path or "::" in path:
            raise _led_astray(location, url, "references to URLs over HTTP, or to files")
        elif is_url(location) and path not in named:
            raise _led_astray(
                location, url, "no reference to a local file, unless --source names it"
            )
        elif os.path.exists(path) and not os.path.isfile(path):
            raise _led_astray(location, url, "a file")


def _without_host(url: str) -> str:
    """Return what follows the host. The host may be an IPv6 address; elsewhere ``::`` chains file
    systems.
    """
    bracketed, closing, rest = url.partition("]")
    return rest if closing and bracketed.startswith(("http://[", "https://[")) else url


def _led_astray(location: str, url: str, expected: str) -> ProofError:
    return ProofError(
        location,
        f"refers readers to {reprlib.repr(url)}",
        expected=expected,
        code="proof-place-refused",
    )


def open_shown(artefact: Artefact, options: Mapping[str, Any], subject: str) -> list[ShownGroup]:
    """Open all groups that have arrays, as the readers of the output do.

    Raises:
        ProofError: a group does not open.
    """
    shown = []
    try:
        open_group = artefact.opener(options)
    except UNREADABLE as error:
        raise _not_opened(subject, "", error) from error
    for path in artefact.contents.groups():
        try:
            with decoding_together():
                dataset = open_group(path, **UNDECODED)
        except UNREADABLE as error:
            raise _not_opened(subject, path, error) from error
        time = cf.time_name(described(dataset))
        shown.append(ShownGroup(path, dataset, time, times_of(dataset, time)))
    return shown


def _not_opened(subject: str, path: str, error: Exception) -> ProofError:
    return ProofError(
        subject,
        f"/{path} does not open: {type(error).__name__}: {error}",
        expected="a Zarr group that xarray opens",
        code="proof-not-opened",
    )


def described(dataset: xarray.Dataset) -> dict[str, Variable]:
    """Describe the variables of an undecoded dataset, as far as CF roles need them."""
    return {
        str(name): Variable(
            str(name),
            tuple(map(str, v.dims)),
            v.shape,
            v.dtype,
            v.attrs,
            None,
            v.shape,
            (),
            _NO_CHUNKS,
        )
        for name, v in dataset.variables.items()
    }


def times_of(dataset: xarray.Dataset, time: str | None) -> np.ndarray:
    """Return decoded times, by the dataset's own units and calendar.

    Missing times are the least integer. Empty if the values are not times.
    """
    if time is None or not dataset.variables[time].size:
        return np.empty(0, np.int64)
    variable = dataset.variables[time]
    try:
        values = np.asarray(variable.load().values)  # They are compared as dates later.
        absent = cf.missing(values, variable.attrs)
        if "scale_factor" in variable.attrs or "add_offset" in variable.attrs:
            values = cf.unpacked(values, variable.attrs)
        times = np.full(values.shape, np.iinfo(np.int64).min)
        units = str(variable.attrs["units"])
        calendar = cf.calendar_of(variable.attrs)
        times[~absent] = cf.to_microseconds(values[~absent], units, calendar)
    except UNREADABLE:
        return np.empty(0, np.int64)
    return times


def stated(contents: Contents) -> StatedChunks:
    """Count the references by file and array."""
    chunks: Counter[tuple[str, str]] = Counter()
    sizes: Counter[tuple[str, str]] = Counter()
    reach: Counter[str] = Counter()
    urls = [url.removeprefix("file://") for url in contents.urls]
    ends = np.zeros(len(urls), np.int64)
    for path, table in contents.arrays.items():
        held = np.maximum(table.sizes, 0)
        counted = np.bincount(table.file_index, minlength=len(urls))
        summed = np.zeros(len(urls), np.int64)
        np.add.at(summed, table.file_index, held)
        np.maximum.at(ends, table.file_index, table.offsets + held)
        for number in np.flatnonzero(counted).tolist():
            chunks[urls[number], path] += int(counted[number])
            sizes[urls[number], path] += int(summed[number])
    for url, end in zip(urls, ends.tolist(), strict=True):
        reach[url] = max(reach[url], end)
    return StatedChunks(chunks, sizes, reach, contents)
