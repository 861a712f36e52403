"""Write the result as CF NetCDF-4: types, fill values, packing and attributes as in the source
files.

If segments are packed in different ways, values are written unpacked, in the type to which xarray
decodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..netcdf_c import NETCDF_C
from .parts import shape_of
from .selection import Selection

if TYPE_CHECKING:
    import netCDF4
    import xarray

Blocks = Callable[[str], Iterator[tuple[int, int, np.ndarray]]]
"""Yields the parts of a variable: first step, step after the last, numbers."""
_OF_THE_TYPE = (
    "missing_value",
    "valid_min",
    "valid_max",
    "valid_range",
    "flag_values",
    "flag_masks",
)
"""Attributes that have the type of their variable (CF conventions, section 2.5.1)."""
_LEVEL = 1
"""Level of deflate: higher levels take much time and save little after shuffling."""


def write_netcdf(
    path: Path, dataset: xarray.Dataset, selection: Selection, blocks: Blocks, history: str
) -> None:
    """Write the selected variables.

    Args:
        path: path of the file, which does not exist yet.
        dataset: opened lazily, without decoding of times.
        selection: the part of it to write.
        blocks: reads a variable part by part.
        history: a line that is put before the dataset's own history.
    """
    import netCDF4

    attrs = dict(dataset.attrs)
    attrs["history"] = "\n".join(filter(None, (history, str(attrs.get("history", "")))))
    with NETCDF_C:
        file = netCDF4.Dataset(path, "w", format="NETCDF4")
    try:
        with NETCDF_C:
            file.set_auto_maskandscale(False)
            _set_attributes(file, attrs)
            _make_dimensions(file, dataset, selection)
        for name in selection.names:
            variable = dataset.variables[name]
            with NETCDF_C:
                made = _make_variable(file, name, variable)
            for start, stop, values in blocks(name):
                with NETCDF_C:
                    _write(made, variable, start, stop, values)
    finally:
        with NETCDF_C:
            file.close()


def _make_dimensions(file: netCDF4.Dataset, dataset: xarray.Dataset, selection: Selection) -> None:
    for name in selection.names:
        variable = dataset.variables[name]
        shape = shape_of(variable, selection)
        for dimension, length in zip(variable.dims, shape, strict=True):
            if dimension not in file.dimensions:
                file.createDimension(str(dimension), length)


def _make_variable(file: netCDF4.Dataset, name: str, variable: xarray.Variable) -> Any:
    dtype = variable.dtype
    is_text = dtype.kind in "OU"
    attrs = _typed_attributes(variable)
    fill = attrs.pop("_FillValue", None)
    options: dict[str, Any] = {}
    if variable.ndim and not is_text:
        options = {"compression": "zlib", "complevel": _LEVEL, "shuffle": True}
    made = file.createVariable(
        name,
        str if is_text else dtype.newbyteorder("="),
        tuple(map(str, variable.dims)),
        fill_value=None if is_text else fill,
        **options,
    )
    made.set_auto_maskandscale(False)
    _set_attributes(made, attrs)
    return made


def _typed_attributes(variable: xarray.Variable) -> dict[str, Any]:
    """Return the attributes, with the fill value of decoded numbers. Attributes that must have the
    variable's type are converted.
    """
    attrs = dict(variable.attrs)
    dtype = variable.dtype
    if dtype.kind == "f" and "_FillValue" in variable.encoding:
        attrs["_FillValue"] = variable.encoding["_FillValue"]
    if dtype.kind in "OU":
        return attrs
    if attrs.get("_FillValue") is not None:
        attrs["_FillValue"] = np.asarray(attrs["_FillValue"]).astype(dtype)[()]
    for key in _OF_THE_TYPE:
        if key in attrs and not isinstance(attrs[key], str):
            attrs[key] = np.asarray(attrs[key]).astype(dtype)
    return attrs


def _set_attributes(target: Any, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        if key != "_ARRAY_DIMENSIONS" and not key.startswith("esgvzarr_"):
            target.setncattr(key, value)


def _write(made: Any, variable: xarray.Variable, start: int, stop: int, values: np.ndarray) -> None:
    fill = variable.encoding.get("_FillValue")
    if values.dtype.kind == "f" and fill is not None:  # Decoded numbers: missing values are NaN.
        values = np.where(np.isnan(values), np.asarray(fill, values.dtype), values)
    if variable.ndim:
        made[start:stop] = values
    else:
        made[...] = values
