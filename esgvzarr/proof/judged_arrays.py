"""Arrays of a NetCDF file that say so where netCDF-C cannot read them.

What goes wrong while arrays are compared is then told from what goes wrong while they are read.
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
        # raised here, it has no context, whose frames would hold the file
        raise ReadFailedError(reason, str(self.variable_name))


class JudgedStore(NetCDF4DataStore):
    """A file of netCDF4 whose arrays raise `ReadFailedError` where they cannot be read."""

    def open_store_variable(self, name: str, var: Any) -> Variable:
        """As xarray does it, with another array."""
        variable = super().open_store_variable(name, var)
        array = LazilyIndexedArray(_JudgedArray(name, self))  # type: ignore[no-untyped-call, unused-ignore]
        return Variable(variable.dims, array, variable.attrs, variable.encoding, fastpath=True)
