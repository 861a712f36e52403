"""The exit statuses of commands."""

from __future__ import annotations

from enum import IntEnum

from ..interruption import STATUS


class ExitStatus(IntEnum):
    """The exit status of ``esgvzarr``, for shells and schedulers."""

    DONE = 0
    REFUSED = 1
    """Something was refused or failed; the last line on standard error says why."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    INTERRUPTED = STATUS
    """Ctrl-C ended the command."""
    PIPE_CLOSED = 141
    """The program that read the output has ended, as in ``esgvzarr status | head``."""
