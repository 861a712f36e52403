"""``python -m esgvzarr``, and the program ``esgvzarr``: the command line.

Ctrl-C while the command line is imported, or while Python ends, equals Ctrl-C during a
command.
"""

from __future__ import annotations

import atexit
import gc
import signal
import sys

from .interruption import end_quietly


def program() -> None:
    """Run the command of this process, and end the process with its exit status."""
    # Python runs these last, in reverse order: what the process did, and its status, stand then.
    atexit.register(gc.freeze)  # Otherwise Python searches all modules for garbage while it ends.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        from .cli import program as run

        run()
    except KeyboardInterrupt:
        sys.exit(end_quietly())


if __name__ == "__main__":
    program()
