"""Packages that an extra of this distribution installs, and the error that names the extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .errors import SettingsError

EXTRA_OF = {
    "distributed": "dask",
    "esgcet": "publisher",
    "esgvoc": "publisher",
    "fastparquet": "parquet",
    "globus_sdk": "publisher",
    "h5py": "generator",
    "icechunk": "icechunk",
    "jinja2": "generator",
    "jsonschema": "generator",
    "netCDF4": "generator",
    "pystac": "generator",
    "shtab": "completion",
    "zstandard": "zstd",
}
"""Module -> extra that installs it."""


@contextmanager
def naming_extras(purpose: str) -> Iterator[None]:
    """Turn the failed import of a package of an extra into an error that names the extra.

    Args:
        purpose: what needs the package, as the subject of the message.

    Raises:
        SettingsError: a package of an extra is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").split(".")[0]
        if module not in EXTRA_OF:
            raise
        raise SettingsError(
            purpose,
            f"the package {module} is not installed",
            todo=f"pip install 'esgvzarr[{EXTRA_OF[module]}]'",
            code="settings-extra",
        ) from error
