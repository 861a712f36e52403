"""Random CMIP-like datasets as plain data that hypothesis draws, and netCDF4 writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cftime
import netCDF4
import numpy as np
from hypothesis import strategies as st

CALENDARS = (
    "standard",
    "gregorian",
    "proleptic_gregorian",
    "noleap",
    "365_day",
    "360_day",
    "all_leap",
    "julian",
)
FORMATS = (
    "NETCDF4",
    "NETCDF4",
    "NETCDF4",
    "NETCDF4_CLASSIC",
    "NETCDF3_CLASSIC",
    "NETCDF3_64BIT_OFFSET",
    "NETCDF3_64BIT_DATA",
)
_CLASSIC = ("f4", "f8", "i1", "i2", "i4")
_DTYPES = (*_CLASSIC, "u1", "u2", "u4", "i8", "u8", ">f4", ">f8", ">i2", ">i4", ">i8")
_SHAPES = (
    ("time",),
    ("time", "lat"),
    ("time", "lat", "lon"),
    ("time", "lon", "cell"),
    ("lat", "time"),
    ("lat", "time", "lon"),
    ("lat", "lon"),
    ("lon",),
    (),
    ("cell", "lat"),
)


@dataclass(frozen=True)
class Field:
    """One variable of a file."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    filters: Mapping[str, Any]
    fill: float | bool | None
    missing: float | None
    packing: Mapping[str, float]
    attrs: Mapping[str, Any]
    unwritten: frozenset[int]
    contiguous: bool = False


@dataclass(frozen=True)
class File:
    """One file of a dataset."""

    name: str
    format: str
    begin: int
    length: int
    units: str
    calendar: str
    time_dtype: str
    time_chunk: int | None
    unlimited: bool
    bounds: bool
    fields: tuple[Field, ...]
    strings: bool
    chars: bool
    attrs: Mapping[str, Any]


@dataclass(frozen=True)
class Dataset:
    """Files in the order of the record."""

    files: tuple[File, ...]
    sizes: Mapping[str, int]
    seed: int

    @property
    def repeats(self) -> bool:
        """Whether some steps are in several files."""
        spans = sorted((file.begin, file.begin + file.length) for file in self.files if file.length)
        return any(begin < end for (_, end), (begin, _) in pairwise(spans))

    @property
    def alike(self) -> bool:
        """Whether all files say the same of a step, and say it in the same way."""
        return all(
            (file.fields, file.units, file.time_dtype)
            == (self.files[0].fields, self.files[0].units, self.files[0].time_dtype)
            and not any(field.unwritten for field in file.fields)
            for file in self.files
        )

    @property
    def mixed(self) -> bool:
        """Whether two files state different ``cell_methods`` of a variable, as texts."""
        for versions in zip(*(file.fields for file in self.files), strict=True):
            methods = [field.attrs.get("cell_methods") for field in versions]
            if len({method for method in methods if isinstance(method, str)}) > 1:
                return True
        return False


def _fills(dtype: str) -> st.SearchStrategy[Any]:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return st.sampled_from([None, False, 1e20, -999.0, float("nan"), 0.0])
    limits = np.iinfo(kind)
    return st.sampled_from([None, False, int(limits.min), int(limits.max), 0])


_ATTRS = st.dictionaries(
    st.sampled_from(
        ["long_name", "comment", "valid_min", "flags", "cell_methods", "odd name", "Δ"]
    ),
    st.one_of(
        st.text(
            st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]),
            max_size=8,
        ),
        st.floats(),
        st.integers(-(2**31), 2**31 - 1).map(np.int32),
        st.sampled_from([np.float32("nan"), np.float32(0.1), np.int8(-1)]),
        st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=3).map(np.array),
    ),
    max_size=3,
)


@st.composite
def _filters(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from([None, None, "zlib", "zlib", "zstd", "bzip2"]))
    found: dict[str, Any] = {"shuffle": draw(st.booleans()), "fletcher32": draw(st.booleans())}
    return (
        {**found, "compression": kind, "complevel": draw(st.integers(1, 9))}
        if kind
        else {"fletcher32": found["fletcher32"], "shuffle": False}
    )


@st.composite
def _field(
    draw: st.DrawFn, number: int, format: str, sizes: Mapping[str, int], dtypes: tuple[str, ...]
) -> Field:
    shapes = [dims for dims in _SHAPES if format == "NETCDF4" or "time" not in dims[1:]]
    dims = draw(st.sampled_from(shapes))
    dtype = draw(st.sampled_from(dtypes))
    netcdf4 = format.startswith("NETCDF4")
    chunked = netcdf4 and bool(dims) and draw(st.booleans())
    chunks = (
        tuple(draw(st.integers(1, 8 if dim == "time" else max(sizes[dim], 1))) for dim in dims)
        if chunked
        else None
    )
    fill = draw(_fills(dtype))
    packed = np.dtype(dtype).kind == "i" and np.dtype(dtype).itemsize <= 2 and draw(st.booleans())
    missing = (
        draw(st.sampled_from([None, None, 1.0, 1e20])) if np.dtype(dtype).kind == "f" else None
    )
    unwritten = frozenset(
        draw(st.sets(st.integers(0, 13), max_size=6)) if draw(st.booleans()) else ()
    )
    return Field(
        f"v{number}",
        dims,
        dtype,
        chunks,
        draw(_filters()) if chunked else {},
        fill,
        missing,
        {
            "scale_factor": draw(st.sampled_from([0.5, 0.01])),
            "add_offset": draw(st.sampled_from([0.0, 273.15])),
        }
        if packed
        else {},
        draw(_ATTRS),
        unwritten if "time" in dims and fill is not False else frozenset(),
        contiguous=netcdf4 and not chunked and draw(st.booleans()),
    )


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Files that follow each other in time, all legal; the later ones differ from the first in
    layout here and there.
    """
    format = draw(st.sampled_from(FORMATS))
    calendar = draw(st.sampled_from(CALENDARS))
    cells = draw(st.integers(0 if format == "NETCDF4" else 1, 3))
    sizes = {"lat": draw(st.integers(1, 5)), "lon": draw(st.integers(1, 5)), "cell": cells}
    dtypes = (
        _DTYPES
        if format == "NETCDF4"
        else (_CLASSIC if "64BIT_DATA" not in format else (*_CLASSIC, "u1", "u2", "u4", "i8", "u8"))
    )
    fields = tuple(
        draw(_field(number, format, sizes, dtypes)) for number in range(draw(st.integers(1, 4)))
    )
    lengths = draw(st.lists(st.integers(0, 14), min_size=1, max_size=4).filter(any))
    begins = np.concatenate([[0], np.cumsum(lengths)])[:-1].tolist()
    if draw(st.integers(0, 3)) == 0:
        begins = [
            max(begin - draw(st.integers(0, 9)), 0) for begin in begins
        ]  # some steps in several files
    units = [
        f"{unit} since {date}"
        for unit in ("days", "hours", "seconds")
        for date in ("1850-01-01", "2000-02-01 12:00:00", "0001-01-01")
    ]
    first = File(
        "0.nc",
        format,
        0,
        lengths[0],
        draw(st.sampled_from(units)),
        calendar,
        draw(st.sampled_from(["f8", "f8", "f4", "i4"])),
        draw(st.sampled_from([None, 1, 5, 512])),
        draw(st.booleans()),
        draw(st.booleans()),
        fields,
        format == "NETCDF4" and draw(st.booleans()),
        draw(st.booleans()),
        draw(_ATTRS),
    )
    if first.time_dtype != "f8" and first.units.startswith("seconds"):
        first = replace(first, units=units[0])
    files = [replace(first, begin=begins[0])]
    names = draw(st.permutations([f"{n}.nc" for n in range(len(lengths))]))
    for number in range(1, len(lengths)):
        files.append(
            replace(
                draw(_varied(first, units, sizes)), begin=begins[number], length=lengths[number]
            )
        )
    files = [
        replace(file, name=name, unlimited=file.unlimited or not file.length)
        for file, name in zip(files, names, strict=True)
    ]
    return Dataset(tuple(draw(st.permutations(files))), sizes, draw(st.integers(0, 2**32 - 1)))


@st.composite
def _varied(draw: st.DrawFn, first: File, units: list[str], sizes: Mapping[str, int]) -> File:
    """A later file: most often like the first, else other in one thing or several."""
    if draw(st.booleans()):
        return first
    fields = tuple(
        draw(_varied_field(field, first.format, sizes)) if draw(st.booleans()) else field
        for field in first.fields
    )
    other = replace(
        first,
        fields=fields,
        attrs=draw(_ATTRS),
        time_chunk=draw(st.sampled_from([first.time_chunk, 3])),
    )
    if first.time_dtype == "f8":
        other = replace(other, units=draw(st.sampled_from([first.units, *units])))
    if first.format in ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET"):
        other = replace(
            other,
            format=draw(
                st.sampled_from(
                    [first.format, "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF4_CLASSIC"]
                )
            ),
        )
    return replace(other, unlimited=draw(st.booleans()))


@st.composite
def _varied_field(draw: st.DrawFn, field: Field, format: str, sizes: Mapping[str, int]) -> Field:
    if not format.startswith("NETCDF4") or not field.dims:
        return replace(
            field,
            unwritten=frozenset(
                draw(st.sets(st.integers(0, 13), max_size=4)) if "time" in field.dims else ()
            ),
        )
    other = replace(
        field,
        chunks=tuple(
            draw(st.integers(1, 8 if dim == "time" else max(sizes[dim], 1))) for dim in field.dims
        ),
        contiguous=False,
    )
    other = replace(other, filters=draw(_filters()), attrs=draw(_ATTRS))
    if "time" in field.dims:
        other = replace(
            other,
            fill=draw(_fills(field.dtype)),
            unwritten=frozenset(draw(st.sets(st.integers(0, 13), max_size=4))),
        )
        if field.packing:
            other = replace(
                other, packing={**field.packing, "add_offset": draw(st.sampled_from([0.0, 1.5]))}
            )
    return other


def write(directory: Path, dataset: Dataset) -> list[Path]:
    """All files, in the order of the record."""
    return [_write(directory / file.name, file, dataset) for file in dataset.files]


def _defined(field: Field) -> Field:
    """Without fill, what was never written is whatever was in memory: no library reads it the same
    twice.
    """
    return replace(field, unwritten=frozenset()) if field.fill is False else field


def _write(path: Path, file: File, dataset: Dataset) -> Path:
    with netCDF4.Dataset(path, "w", format=file.format) as opened:
        opened.set_auto_mask(False)
        opened.setncatts({name.replace(" ", "_"): value for name, value in file.attrs.items()})
        opened.frequency = "day"
        opened.createDimension("time", None if file.unlimited else file.length)
        for name, size in dataset.sizes.items():
            opened.createDimension(name, size)
        _add_time(opened, file)
        for name in ("lat", "lon"):
            opened.createVariable(name, "f8", (name,))[:] = np.arange(dataset.sizes[name]) * 1.5
        for field in file.fields:
            _add_field(opened, file, _defined(field), dataset)
        _add_texts(opened, file)
    return path


def _add_time(opened: Any, file: File) -> None:
    days = np.arange(file.begin, file.begin + file.length, dtype="f8")
    zero = cftime.date2num(
        cftime.datetime(2001, 1, 1, calendar=file.calendar), file.units, file.calendar
    )
    per_day = {"days": 1, "hours": 24, "seconds": 86400}[file.units.split()[0]]
    chunks = (
        (file.time_chunk,)
        if file.time_chunk and file.format.startswith("NETCDF4") and file.unlimited
        else None
    )
    time = opened.createVariable("time", file.time_dtype, ("time",), chunksizes=chunks)
    time.setncatts(
        {"units": file.units, "calendar": file.calendar, "standard_name": "time", "axis": "T"}
    )
    time[:] = np.floor(zero) + days * per_day
    if file.bounds:
        time.bounds = "time_bnds"
        if "bnds" not in opened.dimensions:
            opened.createDimension("bnds", 2)
        bounds = opened.createVariable("time_bnds", "f8", ("time", "bnds"))
        bounds[:] = zero + np.stack([days - 0.5, days + 0.5], 1) * per_day


def _add_field(opened: Any, file: File, field: Field, dataset: Dataset) -> None:
    netcdf4 = file.format.startswith("NETCDF4")
    options: dict[str, Any] = {}
    if netcdf4 and field.chunks and not (0 in dataset.sizes.values() and "cell" in field.dims):
        shape = [file.length if dim == "time" else dataset.sizes[dim] for dim in field.dims]
        fits = tuple(
            chunk if dim == "time" and file.unlimited else min(chunk, max(size, 1))
            for chunk, size, dim in zip(field.chunks, shape, field.dims, strict=True)
        )
        options = {"chunksizes": fits, **field.filters}
    endian: Any = "big" if field.dtype[0] == ">" else "native"
    kind = np.dtype(field.dtype)
    fill = field.fill if field.fill is None or field.fill is False else kind.type(field.fill)
    unlimited = (file.unlimited and "time" in field.dims) or any(
        dataset.sizes.get(dim) == 0 for dim in field.dims
    )
    if field.contiguous and not unlimited:
        options = {"contiguous": True} if netcdf4 and field.dims else {}
    variable = opened.createVariable(
        field.name, field.dtype, field.dims, fill_value=fill, endian=endian, **options
    )
    variable.set_auto_maskandscale(False)
    variable.setncatts({**field.attrs, **field.packing})
    if field.missing is not None:
        variable.missing_value = kind.type(field.missing)
    _fill_in(variable, file, field, dataset, kind.newbyteorder("="))


def _fill_in(
    variable: Any, file: File, field: Field, dataset: Dataset, kind: np.dtype[Any]
) -> None:
    """Values that are those of the step whatever the file; some of them marks of missing data, NaN
    and zeros.
    """
    sizes = [dataset.sizes[dim] for dim in field.dims if dim != "time"]
    special = [0, 1] if kind.kind != "f" else [0.0, 1.0, np.nan, np.inf, -0.0, 1e20, -999.0]
    marks = [mark for mark in (field.fill,) if mark is not None and mark is not False]

    def values(step: int) -> np.ndarray[Any, Any]:
        random = np.random.default_rng([dataset.seed, int(field.name[1:]), step])
        found = random.integers(0, 100, sizes).astype(kind)
        odd = random.random(sizes) < 0.3
        return np.where(
            odd, random.choice(np.array([*special, *marks], kind), sizes), found
        ).astype(kind)

    if "time" not in field.dims:
        if 0 not in sizes:
            variable[...] = values(0)
        return
    axis = field.dims.index("time")
    for step in range(file.length):
        if step not in field.unwritten and 0 not in sizes:
            variable[(slice(None),) * axis + (step,)] = values(file.begin + step)


def _add_texts(opened: Any, file: File) -> None:
    if file.strings:
        remark = opened.createVariable("remark", str, ("time",))
        for step in range(file.length):
            remark[step] = "é" * ((file.begin + step) % 4)
    if file.chars:
        opened.createDimension("letter", 4)
        code = opened.createVariable("code", "S1", ("time", "letter"))
        if file.length:
            code[:] = np.array(
                [list(f"{(file.begin + step) % 1000:<4}") for step in range(file.length)], "S1"
            )
