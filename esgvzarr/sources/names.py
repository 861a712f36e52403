"""Recognise data files by their names. The case of a suffix must not decide whether a file belongs
to a dataset.
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
    """Whether a file's name or path is that of data in some format, compressed or not."""
    return _DATA.search(name) is not None


def check_all_netcdf(names: Iterable[str], subject: str) -> None:
    """Refuse data in other formats beside NetCDF files: references to a part of a dataset would
    pass for the whole.

    Raises:
        SourceError: ``source-incomplete``.
    """
    left = sorted(name for name in names if is_data_name(name) and not is_netcdf_name(name))
    if left:
        raise SourceError(
            subject,
            f"holds {left[0]}, which is not a plain NetCDF file",
            expected="NetCDF files only",
            todo="References must show a whole dataset: name its NetCDF files one by one, or "
            "unpack this file.",
            code="source-incomplete",
        )
