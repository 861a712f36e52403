"""Settings of zarr-python that are changed for a while. All threads of a process share them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any


class _Change:
    """The first thread that needs a setting changes it, and the last that is through with it
    restores what was there.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._users = 0
        self._before = ExitStack()

    @contextmanager
    def made(self) -> Iterator[None]:
        """Within this context the settings are changed."""
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
"""Let zarr-python read chunks of different lengths, which it does only if it is told to."""
decoding_together = _Change({"codec_pipeline.batch_size": 16}).made
"""Let arrays that are opened meanwhile decode 16 chunks of a selection together, in place of one by
one: zarr-python spends more time on handing small chunks around than on decoding them.
"""
