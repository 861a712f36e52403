"""Choose how many requests to one host are in flight.

The number rises while the host answers as fast as before, and falls when it slows down.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

AT_FIRST = 16
"""Requests in flight to a host that is not known yet."""
AT_MOST = 128
AS_FAST = 1.5
"""A host keeps up if its answers take at most this many times the time of its fastest answers."""
SLOWER = 2.0
"""A host is overloaded if its answers take at least this many times the time of its fastest
answers.
"""
LONGEST_PAUSE_S = 60.0


class InFlight:
    """The requests to one host. Threads wait here until they may send a request.

    When as many requests were answered as may be in flight, counting only those sent since this
    limit last changed, their median time is compared with the fastest median so far. Up to
    ``AS_FAST`` times that, the limit doubles, or grows by one if the host had trouble before. Above
    ``SLOWER`` times that, it is halved, but not below the first limit. A refusal (429, 503) halves
    it too, down to one.

    Args:
        at_first: requests in flight to a host that is not known yet.
        at_most: the most requests in flight, however fast the host is.
    """

    def __init__(self, at_first: int = AT_FIRST, at_most: int = AT_MOST) -> None:
        self._at_most = at_most
        self._at_first = min(at_first, at_most)
        self.limit = self._at_first
        self._running = 0
        self._troubled = False
        self._fastest_s: float | None = None
        self._window_s: list[float] = []
        self._resume_at = 0.0
        self._limit_since = 0.0
        self._changed = threading.Condition()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until one more request may be sent, and count it until the block ends."""
        with self._changed:
            while True:
                pause_s = self._resume_at - time.monotonic()
                if pause_s <= 0 and self._running < self.limit:
                    break
                self._changed.wait(pause_s if pause_s > 0 else None)
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify()

    def answered(self, sent_at: float, seconds: float) -> None:
        """Record an answer that arrived ``seconds`` after its request.

        Args:
            sent_at: when the request was sent, by ``time.monotonic``. Answers to requests sent
                under an earlier limit are ignored.
            seconds: time until the answer arrived.
        """
        with self._changed:
            if sent_at < self._limit_since:
                return
            self._window_s.append(seconds)
            if len(self._window_s) < self.limit:
                return
            typical_s = sorted(self._window_s)[len(self._window_s) // 2]
            self._window_s.clear()
            fastest_s = min(typical_s, self._fastest_s or typical_s)
            self._fastest_s = fastest_s
            if typical_s <= AS_FAST * fastest_s:
                self._allow(self.limit + 1 if self._troubled else 2 * self.limit)
            elif typical_s > SLOWER * fastest_s:
                self._troubled = True
                self._allow(max(self.limit // 2, min(self.limit, self._at_first)))

    def refused(self, retry_after_s: float = 0.0) -> None:
        """Record that the host refused a request, and the pause that it wants."""
        with self._changed:
            self._troubled = True
            self._window_s.clear()
            self._allow(max(self.limit // 2, 1))
            pause_s = min(retry_after_s, LONGEST_PAUSE_S)
            self._resume_at = max(self._resume_at, time.monotonic() + pause_s)

    def stay(self) -> None:
        """Let the limit rise no further: this process cannot send as many requests as it allows, so
        that fast answers do not show what the host can take.
        """
        with self._changed:
            self._at_most = self.limit

    def _allow(self, limit: int) -> None:
        self.limit = min(limit, self._at_most)
        self._limit_since = time.monotonic()
        self._changed.notify_all()
