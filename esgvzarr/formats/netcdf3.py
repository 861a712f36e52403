"""Scan netCDF-3 files: classic, 64-bit offset and 64-bit data (CDF-1, -2 and -5). The header states
where every byte lies.

Rules: NetCDF Classic Format Specification (Unidata), "The Format in Detail", and its notes on the
padding of record variables.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from ..errors import COPY_AGAIN, FormatError
from ..model import ChunkTable, FileRecord, FileReferences, Variable
from .content import Needs, SparseContent
from .names import check_names
from .values import check_fill, shown_text

_TYPES = {
    1: "i1",
    2: "S1",
    3: ">i2",
    4: ">i4",
    5: ">f4",
    6: ">f8",
    7: "u1",
    8: ">u2",
    9: ">u4",
    10: ">i8",
    11: ">u8",
}
_FILLS: Mapping[str, Any] = {
    "i1": -127,
    "S1": b"\0",
    ">i2": -32767,
    ">i4": -2147483647,
    ">f4": 9.969209968386869e36,
    ">f8": 9.969209968386869e36,
    "u1": 255,
    ">u2": 65535,
    ">u4": 4294967295,
    ">i8": -9223372036854775806,
    ">u8": 18446744073709551614,
}
"""The values that netCDF writes where a program wrote nothing."""
_DIMENSIONS = 10
_VARIABLES = 11
_ATTRIBUTES = 12
_STREAMING = 0xFFFFFFFF
_NEXT_READ = 256 * 1024
_T = TypeVar("_T")


class NetCDF3:
    """netCDF classic, 64-bit offset and 64-bit data files."""

    name = "netcdf3"
    magics: tuple[bytes, ...] = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
    user_blocks = False

    @staticmethod
    def scan(file: FileRecord, content: SparseContent) -> Generator[Needs, None, FileReferences]:
        """Describe all variables of the file.

        Raises:
            FormatError: the header is damaged, or the file ends before the data that the header
                states.
        """
        known = min(_NEXT_READ // 2, content.size)
        while True:
            try:
                header = _Header(content.read(0, known), file.url)
                break
            except (struct.error, IndexError, _TooShort) as error:
                if known == content.size:
                    raise _damaged(
                        file.url, "its header ends before it is complete", "file-truncated"
                    ) from error
            wider = min(2 * known + _NEXT_READ, content.size)
            yield [(known, wider)]
            known = wider
        dimensions = {
            name: header.records if size == 0 else size for name, size in header.dimensions
        }
        header.check_names()
        variables = {place.name: header.variable(place, content.size) for place in header.places}
        return FileReferences(file, NetCDF3.name, dimensions, header.attrs, variables, content.size)


class _TooShort(Exception):
    """The header continues after the known bytes."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A variable as the header lists it."""

    name: str
    dims: tuple[int, ...]
    attrs: Mapping[str, Any]
    kind: int
    begin: int


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Where the bytes of a variable lie: pieces of equal size, at equal distances."""

    begin: int
    count: int
    size: int
    stride: int
    interleaved: bool = False
    """Whether each record is a piece, with records of other variables between."""

    @property
    def stop(self) -> int:
        """The byte after the last piece."""
        return self.begin + max(self.count - 1, 0) * self.stride + self.size


def _damaged(subject: str, found: str, code: str = "file-unreadable") -> FormatError:
    return FormatError(
        subject,
        found,
        expected="a whole netCDF-3 file",
        todo=COPY_AGAIN,
        code=code,
    )


class _Header:
    """The header, parsed from the first bytes of a file."""

    def __init__(self, data: bytes, subject: str) -> None:
        self._data = data
        self._at = 4
        self._subject = subject
        version = data[3]
        self._count = ">Q" if version == 5 else ">I"
        self._offset = ">I" if version == 1 else ">Q"
        records = self._number(self._count)
        lengths = self._named(_DIMENSIONS, lambda _: self._number(self._count))
        self.dimensions = list(lengths.items())
        self.attrs = self._attributes()
        self.places = list(self._named(_VARIABLES, self._place).values())
        self.record_places = [place for place in self.places if self._is_record(place)]
        self.records = 0 if records in (_STREAMING, 0xFFFFFFFFFFFFFFFF) else records
        if records != self.records and self.record_places:
            raise _damaged(subject, "was written as a stream, without the number of its records")

    def _take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise _TooShort
        part = self._data[self._at : self._at + count]
        self._at += count
        return part

    def _number(self, form: str) -> int:
        return int(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def _padded(self, count: int) -> bytes:
        part = self._take(count)
        self._take(-count % 4)
        return part

    def _name(self) -> str:
        return self._padded(self._number(self._count)).decode("utf-8", "surrogateescape")

    def _list(self, tag: int) -> int:
        found = self._number(">I")
        count = self._number(self._count)
        if found not in (0, tag) or (found == 0 and count):
            raise _damaged(self._subject, f"its header has tag {found} where {tag} or 0 should be")
        return count

    def _named(self, tag: int, read: Callable[[str], _T]) -> dict[str, _T]:
        """Read the list with a tag: for each name what follows it.

        An empty or repeated name ends the list: a header of zeros, of any length, would state
        millions of such entries.
        """
        found: dict[str, _T] = {}
        for _ in range(self._list(tag)):
            name = self._name()
            if not name or name in found:
                check_names([name, name], self._subject)
            found[name] = read(name)
        return found

    def _attributes(self) -> dict[str, Any]:
        return self._named(_ATTRIBUTES, lambda _: self._value())

    def _value(self) -> Any:
        dtype = self._dtype(self._number(">I"))
        data = self._padded(self._number(self._count) * dtype.itemsize)
        if dtype.kind == "S":
            return shown_text(data)
        array = np.frombuffer(data, dtype)
        return array[0] if array.size == 1 else array

    def _dtype(self, kind: int) -> np.dtype[Any]:
        if kind not in _TYPES:
            raise _damaged(self._subject, f"its header has the unknown type {kind}")
        return np.dtype(_TYPES[kind])

    def _place(self, name: str) -> _Place:
        dims = tuple(self._number(self._count) for _ in range(self._number(self._count)))
        attrs = self._attributes()
        kind = self._number(">I")
        self._number(self._count)  # vsize may be wrong for large variables, and is never needed.
        return _Place(name, dims, attrs, kind, self._number(self._offset))

    def _is_record(self, place: _Place) -> bool:
        if any(dim >= len(self.dimensions) for dim in place.dims):
            raise _damaged(self._subject, f"{place.name!r} has a dimension that does not exist")
        if any(self.dimensions[dim][1] == 0 for dim in place.dims[1:]):
            raise _damaged(self._subject, f"{place.name!r} has the records in another place")
        return bool(place.dims) and self.dimensions[place.dims[0]][1] == 0

    def _bytes(self, place: _Place) -> int:
        """Return the bytes of a fixed variable, or of one record, without padding."""
        sizes = [
            self.dimensions[dim][1] for dim in place.dims[1 if self._is_record(place) else 0 :]
        ]
        return int(np.prod(sizes, dtype=object)) * self._dtype(place.kind).itemsize

    @cached_property
    def _record_stride(self) -> int:
        """Return the bytes from one record to the next. A single record variable is not padded."""
        sizes = [self._bytes(place) for place in self.record_places]
        return sizes[0] if len(sizes) == 1 else sum(size + -size % 4 for size in sizes)

    def check_names(self) -> None:
        """Refuse names that readers cannot tell apart, or cannot show."""
        for names in ([name for name, _ in self.dimensions], [place.name for place in self.places]):
            check_names(names, self._subject)
        for attrs in (self.attrs, *(place.attrs for place in self.places)):
            check_names(attrs, self._subject)

    def _pieces(self, place: _Place) -> _Pieces:
        size = self._bytes(place)
        if not self._is_record(place):
            return _Pieces(place.begin, int(size > 0), size, 0)
        stride = self._record_stride
        if self.records > 1 and stride != size:
            return _Pieces(place.begin, self.records if size else 0, size, stride, interleaved=True)
        whole = size * self.records
        return _Pieces(place.begin, int(whole > 0), whole, stride)

    def variable(self, place: _Place, file_size: int) -> Variable:
        """Return where the variable's bytes lie: in one piece, or in one piece per record if
        records are interleaved.
        """
        dtype = self._dtype(place.kind)
        stated = [self.dimensions[dim][1] for dim in place.dims]
        shape = tuple(self.records if length == 0 else length for length in stated)
        pieces = self._pieces(place)
        # Checked before memory is allocated for the stated size.
        if pieces.count and pieces.stop > file_size:
            raise _damaged(
                self._subject,
                f"has {file_size} bytes, but {place.name!r} extends to byte {pieces.stop}",
                "file-truncated",
            )
        offsets = pieces.begin + np.arange(pieces.count, dtype=np.int64) * pieces.stride
        keys = np.zeros((len(offsets), len(shape)), np.int64)
        if self._is_record(place):
            keys[:, 0] = np.arange(len(offsets))
        attrs = dict(place.attrs)
        fill = attrs.pop("_FillValue", None)
        return Variable(
            name=place.name,
            dims=tuple(self.dimensions[dim][0] for dim in place.dims),
            shape=shape,
            dtype=dtype,
            attrs=attrs,
            fill_value=check_fill(fill, dtype, place.name, self._subject),
            chunk_shape=(1, *shape[1:]) if pieces.interleaved else shape,
            codecs=(),
            chunks=ChunkTable(keys, offsets, np.full(len(offsets), pieces.size, np.int64)),
            unwritten=_FILLS[_TYPES[place.kind]] if fill is None else fill,
        )
