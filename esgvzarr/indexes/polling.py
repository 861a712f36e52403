"""Looking again until an index shows what it has taken."""

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
    """What ``read`` gives, again and again, with growing pauses, until the time is up; at least
    once.

    Args:
        read: looks once.
        timeout_s: no look begins later.
        sent: a change was taken before, and so it stays when a look at it fails: then there is
            nothing to give.
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
