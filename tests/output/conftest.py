"""An output that another package registers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import write_distribution

OUTSIDE = """
from esgvzarr.output.kerchunk_file import KerchunkJson

class Notes(KerchunkJson):
    name = "notes"
    suffix = ".notes.json"
    asset_key = "notes"
    is_stock = False
    requirements = ("esgvzarr[zstd]", "someones-output")
    asset_fields = {"title": "Notes", "description": "Notes Link", "cloud_format": "kerchunk"}
"""


@pytest.fixture
def outside_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its name: the package has a module and an entry point, and is found like any other."""
    package = tmp_path / "package"
    registered = "[esgvzarr.outputs]\nnotes = someones_output:Notes\n"
    write_distribution(package, "someones_output", registered, OUTSIDE)
    monkeypatch.syspath_prepend(str(package))
    yield "notes"
    sys.modules.pop("someones_output", None)
