"""The patch that is ready to send to esgcet: it applies, and the bridge uses what it adds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("esgcet", reason="esgcet is in the extra `publisher`")

HERE = Path(__file__).parent
PATCH = HERE.parents[1] / "docs" / "upstream" / "esgcet-5.5.3-published.patch"


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a copy of esgcet that has the patch."""
    spec = importlib.util.find_spec("esgcet")
    assert spec is not None
    assert spec.origin is not None
    root = tmp_path_factory.mktemp("patched")
    shutil.copytree(Path(spec.origin).parent, root / "esgcet")
    subprocess.run(["git", "apply", "-p1", PATCH], cwd=root, check=True)
    return root


def test_the_bridge_hears_the_same_by_the_entry_point(patched: Path) -> None:
    """All tests of the run pass with the patched esgcet, which is not swapped then."""
    environment = {**os.environ, "PYTHONPATH": str(patched)}
    is_there = (
        "from esgcet import pub_internal; from esgvzarr.esgpublish.hook import has_entry_point; "
        "assert has_entry_point(pub_internal)"
    )
    subprocess.run([sys.executable, "-c", is_there], env=environment, check=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "TestRun"]
    done = subprocess.run(
        [*command, HERE / "test_esgpublish.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_without_the_patch_it_is_not_there() -> None:
    from esgcet import pub_internal

    from esgvzarr.esgpublish.hook import has_entry_point

    assert not has_entry_point(pub_internal)
