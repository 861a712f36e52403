"""Outputs: the formats in which references are written and opened. One module each, one protocol.

Built-in outputs and those of other packages register in the entry point group ``esgvzarr.outputs``.
The suffix of a name identifies the output, as in ``<DSID>.json``. Code outside this room never
depends on a particular output.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ..errors import SettingsError
from ..plugins import registered
from .contents import Contents as Contents
from .contents import StoredChunks as StoredChunks
from .opening import esgvzarr_for as esgvzarr_for
from .opening import is_json as is_json
from .opening import is_stock_json as is_stock_json
from .opening import opening_call as opening_call
from .protocol import LARGEST as LARGEST
from .protocol import Artefact as Artefact
from .protocol import Form as Form
from .protocol import Output as Output
from .reading import Reading as Reading
from .reading import reading_of as reading_of

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
    known = known_outputs()
    if name not in known:
        similar = difflib.get_close_matches(name, known, n=1)
        raise SettingsError(
            f"output {name!r}",
            "no such output",
            expected=" or ".join(sorted(known)),
            todo=f"Did you mean {similar[0]!r}?" if similar else "",
            code="settings-output",
        )
    return known[name]


def of_place(place: str) -> Output:
    """Return the output of a path or URL, by its suffix; ``json`` for any other name."""
    bare = place.rstrip("/")
    fitting = [output for output in known_outputs().values() if bare.endswith(output.suffix)]
    if not fitting:
        return named(DEFAULT)
    return max(fitting, key=lambda output: len(output.suffix))


def provenance_at(path: Path) -> dict[str, Any]:
    """Return what an output on disk states about the files that it was made from.

    Raises:
        OSError, ValueError: the output does not exist, or esgvzarr did not write it.
    """
    return of_place(path.name).provenance(path)


def suffixes() -> list[str]:
    """Return the suffixes of the names of all outputs."""
    return [output.suffix for output in known_outputs().values()]


def asset_keys() -> list[str]:
    """Return the keys of STAC assets that are references, the default output's first."""
    known = known_outputs()
    first = [known[DEFAULT]] if DEFAULT in known else []
    return list(dict.fromkeys(output.asset_key for output in (*first, *known.values())))


def protocol_of(provenance: Mapping[str, Any]) -> str:
    """Return the protocol of the files' URLs: ``https``, ``http``, or ``file``."""
    return next(
        (file["url"].partition("://")[0] for file in provenance["files"] if "://" in file["url"]),
        "file",
    )
