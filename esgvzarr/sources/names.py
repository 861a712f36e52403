"""Which files are data, by their names: what a dataset consists of must not depend on the case of
an ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..errors import SourceError

_NETCDF = re.compile(r"[^/]\.(nc|nc3|nc4|cdf|netcdf)\Z", re.IGNORECASE)
_DATA = re.compile(
    r"[^/]\.(nc|nc3|nc4|cdf|netcdf|h5|hdf|hdf5|grb|grb2|grib|grib2)"
    r"(\.(gz|bz2|xz|z|zst|zip|tar|tgz))*\Z",
    re.IGNORECASE,
)


def is_netcdf_name(name: str) -> bool:
    """Whether a file's name or path is that of a NetCDF file."""
    return _NETCDF.search(name) is not None


def is_data_name(name: str) -> bool:
    """Whether a file's name or path is one of data in some format, compressed or not."""
    return _DATA.search(name) is not None


def check_all_netcdf(names: Iterable[str], subject: str) -> None:
    """Refuse data that are no NetCDF files beside those that are: a part of a dataset would pass
    for the whole.

    Raises:
        SourceError: ``source-incomplete``.
    """
    left = sorted(name for name in names if is_data_name(name) and not is_netcdf_name(name))
    if left:
        raise SourceError(
            subject,
            f"holds {left[0]}, which is not a plain NetCDF file",
            expected="NetCDF files only",
            todo="References show all of a dataset or none: name the files, or unpack this one.",
            code="source-incomplete",
        )
