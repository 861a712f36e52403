"""Messages between a process and its workers: pickled objects, each after its length in bytes."""

from __future__ import annotations

import pickle
import select
import socket
import struct
from typing import Any

_LENGTH = struct.Struct("Q")


def send(to: socket.socket, message: object) -> None:
    """Send one message.

    Raises:
        BrokenPipeError, ConnectionResetError: the other process has ended.
    """
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    to.sendall(_LENGTH.pack(len(body)))
    to.sendall(body)


def receive(source: socket.socket) -> Any:
    """Return the next message; None if the other process has ended."""
    head = _read(source, _LENGTH.size)
    if head is None:
        return None
    body = _read(source, *_LENGTH.unpack(head))
    return None if body is None else pickle.loads(body)  # noqa: S301  (our own process)


def arrives(source: socket.socket, within_s: float) -> bool:
    """Wait for the next message. Return whether it, or the end of the other process, is there."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _read(source: socket.socket, count: int) -> bytearray | None:
    """Return ``count`` bytes; None if the stream ends before."""
    found = bytearray(count)
    rest = memoryview(found)
    while rest:
        try:
            arrived = source.recv_into(rest)
        except ConnectionResetError:
            return None
        if not arrived:
            return None
        rest = rest[arrived:]
    return found
