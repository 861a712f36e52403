"""The codec ``esgvzarr.padded`` of Zarr version 3, for chunks that are stored longer than they are
shown.

HDF5 stores the last chunk of a file at its full shape. This codec stands before ``bytes``, states
the stored shape, and shows the first part of it. If esgvzarr is installed, zarr-python finds the
codec by the entry point group ``zarr.codecs``; otherwise opening the array fails with the name of
the codec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from zarr.abc.codec import ArrayArrayCodec

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import NDBuffer

NAME = "esgvzarr.padded"


@dataclass(frozen=True)
class PaddedCodec(ArrayArrayCodec):
    """Crops chunks to the shape that the grid shows."""

    is_fixed_size = True
    stored_shape: tuple[int, ...] = ()
    """(dimension,) shape of each chunk as it is stored."""

    def __init__(self, *, stored_shape: Iterable[int]) -> None:
        object.__setattr__(self, "stored_shape", tuple(map(int, stored_shape)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make the codec that metadata describe.

        Raises:
            ValueError: they do not state the stored shape.
        """
        shape = dict(data.get("configuration") or {}).get("stored_shape")
        if not isinstance(shape, list | tuple) or not all(isinstance(n, int) for n in shape):
            raise ValueError(f"the codec {NAME} has stored_shape {shape!r}, which is not a shape")
        return cls(stored_shape=shape)

    def to_dict(self) -> dict[str, Any]:
        """Return the metadata that describe the codec."""
        return {"name": NAME, "configuration": {"stored_shape": list(self.stored_shape)}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Compare its rank with that of the array.

        Raises:
            ValueError: they differ.
        """
        if len(shape) != len(self.stored_shape):
            found = f"{len(self.stored_shape)} dimensions, the array {len(shape)}"
            raise ValueError(f"the codec {NAME} has {found}")

    def resolve_metadata(self, chunk_spec: ArraySpec) -> ArraySpec:
        """Return the result of decoding the codecs after this one: the stored shape."""
        return replace(chunk_spec, shape=self.stored_shape)

    def _decode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer:
        return chunk_array[self._part(chunk_spec)]

    async def _decode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_sync(chunk_data, chunk_spec)

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer | None:
        stored = np.zeros(self.stored_shape, chunk_array.dtype)
        stored[self._part(chunk_spec)] = chunk_array.as_numpy_array()
        return chunk_spec.prototype.nd_buffer.from_numpy_array(stored)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> NDBuffer | None:
        return self._encode_sync(chunk_data, chunk_spec)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Return the bytes of the stored shape."""
        elements = int(np.prod(chunk_spec.shape))
        return input_byte_length // max(elements, 1) * int(np.prod(self.stored_shape))

    def _part(self, chunk_spec: ArraySpec) -> tuple[slice, ...]:
        """Return the part of the stored chunk that is shown.

        Raises:
            ValueError: the grid shows more than is stored.
        """
        shown = chunk_spec.shape
        pairs = zip(shown, self.stored_shape, strict=True)
        if any(length > stored for length, stored in pairs):
            raise ValueError(f"a chunk of shape {shown} is stored as {self.stored_shape} only")
        return tuple(slice(0, length) for length in shown)
