"""Read many items over HTTP at once."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock
from typing import Generic, TypeVar

from .in_flight import InFlight

_FEW = 4
"""So many threads are enough if the host answers sooner than Python prepares the next request."""
_BUSY = 0.75
"""More threads do not help if those of a round compute for at least this fraction of the time."""
_T = TypeVar("_T")


class Round(Generic[_T]):
    """Items that are read over HTTP at the same time, each from one host.

    For each host as many threads as requests may be in flight take one item after the other. A
    thread for each item would wait for the others most of the time, and to wake it takes longer
    than to prepare a request.

    Args:
        threads: where the items are read.
        read: reads the item of a number.
    """

    def __init__(self, threads: ThreadPoolExecutor, read: Callable[[int], _T]) -> None:
        self._threads = threads
        self._read = read
        self._waiting: dict[InFlight, deque[int]] = {}
        self._takers: Counter[InFlight] = Counter()
        self._lock = Lock()
        self._left = 0
        self._failed = False
        self._begun_s = 0.0
        self._computed_s = 0.0
        """CPU time of the threads of this round. Other threads may compute meanwhile: the readers'
        packages are imported while the first answers are on their way.
        """
        self._ended: SimpleQueue[tuple[int, _T | None, BaseException | None] | None] = SimpleQueue()
        """Number, result and error of each item; None if the threads were shut down."""

    def add(self, host: InFlight, number: int) -> None:
        """Add an item that is read from a host."""
        self._waiting.setdefault(host, deque()).append(number)
        self._left += 1

    def start(self) -> None:
        """Begin to read."""
        self._begun_s = time.perf_counter()
        for host in self._waiting:
            self._start_takers(host)

    def results(self) -> Iterator[tuple[int, _T]]:
        """Yield the number and the result of each item, as they arrive.

        Raises:
            BaseException: the error of the item with the lowest number that could not be read.
        """
        errors: dict[int, BaseException] = {}
        computed_s = time.thread_time()
        while self._left:
            computed_s = self._count_computed(computed_s)
            ended = self._ended.get()
            if ended is None:
                raise CancelledError
            number, result, error = ended
            self._left -= 1
            if error is not None:
                errors[number] = error
                self.stop()
            elif not errors:
                yield number, result  # type: ignore[misc]
        if errors:
            raise errors[min(errors)]

    def stop(self) -> None:
        """Read no further items; those that are being read are not interrupted."""
        for items in self._waiting.values():
            with suppress(IndexError):
                while items:
                    items.popleft()
                    self._left -= 1

    def _start_takers(self, host: InFlight) -> None:
        """Start threads, until there are as many as requests to a host may be in flight."""
        with self._lock:
            wanted = min(host.limit, self._takers[host] + len(self._waiting[host]))
            while self._takers[host] < wanted:
                self._threads.submit(self._take, host).add_done_callback(self._tell_cancelled)
                self._takers[host] += 1

    def _take(self, host: InFlight) -> None:
        """Read one item after the other."""
        items = self._waiting[host]
        computed_s = time.thread_time()
        while items and not self._failed:
            try:
                number = items.popleft()
            except IndexError:  # Another thread took the last one.
                break
            self._ended.put(self._outcome_of(number))
            computed_s = self._count_computed(computed_s)
            if self._is_busy():
                if self._may_end(host):
                    return
            elif items and self._takers[host] < host.limit:
                with suppress(RuntimeError):  # The system allows no more threads.
                    self._start_takers(host)
        with self._lock:
            self._takers[host] -= 1

    def _count_computed(self, until_s: float) -> float:
        """Add what this thread has computed since it had used so much CPU time.

        Returns:
            The CPU time that it has used by now.
        """
        now_s = time.thread_time()
        with self._lock:
            self._computed_s += now_s - until_s
        return now_s

    def _is_busy(self) -> bool:
        """Whether the threads have computed almost all of the time, so that more of them would only
        wait for each other.
        """
        return self._computed_s > _BUSY * (time.perf_counter() - self._begun_s)

    def _may_end(self, host: InFlight) -> bool:
        """Count one thread less, if a few others are left."""
        with self._lock:
            if self._takers[host] <= _FEW:
                return False
            self._takers[host] -= 1
        host.stay()
        return True

    def _outcome_of(self, number: int) -> tuple[int, _T | None, BaseException | None]:
        try:
            return number, self._read(number), None
        except BaseException as error:  # noqa: BLE001  (`results` raises it)
            self._failed = True
            return number, None, error

    def _tell_cancelled(self, taker: Future[None]) -> None:
        if taker.cancelled():
            self._ended.put(None)
