"""What each output needs to be tried."""

from __future__ import annotations

import pytest

from esgvzarr.errors import SettingsError
from esgvzarr.output import JSON, SUFFIXES, check_installed

OTHERS = [output for output in SUFFIXES if output != JSON]


def skip_unless_installed(output: str) -> None:
    """Icechunk 2 needs Python 3.12; the others come with the extra `test`."""
    try:
        check_installed(output)
    except SettingsError as error:
        pytest.skip(str(error))
