"""Read an index repeatedly until it shows a change."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..errors import LinkError

_log = logging.getLogger(__name__)
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
GROWTH = 1.6
_T = TypeVar("_T")


def looks(read: Callable[[], _T], timeout_s: float, *, sent: bool = False) -> Iterator[_T]:
    """Yield the results of ``read``, with growing pauses, until the time is up; at least one.

    Args:
        read: reads once.
        timeout_s: seconds after which no further read begins.
        sent: whether the index accepted a change before. Then an error while reading yields
            nothing, because the change stays.
    """
    deadline = time.monotonic() + timeout_s
    pause = FIRST_PAUSE_S
    while True:
        try:
            shown = read()
        except LinkError as error:
            if not sent:
                raise
            _log.info("%s", error)
        else:
            yield shown
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(pause, left))
        pause = min(pause * GROWTH, LONGEST_PAUSE_S)
