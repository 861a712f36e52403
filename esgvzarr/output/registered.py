"""Find installed outputs, by name or by the suffix of a path or URL."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from ..plugins import look_up, registered
from .protocol import Output

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "esgvzarr.outputs"
DEFAULT = "json"
"""The output of references whose name has no suffix of another output."""


def known_outputs() -> Mapping[str, Output]:
    """Return all installed outputs, by name."""
    return _made_of(tuple(registered(GROUP).values()))


@cache
def _made_of(points: tuple[EntryPoint, ...]) -> Mapping[str, Output]:
    return {point.name: point.load()() for point in points}


def named(name: str) -> Output:
    """Return the output of this name.

    Raises:
        SettingsError: no such output is installed.
    """
    return look_up(name, known_outputs(), "output", "settings-output")


def of_place(place: str) -> Output:
    """Return the output of a path or URL, by its suffix; ``json`` for any other name."""
    bare = place.rstrip("/")
    fitting = [output for output in known_outputs().values() if bare.endswith(output.suffix)]
    if not fitting:
        return named(DEFAULT)
    return max(fitting, key=lambda output: len(output.suffix))
