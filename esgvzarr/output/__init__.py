"""Outputs: how references are written and opened, one module each, one protocol.

Built-ins and strangers register in the entry point group ``esgvzarr.outputs``. An output is known
by the suffix of its name, ``<DSID>.json`` and so on. Nothing outside this room asks which output it
is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
from .registered import DEFAULT as DEFAULT
from .registered import GROUP as GROUP
from .registered import known_outputs as known_outputs
from .registered import named as named
from .registered import of_place as of_place


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
