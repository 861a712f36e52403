"""Outputs: the formats in which references are written and opened. One module each, one protocol.

Built-in outputs and those of other packages register in the entry point group ``esgvzarr.outputs``.
The suffix of a name identifies the output, as in ``<DSID>.json``. Code outside this room never
depends on a particular output.
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
