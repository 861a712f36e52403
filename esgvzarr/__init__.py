"""Virtual-Zarr access to ESGF climate data that people can trust.

The verbs are functions of the modules of their names: ``esgvzarr.generate.generate``,
``esgvzarr.link.add.publish``, ``esgvzarr.proof.verify``.

>>> import esgvzarr
>>> name = "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn#20190323"
>>> esgvzarr.DatasetId.parse(name).version
'20190323'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .errors import EsgvzarrError, ProofError, RefusedError
    from .model import DatasetId, DatasetRecord, FileRecord, Report
    from .reader import open_dataset, open_datatree
    from .settings import Settings, read_settings
    from .sources import read_source
    from .transport import Transport

_HOMES = {
    "DatasetId": "model",
    "DatasetRecord": "model",
    "EsgvzarrError": "errors",
    "FileRecord": "model",
    "ProofError": "errors",
    "RefusedError": "errors",
    "Report": "model",
    "Settings": "settings",
    "Transport": "transport",
    "open_dataset": "reader",
    "open_datatree": "reader",
    "read_settings": "settings",
    "read_source": "sources",
}

__all__ = [
    "DatasetId",
    "DatasetRecord",
    "EsgvzarrError",
    "FileRecord",
    "ProofError",
    "RefusedError",
    "Report",
    "Settings",
    "Transport",
    "__version__",
    "open_dataset",
    "open_datatree",
    "read_settings",
    "read_source",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only that."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
