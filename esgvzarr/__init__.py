"""Virtual-Zarr access to ESGF climate data that people can trust.

This package has one function for each command, and the types that they take and return. Submodules
are imported when they are first used.

>>> import esgvzarr
>>> name = "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.SImon.siconc.gn#20190323"
>>> esgvzarr.DatasetId.parse(name).version
'20190323'
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .errors import EsgvzarrError, ProofError, RefusedError
    from .in_memory import References
    from .model import DatasetId, DatasetRecord, FileRecord, Report
    from .reader import open_dataset, open_datatree
    from .settings import Settings, read_settings
    from .sources import read_source
    from .transport import Transport
    from .verbs import (
        audit,
        combine,
        doctor,
        extract,
        generate,
        inspect,
        link,
        references,
        resume,
        status,
        unpublish,
        verify,
    )

_HOMES = {
    "DatasetId": "model",
    "DatasetRecord": "model",
    "EsgvzarrError": "errors",
    "FileRecord": "model",
    "ProofError": "errors",
    "References": "in_memory",
    "RefusedError": "errors",
    "Report": "model",
    "Settings": "settings",
    "Transport": "transport",
    "audit": "verbs",
    "combine": "verbs",
    "doctor": "verbs",
    "extract": "verbs",
    "generate": "verbs",
    "inspect": "verbs",
    "link": "verbs",
    "open_dataset": "reader",
    "open_datatree": "reader",
    "read_settings": "settings",
    "read_source": "sources",
    "references": "verbs",
    "resume": "verbs",
    "status": "verbs",
    "unpublish": "verbs",
    "verify": "verbs",
}

__all__ = [
    "DatasetId",
    "DatasetRecord",
    "EsgvzarrError",
    "FileRecord",
    "ProofError",
    "References",
    "RefusedError",
    "Report",
    "Settings",
    "Transport",
    "__version__",
    "audit",
    "combine",
    "doctor",
    "extract",
    "generate",
    "inspect",
    "link",
    "open_dataset",
    "open_datatree",
    "read_settings",
    "read_source",
    "references",
    "resume",
    "status",
    "unpublish",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import the module that defines a public name when the name is first used."""
    if name in _HOMES:
        found = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        if _HOMES[name] == "verbs":
            # ``import esgvzarr.link.states as states`` looks for the last part below what it finds
            # here: as an attribute, else as the module of this name and that part.
            found.__name__ = f"{__name__}.{name}"
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


class _Face(ModuleType):
    """A package whose functions stay visible although rooms have the same names.

    Rooms such as ``link`` and ``combine`` can be imported (``from esgvzarr.link import ledger``).
    Python then sets each of them as an attribute of the package, which would hide the function
    ``esgvzarr.link``.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face
