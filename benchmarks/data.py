"""The benchmark data sets A to E: shaped as CMIP data are, made in minutes.

netCDF-4 metadata come from the netCDF library itself, step by step as models write them; the
compressed chunks of the large variable are written directly, from a small stock of compressed
fields.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import netCDF4
import numpy as np

_STOCK = 16


@dataclass(frozen=True)
class Shape:
    """One data set."""

    name: str
    title: str
    files: int
    steps: int
    """Per file."""
    per_day: float
    grid: tuple[int, ...]
    chunk: tuple[int, ...]
    """Of the grid; one step long in time."""
    variables: int = 1
    classic: bool = False


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("A", "monthly, 17 files, 1,980 chunks", 17, 117, 1 / 30, (144, 192), (144, 192)),
        Shape("B", "daily, 20 files, 73,000 chunks", 20, 3650, 1, (144, 192), (144, 192)),
        Shape("C", "3-hourly, one file, 73,000 chunks", 1, 73000, 8, (144, 192), (144, 192)),
        Shape("D", "3-D ocean, monthly, 10 files", 10, 120, 1 / 30, (20, 180, 360), (10, 90, 180)),
        Shape(
            "E",
            "netCDF-3, monthly, 24 files, 30 variables",
            24,
            12,
            1 / 30,
            (90, 180),
            (90, 180),
            30,
            classic=True,
        ),
    )
}


def build(shape: Shape, root: Path, say: Callable[[str], None] = print) -> list[Path]:
    """The files of a data set, made if they are missing."""
    directory = root / shape.name
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"tas_{shape.name}_{number:03}.nc" for number in range(shape.files)]
    for number, path in enumerate(paths):
        if not path.exists():
            say(f"making {path}")
            part = path.with_suffix(".part")
            _write_header(shape, part, number)
            if not shape.classic:
                _write_chunks(shape, part, number)
            part.rename(path)
    return paths


def _write_header(shape: Shape, path: Path, number: int) -> None:
    form = "NETCDF3_64BIT_OFFSET" if shape.classic else "NETCDF4_CLASSIC"
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.setncatts(
            {
                "Conventions": "CF-1.7",
                "frequency": {1: "day", 8: "3hr"}.get(shape.per_day, "mon"),
                "tracking_id": f"hdl:21.14100/{number:036}",
            }
        )
        dims = ("lev", "lat", "lon")[-len(shape.grid) :]
        file.createDimension("time", None)
        file.createDimension("bnds", 2)
        for name, size in zip(dims, shape.grid, strict=True):
            file.createDimension(name, size)
            low, high = {"lev": (5, 5000), "lat": (-90, 90), "lon": (0, 360)}[name]
            edges = np.linspace(low, high, size + 1)
            file.createVariable(name, "f8", (name,)).setncatts(
                {
                    "standard_name": {"lev": "depth", "lat": "latitude", "lon": "longitude"}[name],
                    "bounds": f"{name}_bnds",
                }
            )
            file[name][:] = (edges[1:] + edges[:-1]) / 2
            file.createVariable(f"{name}_bnds", "f8", (name, "bnds"))[:] = np.stack(
                [edges[:-1], edges[1:]], 1
            )
        time = file.createVariable(
            "time", "f8", ("time",), chunksizes=None if shape.classic else (512,)
        )
        time.setncatts(
            {
                "units": "days since 1850-01-01",
                "calendar": "noleap",
                "axis": "T",
                "standard_name": "time",
                "bounds": "time_bnds",
            }
        )
        bounds = file.createVariable(
            "time_bnds", "f8", ("time", "bnds"), chunksizes=None if shape.classic else (1, 2)
        )
        height = file.createVariable("height", "f8", ())
        height[...] = 2.0
        for variable in range(shape.variables):
            name = "tas" if shape.variables == 1 else f"v{variable:02}"
            options = (
                {}
                if shape.classic
                else {"zlib": True, "shuffle": True, "chunksizes": (1, *shape.chunk)}
            )
            made = file.createVariable(
                name, "f4", ("time", *dims), fill_value=np.float32(1e20), **options
            )
            made.setncatts(
                {
                    "units": "K",
                    "standard_name": "air_temperature",
                    "coordinates": "height",
                    "cell_methods": "time: mean",
                }
            )
        _write_steps(shape, file, time, bounds, number)


def _write_steps(
    shape: Shape,
    file: netCDF4.Dataset,
    time: netCDF4.Variable,
    bounds: netCDF4.Variable,
    number: int,
) -> None:
    days = (np.arange(shape.steps) + number * shape.steps) / shape.per_day
    if not shape.classic:
        time[:] = days + 0.5 / shape.per_day
        bounds[:] = np.stack([days, days + 1 / shape.per_day], 1)
        return
    field = np.random.default_rng(number).normal(280, 10, shape.grid).astype("f4")
    for step in range(shape.steps):
        time[step] = days[step] + 15
        bounds[step] = (days[step], days[step] + 30)
        for variable in range(shape.variables):
            file[f"v{variable:02}"][step] = field + variable + step


def _write_chunks(shape: Shape, path: Path, number: int) -> None:
    """Compressed fields, put where they belong without compressing each again."""
    random = np.random.default_rng(number)
    stock = []
    for _ in range(_STOCK):
        smooth = np.cumsum(random.normal(0, 0.5, (1, *shape.chunk)), -1).astype("f4") + 280
        planes = smooth.view("u1").reshape(-1, 4).T.tobytes()
        stock.append(zlib.compress(planes, 1))
    with h5py.File(path, "r+") as file:
        data = file["tas"]
        data.resize(shape.steps, 0)
        starts = [
            range(0, length, chunk) for length, chunk in zip(shape.grid, shape.chunk, strict=True)
        ]
        tiles = list(itertools.product(*starts))
        for step in range(shape.steps):
            for place, tile in enumerate(tiles):
                data.id.write_direct_chunk((step, *tile), stock[(step * 7 + place) % _STOCK])
