"""Why a source file cannot be read, and what to do about it."""

from __future__ import annotations

from ..errors import COPY_AGAIN, FormatError

_LACKS_FILTER = "undefined filter"
"""In netCDF-C's own words, of a filter of which it finds no plugin."""


class ReadFailedError(RuntimeError):
    """netCDF-C did not read an array of a file.

    Args:
        reason: in netCDF-C's words.
        variable: the array.
    """

    def __init__(self, reason: str, variable: str) -> None:
        super().__init__(reason, variable)  # both, so that copies of it can be made
        self.reason = reason
        self.variable = variable
        self.lacks_filter = _LACKS_FILTER in reason

    def __str__(self) -> str:
        return self.reason


def unreadable(subject: str, reason: object) -> FormatError:
    """The error for a file that netCDF-C cannot open, or not read."""
    return FormatError(
        subject,
        f"netCDF-C cannot read it: {reason}",
        expected="a whole NetCDF file",
        todo=COPY_AGAIN,
        code="file-unreadable",
    )


def filter_missing(subject: str, variable: str, plugins: str) -> FormatError:
    """The error for a variable of which netCDF-C has not all filters; the file may be whole.

    Args:
        subject: the file, for messages.
        variable: the array.
        plugins: names and numbers of its filters that are not part of libhdf5.
    """
    return FormatError(
        subject,
        f"netCDF-C lacks the HDF5 filter of {variable!r} on this machine: {plugins}",
        expected="an installation that has the plugin",
        todo="The file may be whole. Install the plugin of this filter, or let HDF5_PLUGIN_PATH "
        "name the directory that holds it; the wheels of netCDF4 have bzip2, zstd and blosc.",
        code="file-filter-missing",
    )


def locked(subject: str) -> FormatError:
    """The error for a file that another process writes, or holds a lock on."""
    return FormatError(
        subject,
        "is locked: another process has it open for writing",
        expected="a file that is complete and closed",
        todo="Wait until it is written, then try again.",
        code="file-locked",
    )
