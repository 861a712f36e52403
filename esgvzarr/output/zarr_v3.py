"""Make arrays and groups of Zarr version 3, as stock xarray reads them.

Rules: Zarr specification version 3; zarr-extensions, chunk grid ``rectilinear``, which zarr-python
reads from 3.2 on; xarray's encoding of ``_FillValue`` in version 3.
"""

from __future__ import annotations

import base64
import struct
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import orjson

from ..errors import FormatError, SettingsError
from ..model import Array, ReferenceSet
from . import kerchunk
from .recipe import with_recipe
from .zarr_settings import rectilinear_allowed

_LEAST = (3, 2)
"""First release of zarr-python that reads the rectilinear grid."""


def knows_rectilinear() -> bool:
    """Whether the installed zarr-python reads chunks of different lengths."""
    found = version("zarr").split(".")
    return (int(found[0]), int(found[1])) >= _LEAST


def require_rectilinear(output: str) -> None:
    """Check that arrays with chunks of different lengths can be written and read back here.

    Raises:
        SettingsError: zarr-python is too old.
    """
    if not knows_rectilinear():
        raise SettingsError(
            f"output {output!r}",
            f"zarr-python {version('zarr')} does not read chunks of different lengths",
            expected="zarr >= 3.2, which needs Python 3.12",
            todo="Use Python 3.12 or later, or another output.",
            code="settings-output",
        )


def create_groups(store: Any, references: ReferenceSet, options: Mapping[str, Any]) -> None:
    """Make all groups and arrays, without chunks.

    Args:
        store: a store of Zarr.
        references: the references to write.
        options: options that readers need to open the output, for the instructions in attributes.
    """
    import zarr

    with warnings.catch_warnings(), rectilinear_allowed():
        warnings.simplefilter("ignore")  # These codecs and types are in no specification yet.
        zarr.create_group(store, overwrite=True, zarr_format=3)
        for group in references.groups:
            zarr.create_group(
                store,
                path=group.path,
                overwrite=True,
                attributes=kerchunk.json_value(with_recipe(group.attrs, options)),
                zarr_format=3,
            )
        for group in references.groups:
            for array in group.arrays:
                create_array(store, path_of(group.path, array), array)


def path_of(group: str, array: Array) -> str:
    """``group/array``."""
    return f"{group}/{array.name}" if group else array.name


def create_array(store: Any, name: str, array: Array) -> None:
    """Make one array, without chunks.

    Raises:
        FormatError: xarray cannot read its ``_FillValue`` from Zarr version 3.
    """
    import zarr
    from zarr.codecs import BytesCodec, VLenUTF8Codec

    dtype = array.dtype
    text = dtype.kind == "O"
    attrs = kerchunk.attributes(array)
    stated = _stated_fill(name, array)
    if stated is not None:
        attrs["_FillValue"] = _encoded(stated, dtype)
    endian = "big" if dtype.byteorder == ">" else "little"
    zarr.create_array(
        store,
        name=name,
        shape=array.shape,
        chunks=tuple(max(1, n) for n in array.chunk_shape),
        dtype=str if text else dtype.newbyteorder("="),
        attributes=attrs,
        dimension_names=list(array.dims),
        fill_value=_unset(dtype) if stated is None else stated,
        filters=_padding(array),
        serializer=VLenUTF8Codec() if text else BytesCodec(endian=endian),
        compressors=[_codec(codec) for codec in array.codecs if codec["id"] != "vlen-utf8"],
        zarr_format=3,
    )
    if array.lengths:
        _set_lengths(store, name, array)


def _unset(dtype: np.dtype[Any]) -> Any:
    """Return what Zarr shows for a missing chunk, if the files state no fill value."""
    return "" if dtype.kind == "O" else 0


def _stated_fill(name: str, array: Array) -> Any:
    """Return the fill value that the files state, in the array's type; None if they state none.

    Raises:
        FormatError: xarray cannot read it from Zarr version 3.
    """
    fill = kerchunk.zarray(array)["fill_value"]
    if fill is None or array.dtype.kind == "O":
        return fill
    if array.dtype.kind == "S":
        raise FormatError(
            name,
            "is text of single bytes with a _FillValue",
            expected="types whose _FillValue xarray reads from Zarr version 3",
            todo="Use another output for this dataset.",
            code="file-output-unsupported",
        )
    return np.asarray(fill).astype(array.dtype)[()]


def _padding(array: Array) -> tuple[Any, ...]:
    """Return the codec that crops stored chunks, if some are longer than they are shown."""
    if not array.is_padded:
        return ()
    from .padded import PaddedCodec

    return (PaddedCodec(stored_shape=array.chunk_shape),)


def _codec(config: Mapping[str, Any]) -> Any:
    """Translate HDF5's filters for Zarr version 3: those of numcodecs, which work on bytes, in the
    same order.
    """
    from zarr.codecs import numcodecs

    name = {"bz2": "BZ2"}.get(config["id"], config["id"].capitalize())
    return getattr(numcodecs, name)(**{key: value for key, value in config.items() if key != "id"})


def _encoded(fill: Any, dtype: np.dtype[Any]) -> Any:
    """Return ``_FillValue`` as xarray writes it into attributes of version 3: floating-point
    numbers bit for bit.
    """
    if dtype.kind == "f":
        return base64.b64encode(struct.pack("<d", float(fill))).decode()
    return str(fill) if dtype.kind == "O" else int(fill)


def _set_lengths(store: Any, name: str, array: Array) -> None:
    """Write the lengths of chunks into the metadata, with runs of equal ones as pairs."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    key = f"{name}/zarr.json"
    prototype = default_buffer_prototype()
    found = sync(store.get(key, prototype))
    described = orjson.loads(found.to_bytes())
    described["chunk_grid"] = {
        "name": "rectilinear",
        "configuration": {
            "kind": "inline",
            "chunk_shapes": [
                _run_lengths(_lengths(array, axis)) for axis in range(len(array.dims))
            ],
        },
    }
    sync(store.set(key, prototype.buffer.from_bytes(orjson.dumps(described))))


def _lengths(array: Array, axis: int) -> tuple[int, ...]:
    """Return the lengths of the chunks along a dimension. Icechunk 2.3 accepts no single number for
    equal ones.
    """
    length = array.chunk_shape[axis]
    count = -(-array.shape[axis] // length)
    return array.lengths.get(axis, (length,) * count)


def _run_lengths(lengths: tuple[int, ...]) -> list[list[int]]:
    """Return [length, count] for runs of equal lengths."""
    runs: list[list[int]] = []
    for length in lengths:
        if runs and runs[-1][0] == length:
            runs[-1][1] += 1
        else:
            runs.append([length, 1])
    return runs
