"""A small server process that forks children for jobs, watches them, and ends them at their limits.

A library that reads files can abort the interpreter, hang, or take all memory. Such work is
therefore done in a child, whose death affects nothing else. The child is forked, because starting
an interpreter and importing the libraries takes longer than many a job. It is forked from this
server and not from the owner of the work, because the owner has threads, which a fork does not
copy.

The owner and the server share one socket of messages. To ask for a child, the owner sends two more
sockets. On the first, the owner and the child communicate. On the second, the server reports how
the child ended, and the owner may set new limits; when the owner closes it, the server kills the
child. When the owner ends, however
it ends, the server kills all children and ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import resource
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from .garbage import collect_rarely
from .messages import arrives
from .open_files import holds_hdf5

_REQUEST = struct.Struct("dQ")
"""Seconds, and bytes of memory, that a child may use."""
_LOOK_S = 0.05
"""Seconds between two checks of the children's memory and time."""
_PAGE = os.sysconf("SC_PAGESIZE")
_PR_SET_PDEATHSIG = 1
_HEAVY = (
    "h5py",
    "netCDF4",
    "zarr",
    "aiohttp",
    "fsspec.implementations.http",
    "dask.base",
    "xarray",
    "kerchunk.hdf",
    "kerchunk.xarray_backend",
    "esgvzarr.settings",
    "esgvzarr.combine",
    "esgvzarr.formats.hdf5",
    "esgvzarr.formats.netcdf3",
    "esgvzarr.output.icechunk",
    "esgvzarr.output.kerchunk_file",
    "esgvzarr.output.parquet",
    "esgvzarr.output.zarr3",
    "esgvzarr.proof",
    "esgvzarr.stage",
)
"""Modules that children need. The server imports them, so that each child need not: a new
interpreter before its first child, a forked server before its second one, because most forked
servers get one job. The import takes about a second of CPU time.
"""


_THREADED = {"icechunk"}
"""Libraries that start threads which Python does not count, and that wait for ever in a forked
process.
"""


class Ending(StrEnum):
    """How a child ended."""

    EXIT = "exit"
    """It ended itself, or another process sent it a signal."""
    TIME = "time"
    """The server killed it at its time limit."""
    MEMORY = "memory"
    """The server killed it at its memory limit."""


@dataclass(frozen=True, slots=True)
class End:
    """What the server reports about a child that ended."""

    ending: Ending
    signal: int
    """The signal that ended it; 0 if none did."""


@dataclass(slots=True)
class _Child:
    pid: int
    owner: socket.socket
    deadline: float
    most_bytes: int
    ending: Ending = Ending.EXIT


class ForkServer:
    """The owner's side. Several threads may ask for children. The server is started for the first
    child.

    Args:
        run_child: a function of a module, which a child calls with its socket to the owner.
    """

    def __init__(self, run_child: Callable[[socket.socket], None]) -> None:
        self._run_child = run_child
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._owner = 0
        self._wait_for_end: Callable[[], object] = lambda: None

    def start_child(self, time_limit_s: float, most_bytes: int) -> tuple[socket.socket, Watch]:
        """Start a child.

        Returns:
            The socket to the child, and a watch that reports its end.
        """
        ours, theirs = socket.socketpair()
        watching, watched = socket.socketpair()
        with theirs, watched:
            request = _REQUEST.pack(time_limit_s, most_bytes)
            handles = [theirs.fileno(), watched.fileno()]
            with self._lock:
                self._send(request, handles)
        return ours, Watch(watching)

    def close(self) -> None:
        """End the server and its children."""
        with self._lock:
            self._let_go()

    def _send(self, request: bytes, handles: Sequence[int]) -> None:
        try:
            socket.send_fds(self._connected(), [request], handles)
        except (BrokenPipeError, ConnectionResetError):  # The server was killed.
            self._let_go()
            socket.send_fds(self._connected(), [request], handles)

    def _connected(self) -> socket.socket:
        if self._control is None or self._owner != os.getpid():
            self._owner = os.getpid()
            self._control, self._wait_for_end = _start(self._run_child)
        return self._control

    def _let_go(self) -> None:
        if self._control is None or self._owner != os.getpid():
            return
        with contextlib.suppress(OSError):  # It has ended.
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        self._control = None
        with contextlib.suppress(ChildProcessError):
            self._wait_for_end()


class Watch:
    """Reports how a child ends. Stopping or closing it kills the child."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told

    def wait(self) -> End:
        """Wait for the end of the child, and return how it ended."""
        said = self._told.recv(256)
        if not said:  # The server was killed, and its children with it.
            return End(Ending.EXIT, signal.SIGKILL)
        words = json.loads(said)
        return End(Ending(words["ending"]), words["signal"])

    def has_ended(self) -> bool:
        """Return whether the child or the server has ended."""
        return arrives(self._told, 0)

    def set_limits(self, time_limit_s: float, most_bytes: int) -> None:
        """Set the limits of the child: seconds from now on, and bytes of memory."""
        with contextlib.suppress(OSError):  # It has ended.
            self._told.send(_REQUEST.pack(time_limit_s, most_bytes))

    def stop(self) -> None:
        """Kill the child, if it still runs, while another thread may wait for its end."""
        with contextlib.suppress(OSError):  # it has ended
            self._told.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Kill the child, if it still runs."""
        self._told.close()


def _start(
    run_child: Callable[[socket.socket], None],
) -> tuple[socket.socket, Callable[[], object]]:
    """Return the socket to a new server, and a function that waits for its end.

    A process without other threads forks the server, with all modules that it has imported.
    Otherwise the server is a new interpreter, because a fork could wait for ever for a lock that a
    thread held. The same is done if an HDF5 file is open: a fork would treat it as open too, and
    read zeros from it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        threaded = any(sys.modules.get(name) for name in _THREADED)
        alone = threading.active_count() == 1 and not threaded and not holds_hdf5()
        wait_for_end = _fork(theirs, run_child) if alone else _spawn(theirs, run_child)
    return ours, wait_for_end


def _fork(
    theirs: socket.socket, run_child: Callable[[socket.socket], None]
) -> Callable[[], object]:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python warns of the threads of OpenBLAS, which stops them itself before a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return partial(os.waitpid, pid, 0)
    try:
        gc.freeze()
        serve(theirs.detach(), run_child, import_before=2)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(1)


def _spawn(
    theirs: socket.socket, run_child: Callable[[socket.socket], None]
) -> Callable[[], object]:
    handle = theirs.fileno()
    name = run_child.__name__
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from {run_child.__module__} import {name}; "
        f"from {__name__} import serve; serve({handle}, {name}, import_before=1)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], pass_fds=[handle], stdin=subprocess.DEVNULL
    )
    return process.wait


def serve(handle: int, run_child: Callable[[socket.socket], None], *, import_before: int) -> None:
    """Fork children until the owner has ended.

    Args:
        handle: the socket to the owner.
        run_child: a function that a child calls with its socket to the owner.
        import_before: number of the child before which the modules for children are imported.
    """
    collect_rarely()
    server = _Server(handle, run_child, import_before)
    server.run()
    os._exit(0)  # The kernel closes what the server has open.


class _Server:
    """The loop of the server."""

    def __init__(
        self, handle: int, run_child: Callable[[socket.socket], None], import_before: int
    ) -> None:
        _keep_only(handle)
        self._control = socket.socket(fileno=handle)
        self._run_child = run_child
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}
        self._started = 0
        self._import_before = import_before
        self._woken = _wake_when_children_end()
        self._selector.register(self._control, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def run(self) -> None:
        """Run until the owner has ended."""
        while True:
            is_asked = self._watch_children(_LOOK_S if self._children else None)
            if is_asked and not self._answer():
                self._kill_all()
                return

    def _watch_children(self, timeout_s: float | None) -> bool:
        """Kill the children that the owner gave up or that are at a limit, and tell of those that
        ended.

        Returns:
            Whether the owner asks for a child, or is gone.
        """
        is_asked = False
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._control:
                is_asked = True
            elif key.fileobj is self._woken:
                self._woken.recv(4096)
            else:
                self._hear(key.data)
        self._reap()
        self._look()
        return is_asked

    def _hear(self, child: _Child) -> None:
        """Set new limits, or kill the child if the owner has closed its socket."""
        limits = b""
        with contextlib.suppress(ConnectionResetError):  # The owner did not read our report.
            limits = child.owner.recv(_REQUEST.size)
        if limits:
            time_limit_s, child.most_bytes = _REQUEST.unpack(limits)
            child.deadline = time.monotonic() + time_limit_s
            return
        self._selector.unregister(child.owner)
        if self._children.get(child.pid) is child:
            os.kill(child.pid, signal.SIGKILL)
        else:
            child.owner.close()

    def _answer(self) -> bool:
        """Fork a child on request of the owner; return False if the owner has ended."""
        request, handles, _, _ = socket.recv_fds(self._control, _REQUEST.size, 2)
        if not request:
            return False
        time_limit_s, most_bytes = _REQUEST.unpack(request)
        job = socket.socket(fileno=handles[0])
        owner = socket.socket(fileno=handles[1])
        self._started += 1
        if self._started == self._import_before:
            self._import_what_children_import()
        server = os.getpid()
        pid = os.fork()
        if not pid:
            self._be_a_child(job, server)
        job.close()
        child = _Child(pid, owner, time.monotonic() + time_limit_s, most_bytes)
        self._children[pid] = child
        self._selector.register(owner, selectors.EVENT_READ, child)
        return True

    def _import_what_children_import(self) -> None:
        """Import, which takes a second or more, and watch the first child meanwhile."""
        for _ in _imports():
            if self._watch_children(0) and self._is_alone():
                return

    def _is_alone(self) -> bool:
        """Return whether the owner has ended."""
        try:
            return not self._control.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False

    def _be_a_child(self, job: socket.socket, server: int) -> None:
        """In the new child: run the job, and end."""
        try:
            _die_with(server)
            _offer_to_die_first()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            _keep_only(job.fileno())
            self._run_child(job)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(0)

    def _reap(self) -> None:
        """Report to the owner each child that ended. Its socket stays open as long as the owner's:
        the owner would lose the report if the socket were closed with limits still unread.
        """
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            child = self._children.pop(pid)
            ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            said = json.dumps({"ending": child.ending, "signal": ended_by})
            with contextlib.suppress(OSError):  # The owner no longer listens.
                child.owner.send(said.encode())
            if child.owner not in self._selector.get_map():  # The owner asked for the end.
                child.owner.close()

    def _look(self) -> None:
        """Kill the children that have reached a limit."""
        now = time.monotonic()
        for child in self._children.values():
            if child.ending is not Ending.EXIT:
                continue
            if now > child.deadline:
                child.ending = Ending.TIME
            elif own_memory(child.pid) > child.most_bytes:
                child.ending = Ending.MEMORY
            else:
                continue
            os.kill(child.pid, signal.SIGKILL)

    def _kill_all(self) -> None:
        """Kill the children, and wait for their ends, so that their CPU time is counted."""
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for pid in self._children:
            os.waitpid(pid, 0)


def own_memory(pid: int) -> int:
    """Return the bytes of memory that a process uses, without pages of files.

    This is the memory that the machine loses. Limits of the kernel (``RLIMIT_AS``, ``RLIMIT_DATA``)
    also count memory that is reserved and never touched, and libhdf5 reports such a failure as
    damage to the file.
    """
    try:
        with open(f"/proc/{pid}/statm") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except (OSError, ValueError):  # It has ended.
        return 0
    return (resident - shared) * _PAGE


def _keep_only(handle: int) -> None:
    """Close all files except standard output and error, and this one. Standard input is empty.

    Copies of open files would hold the owner's locks. Their numbers stay in use, because copied
    objects may still close them. Numbers above a limit that was lowered since cannot be used again.
    """
    empty = os.open(os.devnull, os.O_RDONLY)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number >= limit:
            os.close(number)
        elif number not in (1, 2, handle, empty):
            os.dup2(empty, number, inheritable=number == 0)


def _wake_when_children_end() -> socket.socket:
    """Return a socket that becomes readable when a child has ended.

    Signals that a terminal sends to all its processes are left to the owner, whose end ends the
    server.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    reading, writing = socket.socketpair()
    writing.setblocking(False)  # noqa: FBT003  (the signature of the standard library)
    signal.set_wakeup_fd(writing.detach(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reading


def _die_with(server: int) -> None:
    """Let the kernel kill this child when the server ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # The server has ended already.
        os._exit(1)


def _offer_to_die_first() -> None:
    """If the machine runs out of memory, let the kernel kill this child, and not its owner."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _imports() -> Iterator[None]:
    """Import what children import, and yield after each import."""
    for name in _HEAVY:
        # The child reports the missing module, if it needs it.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
        yield
    with contextlib.suppress(ImportError):
        engines = importlib.import_module("xarray.backends")
        engines.list_engines()  # xarray imports all of them when it first opens a dataset.
    yield
    with contextlib.suppress(ImportError):
        importlib.import_module("esgvzarr.proof.stack").warm_up()
    gc.freeze()  # Children share these pages as long as no garbage collection writes to them.
