"""What is decompressed has a limit, known before; right bytes come out as ever."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import lzma
import pickle
import subprocess
import sys
import zlib
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from esgvzarr.inflate import (
    DECODING_ERRORS,
    ExpandsError,
    chunks_of,
    decode,
    limited_codecs,
    zstd_document,
)

CODECS = ["zlib", "gzip", "bz2", "lzma", "zstd", "blosc", "lz4"]
BOMB = 64 * 2**20


def packed(codec: str, data: bytes) -> bytes:
    return bytes(numcodecs.get_codec({"id": codec}).encode(data))


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("data", [b"a", bytes(100_000), np.random.default_rng(1).bytes(70_000)])
def test_right_bytes_come_out(codec: str, data: bytes) -> None:
    """Also where compression made them longer, and where their size is the limit to the byte."""
    stored = packed(codec, data)
    assert bytes(decode(stored, [{"id": codec}], len(data))) == data
    with limited_codecs(len(data)):
        assert bytes(numcodecs.get_codec({"id": codec}).decode(stored)) == data


@pytest.mark.parametrize("codec", CODECS)
def test_one_byte_too_many_is_refused(codec: str) -> None:
    stored = packed(codec, bytes(1001))
    with pytest.raises(ExpandsError):
        decode(stored, [{"id": codec}], 1000)
    with limited_codecs(1000), pytest.raises(ExpandsError):
        numcodecs.get_codec({"id": codec}).decode(stored)


def test_a_pipeline_is_undone_from_its_end() -> None:
    """Filters, checksums and two compressors: each has the limit of what it was given."""
    codecs: list[dict[str, Any]] = [
        {"id": "shuffle", "elementsize": 4},
        {"id": "zlib", "level": 1},
        {"id": "zstd", "level": 1},
        {"id": "fletcher32"},
    ]
    data: Any = np.arange(5000, dtype="<f4").tobytes()
    stored = data
    for codec in codecs:
        stored = numcodecs.get_codec(codec).encode(stored)
    assert bytes(memoryview(decode(stored, codecs, len(data))).cast("B")) == data
    with pytest.raises(ExpandsError):
        decode(stored, codecs, len(data) - 1)


def test_streams_that_follow_each_other_count_together() -> None:
    for codec, compress in (
        ("gzip", gzip.compress),
        ("bz2", bz2.compress),
        ("lzma", lzma.compress),
    ):
        stored = compress(bytes(600)) + compress(bytes(600))
        assert len(decode(stored, [{"id": codec}], 1200)) == 1200
        with pytest.raises(ExpandsError):
            decode(stored, [{"id": codec}], 1199)


def test_frames_of_zstd_count_together_and_must_state_their_size() -> None:
    frame = packed("zstd", bytes(600))
    assert len(zstd_document(frame, 600)) == 600
    with pytest.raises(ExpandsError):
        zstd_document(frame + frame, 1000)
    unstated = bytearray(frame)
    unstated[4] &= 0b00011111  # neither a content size nor a single segment
    with pytest.raises(ExpandsError):
        zstd_document(bytes(unstated), 10**6)


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_bytes_end_in_an_error_that_is_named(codec: str) -> None:
    stored = packed(codec, np.random.default_rng(2).bytes(5000))
    for damaged in (b"", b"\xff", stored[:10], stored[:-5], bytes(len(stored))):
        try:
            found = decode(damaged, [{"id": codec}], 5000)
        except DECODING_ERRORS:
            continue
        assert memoryview(found).nbytes <= 5000


def test_without_a_limit_numcodecs_is_as_ever() -> None:
    with limited_codecs(10):
        pass
    codec = numcodecs.get_codec({"id": "zlib", "level": 3})
    assert codec.get_config() == {"id": "zlib", "level": 3}
    assert codec == numcodecs.zlib.Zlib(3)
    assert len(codec.decode(zlib.compress(bytes(10_000)))) == 10_000
    out = np.empty(4, "u1")
    codec.decode(zlib.compress(b"abcd"), out)
    assert out.tobytes() == b"abcd"


@pytest.mark.parametrize("codec", CODECS)
def test_a_limited_codec_goes_to_another_process(codec: str) -> None:
    """Arrays that were opened after a proof in this process are pickled with their codecs."""
    with limited_codecs(10_000):
        limited = numcodecs.get_codec({"id": codec})
        again = pickle.loads(pickle.dumps(limited))  # noqa: S301
    assert again.get_config() == limited.get_config()
    assert bytes(again.decode(packed(codec, b"abcd" * 100))) == b"abcd" * 100


def test_the_largest_of_several_limits_holds() -> None:
    stored = zlib.compress(bytes(500))
    codec = numcodecs.get_codec({"id": "zlib"})
    with limited_codecs(100), limited_codecs(500):
        assert len(codec.decode(stored)) == 500
    with limited_codecs(100), pytest.raises(ExpandsError):
        codec.decode(stored)


def test_the_size_of_one_array_reaches_zarrs_own_threads() -> None:
    """Its chunks may not be as large as those of another array."""
    store = zarr.storage.MemoryStore()
    small = zarr.create(
        (8,), store=store, path="small", dtype="u1", zarr_format=2, compressor=numcodecs.Zlib(1)
    )
    small[:] = 1
    bomb = zarr.core.buffer.default_buffer_prototype().buffer.from_bytes(zlib.compress(bytes(9000)))
    asyncio.run(store.set("small/0", bomb))
    with limited_codecs(10_000):
        reopened = zarr.open_array(store, path="small", zarr_format=2)
        with chunks_of(8), pytest.raises(ExpandsError):
            reopened[:]


def test_a_bomb_takes_no_memory() -> None:
    """64 MiB of zeros in 64 KiB: the process that decodes them stays small."""
    program = f"""
import ctypes, zlib
from esgvzarr.inflate import ExpandsError, decode
stored = zlib.compress(bytes({BOMB}), 9)
ctypes.CDLL(None).malloc_trim(0)
open("/proc/self/clear_refs", "w").write("5")
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
before = peak()
try:
    decode(stored, [{{"id": "zlib"}}], 4096)
except ExpandsError:
    print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8 * 1024, "KiB"
