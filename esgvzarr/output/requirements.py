"""Packages that outputs need."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from ..errors import SettingsError


def require(output: str, package: str, requirements: Iterable[str]) -> ModuleType:
    """Import a package that an output needs.

    Args:
        output: its name.
        package: the package.
        requirements: what pip installs for this output.

    Raises:
        SettingsError: it is not installed; the message says what to install.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise SettingsError(
            f"output {output!r}",
            f"the package {package} is not installed",
            todo=f"pip install {in_shell(requirements)}",
            code="settings-output",
        ) from error


def in_shell(requirements: Iterable[str]) -> str:
    """Requirements as arguments of pip on a command line."""
    return " ".join(map(shlex.quote, requirements))
