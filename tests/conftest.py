"""What all tests share: which are slow, how many examples are drawn, and a data node.

Servers and files come as fixtures of ``esgvzarr.testing.plugin``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck

from esgvzarr.testing import DATASET_ID, StacServer, write_monthly
from esgvzarr.testing.node import DataNode

HERE = Path(__file__).parent
SLOW = {
    "audit/test_audit.py": "links dozens of datasets",
    "audit/test_repair.py": "links dozens of datasets",
    "backfill": "runs whole backfills, and kills them",
    "documents": "makes and proves whole simulations",
    "esgpublish": "runs the real esgpublish",
    "extract": "compares with CDO",
    "link/test_transitions.py": "kills a process at every transition",
    "link/test_live.py": "links, fails, resumes and audits with real servers",
    "link/test_legacy_indexes.py": "runs the real esgpublish",
    "link/test_lifecycle.py": "runs the real esgpublish, and kills it at every step",
    "output": "writes every defect with every output",
    "pages": "starts Chromium",
    "proof/test_one_judge.py": "judges every defect on disk and over HTTP",
    "proof/test_over_http.py": "proves large datasets over HTTP",
    "security/test_bombs.py": "inflates much",
    "test_demo.py": "runs the demo",
    "test_wall.py": "starts a process for each dataset",
    "test_workers.py": "starts clusters",
    "testing/test_defects.py": "makes and reads every defect",
    "testing/test_pgstac_server.py": "starts PostgreSQL",
    "trust/test_defects.py": "makes, references and reads every defect",
    "trust/test_end_to_end.py": "runs the real esgpublish",
    "trust/test_faults.py": "puts faults into a data node",
    "trust/test_odd_times.py": "makes and proves files of many calendars",
    "trust/test_properties.py": "makes random files",
    "trust/test_real_datasets.py": "references real datasets",
}
"""Directories and modules that `pytest -m "not slow"` leaves out, with the reason."""


if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # Tests start hundreds of interpreters, and each would compile the package. The bytecode goes
    # where the tests keep what they know of each other, and not into the tree.
    sys.pycache_prefix = str(HERE.parent / ".pytest_cache" / "bytecode")
    sys.dont_write_bytecode = False
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


# One profile for all modules, whichever is imported first. A loaded machine breaks no deadline.
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
hypothesis.settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=_QUIET
)
hypothesis.settings.register_profile(
    "nightly", max_examples=3000, deadline=None, suppress_health_check=_QUIET
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow modules. Single slow tests are marked where they stand."""
    for item in items:
        name = item.path.relative_to(HERE).as_posix()
        if name in SLOW or name.split("/")[0] in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def node(tmp_path: Path, stac_server: StacServer) -> Iterator[DataNode]:
    """A data node with one small dataset, which is not registered in its index ``stac_server``.

    It serves plain HTTP, without CORS.
    """
    with DataNode(tmp_path / "node", stac_server.url, poll_timeout_s=3, retries=0) as node:
        node.add_dataset(DATASET_ID, write_monthly(tmp_path / "made"))
        yield node
