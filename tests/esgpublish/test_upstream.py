"""The patches that are ready to send: each applies, and the bridge uses what esgcet's adds."""

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
UPSTREAM = HERE.parents[1] / "docs" / "upstream"
PATCH = UPSTREAM / "esgcet-5.5.3-published.patch"


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


def test_the_patch_of_intake_esgf_applies_to_the_release_that_it_names(tmp_path: Path) -> None:
    """What it does is seen by `.ci/run clients`, for that release needs Python 3.12."""
    (patch,) = UPSTREAM.glob("intake-esgf-*.patch")
    release = patch.name.split("-")[2]
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", tmp_path]
    target = ["--only-binary=:all:", "--python-version=3.12", f"intake-esgf=={release}"]
    done = subprocess.run([*download, *target], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"PyPI does not give intake-esgf: {done.stderr.strip()[-100:]}")
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path, "zip")
    subprocess.run(["git", "apply", "-p1", patch], cwd=tmp_path, check=True)
    for module in ("base.py", "catalog.py", "core/globus.py", "core/solr.py", "core/stac.py"):
        text = (tmp_path / "intake_esgf" / module).read_text()
        assert "VirtualLink" in text or "virtual_links" in text
        compile(text, module, "exec")
