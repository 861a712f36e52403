"""Change settings of zarr-python for a while. All threads of a process share these settings."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any


class _Change:
    """A change of settings. The first thread that needs it makes the change, and the last one that
    has finished restores the earlier values.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._users = 0
        self._before = ExitStack()

    @contextmanager
    def made(self) -> Iterator[None]:
        """Change the settings inside the block."""
        self._take()
        try:
            yield
        finally:
            self._give_back()

    def _take(self) -> None:
        import zarr

        with self._lock:
            if not self._users:
                self._before.enter_context(zarr.config.set(dict(self._settings)))
            self._users += 1

    def _give_back(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._before.close()


rectilinear_allowed = _Change({"array.rectilinear_chunks": True}).made
"""Lets zarr-python read chunks of different lengths, which is off by default."""
decoding_together = _Change({"codec_pipeline.batch_size": 16}).made
"""Lets arrays decode 16 chunks of a selection together instead of one by one: zarr-python spends
more time on passing small chunks around than on decoding them.
"""
