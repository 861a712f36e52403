"""What packages have registered in an entry point group."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points


def registered(group: str) -> Mapping[str, EntryPoint]:
    """Name -> entry point, looked up once for an import path.

    A look-up takes as long as a question to an index, and a worker's import path is set after its
    server was started.
    """
    return _registered_on(group, tuple(sys.path))


@cache
def _registered_on(group: str, _import_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
