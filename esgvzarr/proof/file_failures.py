"""Why a source file cannot be read, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import COPY_AGAIN, FormatError

if TYPE_CHECKING:
    from ..formats.content import SparseFile

_LACKS_FILTER = "undefined filter"
"""In netCDF-C's own words, of a filter of which it finds no plugin."""
_LARGEST_BUILT_IN = 255
"""Filters of libhdf5 itself have numbers up to this one; others are plugins."""


class ReadFailedError(RuntimeError):
    """netCDF-C did not read an array of a file.

    Args:
        reason: in netCDF-C's words.
        variable: the array.
    """

    def __init__(self, reason: str, variable: str) -> None:
        super().__init__(reason)
        self.variable = variable


def unreadable(subject: str, reason: object) -> FormatError:
    """The error for a file that netCDF-C cannot open, or not read."""
    return FormatError(
        subject,
        f"netCDF-C cannot read it: {reason}",
        expected="a whole NetCDF file",
        todo=COPY_AGAIN,
        code="file-unreadable",
    )


def not_read(subject: str, error: ReadFailedError, source: str | SparseFile) -> FormatError:
    """The error for an array that netCDF-C did not read: it is damaged, or a filter is missing.

    Args:
        subject: the file, for messages.
        error: why.
        source: where libhdf5 reads the file.
    """
    if _LACKS_FILTER not in str(error):
        return unreadable(subject, error)
    return FormatError(
        subject,
        f"netCDF-C lacks the HDF5 filter of {error.variable!r} on this machine: "
        f"{_plugins_of(source, error.variable)}",
        expected="an installation that has the plugin",
        todo="The file may be whole. Install the plugin of this filter, or let HDF5_PLUGIN_PATH "
        "name the directory that holds it; the wheels of netCDF4 have bzip2, zstd and blosc.",
        code="file-filter-missing",
    )


def _plugins_of(source: str | SparseFile, variable: str) -> str:
    """Names and numbers of the filters of a variable that are not part of libhdf5."""
    import h5py

    with h5py.File(source, "r") as opened:
        node = opened.get(variable, opened.get(f"_nc4_non_coord_{variable}"))
        if node is None:
            return "unknown"
        properties = node.id.get_create_plist()
        found = []
        for index in range(properties.get_nfilters()):
            number, _, _, name = properties.get_filter(index)
            if number > _LARGEST_BUILT_IN:
                found.append(f"{name.decode('utf-8', 'replace') or 'filter'} ({number})")
    return ", ".join(found) or "unknown"


def locked(subject: str) -> FormatError:
    """The error for a file that another process writes, or holds a lock on."""
    return FormatError(
        subject,
        "is locked: another process has it open for writing",
        expected="a file that is complete and closed",
        todo="Wait until it is written, then try again.",
        code="file-locked",
    )
