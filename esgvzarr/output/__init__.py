"""Outputs: how references are written and opened, one module each, one protocol.

Built-ins and strangers register in the entry point group ``esgvzarr.outputs``. An output is known
by the suffix of its name, ``<DSID>.json`` and so on. Nothing outside this room asks which output it
is.
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
"""The output of references whose name says nothing else."""


def known_outputs() -> Mapping[str, Output]:
    """All outputs that are installed, by name."""
    return _made_of(tuple(registered(GROUP).values()))


@cache
def _made_of(points: tuple[EntryPoint, ...]) -> Mapping[str, Output]:
    return {point.name: point.load()() for point in points}


def named(name: str) -> Output:
    """The output of this name.

    Raises:
        SettingsError: there is none.
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
    """The output that a path or URL leads to, by its name's end; ``json`` for any other name."""
    bare = place.rstrip("/")
    fitting = [output for output in known_outputs().values() if bare.endswith(output.suffix)]
    if not fitting:
        return named(DEFAULT)
    return max(fitting, key=lambda output: len(output.suffix))


def provenance_at(path: Path) -> dict[str, Any]:
    """What an output on disk says of the files that it was made from.

    Raises:
        OSError, ValueError: not there, or not ours.
    """
    return of_place(path.name).provenance(path)


def suffixes() -> list[str]:
    """How the names of places end, over all outputs."""
    return [output.suffix for output in known_outputs().values()]


def asset_keys() -> list[str]:
    """The keys of STAC assets that are references, the default output's first."""
    known = known_outputs()
    first = [known[DEFAULT]] if DEFAULT in known else []
    return list(dict.fromkeys(output.asset_key for output in (*first, *known.values())))


def protocol_of(provenance: Mapping[str, Any]) -> str:
    """How the files are fetched: ``https``, ``http``, or ``file``."""
    return next(
        (file["url"].partition("://")[0] for file in provenance["files"] if "://" in file["url"]),
        "file",
    )
