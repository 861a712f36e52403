"""Tests for `esgvzarr.output.zarr_settings`."""

from __future__ import annotations

import zarr

from esgvzarr.output.zarr_settings import decoding_together

KEY = "codec_pipeline.batch_size"


def test_a_setting_is_restored_when_the_last_that_needs_it_is_through_with_it() -> None:
    before = zarr.config.get(KEY)
    first = decoding_together()
    second = decoding_together()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert zarr.config.get(KEY) == 16
    second.__exit__(None, None, None)
    assert zarr.config.get(KEY) == before


def test_arrays_that_are_opened_meanwhile_decode_several_chunks_together() -> None:
    store = zarr.storage.MemoryStore()
    zarr.create_array(store, shape=(8,), chunks=(2,), dtype="i4")[:] = range(8)
    with decoding_together():
        array = zarr.open_array(store, mode="r")
    assert array._async_array.codec_pipeline.batch_size == 16
    assert array[:].tolist() == list(range(8))
