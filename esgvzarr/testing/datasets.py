"""CMIP-like datasets on disk: describe a file by a ``FileSpec``, change one field with
``dataclasses.replace``, write it.

Equal specs give equal values, and the values of a month are the same in every file that holds it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cftime
import netCDF4
import numpy as np

DATASET_ID = "CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.tas.gn.v20190406"
DRS_PATH = DATASET_ID.replace(".", "/")
"""Directory of the dataset below a data root."""
FIRST_YEAR = 1850
_COMMON_ATTRIBUTES = {
    "Conventions": "CF-1.7 CMIP-6.2",
    "activity_id": "CMIP",
    "creation_date": "2019-04-06T00:00:00Z",
    "data_specs_version": "01.00.29",
    "experiment_id": "historical",
    "grid_label": "gn",
    "institution_id": "MOHC",
    "mip_era": "CMIP6",
    "realm": "atmos",
    "source_id": "UKESM1-0-LL",
    "table_id": "Amon",
    "variable_id": "tas",
    "variant_label": "r1i1p1f2",
}

Extra = Callable[[netCDF4.Dataset, "FileSpec"], None]
"""Adds to an open file what a spec has no field for."""

FileFormat = Literal[
    "NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"
]
"""File formats, as netCDF4 names them."""


@dataclass(frozen=True, slots=True)
class FileSpec:
    """One file of a monthly dataset: ``tas(time, lat, lon)`` with its coordinates, bounds and the
    scalar ``height``.
    """

    start: int = 0
    """Months since January 1850."""
    months: int = 12
    units: str = "days since 1850-01-01"
    """Units of time and its bounds."""
    calendar: str = "standard"
    step: int = 1
    """Months from one step to the next; each step is a mean of one month."""
    grid: tuple[int, int] = (4, 6)
    """Numbers of latitudes and longitudes."""
    format: FileFormat = "NETCDF4"
    unlimited: bool = True
    """Whether time is unlimited; a netCDF-3 file then has record variables."""
    dtype: str = "f4"
    """Type of ``tas``, with byte order."""
    time_dtype: str = "f8"
    """Type of time and its bounds; integers lose the half days."""
    time_fill: float | None = None
    """``_FillValue`` of time."""
    chunks: tuple[int, int, int] | None = None
    """Chunk shape of ``tas``; None leaves it to netCDF."""
    time_chunk: int | None = None
    """Chunk length of ``time``; None leaves it to netCDF: 512 if time is unlimited."""
    compression: str | None = None
    """``zlib``, ``zstd``, ``bzip2``, ``szip``."""
    level: int = 4
    shuffle: bool = False
    fletcher32: bool = False
    fill_value: float | bool | None = 1e20
    """``_FillValue`` and ``missing_value`` of ``tas``. None: neither, netCDF's default fill. False:
    neither, and no fill at all.
    """
    scale_offset: tuple[float, float] | None = None
    """``scale_factor`` and ``add_offset`` of ``tas``, for an integer ``dtype``."""
    variable_units: str = "K"
    bounds: str = "time_bnds"
    """Name in the attribute ``bounds`` of time; if empty, time has no such attribute."""
    height: float = 2.0
    coordinate_dtype: str = "f8"
    """Type of latitude and longitude."""
    latitude_step: float = 1.0
    """-1.0: north to south."""
    latitude_noise: float = 0.0
    """Degrees added to each latitude."""
    unwritten: tuple[int, ...] = ()
    """Steps of ``tas`` that are never written."""
    omit: tuple[str, ...] = ()
    """Variables that are left out."""
    name: str = ""
    """File name, with subdirectories; if empty, the name by the DRS."""
    seed: int = 0
    extra: tuple[Extra, ...] = ()

    @property
    def file_name(self) -> str:
        """Return ``name``, or the name by the DRS."""
        span = f"{_stamp(self.start)}-{_stamp(self.start + (self.months - 1) * self.step)}"
        return self.name or f"tas_Amon_UKESM1-0-LL_historical_r1i1p1f2_gn_{span}.nc"

    @property
    def tracking_id(self) -> str:
        """Return a handle that differs if any field differs."""
        identity = repr(replace(self, extra=()))
        return f"hdl:21.14100/{uuid.uuid5(uuid.NAMESPACE_URL, identity)}"


def specs_of(lengths: Sequence[int] = (12, 12, 12), **changes: Any) -> list[FileSpec]:
    """Return specs of consecutive files of these numbers of months; ``changes`` are fields
    of all.
    """
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [
        FileSpec(start=start, months=months, **changes)
        for start, months in zip(starts, lengths, strict=False)
    ]


def write_monthly(
    directory: Path, *, lengths: Sequence[int] = (12, 12, 12), **changes: Any
) -> list[Path]:
    """Write consecutive files of these numbers of months; ``changes`` are fields of all
    ``FileSpec``s.
    """
    return write_files(directory, specs_of(lengths, **changes))


def write_files(directory: Path, specs: Iterable[FileSpec]) -> list[Path]:
    """Write one file for each spec, in their order."""
    return [write_file(directory, spec) for spec in specs]


def write_file(directory: Path, spec: FileSpec) -> Path:
    """Write one file."""
    path = Path(directory, spec.file_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(path, "w", format=spec.format) as file:
        file.setncatts(_global_attributes(spec))
        _add_time(file, spec)
        _add_grid(file, spec)
        _add_height(file, spec)
        _add_data(file, spec)
        for add in spec.extra:
            add(file, spec)
    return path


def values_of(spec: FileSpec) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the values of ``tas`` before they are packed or rounded to its dtype."""
    steps = [
        280 + 10 * np.random.default_rng([spec.seed, month]).standard_normal(spec.grid)
        for month in _months(spec)
    ]
    return np.array(steps).reshape(spec.months, *spec.grid)


def _stamp(month: int) -> str:
    return f"{FIRST_YEAR + month // 12:04d}{month % 12 + 1:02d}"


def _global_attributes(spec: FileSpec) -> dict[str, str]:
    return {**_COMMON_ATTRIBUTES, "frequency": "mon", "tracking_id": spec.tracking_id}


def _add_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    file.createDimension("time", None if spec.unlimited else spec.months)
    file.createDimension("bnds", 2)
    begins = _first_days(spec, 0)
    ends = _first_days(spec, 1)
    chunks = (spec.time_chunk,) if spec.time_chunk else None
    time = _create(
        file, "time", spec.time_dtype, ("time",), chunksizes=chunks, fill_value=spec.time_fill
    )
    time.setncatts(
        {
            "units": spec.units,
            "calendar": spec.calendar,
            "axis": "T",
            "standard_name": "time",
            **({"bounds": spec.bounds} if spec.bounds else {}),
        }
    )
    time[:] = _whole((begins + ends) / 2, spec)
    if "time_bnds" in spec.omit:
        return
    bounds = _create(file, "time_bnds", spec.time_dtype, ("time", "bnds"))
    bounds[:] = np.stack([begins, ends], axis=1)


def _whole(numbers: np.ndarray[Any, Any], spec: FileSpec) -> np.ndarray[Any, Any]:
    return numbers if spec.time_dtype[-2] == "f" else np.floor(numbers)


def _months(spec: FileSpec) -> range:
    return range(spec.start, spec.start + spec.months * spec.step, spec.step)


def _first_days(spec: FileSpec, later: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the first days of the months that are ``later`` months after each step's."""
    dates = []
    for step in _months(spec):
        years, month = divmod(step + later, 12)
        dates.append(cftime.datetime(FIRST_YEAR + years, month + 1, 1, calendar=spec.calendar))
    return np.array(cftime.date2num(dates, spec.units, spec.calendar), dtype="f8")


def _add_grid(file: netCDF4.Dataset, spec: FileSpec) -> None:
    for name, size, low, high in (
        ("lat", spec.grid[0], -90.0, 90.0),
        ("lon", spec.grid[1], 0.0, 360.0),
    ):
        file.createDimension(name, size)
        edges = np.linspace(low, high, size + 1)
        bounds = np.stack([edges[:-1], edges[1:]], axis=1)
        if name == "lat":
            bounds = bounds[:: int(spec.latitude_step)] + spec.latitude_noise
        coordinate = _create(file, name, spec.coordinate_dtype, (name,))
        standard, unit = (
            ("latitude", "degrees_north") if name == "lat" else ("longitude", "degrees_east")
        )
        coordinate.setncatts({"units": unit, "standard_name": standard, "bounds": f"{name}_bnds"})
        coordinate[:] = bounds.mean(axis=1)
        _create(file, f"{name}_bnds", "f8", (name, "bnds"))[:] = bounds


def _add_height(file: netCDF4.Dataset, spec: FileSpec) -> None:
    if "height" not in spec.omit:
        height = _create(file, "height", "f8", ())
        height.setncatts({"units": "m", "standard_name": "height", "positive": "up", "axis": "Z"})
        height[...] = spec.height


def _add_data(file: netCDF4.Dataset, spec: FileSpec) -> None:
    if "tas" in spec.omit:
        return
    has_fill = spec.fill_value is not None and spec.fill_value is not False
    fill = np.dtype(spec.dtype).type(spec.fill_value) if has_fill else spec.fill_value
    filters = {"compression": spec.compression, "complevel": spec.level} if spec.compression else {}
    options = (
        {**filters, "shuffle": spec.shuffle, "fletcher32": spec.fletcher32}
        if spec.format.startswith("NETCDF4")
        else {}
    )
    tas = _create(
        file,
        "tas",
        spec.dtype,
        ("time", "lat", "lon"),
        fill_value=fill,
        chunksizes=spec.chunks,
        **options,
    )
    tas.setncatts(
        {
            "units": spec.variable_units,
            "standard_name": "air_temperature",
            "cell_methods": "area: time: mean",
        }
    )
    tas.coordinates = "height"
    if has_fill:
        tas.missing_value = fill
    if spec.scale_offset:
        tas.scale_factor, tas.add_offset = spec.scale_offset
    values = values_of(spec)
    for step in (step for step in range(spec.months) if step not in spec.unwritten):
        tas[step] = values[step]


def _create(
    file: netCDF4.Dataset, name: str, dtype: str, dims: tuple[str, ...], **options: Any
) -> Any:
    endian: Any = {"<": "little", ">": "big"}.get(dtype[0], "native")
    return file.createVariable(name, dtype, dims, endian=endian, **options)


def write_planet(directory: Path) -> list[Path]:
    """Two files of ten years of monthly temperatures that look like those of a planet: warm at the
    equator, with seasons and a few waves. No model made them, and the title says so.
    """
    specs = specs_of((60, 60), grid=(96, 144), compression="zlib", shuffle=True)
    files = write_files(directory, specs)
    for spec, file in zip(specs, files, strict=True):
        with netCDF4.Dataset(file, "a") as opened:
            opened.title = "Air temperature made by esgvzarr demo, no output of a model"
            opened["tas"].long_name = "Near-Surface Air Temperature"
            latitude = np.deg2rad(opened["lat"][:])[:, None]
            longitude = np.deg2rad(opened["lon"][:])[None, :]
            zonal = 300 - 55 * np.sin(latitude) ** 2
            waves = 6 * np.cos(3 * longitude) * np.cos(latitude) * np.sin(2 * latitude)
            for step in range(spec.months):
                season = 18 * np.cos(2 * np.pi * (spec.start + step - 6.5) / 12)
                opened["tas"][step] = zonal + waves + season * np.sin(latitude)
    return files
