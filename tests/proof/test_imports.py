"""What the proof imports: each dataset that has a process of its own pays for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from esgvzarr.testing import DATASET_ID, write_monthly

PROGRAM = """
import sys
from pathlib import Path
from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
from esgvzarr.generate import make_references
from esgvzarr.output import named
from esgvzarr.output.kerchunk import encode
from esgvzarr.proof import verify

files = tuple(FileRecord(Path(path).name, path) for path in sys.argv[2:])
with Transport() as transport:
    references = make_references(
        DatasetRecord(DatasetId.parse(sys.argv[1]), "", files), transport
    )
    artefact = named("json").parse(encode(references), "test", transport)
    report = verify(artefact, files, transport, location="test")
print(report.passed, "dask.array" in sys.modules)
"""


def test_the_proof_makes_no_lazy_arrays(tmp_path: Path) -> None:
    """Importing dask.array takes half as long as importing xarray."""
    paths = write_monthly(tmp_path, lengths=(12, 12))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, DATASET_ID, *map(str, paths)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["True", "False"]
