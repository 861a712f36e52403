"""Tests for `esgvzarr.workers`: a process that succeeded does the next job."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from esgvzarr.errors import EsgvzarrError, ProofError, TransportError, WorkerError
from esgvzarr.workers import Limits, in_a_worker

LIMITS = Limits(time_s=30, memory_mib=512)
_left_behind: list[bytes] = []


def _refuse() -> None:
    raise ProofError("x.json", "is gone")


def _stumble() -> None:
    raise ZeroDivisionError("a fault")


def _leave_behind(count: int) -> int:
    _left_behind.append(b"x" * count)
    return os.getpid()


def _die_if_something_is_left() -> int:
    if _left_behind:
        ctypes.CDLL(None).abort()
    return os.getpid()


def _take_too_much_if_something_is_left() -> int:
    if _left_behind:
        raise MemoryError("9 GiB for an array")
    return os.getpid()


def _stumble_if_something_is_left() -> int:
    if _left_behind:
        _stumble()
    return os.getpid()


def _open_no_more_if_something_is_left() -> int:
    if _left_behind:
        raise TransportError("x.nc", "may open no more files", code="transport-files-limit")
    return os.getpid()


class _Connections:
    """Connections that a job is sent, and that record their end."""

    def __enter__(self) -> None:
        _left_behind.append(b"opened")

    def __exit__(self, *_: object) -> None:
        _left_behind.append(b"closed")


def _use(_: _Connections) -> int:
    return os.getpid()


def _what_is_left() -> tuple[int, list[bytes]]:
    return os.getpid(), _left_behind


def _wait_too_long() -> None:
    time.sleep(60)


def _wait(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def _use_memory(count: int) -> None:
    held = b"x" * count
    time.sleep(60)
    del held


def test_a_process_that_succeeded_does_the_next_job() -> None:
    first = in_a_worker(os.getpid, limits=LIMITS)
    assert in_a_worker(os.getpid, limits=LIMITS) == first


@pytest.mark.parametrize("fail", [_refuse, _stumble])
def test_a_process_that_failed_does_no_other_job(fail: Callable[[], None]) -> None:
    first = in_a_worker(os.getpid, limits=LIMITS)
    with pytest.raises(EsgvzarrError):
        in_a_worker(fail, limits=LIMITS)
    assert in_a_worker(os.getpid, limits=LIMITS) != first


@pytest.mark.parametrize(
    "fail",
    [
        _die_if_something_is_left,
        _take_too_much_if_something_is_left,
        _stumble_if_something_is_left,
        _open_no_more_if_something_is_left,
    ],
)
def test_a_new_process_repeats_a_job_that_failed_because_of_an_earlier_one(
    fail: Callable[[], int],
) -> None:
    first = in_a_worker(_leave_behind, 1, limits=LIMITS)
    assert in_a_worker(fail, limits=LIMITS) != first


def test_connections_of_a_job_end_with_it() -> None:
    first = in_a_worker(_use, _Connections(), limits=LIMITS)
    assert in_a_worker(_what_is_left, limits=LIMITS) == (first, [b"closed"])


def test_a_process_does_no_job_in_another_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries read the environment once: OpenSSL its certificate authorities, HDF5 its
    plugins.
    """
    first = in_a_worker(os.getpid, limits=LIMITS)
    monkeypatch.setenv("SSL_CERT_FILE", "/other.pem")
    assert in_a_worker(os.getpid, limits=LIMITS) != first


def test_a_process_that_keeps_much_memory_does_no_other_job() -> None:
    first = in_a_worker(_leave_behind, 300 * 2**20, limits=LIMITS)
    assert in_a_worker(os.getpid, limits=LIMITS) != first


def test_each_job_has_its_own_limit_of_time() -> None:
    first = in_a_worker(os.getpid, limits=Limits(time_s=0.5))
    assert in_a_worker(_wait, 1.0, limits=LIMITS) == first
    with pytest.raises(WorkerError, match=r"was ended after 0\.3 s"):
        in_a_worker(_wait_too_long, limits=Limits(time_s=0.3))


def test_each_job_has_its_own_limit_of_memory() -> None:
    in_a_worker(os.getpid, limits=LIMITS)
    with pytest.raises(WorkerError) as caught:
        in_a_worker(_use_memory, 200 * 2**20, limits=Limits(time_s=30, memory_mib=100))
    assert caught.value.code == "worker-memory"


def test_a_process_that_was_killed_while_it_waited_is_replaced() -> None:
    first = in_a_worker(os.getpid, limits=LIMITS)
    os.kill(first, signal.SIGKILL)
    while os.path.exists(f"/proc/{first}"):
        time.sleep(0.01)
    assert in_a_worker(os.getpid, limits=LIMITS) != first


_FORKED = """
import os
from esgvzarr.workers import Limits, in_a_worker
first = in_a_worker(os.getpid, limits=Limits())
if os.fork() == 0:
    same = in_a_worker(os.getpid, limits=Limits()) == first
    os._exit(1 if same else 0)
_, status = os.wait()
assert status == 0, "a forked process took a process that its parent owns"
assert in_a_worker(os.getpid, limits=Limits()) == first
"""


def test_a_forked_process_has_processes_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", _FORKED], check=True)


_SLOW_OWNER = """
import os, time
from esgvzarr import worker_process, workers
worker_process.WAITS_S = 0.1
first = workers.in_a_worker(os.getpid, limits=workers.Limits())
while os.path.exists(f"/proc/{first}"):
    time.sleep(0.01)
assert workers.in_a_worker(os.getpid, limits=workers.Limits()) != first
"""


def test_a_process_without_a_job_ends() -> None:
    subprocess.run([sys.executable, "-c", _SLOW_OWNER], check=True, timeout=60)
