"""Find what packages have registered in an entry point group."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from .errors import SettingsError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_T = TypeVar("_T")


def registered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, looked up once for an import path.

    A look-up takes as long as a request to an index. The import path of a worker is set after its
    server was started, so it is part of the cache key.
    """
    return _registered_on(group, tuple(sys.path))


@cache
def _registered_on(group: str, _import_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=group)}


def look_up(name: str, known: Mapping[str, _T], kind: str, code: str) -> _T:
    """Return what is installed under a name.

    Args:
        name: as the user wrote it.
        known: everything of this kind that is installed, by name.
        kind: what it is called in the error.
        code: the code of the error.

    Raises:
        SettingsError: nothing is installed under this name.
    """
    if name not in known:
        similar = difflib.get_close_matches(name, known, n=1)
        raise SettingsError(
            f"{kind} {name!r}",
            f"no such {kind}",
            expected=" or ".join(sorted(known)),
            todo=f"Did you mean {similar[0]!r}?" if similar else "",
            code=code,
        )
    return known[name]
