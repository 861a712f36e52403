"""Packages that outputs need."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..errors import SettingsError


def require(output: str, package: str, extra: str) -> ModuleType:
    """Import a package that an output needs.

    Raises:
        SettingsError: it is not installed; the message names the extra that brings it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise SettingsError(
            f"output {output!r}",
            f"the package {package} is not installed",
            todo=f"pip install 'esgvzarr[{extra}]'",
            code="settings-output",
        ) from error
