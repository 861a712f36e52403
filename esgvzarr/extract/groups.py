"""Find the group of a document that a request means: variables that do not fit each other are in
different groups.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import SourceError
from .selection import Request

if TYPE_CHECKING:
    from ..reader.source import Source


def choose_group(source: Source, request: Request) -> tuple[str, Request]:
    """Return the group that holds all requested variables, and the request within it.

    Args:
        source: the document. A document without groups has only the root, with an empty path.
        request: its variables may be named ``GROUP/NAME`` if there are groups.

    Raises:
        SourceError: no group holds all of them, or several do.
    """
    from ..reader.metadata import group_names, read_group

    names = group_names(source)
    if not names:
        return "", request
    held = {name: tuple(read_group(source, name).arrays[0]) for name in names}
    fitting = [name for name, variables in held.items() if _holds(name, variables, request)]
    if len(fitting) == 1:
        bare = tuple(name.removeprefix(f"{fitting[0]}/") for name in request.variables)
        return fitting[0], replace(request, variables=bare)
    asked = " and ".join(request.variables) or "everything"
    among = fitting or names
    shown = "; ".join(f"{name}: {', '.join(held[name])}" for name in among)
    raise SourceError(
        source.href,
        f"holds several groups, of which {'several hold' if fitting else 'none holds'} {asked}",
        expected=f"variables of one group ({shown})",
        todo=f"Name one with its group: --variable {among[0]}/NAME",
        code="source-group",
    )


def _holds(group: str, variables: tuple[str, ...], request: Request) -> bool:
    return all(name.removeprefix(f"{group}/") in variables for name in request.variables)
