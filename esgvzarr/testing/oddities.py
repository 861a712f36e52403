"""Legal but unusual variables: types, packing, fill values, dimensions and names that some readers
get wrong, for ``FileSpec.extra``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cftime
import h5py
import netCDF4
import numpy as np

from .datasets import FIRST_YEAR, Extra, FileSpec


def _field(spec: FileSpec, top: int = 100) -> np.ndarray[Any, Any]:
    """Return whole numbers below ``top``, different in each month."""
    months = np.arange(spec.start, spec.start + spec.months)[:, None, None]
    return (np.arange(spec.grid[0] * spec.grid[1]).reshape(spec.grid) + 7 * months) % top


def add_packed_by_float32(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Integers packed with a scale and an offset of single precision: CF unpacks them to single
    precision.
    """
    packed = file.createVariable("packed", "i2", ("time", "lat", "lon"), fill_value=-1)
    packed.set_auto_maskandscale(False)
    packed.setncatts({"scale_factor": np.float32(0.01), "add_offset": np.float32(273.15)})
    packed[:] = _field(spec) - 1


def add_missing_values(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A missing_value that is not the ``_FillValue``, and one of several values; of another type
    than the data.
    """
    cases = {
        "missed": np.float32(-5.0),
        "missed_often": np.array([1.0, 2.0, 1e20]),
        "missed_double": np.float64(0.1),
    }
    for name, missing in cases.items():
        variable = file.createVariable(name, "f4", ("time", "lat", "lon"), fill_value=3.0)
        variable.set_auto_maskandscale(False)
        variable.missing_value = missing
        variable[:] = _field(spec, 9) - 5


def add_unsigned(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Signed integers that stand for unsigned ones, with and without a fill and packing."""
    for name, fill in (("wrapped", None), ("wrapped_filled", -1)):
        variable = file.createVariable(name, "i1", ("time", "lat", "lon"), fill_value=fill)
        variable.set_auto_maskandscale(False)
        variable.setncattr("_Unsigned", "true")
        variable[:] = (_field(spec, 256) - 128).astype("i1")


def add_integers(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """All integer types that the format has, with fills at the ends of their ranges."""
    kinds = (
        ("u1", "u2", "u4", "i8", "u8")
        if spec.format in ("NETCDF4", "NETCDF3_64BIT_DATA")
        else ("i1", "i2", "i4")
    )
    for kind in kinds:
        limits = np.iinfo(kind)
        variable = file.createVariable(
            f"whole_{kind}", kind, ("time", "lat"), fill_value=limits.max
        )
        variable.set_auto_maskandscale(False)
        variable[:] = _field(spec)[:, :, 0].astype(kind)
        variable[0] = np.array([limits.min, limits.max, limits.max - 1, 0], kind)[
            np.arange(spec.grid[0]) % 4
        ]


def add_chars_along_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Characters along time and not, with a ``_FillValue`` and without, and empty ones."""
    file.createDimension("letter", 5)
    along = ("time", "letter")
    for name, dims, fill in (
        ("stamp", along, None),
        ("stamp_filled", along, "-"),
        ("code", ("lat", "letter"), "x"),
    ):
        size = spec.months if dims[0] == "time" else spec.grid[0]
        first = spec.start if dims[0] == "time" else 0
        texts = [
            ("" if n % 3 == 0 else f"n{n % 100}").ljust(5, "\0") for n in range(first, first + size)
        ]
        variable = file.createVariable(name, "S1", dims, fill_value=fill)
        variable.set_auto_chartostring(False)
        if size:
            variable[:] = np.array([list(text) for text in texts], "S1")


def add_strings_along_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Strings of variable length along time, empty and long ones."""
    variable = file.createVariable("remark", str, ("time",))
    for step in range(spec.months):
        variable[step] = "" if step % 2 else f"é{spec.start + step}" * 20


def add_other_orders(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Time as the last and as the middle dimension."""
    file.createVariable("last", "f4", ("lat", "time"))[:] = _field(spec)[:, :, 0].T
    file.createVariable("middle", "f4", ("lat", "time", "lon"), chunksizes=(2, 5, 3))[:] = _field(
        spec
    ).transpose(1, 0, 2)


def add_second_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """An auxiliary time along time, and a time-like dimension of its own that is the same in all
    files.
    """
    reference = file.createVariable("started", "f8", ("time",))
    reference.setncatts(
        {
            "units": "days since 1850-01-01",
            "standard_name": "forecast_reference_time",
            "calendar": spec.calendar,
        }
    )
    reference[:] = np.arange(spec.start, spec.start + spec.months) * 30.0
    file.createDimension("leadtime", 3)
    lead = file.createVariable("leadtime", "f8", ("leadtime",))
    lead.setncatts({"units": "days since 1900-01-01", "calendar": spec.calendar})
    lead[:] = [0.0, 1.0, 2.0]
    file.createVariable("skill", "f4", ("time", "leadtime"))[:] = _field(spec)[:, 0, :1] * np.ones(
        3
    )


def add_scalar_reference_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A reference time for the file as a whole, which differs from file to file."""
    reference = file.createVariable("reftime", "f8", ())
    reference.setncatts(
        {"units": "days since 1850-01-01", "standard_name": "forecast_reference_time"}
    )
    reference[...] = spec.start * 30.0


def add_date_of_issue(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """One date for the whole dataset, the same number in all files."""
    issued = file.createVariable("issued", "f8", ())
    issued.setncatts({"units": "days since 1850-01-01", "calendar": "standard"})
    issued[...] = 100.0


def add_odd_names(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Names with dots, spaces, signs, digits first, and letters that are not ASCII."""
    for name in ("ta.2m", "0.0", "air temperature", "zg@500%", "größe", "a+b", "zarray"):
        file.createVariable(name, "f4", ("time", "lat"))[:] = _field(spec)[:, :, 0]


def add_bare_dimensions(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Dimensions without coordinates, one of them of length zero, and one that no variable has."""
    for name, size in (("cell", 3), ("nothing", 0), ("unused", 4)):
        file.createDimension(name, size)
    file.createVariable("cells", "f4", ("time", "cell"))[:] = _field(spec)[:, 0, :3]
    file.createVariable("none", "f4", ("time", "nothing"))
    file.createVariable("none_fixed", "f8", ("nothing",))


def add_edges(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Chunks that end beyond the grid in every dimension but time, with each filter."""
    options: tuple[tuple[str, dict[str, Any]], ...] = (
        ("plain", {}),
        ("shuffled", {"shuffle": True}),
        ("deflated", {"compression": "zlib"}),
        ("checked", {"compression": "zlib", "shuffle": True, "fletcher32": True}),
        ("summed", {"fletcher32": True}),
    )
    for name, filters in options:
        file.createVariable(
            f"edge_{name}", "f4", ("time", "lat", "lon"), chunksizes=(1, 3, 4), **filters
        )[:] = _field(spec)
        file.createVariable(f"mask_{name}", "f4", ("lat", "lon"), chunksizes=(3, 4), **filters)[
            :
        ] = _field(spec)[:1].sum(0) * 0 + 5


def add_attribute_types(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Attributes of every integer type, the largest of them, and none at all."""
    file["lat"].setncatts(
        {
            "tiny": np.int8(-1),
            "large": np.uint64(2**64 - 1),
            "list": np.array([1, 2], "i8"),
            "nothing": np.array([], "f4"),
        }
    )


def add_enum(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """An enumeration."""
    clouds = file.createEnumType(np.uint8, "cloud_t", {"clear": 0, "stratus": 1, "missing": 255})
    file.createVariable("cloud", clouds, ("time", "lat"), fill_value=255)[:] = (
        _field(spec)[:, :, 0] % 2
    ).astype("u1")


def add_unaligned_records(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Records that are padded to four bytes: one byte, three bytes, and two of two."""
    file.createVariable("byte", "i1", ("time",))[:] = _field(spec)[:, 0, 0]
    file.createVariable("odd", "i2", ("time", "lat"))[:] = _field(spec)[:, :, 0]
    file.createDimension("trio", 3)
    file.createVariable("trio", "i1", ("time", "trio"))[:] = _field(spec)[:, 0, :3]


def add_attribute_per_file(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Attributes of fixed and moving variables that each file has its own of."""
    for name in ("lat", "tas", "time"):
        file[name].setncattr("comment", f"of month {spec.start}")


def pack_latitude(scale: float) -> Extra:
    """A packed fixed field: the numbers stored are the same whatever ``scale``."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        field = file.createVariable("orography", "i2", ("lat", "lon"), fill_value=-1)
        field.set_auto_maskandscale(False)
        field.setncatts({"units": "m", "scale_factor": scale})
        field[:] = np.arange(spec.grid[0] * spec.grid[1]).reshape(spec.grid)

    return add


def with_newest_layout(path: Path) -> None:
    """The data again in the file format of HDF5 1.10, the newest that all readers know: each kind
    of chunk index.
    """
    with h5py.File(path) as old:
        time = len(old["time"])
        lat = len(old["lat"])
        lon = len(old["lon"])
        values = old["tas"][:]
    shapes: dict[str, dict[str, Any]] = {
        "single": {"chunks": (time, lat, lon)},
        "fixed": {"chunks": (1, 3, lon)},
        "extensible": {"chunks": (5, lat, 4), "maxshape": (None, lat, lon)},
        "btree": {"chunks": (5, 3, 4), "maxshape": (None, None, lon)},
    }
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        for name, options in shapes.items():
            for label, filters in (
                ("", {}),
                ("_deflated", {"compression": "gzip", "shuffle": True, "fletcher32": True}),
            ):
                created = file.create_dataset(f"{name}{label}", data=values, **options, **filters)
                for axis, dim in enumerate(("time", "lat", "lon")):
                    created.dims[axis].attach_scale(file[dim])


def state_other_fill(value: Any) -> Callable[[Path], None]:
    """A ``_FillValue`` of another type than the variable's, as only HDF5 libraries can write it."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            del file["tas"].attrs["_FillValue"]
            file["tas"].attrs["_FillValue"] = value

    return spoil


def add_filled_grid(moved: float) -> Extra:
    """Two-dimensional positions that a filler, which no attribute declares, holds the place of on
    land; ``moved`` degrees north.
    """

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        field = file.createVariable("nav_lat", "f8", ("lat", "lon"), fill_value=False)
        field.setncatts({"units": "degrees_north", "standard_name": "latitude"})
        values = np.linspace(-80, 80, spec.grid[0] * spec.grid[1]).reshape(spec.grid) + moved
        values[:2, :2] = 1e30
        field[:] = values

    return add


def state_realization(value: Any) -> Extra:
    """A global attribute, and one of a variable, that several files may state as other types."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        file.setncattr("realization", value)
        file["tas"].setncattr("deflate_level", value)

    return add


def state_globally(**attributes: Any) -> Extra:
    """Global attributes of other values."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        file.setncatts(attributes)

    return add


def state_method(method: str) -> Extra:
    """Other ``cell_methods`` of the data."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        if "tas" in file.variables:
            file["tas"].cell_methods = method

    return add


def forget_identity(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A file that does not state its dataset."""
    for name in ("variant_label", "source_id", "experiment_id", "table_id", "grid_label"):
        file.delncattr(name)


def forget_member(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A file that does not state its member."""
    file.delncattr("variant_label")


def add_average_period(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """``average_T1`` as GFDL writes it: dates along time, in units of their own."""
    begin = file.createVariable("average_T1", "f8", ("time",))
    begin.setncatts({"units": spec.units, "calendar": spec.calendar})
    dates = [
        cftime.datetime(FIRST_YEAR + month // 12, month % 12 + 1, 1, calendar=spec.calendar)
        for month in range(spec.start, spec.start + spec.months)
    ]
    begin[:] = cftime.date2num(dates, spec.units, spec.calendar)


def add_dates_without_units(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Numbers that may be dates, without an attribute that says so."""
    file.createVariable("begin", "f8", ("time",))[:] = file["time"][:]


def change(variable: str, **attributes: Any) -> Extra:
    """Other attributes of a variable, if it is there."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        if variable not in file.variables:
            return
        for name, value in attributes.items():
            file[variable].setncattr(name, value)

    return add


def list_coordinates(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """``coordinates`` as a list of strings, where CF has one text."""
    if "tas" in file.variables:
        file["tas"].setncattr_string("coordinates", ["height", "lat"])


def list_bounds(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """``bounds`` as a list of strings, where CF has one text."""
    file["time"].setncattr_string("bounds", ["time_bnds", "none"])


def label(length: int) -> Extra:
    """A text as characters, in an array of so many."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        file.createDimension("strlen", length)
        text = file.createVariable("type", "S1", ("strlen",))
        text[:] = np.array(list("sea_ice".ljust(length, "\0")), "S1")

    return add


def end_bounds_nowhere(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """The last step ends at a number that is a date in no calendar, and not marked as missing."""
    file["time_bnds"][-1, 1] = -7.5e43


def count_time(units: str, calendar: str, first: float, step: float) -> Extra:
    """Time in units that only some calendars have, or that are dates themselves."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        time = file["time"]
        time.setncatts({"units": units, "calendar": calendar})
        time[:] = first + step * np.arange(spec.start, spec.start + spec.months)
        file["time"].delncattr("bounds")

    return add


def state_absolute_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Dates as numbers, 18500116.5, as CDO writes absolute time axes."""
    months = range(spec.start, spec.start + spec.months)
    file["time"].units = "day as %Y%m%d.%f"
    file["time"].delncattr("bounds")
    file["time"][:] = [
        (FIRST_YEAR + month // 12) * 10000 + (month % 12 + 1) * 100 + 16.5 for month in months
    ]


def pack_time(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Times in halves of a day."""
    time = file["time"]
    time.set_auto_maskandscale(False)
    values = time[:]
    time.scale_factor = 0.5
    time[:] = values * 2


def turn_time_back(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Steps of which two are exchanged, and one is the same as that before."""
    values = file["time"][:]
    values[[3, 4]] = values[[4, 3]]
    values[6] = values[5]
    file["time"][:] = values


def forget_height_units(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A height in units that are not said."""
    if "height" in file.variables:
        file["height"].delncattr("units")


def number_time(values: Any, **attributes: Any) -> Extra:
    """These numbers as time, without bounds."""

    def add(file: netCDF4.Dataset, spec: FileSpec) -> None:
        time = file["time"]
        time.setncatts(attributes)
        time.delncattr("bounds")
        time[:] = values

    return add


def add_utf8_characters(path: Path) -> None:
    """A character variable whose HDF5 type is of charset UTF-8 and that has a fill value, as
    netCDF-C 4.4 wrote ``type`` in sea ice files.
    """
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(1)
    kind.set_cset(h5py.h5t.CSET_UTF8)
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_fill_value(np.array(b"\0", h5py.string_dtype("utf-8", 1)))
    letters = np.array([letter.encode() for letter in "ice "], "S1")
    with h5py.File(path, "r+") as file:
        space = h5py.h5s.create_simple((len(file["lat"]),))
        made = h5py.Dataset(h5py.h5d.create(file.id, b"type", kind, space, creation))
        made.id.write(h5py.h5s.ALL, h5py.h5s.ALL, letters[np.arange(len(file["lat"])) % 4], kind)
        made.dims[0].attach_scale(file["lat"])


def state_latin1(path: Path) -> None:
    """An attribute in Latin-1, as older models wrote it."""
    with h5py.File(path, "r+") as file:
        file.attrs.create("institution", np.bytes_("Météo-France".encode("latin-1")))


def state_latin1_later(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Text of the same length, which ``make_latin1`` changes."""
    file.institution = "M@t@o-France"


def make_latin1(path: Path) -> None:
    """The same in a netCDF-3 file."""
    path.write_bytes(path.read_bytes().replace(b"M@t@o", "Météo".encode("latin-1")))


def state_nul(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """A NUL inside a text."""
    file.note = "a\0b"


def state_nul_in_hdf5(path: Path) -> None:
    """A NUL inside a text of fixed length, as only damage or a bare HDF5 library writes it."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(8)
    with h5py.File(path, "r+") as file:
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        made = h5py.h5a.create(file.id, b"note", kind, space)
        made.write(np.array(b"ab\0cdefg", "S8"), mtype=kind)


def state_utf8(file: netCDF4.Dataset, spec: FileSpec) -> None:
    """Text in UTF-8 that HDF5 is told is ASCII, as CMOR writes it."""
    file.institution = "Météo-France 気候"


def add_half(path: Path) -> None:
    """A variable of half precision, which aborts netCDF-C."""
    with h5py.File(path, "r+") as file:
        made = file.create_dataset("half", data=np.arange(len(file["lat"]), dtype="f2"))
        made.dims[0].attach_scale(file["lat"])


def add_24_bits(path: Path) -> None:
    """Integers of three bytes, a type that netCDF does not have."""
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(24)
    kind.set_size(3)
    with h5py.File(path, "r+") as file:
        space = h5py.h5s.create_simple((len(file["lat"]),))
        made = h5py.Dataset(h5py.h5d.create(file.id, b"small", kind, space))
        made.dims[0].attach_scale(file["lat"])


def add_deflated_strings(path: Path) -> None:
    """Strings of variable length whose references into the heap are deflated, as the C3S atlas has
    them.
    """
    with h5py.File(path, "r+") as file:
        texts = np.array([f"océan {number}" for number in range(len(file["lat"]))], object)
        made = file.create_dataset(
            "label", data=texts, dtype=h5py.string_dtype(), compression="gzip", shuffle=True
        )
        made.dims[0].attach_scale(file["lat"])
