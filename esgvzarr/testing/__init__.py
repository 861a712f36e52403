"""Test tools for programs that use an ESGF data node or index: servers on the loopback, and
CMIP-like files that are named after their defects.

The pytest plugin (``pytest -p esgvzarr.testing.plugin``) offers the same as fixtures:
``thredds_server``, ``nginx_server``, ``stac_server``, ``pgstac_server``, ``solr_server``,
``globus_server``, ``cmip_files``. It needs the extra ``test``; submodules are imported when they
are first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conformance import IndexTests
    from .datasets import (
        DATASET_ID,
        DRS_PATH,
        FileSpec,
        specs_of,
        values_of,
        write_file,
        write_files,
        write_monthly,
    )
    from .defects import DEFECTS, Defect
    from .faults import (
        After,
        Fault,
        Headers,
        HtmlPage,
        Latency,
        LoginRedirect,
        NoRanges,
        Problem,
        Reset,
        Status,
        Truncated,
        Unavailable,
        WrongContentRange,
        WrongLength,
    )
    from .globus import GlobusServer
    from .items import make_item
    from .mom6 import Mom6Files, write_mom6
    from .nginx import NginxServer
    from .output_conformance import OutputTests
    from .pgstac import PgstacServer
    from .requestlog import LoggedRequest, RequestLog
    from .solr import SolrServer
    from .stac import StacServer
    from .thredds import ThreddsServer

_HOMES = {
    "conformance": ("IndexTests",),
    "output_conformance": ("OutputTests",),
    "datasets": (
        "DATASET_ID",
        "DRS_PATH",
        "FileSpec",
        "specs_of",
        "values_of",
        "write_file",
        "write_files",
        "write_monthly",
    ),
    "defects": ("DEFECTS", "Defect"),
    "faults": (
        "After",
        "Fault",
        "Headers",
        "HtmlPage",
        "Latency",
        "LoginRedirect",
        "NoRanges",
        "Problem",
        "Reset",
        "Status",
        "Truncated",
        "Unavailable",
        "WrongContentRange",
        "WrongLength",
    ),
    "globus": ("GlobusServer",),
    "items": ("make_item",),
    "mom6": ("Mom6Files", "write_mom6"),
    "nginx": ("NginxServer",),
    "pgstac": ("PgstacServer",),
    "requestlog": ("LoggedRequest", "RequestLog"),
    "solr": ("SolrServer",),
    "stac": ("StacServer",),
    "thredds": ("ThreddsServer",),
}
_HOME_OF: dict[str, str] = {}
for _module, _names in _HOMES.items():
    _HOME_OF |= dict.fromkeys(_names, _module)

if "pytest" in sys.modules:  # A failed conformance test then shows the compared values.
    sys.modules["pytest"].register_assert_rewrite(
        f"{__name__}.conformance", f"{__name__}.output_conformance"
    )

__all__ = [
    "DATASET_ID",
    "DEFECTS",
    "DRS_PATH",
    "After",
    "Defect",
    "Fault",
    "FileSpec",
    "GlobusServer",
    "Headers",
    "HtmlPage",
    "IndexTests",
    "Latency",
    "LoggedRequest",
    "LoginRedirect",
    "Mom6Files",
    "NginxServer",
    "NoRanges",
    "OutputTests",
    "PgstacServer",
    "Problem",
    "RequestLog",
    "Reset",
    "SolrServer",
    "StacServer",
    "Status",
    "ThreddsServer",
    "Truncated",
    "Unavailable",
    "WrongContentRange",
    "WrongLength",
    "make_item",
    "specs_of",
    "values_of",
    "write_file",
    "write_files",
    "write_mom6",
    "write_monthly",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
