"""Refuse names of dimensions, variables and attributes that readers cannot show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import FormatError
from ..model import FileReferences

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""The character that ends a name in C, and the surrogates with which Python marks bytes that are
not UTF-8.
"""
_NO_ARRAY_NAME = re.compile(r"[/\\]|\A[.]")
"""Characters at which zarr-python splits the names of arrays (``normalize_path``), or that it
reserves.
"""


def check_any(files: Sequence[FileReferences]) -> None:
    """Refuse files without variables: no group could show them.

    Raises:
        FormatError: ``file-no-variables``.
    """
    for file in files:
        if not file.variables:
            raise FormatError(
                file.file.url,
                "has no variables",
                expected="at least one variable in the root group",
                todo="Remove the file from the dataset, or write it again with its data.",
                code="file-no-variables",
            )


def check_names(names: Iterable[str | bytes], subject: str) -> None:
    """Refuse names of dimensions, variables or attributes that occur twice, or that are not text.

    Args:
        names: names as h5py gives them: bytes if they are not UTF-8, or text with surrogates for
            such bytes.
        subject: the file.

    Raises:
        FormatError: ``file-name-invalid``.
    """
    seen = set[str | bytes]()
    for name in names:
        found = ""
        if name in seen:
            found = f"has the name {name!r} twice"
        elif not name or not _is_text(name):
            found = f"has the name {name!r}, which is not valid text"
        if found:
            raise FormatError(
                subject,
                found,
                expected="names in UTF-8, each once",
                todo="Write the file again with a netCDF library, or rename the object of this "
                "name.",
                code="file-name-invalid",
            )
        seen.add(name)


def check_scalars(files: Sequence[FileReferences]) -> None:
    """Refuse scalars with the name of a dimension: xarray cannot open such files.

    Raises:
        FormatError: ``file-name-invalid``.
    """
    for file in files:
        used = set[str]().union(*(variable.dims for variable in file.variables.values()))
        for name, variable in file.variables.items():
            if name in used and not variable.dims:
                raise FormatError(
                    file.file.url,
                    f"has the scalar {name!r} and the dimension {name!r}; xarray cannot "
                    "open files with both",
                    expected="a scalar with a name that no dimension has",
                    todo="Rename the scalar or the dimension.",
                    code="file-name-invalid",
                )


def check_paths(files: Sequence[FileReferences]) -> None:
    """Refuse names of variables that Zarr treats as paths or reserves: references would show no
    array of this name.

    Raises:
        FormatError: ``file-name-invalid``.
    """
    for file in files:
        for name in file.variables:
            if _NO_ARRAY_NAME.search(name) is not None:
                raise FormatError(
                    file.file.url,
                    f"has the variable {name!r}, whose name Zarr treats as a path",
                    expected="names of variables without / and \\, and without a leading dot",
                    todo="Rename the variable.",
                    code="file-name-invalid",
                )


def _is_text(name: str | bytes) -> bool:
    return isinstance(name, str) and _NO_TEXT.search(name) is None
