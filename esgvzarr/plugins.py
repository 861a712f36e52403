"""Find what packages have registered in an entry point group."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points


def registered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, looked up once for an import path.

    A look-up takes as long as a request to an index. The import path of a worker is set after its
    server was started, so it is part of the cache key.
    """
    return _registered_on(group, tuple(sys.path))


@cache
def _registered_on(group: str, _import_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}
