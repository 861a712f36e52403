"""An output that another package registers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    about = package / "someones_output-1.0.dist-info"
    about.mkdir(parents=True)
    (package / "someones_output.py").write_text(OUTSIDE)
    (about / "METADATA").write_text("Name: someones-output\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[esgvzarr.outputs]\nnotes=someones_output:Notes\n")
    monkeypatch.syspath_prepend(str(package))
    yield "notes"
    sys.modules.pop("someones_output", None)
