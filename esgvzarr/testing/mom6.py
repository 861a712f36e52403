"""Output as CESM writes it with MOM6: two streams of monthly files and a static file, on a C-grid
with tripolar names.

Tracers are at (yh, xh), velocities at (yh, xq) and (yq, xh); two-dimensional longitudes and
latitudes are only in the static file, which also has an unused ``time``. Equal arguments give equal
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from .datasets import FileFormat

CASE = "gmom.e23.mom6"
SURFACE = {
    "SSH": "hh",
    "SST": "hh",
    "SSS": "hh",
    "speed": "hh",
    "mlotst": "hh",
    "oml": "hh",
    "hfds": "hh",
    "wfo": "hh",
    "prlq": "hh",
    "evs": "hh",
    "friver": "hh",
    "rsntds": "hh",
    "SSU": "hq",
    "taux": "hq",
    "SSV": "qh",
    "tauy": "qh",
}
"""Variables of the stream ``sfc`` -> their place along y and x: h in the middle of cells, q on
their edges.
"""
LAYERS = {
    "thetao": "hh",
    "so": "hh",
    "h": "hh",
    "rhopot0": "hh",
    "Kd": "hh",
    "obvfsq": "hh",
    "diftrblo": "hh",
    "difmxybo": "hh",
    "uo": "hq",
    "umo": "hq",
    "uh": "hq",
    "vo": "qh",
    "vmo": "qh",
    "vh": "qh",
}
"""The same for the stream ``h``, which has layers."""
STATIC = {
    "geolon": "hh",
    "geolat": "hh",
    "geolon_u": "hq",
    "geolat_u": "hq",
    "geolon_v": "qh",
    "geolat_v": "qh",
    "areacello": "hh",
    "deptho": "hh",
    "wet": "hh",
    "wet_u": "hq",
    "wet_v": "qh",
}


@dataclass(frozen=True, slots=True)
class Mom6Files:
    """The files that were written."""

    streams: Mapping[str, tuple[Path, ...]]
    static: Path


def write_mom6(
    directory: Path,
    *,
    files: int = 24,
    grid: tuple[int, int] = (46, 54),
    layers: int = 2,
    format: FileFormat = "NETCDF4",
    time_units: str = "days since 0001-01-01",
) -> Mom6Files:
    """Write two streams of this many monthly files, and the static file.

    Args:
        directory: made if it is missing.
        files: number of files of each stream; one month each.
        grid: (yh, xh).
        layers: (zl,) of the stream ``h``.
        format: as netCDF4 names it; CESM writes netCDF-3. netCDF-4 is compressed, with one layer
            per chunk.
        time_units: units of time and its bounds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    streams = {}
    for stream, variables, depth in (("sfc", SURFACE, 0), ("h", LAYERS, layers)):
        paths = []
        for month in range(files):
            year = f"{1 + month // 12:04}"
            path = directory / f"{CASE}.{stream}_{year}_{month % 12 + 1:02}.nc"
            paths.append(_write_month(path, month, variables, depth, grid, format, time_units))
        streams[stream] = tuple(paths)
    return Mom6Files(streams, _write_static(directory / f"{CASE}.static.nc", grid, format))


def _write_month(
    path: Path,
    month: int,
    variables: Mapping[str, str],
    layers: int,
    grid: tuple[int, int],
    format: FileFormat,
    units: str,
) -> Path:
    with netCDF4.Dataset(path, "w", format=format) as file:
        file.setncatts(
            {
                "title": "MOM6 diagnostic fields",
                "associated_files": "static.nc",
                "filename": path.name,
            }
        )
        _add_time(file, month, units)
        _add_grid(file, grid, layers)
        for number, (name, place) in enumerate(variables.items()):
            dims = ("time", *(("zl",) if layers else ()), f"y{place[0]}", f"x{place[1]}")
            values = np.random.default_rng([number, month, layers]).standard_normal(
                [file.dimensions[dim].size or 1 for dim in dims]
            )
            variable = _create(file, name, "f4", dims, fill_value=np.float32(1e20))
            variable.setncatts(
                {
                    "units": "1",
                    "long_name": name,
                    "cell_methods": "area:mean time: mean",
                    "missing_value": np.float32(1e20),
                }
            )
            if place == "hh":
                variable.cell_measures = "area: areacello"
            variable[0] = np.where(_land(values.shape[-2:]), np.float32(1e20), values[0])
    return path


def _add_time(file: netCDF4.Dataset, month: int, units: str) -> None:
    """Add months of the noleap calendar, with the bounds and averages that MOM6 writes."""
    file.createDimension("time", None)
    file.createDimension("nv", 2)
    begin, end = (365.0 * edge / 12 for edge in (month, month + 1))
    for name, value, attrs in (
        (
            "time",
            (begin + end) / 2,
            {
                "units": units,
                "calendar": "noleap",
                "bounds": "time_bnds",
                "axis": "T",
                "long_name": "time",
            },
        ),
        ("average_T1", begin, {"units": units, "long_name": "Start time for average period"}),
        ("average_DT", end - begin, {"units": "days", "long_name": "Length of average period"}),
    ):
        variable = file.createVariable(name, "f8", ("time",))
        variable.setncatts(attrs)
        variable[:] = [value]
    bounds = file.createVariable("time_bnds", "f8", ("time", "nv"))
    bounds.setncatts({"units": units, "long_name": "time axis boundaries"})
    bounds[:] = [[begin, end]]


def _add_grid(file: netCDF4.Dataset, grid: tuple[int, int], layers: int) -> None:
    """Add nominal coordinates of one dimension."""
    for axis, size, low, high in (("y", grid[0], -79.0, 87.0), ("x", grid[1], -286.0, 73.0)):
        edges = np.linspace(low, high, size + 1)
        for place, values in (("h", (edges[:-1] + edges[1:]) / 2), ("q", edges[1:])):
            _axis(
                file,
                f"{axis}{place}",
                values,
                "degrees_north" if axis == "y" else "degrees_east",
                axis.upper(),
            )
    if layers:
        _axis(file, "zl", np.arange(layers) * 10.0 + 5, "meter", "Z")


def _axis(
    file: netCDF4.Dataset, name: str, values: np.ndarray[Any, Any], units: str, axis: str
) -> None:
    file.createDimension(name, len(values))
    variable = file.createVariable(name, "f8", (name,))
    variable.setncatts(
        {"units": units, "axis": axis, "long_name": f"{name} point nominal coordinate"}
    )
    variable[:] = values


def _write_static(path: Path, grid: tuple[int, int], format: FileFormat) -> Path:
    with netCDF4.Dataset(path, "w", format=format) as file:
        file.setncatts({"title": "MOM6 static fields", "filename": path.name})
        file.createDimension("time", None)
        time = file.createVariable("time", "f8", ("time",))
        time.setncatts({"units": "days since 0001-01-01", "calendar": "noleap", "axis": "T"})
        time[:] = [0.0]
        _add_grid(file, grid, 0)
        for number, (name, place) in enumerate(STATIC.items()):
            dims = (f"y{place[0]}", f"x{place[1]}")
            land = _land(tuple(file.dimensions[dim].size for dim in dims))
            variable = _create(file, name, "f4", dims, fill_value=np.float32(1e20))
            variable.setncatts({"units": "1", "long_name": name, "cell_methods": "time: point"})
            values = np.random.default_rng([number, 1000]).uniform(0, 90, land.shape)
            variable[:] = (
                ~land
                if name.startswith("wet")
                else np.where(land & (name == "deptho"), np.float32(1e20), values)
            )
    return path


def _land(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.random.default_rng(list(shape)).uniform(size=shape) < 0.3


def _create(
    file: netCDF4.Dataset, name: str, dtype: str, dims: tuple[str, ...], **options: Any
) -> Any:
    if str(file.data_model).startswith("NETCDF4"):
        chunks = [1 if dim in ("time", "zl") else file.dimensions[dim].size for dim in dims]
        options |= {"compression": "zlib", "complevel": 1, "shuffle": True, "chunksizes": chunks}
    return file.createVariable(name, dtype, dims, **options)
