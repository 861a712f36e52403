"""What each output needs to be tried."""

from __future__ import annotations

import pytest

from esgvzarr.errors import SettingsError
from esgvzarr.output import DEFAULT, known_outputs, named

OTHERS = [output for output in known_outputs() if output != DEFAULT]


def skip_unless_installed(output: str) -> None:
    """Icechunk 2 needs Python 3.12; the others come with the extra `test`."""
    try:
        named(output).check_installed()
    except SettingsError as error:
        pytest.skip(str(error))
