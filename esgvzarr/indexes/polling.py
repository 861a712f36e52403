"""Looking again until an index shows what it has taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 0.1, 5.0, 1.6
_T = TypeVar("_T")


def looks(read: Callable[[], _T], timeout_s: float) -> Iterator[_T]:
    """What ``read`` gives, again and again, with growing pauses, until the time is up; at least once."""
    deadline, pause = time.monotonic() + timeout_s, FIRST_PAUSE_S
    while True:
        yield read()
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE_S)
