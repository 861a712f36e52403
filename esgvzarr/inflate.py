"""Decompress untrusted bytes, with a limit.

A deflated chunk of 2 MB can expand to 2 GB, and zlib, like HDF5, continues until the memory is
full. All decompression here, also by stock readers in the proof, has a limit that is known before:
the expected bytes and one more.
"""

from __future__ import annotations

import bz2
import lzma
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numcodecs.abc import Codec  # Importing numcodecs takes as long as the scan of many files.

_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_GZIP = 31
"""Window bits with which zlib reads gzip's header."""
_ZLIB = 15
_LZMA_MEMORY = 128 * 2**20
"""The most bytes of lzma's dictionary."""
DECODING_ERRORS = (
    ValueError,
    RuntimeError,
    OSError,
    EOFError,
    TypeError,
    zlib.error,
    lzma.LZMAError,
)
"""Exceptions of decoders for bytes that are damaged, or expand beyond their limit."""


class ExpandsError(ValueError):
    """Compressed bytes expand to more than they may."""


class _Streams:
    """A decompressor of the standard library that stops at a limit, and reads all streams in one
    buffer.
    """

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start

    def __call__(self, data: bytes, limit: int) -> bytes:
        parts: list[bytes] = []
        left = limit
        while data:
            stream = self._start()
            part = stream.decompress(data, left + 1)
            left -= len(part)
            if left < 0:
                raise _expands(limit)
            parts.append(part)
            if not stream.eof:
                raise EOFError("the compressed bytes end too early")
            data = stream.unused_data
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Zlib(_Streams):
    """Bytes after the first stream are ignored, as zlib itself ignores them."""

    def __call__(self, data: bytes, limit: int) -> bytes:
        stream = self._start()
        whole: bytes = stream.decompress(data, limit + 1)
        if len(whole) > limit:
            raise _expands(limit)
        if not stream.eof:
            raise EOFError("the compressed bytes end too early")
        return whole


def _expands(limit: int) -> ExpandsError:
    return ExpandsError(f"expands to more than {limit} bytes")


_LIMITED: Mapping[str, Callable[[bytes, int], bytes]] = {
    "zlib": _Zlib(lambda: zlib.decompressobj(_ZLIB)),
    "gzip": _Streams(lambda: zlib.decompressobj(_GZIP)),
    "bz2": _Streams(bz2.BZ2Decompressor),
    "lzma": _Streams(lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
}
"""Decoders that stop at the limit."""


def _zstd_size(data: bytes) -> int:
    """Return the bytes that all frames of a buffer state to hold.

    Rule: RFC 8878, sections 3.1.1 (frames and blocks) and 3.1.2 (skippable frames).
    """
    total = 0
    at = 0
    while at < len(data):
        magic = int.from_bytes(data[at : at + 4], "little")
        if magic in _ZSTD_SKIPPABLE:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        if magic != _ZSTD_MAGIC or at + 5 > len(data):
            raise ValueError("is not zstd")
        size, at = _zstd_frame(data, at + 4)
        total += size
    return total


def _zstd_frame(data: bytes, at: int) -> tuple[int, int]:
    """Return the content size of the frame whose descriptor is at ``at``, and where the frame
    ends.
    """
    descriptor = data[at]
    single = bool(descriptor & 0x20)
    at += 1 if single else 2
    at += (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    if width == 0:
        raise ExpandsError("is a zstd frame that does not state its size")
    size = int.from_bytes(data[at : at + width], "little") + (256 if width == 2 else 0)
    at += width
    last = False
    while not last:
        if at + 3 > len(data):
            raise EOFError("the compressed bytes end too early")
        header = int.from_bytes(data[at : at + 3], "little")
        last = bool(header & 1)
        at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)
    return size, at + (4 if descriptor & 4 else 0)


def _blosc_size(data: bytes) -> int:
    """Return the size. Rule: Blosc header format, bytes 4 to 8."""
    return int.from_bytes(data[4:8], "little")


def _lz4_size(data: bytes) -> int:
    """Return the size. Rule: numcodecs writes it before the block."""
    return int.from_bytes(data[:4], "little")


_STATED: Mapping[str, Callable[[bytes], int]] = {
    "zstd": _zstd_size,
    "blosc": _blosc_size,
    "lz4": _lz4_size,
}
"""Functions that read the size which compressed bytes state; their decoders allocate this size at
once and do not exceed it.
"""


def decode(data: Any, codecs: Sequence[Mapping[str, Any]], size: int) -> Any:
    """Decode bytes by a pipeline of codecs.

    Args:
        data: the bytes as stored.
        codecs: numcodecs configurations, in the order in which they were applied.
        size: size of the result in bytes.

    Raises:
        ExpandsError: the result is larger.
        ValueError, RuntimeError, OSError, EOFError, TypeError, zlib.error, lzma.LZMAError: the
            bytes are damaged (`DECODING_ERRORS`).
    """
    limits = [size]
    for codec in codecs:
        limits.append(_longest(str(codec["id"]), limits[-1]))
    for codec, limit in zip(reversed(codecs), reversed(limits[:-1]), strict=True):
        data = _undo(data, codec, limit)
    if memoryview(data).nbytes > size:
        raise _expands(size)
    return data


def _longest(codec: str, size: int) -> int:
    """Return the most bytes to which a codec encodes ``size`` bytes."""
    if codec in _LIMITED or codec in _STATED:
        # Bytes that cannot be compressed are stored, with some overhead.
        return size + size // 64 + 4096
    return size + 4  # A checksum, or none.


def _undo(data: Any, codec: Mapping[str, Any], limit: int) -> Any:
    kind = str(codec["id"])
    if kind in _LIMITED:
        return _LIMITED[kind](bytes(data), limit)
    import numcodecs

    if kind in _STATED and _STATED[kind](bytes(data)) > limit:
        raise _expands(limit)
    if kind == "shuffle":
        return _unshuffle(bytes(data), codec)
    return numcodecs.get_codec(dict(codec)).decode(data)


def _unshuffle(data: bytes, codec: Mapping[str, Any]) -> Any:
    """Undo shuffle. HDF5 does not shuffle trailing bytes that do not fill an element, such as those
    of a checksum before the shuffle.
    """
    import numcodecs
    from numcodecs.compat import ensure_bytes

    rest = len(data) % int(codec["elementsize"])
    if not rest:
        return numcodecs.get_codec(dict(codec)).decode(data)
    whole = numcodecs.get_codec(dict(codec)).decode(data[:-rest])
    return ensure_bytes(whole) + data[-rest:]


def zstd_document(data: bytes, limit: int) -> bytes:
    """Decompress a document that was compressed with zstd.

    Raises:
        ExpandsError: it holds more than ``limit`` bytes, or does not state how many.
        ValueError, RuntimeError, EOFError: it is not zstd, or is damaged.
    """
    return bytes(_undo(data, {"id": "zstd"}, limit))


_exact: ContextVar[int | None] = ContextVar("esgvzarr_inflate_exact", default=None)
_in_force: list[int] = []
_changing = threading.Lock()


@contextmanager
def limited_codecs(largest: int) -> Iterator[None]:
    """Let numcodecs, and so every stock reader in this process, decompress no chunk to more than
    ``largest`` bytes.

    If several threads set limits, the largest one applies to all.
    """
    _register()
    with _changing:
        _in_force.append(largest)
    try:
        yield
    finally:
        with _changing:
            _in_force.remove(largest)


@contextmanager
def chunks_of(size: int) -> Iterator[None]:
    """Inside `limited_codecs`, limit chunks to ``size`` bytes, in this thread and in those that
    zarr starts from it.
    """
    token = _exact.set(size)
    try:
        yield
    finally:
        _exact.reset(token)


def _limit() -> int | None:
    exact = _exact.get()
    if exact is not None:
        return _longest("zlib", exact)  # Filters may have made the chunk a little longer.
    with _changing:
        return max(_in_force, default=None)


@cache
def _register() -> None:
    """Replace numcodecs' own decoders by limited ones, which without a limit do the same."""
    import numcodecs

    for name in (*_LIMITED, *_STATED):
        own = type(numcodecs.get_codec({"id": name}))
        numcodecs.register_codec(_limited(own, name), codec_id=name)


def _limited(own: type[Codec], name: str) -> type[Codec]:
    import numcodecs
    from numcodecs.compat import ensure_bytes, ndarray_copy

    def decode(self: Any, buf: Any, out: Any = None) -> Any:
        limit = _limit()
        if limit is None:
            return own.decode(self, buf, out)
        if name in _LIMITED:
            return ndarray_copy(_LIMITED[name](ensure_bytes(buf), limit), out)
        if _STATED[name](ensure_bytes(buf)) > limit:
            raise _expands(limit)
        return own.decode(self, buf, out)

    def reduce(self: Any) -> tuple[Any, ...]:
        """Pickle by name: another process need not have limited decoders."""
        return numcodecs.get_codec, (self.get_config(),)

    members = {"decode": decode, "__reduce__": reduce, "__module__": own.__module__}
    return type(own.__name__, (own,), members)
