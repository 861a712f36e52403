"""Tests for `esgvzarr.workers` and `esgvzarr.fork_server`: a wall around each dataset."""

from __future__ import annotations

import copyreg
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from esgvzarr.errors import Fault, ProofError, WorkerError
from esgvzarr.testing.processes import hear_ctrl_c
from esgvzarr.workers import Limits, Worker, in_a_worker

LIMITS = Limits(time_s=30, memory_mib=512)


def _double(number: int) -> int:
    return 2 * number


def _refuse() -> None:
    raise ProofError("x.json", "is gone") from FileNotFoundError("x.json")


def _stumble() -> None:
    raise ZeroDivisionError("a fault")


def _abort() -> None:
    ctypes.CDLL(None).abort()


def _crash() -> None:
    ctypes.string_at(1)


def _leave() -> None:
    sys.exit(3)


def _hang() -> None:
    time.sleep(60)


def _fill_memory() -> int:
    return len(bytearray(os.urandom(1)) * 2**31)


def _reserve_memory() -> int:
    return len(bytes(2**31))


def _want_too_much() -> None:
    raise MemoryError("9 GiB for an array")


def _tell(words: str, *, progress: Callable[[str], None]) -> str:
    progress(f"reading {words}")
    return words


def _hang_at(words: str, *, progress: Callable[[str], None]) -> None:
    progress(words)
    _hang()


def _log_a_warning() -> None:
    logging.getLogger("esgvzarr.formats").warning("%s is odd", "x.nc")


def _surroundings() -> tuple[str, str | None, str]:
    return os.getcwd(), os.environ.get("ESGVZARR_TEST"), sys.path[-1]


def _process() -> tuple[int, int]:
    return os.getpid(), os.getppid()


def _open_files() -> list[str]:
    names = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [os.readlink(name) for name in names if os.path.exists(name)]


def test_a_function_is_called_in_another_process_and_its_result_returned() -> None:
    process, server = in_a_worker(_process, limits=LIMITS)
    assert len({os.getpid(), server, process}) == 3
    assert in_a_worker(_double, 21, limits=LIMITS) == 42


def test_a_large_result_arrives_whole() -> None:
    assert in_a_worker(bytes, 40 * 2**20, limits=LIMITS) == bytes(40 * 2**20)


def test_an_error_with_a_code_is_raised_with_its_cause() -> None:
    with pytest.raises(ProofError, match="is gone") as caught:
        in_a_worker(_refuse, limits=LIMITS)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_an_error_is_raised_without_a_cause_that_cannot_be_sent() -> None:
    with pytest.raises(ProofError, match="is gone") as caught:
        in_a_worker(_refuse_with_a_cause_that_cannot_be_sent, limits=LIMITS)
    assert caught.value.__cause__ is None


def _refuse_with_a_cause_that_cannot_be_sent() -> None:
    """As aiohttp's errors are. dask has tblib, if that is installed, pickle errors with causes."""
    copyreg.pickle(ProofError, _with_its_cause)  # type: ignore[arg-type]
    raise ProofError("x.json", "is gone") from ZeroDivisionError(threading.Lock())


def _with_its_cause(error: ProofError) -> tuple[object, ...]:
    return ProofError, (error.subject, error.found), {"__cause__": error.__cause__}


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        (_stumble, "worker-failed", "ZeroDivisionError: a fault"),
        (_leave, "worker-failed", "SystemExit: 3"),
        (_abort, "worker-died", "SIGABRT"),
        (_crash, "worker-died", "SIGSEGV"),
        (_fill_memory, "worker-memory", "was ended because it took too much memory"),
        (_want_too_much, "worker-memory", "9 GiB for an array"),
    ],
)
def test_whatever_happens_becomes_an_error_with_a_code(
    function: Callable[[], object], code: str, said: str
) -> None:
    with pytest.raises(WorkerError, match=said) as caught:
        in_a_worker(function, limits=LIMITS)
    assert (caught.value.code, caught.value.retryable) == (code, False)
    assert in_a_worker(_double, 1, limits=LIMITS) == 2


def test_a_hang_ends_at_the_time_limit_and_says_at_what() -> None:
    with pytest.raises(WorkerError, match=r"was ended after 2 s while proving") as caught:
        in_a_worker(_hang_at, "proving", limits=Limits(2), progress=lambda _: None)
    assert caught.value.code == "worker-time"
    assert "worker_time_s" in str(caught.value)


def test_memory_that_is_reserved_and_not_used_does_not_count() -> None:
    """Limits of the kernel would count it."""
    assert in_a_worker(_reserve_memory, limits=LIMITS) == 2**31


def test_a_process_that_a_stranger_kills_may_be_tried_again() -> None:
    told: list[int] = []
    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(
            in_a_worker, _tell_process_and_hang, limits=LIMITS, progress=told.append
        )
        assert _soon(lambda: len(told) == 1)
        os.kill(told[0], signal.SIGKILL)
        error = job.exception()
    assert isinstance(error, WorkerError)
    assert (error.code, error.retryable) == ("worker-died", True)


def test_a_thread_that_waits_for_a_process_hears_that_it_was_stopped() -> None:
    told: list[int] = []
    with Worker(LIMITS) as worker, ThreadPoolExecutor(1) as threads:
        job = threads.submit(worker.run, _tell_process_and_hang, progress=told.append)
        assert _soon(lambda: len(told) == 1)
        worker.stop()
        assert isinstance(job.exception(), WorkerError)


def test_a_process_in_the_middle_of_its_job_has_ended_when_it_is_closed() -> None:
    """Else it could write again what its owner removes."""
    told: list[int] = []

    def stop_server(number: int) -> None:
        told.append(number)
        if len(told) == 2:
            os.kill(number, signal.SIGSTOP)
            threading.Timer(0.2, os.kill, (number, signal.SIGCONT)).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_a_worker(_tell_both_processes_and_hang, limits=LIMITS, progress=stop_server)
    assert not _is_alive(told[0])


def test_a_process_gets_ready_before_its_job_is_known() -> None:
    with Worker(LIMITS) as first, Worker(LIMITS) as second:
        assert second.run(_double, 4) == 8
        assert first.run(_double, 3) == 6


def _tell_process_and_hang(*, progress: Callable[[int], None]) -> None:
    progress(os.getpid())
    _hang()


def test_progress_and_logs_are_heard_here(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    assert in_a_worker(_tell, "x.nc", limits=LIMITS, progress=told.append) == "x.nc"
    assert told == ["reading x.nc"]
    in_a_worker(_log_a_warning, limits=LIMITS)
    assert "x.nc is odd" in caplog.text


def test_a_fault_is_logged_with_its_place(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(WorkerError) as caught:
        in_a_worker(_stumble, limits=LIMITS)
    assert "in _stumble" in caplog.text
    assert caught.value.fault is Fault.OURS


def test_surroundings_are_those_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server was started before."""
    in_a_worker(_double, 1, limits=LIMITS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESGVZARR_TEST", "now")
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.path.append("/somewhere")
    try:
        found = in_a_worker(_surroundings, limits=LIMITS)
    finally:
        sys.path.remove("/somewhere")
    assert found == (str(tmp_path), "now", "/somewhere")


def test_no_open_file_of_the_owner_is_held(tmp_path: Path) -> None:
    """A copy would hold the owner's locks."""
    with open(tmp_path / "locked", "w"):
        held = in_a_worker(_open_files, limits=LIMITS)
    assert not [name for name in held if "locked" in name]


def test_jobs_run_side_by_side(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(in_a_worker, _meet, tmp_path, limits=LIMITS) for _ in range(4)]
        assert [job.result() for job in jobs] == [True] * 4


def _meet(place: Path) -> bool:
    """Whether three other processes come to the same place while this one waits."""
    (place / str(os.getpid())).touch()
    return _soon(lambda: len(list(place.iterdir())) == 4)


def test_in_a_worker_of_a_worker_is_that_worker() -> None:
    assert len(set(in_a_worker(_pids_of_both, limits=LIMITS))) == 1


_INTERRUPTED_AT_ITS_END = """
import os, signal, sys, threading, time
from esgvzarr.workers import Limits, in_a_worker

def interrupt(main=threading.main_thread().ident):
    while sys._current_frames()[main].f_code.co_name != "_let_go":
        time.sleep(0.001)
    signal.pthread_kill(main, signal.SIGINT)
    os.kill(server, signal.SIGCONT)

signal.signal(signal.SIGINT, signal.default_int_handler)
server = in_a_worker(os.getppid, limits=Limits())
os.kill(server, signal.SIGSTOP)
threading.Thread(target=interrupt, daemon=True).start()
"""


def test_ctrl_c_while_python_waits_for_the_server_to_end_prints_nothing() -> None:
    command = [sys.executable, "-c", _INTERRUPTED_AT_ITS_END]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _pids_of_both() -> tuple[int, int]:
    return os.getpid(), in_a_worker(os.getpid, limits=LIMITS)


_OWNER = """
import os, sys, threading, time
from esgvzarr.testing.processes import hear_ctrl_c
from esgvzarr.workers import Limits, Worker, in_a_worker
sys.path.insert(0, {tests!r})
from test_workers import _tell_process_and_hang
{threads}
in_a_worker(_tell_process_and_hang, limits=Limits(), progress=lambda pid: print(pid, flush=True))
"""
_THREAD = "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"


@pytest.mark.parametrize("threads", ["", _THREAD], ids=["copied", "new interpreter"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_owner(number: signal.Signals, threads: str) -> None:
    program = _OWNER.format(tests=str(Path(__file__).parent), threads=threads)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hear_ctrl_c,
    ) as owner:
        assert owner.stdout
        worker = int(owner.stdout.readline())
        assert _is_alive(worker)
        owner.send_signal(number)
        owner.wait(20)
    assert _soon(lambda: not _is_alive(worker))


def test_a_worker_whose_owner_is_gone_ends_without_a_word() -> None:
    """The server may be busy with imports, and kill its children later."""
    program = _OWNER.format(tests=str(Path(__file__).parent), threads="").replace(
        "_tell_process_and_hang", "_tell_both_processes_for_ever"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout
        assert owner.stderr
        worker, server = int(owner.stdout.readline()), int(owner.stdout.readline())
        os.kill(server, signal.SIGSTOP)
        owner.kill()
        try:
            assert _soon(lambda: not _is_alive(worker))
        finally:
            os.kill(server, signal.SIGCONT)
        assert owner.stderr.read() == ""


def _tell_both_processes_for_ever(*, progress: Callable[[int], None]) -> None:
    while True:
        progress(os.getpid())
        progress(os.getppid())


def test_workers_end_with_the_server() -> None:
    told: list[int] = []
    with ThreadPoolExecutor(1) as threads:
        job = threads.submit(
            in_a_worker, _tell_both_processes_and_hang, limits=LIMITS, progress=told.append
        )
        assert _soon(lambda: len(told) == 2)
        os.kill(told[1], signal.SIGKILL)
        assert _soon(lambda: not _is_alive(told[0]))
        assert isinstance(job.exception(), WorkerError)
    assert in_a_worker(_double, 2, limits=LIMITS) == 4


def _tell_both_processes_and_hang(*, progress: Callable[[int], None]) -> None:
    progress(os.getpid())
    progress(os.getppid())
    _hang()


def _is_alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def _soon(done: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.02)
    return False


def test_this_module_needs_no_thread_of_its_own() -> None:
    before = threading.active_count()
    in_a_worker(_double, 1, limits=LIMITS)
    assert threading.active_count() == before


def test_files_above_a_limit_that_was_lowered_end_no_worker() -> None:
    """As ``ulimit -n 60`` does it in a shell that holds a file with a higher number."""
    program = (
        "import os, resource, sys\n"
        "from esgvzarr.workers import Limits, Worker, in_a_worker\n"
        "os.dup2(os.open(os.devnull, os.O_RDONLY), 100)\n"
        "_, most = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (60, most))\n"
        "sys.exit(in_a_worker(abs, -7, limits=Limits(time_s=30, memory_mib=512)))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_a_limit_of_open_files_that_is_too_low_is_named() -> None:
    """As ``ulimit -n 20`` does it; libraries that could not be imported were blamed on the data."""
    program = (
        "import resource\n"
        "from esgvzarr.errors import WorkerError\n"
        "from esgvzarr.workers import Limits, Worker, in_a_worker\n"
        "_, most = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (20, most))\n"
        "try:\n"
        "    in_a_worker(abs, -7, limits=Limits())\n"
        "except WorkerError as error:\n"
        "    print(error.code, error)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("worker-files the worker process: may have 20 files open")
    assert "ulimit -n" in done.stdout


_IN_A_CLOSED_DIRECTORY = """
import os, sys
from pathlib import Path
from closed import closed
from esgvzarr.workers import Limits, in_a_worker
os.chdir(sys.argv[1])
with closed(Path(sys.argv[1])):
    print(in_a_worker(os.getcwd, limits=Limits()))
"""
_IN_A_REMOVED_DIRECTORY = """
import os, sys
from esgvzarr.workers import Limits, in_a_worker
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
in_a_worker(os.getpid, limits=Limits())
print(sys.argv[1])
"""


@pytest.mark.parametrize("script", [_IN_A_CLOSED_DIRECTORY, _IN_A_REMOVED_DIRECTORY])
def test_processes_work_in_a_directory_that_may_not_be_entered(script: str, tmp_path: Path) -> None:
    """As with ``sudo -u`` in the home directory of root."""
    directory = tmp_path / "here"
    directory.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", script, str(directory)],
        env={**os.environ, "PYTHONPATH": os.path.dirname(__file__)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert ended.stdout.strip() == str(directory)
