"""How often Python looks for reference cycles, in commands and in the processes of datasets."""

from __future__ import annotations

import gc

_RARELY = 10_000
"""New objects between two looks. By Python's default of 700 it would look a thousand times while a
process imports its libraries and compares one dataset. Imported modules are never freed, and few
other cycles are found.
"""


def collect_rarely() -> tuple[int, int, int]:
    """Let the garbage collector run less often.

    Returns:
        The thresholds before, as ``gc.set_threshold`` takes them.
    """
    before = gc.get_threshold()
    gc.set_threshold(_RARELY, *before[1:])
    return before
