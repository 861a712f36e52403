"""What a program says, and how it ends, after Ctrl-C."""

from __future__ import annotations

import sys

STATUS = 130
"""The exit status of an interrupted program, as shells have it: 128 and the number of SIGINT."""


def end_quietly() -> int:
    """Say that the program was interrupted, and let Python end it with an exit status.

    Python kills itself by SIGINT at its end if the interrupt passed through ``exec`` of a text, as
    of dataclasses and named tuples that are being defined, even though it was caught (3.11 to 3.13,
    ``run_eval_code_obj`` in ``pythonrun.c``). It forgets the interrupt when it runs another text.

    Returns:
        The exit status.
    """
    exec("")  # noqa: S102
    sys.stderr.write("esgvzarr: interrupted\n")
    return STATUS
