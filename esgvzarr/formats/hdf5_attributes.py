"""Read attributes of HDF5 files as netCDF-C shows them, and list the types that netCDF has."""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import Any

import h5py
import numpy as np

from ..errors import FormatError
from .names import check_names
from .values import shown_text

_HIDDEN = {
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_nc3_strict",
    "_NCProperties",
    "_NCCOPY",
    "_FillValue",
    "DIMENSION_LIST",
    "REFERENCE_LIST",
    "CLASS",
    "NAME",
    "DIMENSION_LABELS",
}
"""Attributes that netCDF-4 uses internally, and the attribute that is a field of ``Variable``."""
_MOST_ELEMENTS = 1_000_000
"""The largest size of an attribute, in bytes."""
_MOST_ATTRIBUTE_BYTES = 64 * 2**20


def read_attrs(node: h5py.Dataset | h5py.File, subject: str) -> dict[str, Any]:
    """Return the netCDF attributes, in the order of the file.

    Attributes of types that netCDF does not know (complex and half-precision numbers, references,
    compounds that are not committed) are left out: netCDF-C shows none of them.
    """
    attrs = node.attrs  # h5py opens the root group each time that a file is asked for them.
    names = list(attrs)
    check_names(names, subject)
    found = {}
    for name in names:
        if name in _HIDDEN:
            continue
        attribute = attrs.get_id(name)
        kind = attribute.get_type()
        if _is_shown(kind):
            found[name] = _as_shown(_stored(attrs, name, attribute, kind), name, subject)
    return found


def _is_shown(kind: h5py.h5t.TypeID) -> bool:
    """Whether netCDF-C shows attributes of a type: it is one of netCDF, or a type that the file
    names.
    """
    if kind.committed() or isinstance(kind, h5py.h5t.TypeStringID):
        return True
    if not isinstance(kind, (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID)):
        return False
    return any(kind.equal(native) for native in netcdf_types())


@cache
def netcdf_types() -> tuple[h5py.h5t.TypeID, ...]:
    """Return the number types of netCDF, as HDF5 stores them."""
    names = ["<f4", "<f8", ">f4", ">f8"]
    names += ["".join(parts) for parts in itertools.product("<>", "iu", "1248")]
    return tuple(h5py.h5t.py_create(np.dtype(name)) for name in names)


def read_attr(attrs: h5py.AttributeManager, name: str, subject: str) -> Any:
    """Return one attribute as netCDF shows it: text, a NumPy scalar, a list of texts, or a
    one-dimensional NumPy array.

    Raises:
        FormatError: its type is one that netCDF libraries cannot read.
    """
    return _as_shown(raw_attr(attrs, name), name, subject)


def _as_shown(value: Any, name: str, subject: str) -> Any:
    """Return a stored attribute as `read_attr` does."""
    if isinstance(value, h5py.Empty):
        return "" if value.dtype.kind in "SO" else np.empty(0, value.dtype)
    if isinstance(value, (str, bytes)):
        return text_of(value)
    array = np.asarray(value)
    if _is_text(array):
        texts = [text_of(item) for item in array.ravel()]
        return texts[0] if len(texts) == 1 else texts
    _check_numbers(array, name, subject)
    return array.ravel()[0] if array.size == 1 else array


def _check_numbers(array: np.ndarray, name: str, subject: str) -> None:
    """Refuse an attribute that is neither a number nor a list of numbers.

    Raises:
        FormatError: ``file-type-unsupported``.
    """
    if array.dtype.kind in "iuf" and array.ndim <= 1:
        return
    shape = f" and has the shape {array.shape}" if array.ndim > 1 else ""
    raise FormatError(
        subject,
        f"the attribute {name!r} is of type {array.dtype}{shape}",
        expected="text, a number, or a list of numbers",
        todo="netCDF libraries cannot read it: write the attribute again with a type of netCDF.",
        code="file-type-unsupported",
    )


def _is_text(array: np.ndarray) -> bool:
    if array.dtype.kind not in "SO":
        return False
    return all(isinstance(item, (str, bytes)) for item in array.flat)


def raw_attr(attrs: h5py.AttributeManager, name: str) -> Any:
    """Return an attribute as h5py reads it.

    Raises:
        OSError: the attribute states a size that only damage explains, and that HDF5 would read for
            hours.
    """
    attribute = attrs.get_id(name)
    return _stored(attrs, name, attribute, attribute.get_type())


def _stored(
    attrs: h5py.AttributeManager, name: str, attribute: h5py.h5a.AttrID, kind: h5py.h5t.TypeID
) -> Any:
    """Return an attribute that was opened as `raw_attr` does."""
    shape = attribute.shape
    size = math.prod(shape) * kind.get_size() if shape is not None else 0
    if shape is not None and (math.prod(shape) > _MOST_ELEMENTS or size > _MOST_ATTRIBUTE_BYTES):
        raise OSError(f"the attribute {name!r} has the shape {shape} and {size} bytes")
    if shape == () and isinstance(kind, h5py.h5t.TypeStringID) and not kind.is_variable_str():
        return _stored_text(attribute, kind)
    return attrs[name]


def _stored_text(attribute: h5py.h5a.AttrID, kind: h5py.h5t.TypeStringID) -> bytes:
    """Return text of fixed length as netCDF-C reads it: all stored bytes, also those after a NUL,
    where HDF5's own conversion ends.
    """
    stored = np.empty((), f"S{kind.get_size()}")
    attribute.read(stored, mtype=kind)
    return stored.tobytes().rstrip(b"\0")


def text_of(value: Any) -> str:
    """Return text as the netCDF libraries for Python show it: without NULs, and with bytes that are
    not UTF-8 replaced, whatever character set HDF5 states.
    """
    if isinstance(value, bytes):
        return shown_text(value)
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
