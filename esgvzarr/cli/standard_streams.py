"""Standard output and standard error while a command runs, which may be full or closed.

Results go to standard output: a command that cannot print them has failed. Messages go to standard
error: a command that cannot print them goes on, and its exit status says how it ended.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

from ..errors import StoreError

_ICECHUNK_LOG = "ICECHUNK_LOG"
_QUIET_ON_DISKS = "warn,icechunk_arrow_object_store=error,icechunk_storage::readback=error"
"""The modules of Icechunk that warn of local directories."""


class PipeClosedError(Exception):
    """The program that read standard output has ended, as ``head`` does after ten lines."""


@contextmanager
def results_printed() -> Iterator[None]:
    """Watch standard output while a command runs, and write out what it still holds at the end.

    Raises:
        StoreError: ``store-stdout``, standard output cannot be written.
        PipeClosedError: the reader of standard output has ended.
    """
    results = _ResultStream(sys.stdout or _nowhere())
    with redirect_stdout(results):
        try:
            yield
        except SystemExit:  # argparse printed a help text
            results.flush()
            raise
        results.flush()


@contextmanager
def messages_shown() -> Iterator[None]:
    """Let a command go on when standard error cannot be written. A program that calls ``main`` gets
    the logger of esgvzarr back as it was, without a handler of this command's standard error.
    """
    messages = _MessageStream(sys.stderr or _nowhere())
    with redirect_stderr(messages), _logger_given_back(), _icechunk_quiet():
        yield


@contextmanager
def _icechunk_quiet() -> Iterator[None]:
    """Let Icechunk say nothing of what it always says of local directories: that they are not safe
    for several writers. Ours hold a claim. Where ``ICECHUNK_LOG`` is set, or a program that calls
    ``main`` has imported Icechunk, its own filter stays.
    """
    if _ICECHUNK_LOG in os.environ or "icechunk" in sys.modules:
        yield
        return
    os.environ[_ICECHUNK_LOG] = _QUIET_ON_DISKS  # Icechunk reads it when it is imported
    try:
        yield
    finally:
        os.environ.pop(_ICECHUNK_LOG, None)
        imported = sys.modules.get("icechunk")
        if imported is not None:
            imported.set_logs_filter(None)  # as the environment has it now


@contextmanager
def _logger_given_back() -> Iterator[None]:
    logger = logging.getLogger("esgvzarr")
    handlers = list(logger.handlers)
    level = logger.level
    propagate = logger.propagate
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


class _WatchedStream:
    """A text stream with all attributes of another one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _ResultStream(_WatchedStream):
    """Standard output, whose failures are errors of the command."""

    def write(self, text: str) -> int:
        """Write ``text``, and return how many characters were taken."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._failure(error) from error

    def flush(self) -> None:
        """Write out what is held in memory."""
        try:
            self._stream.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> Exception:
        _forget(self._stream)
        if isinstance(error, BrokenPipeError):
            return PipeClosedError()
        return StoreError(
            "standard output",
            f"cannot be written: {error.strerror}",
            expected="room for all that the command prints",
            todo="What was printed is not whole. Run the command again, with room for it.",
            code="store-stdout",
        )


class _MessageStream(_WatchedStream):
    """Standard error, whose failures nothing can tell of."""

    def write(self, text: str) -> int:
        """Write ``text`` if that can be done, and return its length."""
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Write out what is held in memory, if that can be done."""
        try:
            self._stream.flush()
        except OSError:
            return


def _nowhere() -> TextIO:
    """What stands for a stream that was closed before the command began (``>&-``)."""
    return open(os.devnull, "w")  # it stays open as long as the process


def _forget(stream: TextIO) -> None:
    """Drop what a stream holds in memory: Python would try again to write it when it ends, fail
    again, and print that.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
        stream.flush()
    finally:
        os.close(nowhere)
