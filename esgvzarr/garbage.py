"""How often Python's garbage collector runs, in commands and in the processes of datasets."""

from __future__ import annotations

import gc

_RARELY = 10_000
"""The collector runs after this many new objects. By Python's default of 700 it would run a
thousand times while a process imports its libraries and compares one dataset. Imported modules are
never freed, and there are few other cycles.
"""


def collect_rarely() -> tuple[int, int, int]:
    """Let the garbage collector run less often.

    Returns:
        The earlier thresholds, as arguments of ``gc.set_threshold``.
    """
    before = gc.get_threshold()
    gc.set_threshold(_RARELY, *before[1:])
    return before
