"""Items that are read at once: each is read once, and errors and slow hosts do not mix them up."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from esgvzarr.transport.in_flight import InFlight
from esgvzarr.transport.round import Round


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def test_each_item_is_read_once_by_no_more_threads_than_requests_in_flight(
    threads: ThreadPoolExecutor,
) -> None:
    readers: set[int] = set()

    def read(number: int) -> int:
        readers.add(threading.get_ident())
        return number * number

    items = Round(threads, read)
    host = InFlight(4, 4)
    for number in range(500):
        items.add(host, number)
    items.start()
    assert sorted(items.results()) == [(number, number * number) for number in range(500)]
    assert len(readers) <= 4


def test_more_threads_read_when_more_requests_may_be_in_flight(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esgvzarr.transport.round._BUSY", 1e9)
    host = InFlight(1, 8)
    together = threading.Barrier(8)

    def read(number: int) -> int:
        if number == 0:
            host.limit = 8
        else:
            together.wait(30)
        return number

    items = Round(threads, read)
    for number in range(9):
        items.add(host, number)
    items.start()
    assert len(list(items.results())) == 9


def test_a_process_that_is_busy_takes_fast_answers_for_no_sign_of_room(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads with few threads, so that the host was never asked as much as may be in flight."""
    monkeypatch.setattr("esgvzarr.transport.round._BUSY", -1.0)
    host = InFlight(16, 128)
    first = threading.Barrier(16)

    def read(number: int) -> int:
        if number < 16:
            first.wait(30)
        else:
            host.answered(time.monotonic(), 0.001)
        return number

    items = Round(threads, read)
    for number in range(500):
        items.add(host, number)
    items.start()
    assert sorted(items.results()) == [(number, number) for number in range(500)]
    assert host.limit == 16


def test_what_other_threads_compute_does_not_make_a_round_busy(
    threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers' packages are imported while the first answers are on their way."""
    monkeypatch.setattr("esgvzarr.transport.round._BUSY", 0.2)
    host = InFlight(16, 128)
    is_over = threading.Event()

    def compute() -> None:
        while not is_over.is_set():
            hashlib.sha256(bytes(2**20))

    def read(number: int) -> int:
        sent_at = time.monotonic()
        time.sleep(0.02)
        host.answered(sent_at, 0.02)
        return number

    items = Round(threads, read)
    for number in range(200):
        items.add(host, number)
    other = threading.Thread(target=compute)
    other.start()
    items.start()
    assert len(list(items.results())) == 200
    is_over.set()
    other.join()
    assert host.limit > 16


def test_the_first_item_that_fails_is_named_and_no_further_ones_are_read(
    threads: ThreadPoolExecutor,
) -> None:
    """Whichever of two items fails sooner."""
    later_failed = threading.Event()
    read_so_far = []

    def read(number: int) -> int:
        read_so_far.append(number)
        if number == 0:
            later_failed.wait(30)
        else:
            later_failed.set()
        raise ValueError(number)

    items = Round(threads, read)
    host = InFlight(2, 2)
    for number in range(500):
        items.add(host, number)
    items.start()
    with pytest.raises(ValueError, match=r"^0$"):
        list(items.results())
    assert sorted(read_so_far) == [0, 1]


def test_a_host_that_does_not_answer_does_not_delay_another(threads: ThreadPoolExecutor) -> None:
    answered = threading.Event()

    def read(number: int) -> int:
        if number < 10:
            assert answered.wait(30)
        return number

    items = Round(threads, read)
    silent = InFlight(2, 2)
    other = InFlight(2, 2)
    for number in range(20):
        items.add(silent if number < 10 else other, number)
    items.start()
    for arrived, (number, _) in enumerate(items.results(), start=1):
        assert arrived > 10 or number >= 10
        if arrived == 10:
            answered.set()
    assert answered.is_set()


def test_threads_that_are_shut_down_end_the_wait() -> None:
    release = threading.Event()
    pool = ThreadPoolExecutor(1)
    busy = pool.submit(release.wait, 30)
    items = Round(pool, lambda number: number)
    items.add(InFlight(2, 2), 0)
    items.start()
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(CancelledError):
        list(items.results())
    release.set()
    assert busy.result()
