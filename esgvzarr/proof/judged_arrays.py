"""Arrays of a NetCDF file that raise an error of their own if netCDF-C cannot read them.

An error in reading an array is thereby distinguished from an error in comparing arrays.
"""

from __future__ import annotations

from typing import Any

from xarray import Variable
from xarray.backends import NetCDF4DataStore
from xarray.backends.netCDF4_ import NetCDF4ArrayWrapper
from xarray.core.indexing import LazilyIndexedArray

from .file_failures import ReadFailedError
from .reference_side import UNREADABLE


class _JudgedArray(NetCDF4ArrayWrapper):
    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(key)  # type: ignore[no-untyped-call, unused-ignore]
        except UNREADABLE as error:
            reason = str(error)
        # Raised here, it has no context; the frames of a context would hold the file.
        raise ReadFailedError(reason, str(self.variable_name))


class JudgedStore(NetCDF4DataStore):
    """A netCDF4 file whose arrays raise `ReadFailedError` if they cannot be read."""

    def open_store_variable(self, name: str, var: Any) -> Variable:
        """Open a variable as xarray does, with another array class."""
        variable = super().open_store_variable(name, var)
        array = LazilyIndexedArray(_JudgedArray(name, self))  # type: ignore[no-untyped-call, unused-ignore]
        return Variable(variable.dims, array, variable.attrs, variable.encoding, fastpath=True)
