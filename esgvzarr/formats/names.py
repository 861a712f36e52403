"""Which names of dimensions, variables and attributes no reader can be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..errors import FormatError
from ..model import FileReferences

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""What ends a name in C, and what Python has for a byte that is not UTF-8."""
_NO_ARRAY_NAME = re.compile(r"[/\\]|\A[.]")
"""What zarr-python splits the names of arrays by (``normalize_path``), or keeps for itself."""


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
                todo="Take the file out of the dataset, or write it anew with its data.",
                code="file-no-variables",
            )


def check_names(names: Iterable[str | bytes], subject: str) -> None:
    """Refuse names of dimensions, variables or attributes that are there twice, or are no text.

    Args:
        names: as h5py has them: bytes where they are not UTF-8; or with surrogates for such bytes.
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
            found = f"has the name {name!r}, which is no text"
        if found:
            raise FormatError(
                subject,
                found,
                expected="names in UTF-8, each once",
                todo="Write the file again with a netCDF library, or rename what has that name.",
                code="file-name-invalid",
            )
        seen.add(name)


def check_scalars(files: Sequence[FileReferences]) -> None:
    """Refuse scalars that are named as a dimension is: xarray opens no such file.

    Raises:
        FormatError: ``file-name-invalid``.
    """
    for file in files:
        used = set[str]().union(*(variable.dims for variable in file.variables.values()))
        for name, variable in file.variables.items():
            if name in used and not variable.dims:
                raise FormatError(
                    file.file.url,
                    f"has the scalar {name!r} beside the dimension {name!r}, which xarray does "
                    "not open",
                    expected="a scalar with a name of its own",
                    todo="Rename the scalar or the dimension.",
                    code="file-name-invalid",
                )


def check_paths(files: Sequence[FileReferences]) -> None:
    """Refuse names of variables that Zarr takes for paths or for its own: references show no array
    under them.

    Raises:
        FormatError: ``file-name-invalid``.
    """
    for file in files:
        for name in file.variables:
            if _NO_ARRAY_NAME.search(name) is not None:
                raise FormatError(
                    file.file.url,
                    f"has the variable {name!r}, which Zarr takes for a path",
                    expected=r"names of variables without / and \, and without a dot in front",
                    todo="Rename the variable.",
                    code="file-name-invalid",
                )


def _is_text(name: str | bytes) -> bool:
    return isinstance(name, str) and _NO_TEXT.search(name) is None
