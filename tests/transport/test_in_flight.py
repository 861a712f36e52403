"""How many requests are in flight: by arithmetic, and as a server on a socket counts them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esgvzarr.testing import ThreddsServer
from esgvzarr.testing.faults import SlowsDown
from esgvzarr.transport import Transport
from esgvzarr.transport.in_flight import InFlight


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreddsServer]:
    (tmp_path / "a.nc").write_bytes(b"CDF")
    with ThreddsServer(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def never_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server runs in this process: its work must not count as that of the requests."""
    monkeypatch.setattr("esgvzarr.transport.round._BUSY", 1e9)


def in_flight_to(host: Callable[[int], float], answers: int = 4000) -> list[int]:
    """How many requests are in flight to a host that answers so many at once in so many seconds."""
    flight = InFlight(16, 128)
    limits = []
    for _ in range(answers):
        limits.append(flight.limit)
        flight.answered(time.monotonic(), host(flight.limit))
    return limits


def test_a_host_that_keeps_up_is_asked_more_at_once() -> None:
    limits = in_flight_to(lambda _: 0.1)
    assert limits[0] == 16
    assert limits[16 + 32 + 64] == 128
    assert max(limits) == 128


def test_a_host_that_slows_down_is_not_asked_more_at_once() -> None:
    """No more than the 32 at once that every host was asked before, and that not for long."""
    limits = in_flight_to(lambda at_once: 0.1 * max(1.0, (at_once / 16) ** 2))
    assert max(limits) == 32
    assert statistics.mean(limits[100:]) < 24


def test_a_host_that_refuses_is_asked_less_at_once() -> None:
    flight = InFlight(16, 128)
    flight.refused()
    assert flight.limit == 8
    for _ in range(9):
        flight.refused()
    assert flight.limit == 1
    for _ in range(3):
        flight.answered(time.monotonic(), 0.1)
    assert flight.limit == 3  # one more each time as many answers came as may be in flight


def test_no_more_requests_are_in_flight_than_set(server: ThreddsServer) -> None:
    fast = SlowsDown(0.01, at_once=1000)
    server.fault(fast)
    with Transport(allowed_hosts=[server.host], connections=5) as transport:
        transport.read_heads([server.url_of("a.nc")] * 60, 1)
    assert max(fast.peaks) <= 5


def asked_at_once(server: ThreddsServer, load: SlowsDown, requests: int) -> list[int]:
    """How many requests a server has in hand, whenever one comes."""
    server.fault(load)
    with Transport(allowed_hosts=[server.host]) as transport:
        transport.read_heads([server.url_of("a.nc")] * requests, 1)
    return load.peaks


def test_a_server_that_keeps_up_is_asked_more_at_once(server: ThreddsServer) -> None:
    """More than the 32 at once of a fixed pool."""
    assert max(asked_at_once(server, SlowsDown(0.1, at_once=1000), 300)) > 32


def test_a_server_that_slows_down_beyond_16_is_asked_no_more_than_32_at_once(
    server: ThreddsServer,
) -> None:
    """Its answers take so long that a busy machine makes no difference."""
    peaks = asked_at_once(server, SlowsDown(0.4, at_once=16), 200)
    assert max(peaks) <= 32
    assert statistics.median(peaks[100:]) <= 24
