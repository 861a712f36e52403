"""Additions to files that a ``FileSpec`` has no field for, and ways to damage a file after it was
written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np

from .datasets import FileSpec
from .faults import LOGIN_PAGE


def add_auxiliary_grid(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Two-dimensional coordinates, the same in all files."""
    _add_auxiliary_grid(file, spec, 0.0)


def add_moved_auxiliary_grid(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """The same, moved by a tenth of a degree."""
    _add_auxiliary_grid(file, spec, 0.1)


def _add_auxiliary_grid(file: netCDF4.Dataset, spec: FileSpec, moved: float) -> None:
    latitude = file.createVariable("latitude", "f8", ("lat", "lon"))
    latitude.setncatts({"units": "degrees_north", "standard_name": "latitude"})
    latitude[:] = (
        np.linspace(-80, 80, spec.grid[0])[:, None] + np.linspace(0, 1, spec.grid[1]) + moved
    )
    file["tas"].coordinates = "height latitude"


def change_history(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A history of its own, and one attribute that no other file has."""
    file.setncatts({"history": f"corrected {spec.file_name}", "comment": "only here"})


def add_scalar_integer(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A grid mapping as in CF: a scalar whose meaning is in its attributes."""
    crs = file.createVariable("crs", "i4", ())
    crs.setncatts({"grid_mapping_name": "latitude_longitude", "semi_major_axis": 6371229.0})
    crs[...] = 7


def add_zeros(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Valid zeros where HDF5's own fill is 0 and there is no ``_FillValue``."""
    for name, dtype in (("fraction", "f4"), ("count", "i4")):
        variable = file.createVariable(name, dtype, ("time", "lat", "lon"), fill_value=False)
        variable[:] = (
            np.arange(spec.months * spec.grid[0] * spec.grid[1]).reshape(spec.months, *spec.grid)
            % 3
        )


def add_flags(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Integer flags with zeros and a counter along time, without ``_FillValue``."""
    flags = file.createVariable("flags", "i1", ("lat", "lon"))
    flags.setncatts(
        {
            "flag_values": np.array([0, 1, 2], "i1"),
            "flag_meanings": "ocean land ice",
            "valid_max": np.int16(2),
        }
    )
    flags[:] = np.arange(spec.grid[0] * spec.grid[1]).reshape(spec.grid) % 3
    file.createVariable("step", "i4", ("time",))[:] = np.arange(
        spec.start, spec.start + spec.months
    )


def add_char_array(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Region names as characters, padded, one of them not ASCII."""
    file.createDimension("region", 2)
    file.createDimension("strlen", 16)
    names = [b"atlantic_ocean", "océan".encode()]
    file.createVariable("region_name", "S1", ("region", "strlen"))[:] = np.array(
        [list(name.ljust(16, b"\0")) for name in names], "u1"
    ).view("S1")


def add_vlen_string(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Region names as strings of variable length."""
    file.createDimension("region", 3)
    file.createVariable("region_name", str, ("region",))[:] = np.array(
        ["atlantic_ocean", "océan", ""], dtype=object
    )


def add_odd_attributes(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Attributes that are not ASCII, very long, empty, not a number, infinite, or lists."""
    file.setncatts({"title": "Météo 気候", "license": "long " * 20_000, "empty": ""})
    file["tas"].setncatts(
        {
            "not_a_number": np.float32("nan"),
            "unbounded": np.float64("inf"),
            "valid_range": np.array([0, 400], "f4"),
            "big": np.int64(2**53 + 1),
        }
    )
    file["tas"].setncattr_string("names", ["one", "zwei", "три"])


def add_group(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A group with a variable."""
    group = file.createGroup("forecast")
    group.createVariable("tas", "f4", ("time", "lat", "lon"))[:] = 1.0


def add_shorter(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Variables along time whose last steps were never written: their HDF5 extent stays shorter."""
    file.createVariable("short", "f4", ("time", "lat", "lon"))[:5] = np.ones((5, *spec.grid))
    file.createVariable("short_filled", "f4", ("time",), fill_value=-1.0)[:5] = np.zeros(5)


def add_shorter_in_chunk(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Extents that end within a chunk, with a fill of each kind, plain and deflated."""
    for name, fill, filters in (
        ("bare", None, {}),
        ("filled", -1.0, {}),
        ("packed", 0.0, {"compression": "zlib", "shuffle": True}),
    ):
        chunked: Any = {"chunksizes": (8, *spec.grid), **filters}
        short = file.createVariable(
            f"short_{name}", "f4", ("time", "lat", "lon"), fill_value=fill, **chunked
        )
        short[:5] = np.ones((5, *spec.grid))


def add_shorter_inside(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Time is not the first dimension and was never written to its end: netCDF-C 4.10 returns
    values at wrong places.
    """
    file.createVariable("short_inside", "f4", ("lat", "time"))[:, :5] = np.arange(
        5.0 * spec.grid[0]
    ).reshape(spec.grid[0], 5)


def add_shorter_without_fill(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """In chunks that reach beyond the extent, without any fill: netCDF reads its default fill
    there, HDF5 holds zeros.
    """
    short = file.createVariable(
        "short", "f4", ("time", "lat", "lon"), fill_value=False, chunksizes=(8, *spec.grid)
    )
    short[:5] = np.ones((5, *spec.grid))


def add_record_variable(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """One record variable of 2-byte values, three per record: netCDF-3 does not pad it, because it
    is the only one.
    """
    file.createDimension("record", None)
    file.createDimension("three", 3)
    file.createVariable("counts", "i2", ("record", "three"))[:] = np.arange(15).reshape(5, 3)


def add_compact(path: Path) -> None:
    """A scalar and a small vector in HDF5's compact layout: their values are in the object
    header.
    """
    with h5py.File(path, "r+") as file:
        create = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        create.set_layout(h5py.h5d.COMPACT)
        create.set_attr_creation_order(h5py.h5p.CRT_ORDER_TRACKED | h5py.h5p.CRT_ORDER_INDEXED)
        for name, dims, value in (
            ("p0", (), np.array(101325.0)),
            ("area", ("lat",), np.arange(1.0, len(file["lat"]) + 1)),
        ):
            space = (
                h5py.h5s.create_simple(value.shape) if dims else h5py.h5s.create(h5py.h5s.SCALAR)
            )
            dataset = h5py.Dataset(
                h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_DOUBLE, space, create)
            )
            dataset[...] = value
            for axis, dim in enumerate(dims):
                dataset.dims[axis].attach_scale(file[dim])


def add_scale_offset_filter(path: Path) -> None:
    """A field behind HDF5's own scale-offset filter, which no reader of references decodes."""
    with h5py.File(path, "r+") as file:
        grid = (len(file["lat"]), len(file["lon"]))
        counts = file.create_dataset(
            "counts",
            data=np.arange(grid[0] * grid[1], dtype="i4").reshape(grid),
            chunks=grid,
            scaleoffset=8,
        )
        for axis, dim in enumerate(("lat", "lon")):
            counts.dims[axis].attach_scale(file[dim])


def store_chunk_unfiltered(path: Path) -> None:
    """The second chunk of ``tas`` is stored unfiltered; its filter mask states that all filters
    were skipped. Its values stay the same.
    """
    with h5py.File(path, "r+") as file:
        tas = file["tas"]
        raw = tas[1 : 1 + tas.chunks[0]].tobytes()
        tas.id.write_direct_chunk(
            (tas.chunks[0], 0, 0),
            raw,
            filter_mask=0xFFFFFFFF >> (32 - tas.id.get_create_plist().get_nfilters()),
        )


def change_one_value(path: Path) -> None:
    """Change the last stored number of the sixth step."""
    with netCDF4.Dataset(path, "a") as file:
        file.set_auto_maskandscale(False)
        file["tas"][5, -1, -1] += 1


def move_bounds(path: Path) -> None:
    """Let the first step begin a day earlier."""
    with netCDF4.Dataset(path, "a") as file:
        file["time_bnds"][0, 0] -= 1


def truncate(path: Path) -> None:
    """Keep only the first two thirds of the file."""
    os.truncate(path, path.stat().st_size * 2 // 3)


def replace_by_html(path: Path) -> None:
    """Replace the file by a login page."""
    path.write_text(LOGIN_PAGE)


def empty(path: Path) -> None:
    """Remove all bytes."""
    path.write_bytes(b"")


def break_header(path: Path) -> None:
    """Write HDF5's signature and a superblock of a version that does not exist."""
    content = bytearray(path.read_bytes())
    content[8] = 0xEE
    path.write_bytes(content)
