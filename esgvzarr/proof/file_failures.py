"""Errors for source files that cannot be read, with what to do about them."""

from __future__ import annotations

from ..errors import COPY_AGAIN, FormatError

_LACKS_FILTER = "undefined filter"
"""The words of netCDF-C if it finds no plugin for a filter."""


class ReadFailedError(RuntimeError):
    """netCDF-C could not read an array of a file.

    Args:
        reason: the words of netCDF-C.
        variable: the array.
    """

    def __init__(self, reason: str, variable: str) -> None:
        super().__init__(reason, variable)  # Exception copies are made from args.
        self.reason = reason
        self.variable = variable
        self.lacks_filter = _LACKS_FILTER in reason

    def __str__(self) -> str:
        return self.reason


def unreadable(subject: str, reason: object) -> FormatError:
    """Make the error for a file that netCDF-C cannot open or read."""
    return FormatError(
        subject,
        f"netCDF-C cannot read it: {reason}",
        expected="a whole NetCDF file",
        todo=COPY_AGAIN,
        code="file-unreadable",
    )


def filter_missing(subject: str, variable: str, plugins: str) -> FormatError:
    """Make the error for a variable whose filters netCDF-C does not all have; the file may be
    whole.

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
    """Make the error for a file that another process writes, or holds a lock on."""
    return FormatError(
        subject,
        "is locked: another process has it open for writing",
        expected="a file that is complete and closed",
        todo="Wait until the other process has closed it, then try again.",
        code="file-locked",
    )
