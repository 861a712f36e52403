"""Standard output and standard error while a command runs; either may be full or closed.

Results go to standard output: if they cannot be printed, the command has failed. Messages go to
standard error: if they cannot be printed, the command goes on, and only its exit status tells how
it ended.
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
    """The program that reads standard output has ended, as ``head`` does after ten lines."""


@contextmanager
def results_printed() -> Iterator[None]:
    """Watch standard output while a command runs, and flush it at the end.

    Raises:
        StoreError: ``store-stdout``, standard output cannot be written.
        PipeClosedError: the reader of standard output has ended.
    """
    results = _ResultStream(sys.stdout or _nowhere())
    with redirect_stdout(results):
        try:
            yield
        except SystemExit:  # argparse printed a help text.
            results.flush()
            raise
        results.flush()


@contextmanager
def messages_shown() -> Iterator[None]:
    """Let a command go on when standard error cannot be written.

    A program that calls ``main`` gets the logger of esgvzarr back without the handler of this
    command's standard error.
    """
    messages = _MessageStream(sys.stderr or _nowhere())
    with redirect_stderr(messages), _logger_given_back(), _icechunk_quiet():
        yield


@contextmanager
def _icechunk_quiet() -> Iterator[None]:
    """Silence Icechunk's warning that local directories are not safe for several writers.

    esgvzarr holds a lock on a repository while it writes. If ``ICECHUNK_LOG`` is set, or a program
    that calls ``main`` has imported Icechunk, the filter of that program stays.
    """
    if _ICECHUNK_LOG in os.environ or "icechunk" in sys.modules:
        yield
        return
    os.environ[_ICECHUNK_LOG] = _QUIET_ON_DISKS  # Icechunk reads this variable when it is imported.
    try:
        yield
    finally:
        os.environ.pop(_ICECHUNK_LOG, None)
        imported = sys.modules.get("icechunk")
        if imported is not None:
            imported.set_logs_filter(None)  # Back to the filter that the environment states.


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
    """A text stream with all attributes of the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _ResultStream(_WatchedStream):
    """Standard output; a failure to write is an error of the command."""

    def write(self, text: str) -> int:
        """Write ``text``, and return the number of characters written."""
        try:
            return self._stream.write(text)
        except OSError as error:
            raise self._failure(error) from error

    def flush(self) -> None:
        """Flush the stream."""
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
            expected="a device with room for all that the command prints",
            todo="The printed output is incomplete. Run the command again with enough room.",
            code="store-stdout",
        )


class _MessageStream(_WatchedStream):
    """Standard error; failures to write are ignored, because there is no stream left to report them
    on.
    """

    def write(self, text: str) -> int:
        """Write ``text`` if possible, and return its length."""
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush the stream if possible."""
        try:
            self._stream.flush()
        except OSError:
            return


def _nowhere() -> TextIO:
    """Return a stream that stands for one that was closed before the command began (``>&-``)."""
    return open(os.devnull, "w")  # It stays open as long as the process runs.


def _forget(stream: TextIO) -> None:
    """Drop what a stream still buffers. Python would try to write it again at exit, fail again, and
    print an error.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
        stream.flush()
    finally:
        os.close(nowhere)
