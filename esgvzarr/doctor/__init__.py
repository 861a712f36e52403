"""Check that a data node supports publishing and reading, and suggest fixes.

Each check is a small function over a ``Node``, and yields rows; an error that it raises becomes its
last row. No check changes an index or starts a login, and the one file that is written is removed
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import EsgvzarrError
from ..generate import make_transport
from ..settings import Settings
from .node import Check as Check
from .node import Diagnosis as Diagnosis
from .node import Node as Node
from .node import as_diagnosis
from .publishing import DIRECTORY_CHECKS, INDEX_CHECKS, MACHINE_CHECKS
from .server import NGINX_CORS as NGINX_CORS
from .server import SERVER_CHECKS
from .server import TDS_CORS as TDS_CORS


def examine(config: Path | None, settings: Settings, url: str = "") -> list[Diagnosis]:
    """Check a data node.

    Args:
        config: esgcet's ``esg.yaml``; None if there is none.
        settings: settings from the same file.
        url: a published NetCDF file to try; if empty, one is searched for.

    Raises:
        SettingsError: ``esg.yaml`` cannot be read.
    """
    with make_transport(settings) as transport:
        node = Node(config, settings, transport, url)
        rows = _rows(MACHINE_CHECKS, node)
        try:
            rows.append(Diagnosis("file", "good", f"{node.file.url} is read by the checks"))
        except EsgvzarrError as error:
            rows.append(as_diagnosis("file", error))
        else:
            rows += _rows((*SERVER_CHECKS, *DIRECTORY_CHECKS), node)
        if config is not None:
            rows += _rows(INDEX_CHECKS, node)
    return rows


def _rows(checks: Sequence[Check], node: Node) -> list[Diagnosis]:
    """Yield the results of the checks. A check that raises an error gives a row too."""
    rows = []
    for check in checks:
        try:
            rows += list(check(node))
        except EsgvzarrError as error:
            rows.append(as_diagnosis(check.__name__.strip("_"), error))
    return rows
