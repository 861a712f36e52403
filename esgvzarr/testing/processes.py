"""Servers that are separate programs: they are started on a free port of the loopback, and ended
with their context.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_START_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port of 127.0.0.1 on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def hear_ctrl_c() -> None:
    """For ``preexec_fn``: let SIGINT end the program, also if the tests run in the background of a
    shell, which ignores it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(
    command: list[str], log: Path, stack: ExitStack, *, stop: signal.Signals, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a program that ends with the stack; ``options`` are those of ``subprocess.Popen``."""
    output = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options
    )

    def end() -> None:
        process.send_signal(stop)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(end)
    return process


def wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server answers; if it does not, raise an error with the end of its log."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(
                f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-2000:]}"
            )
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Whether a process accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
