"""Small files, and documents, that claim or expand to more than memory holds: refused by a code,
and no memory is taken for them.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numcodecs
import pytest

from esgvzarr.errors import EsgvzarrError, ProofError
from esgvzarr.formats import scan
from esgvzarr.model import FileRecord
from esgvzarr.output.document import parse
from esgvzarr.output.kerchunk import read
from esgvzarr.testing.datasets import DATASET_ID
from esgvzarr.testing.hostile import BOMB, HOSTILE
from esgvzarr.transport import Transport

MOST_MIB = 64
"""That a process may grow by; the bombs expand to four times as much."""
MEASURED = """
import sys
import dask, h5py, kerchunk.xarray_backend, netCDF4, xarray, zarr
from esgvzarr.cli import main

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024

before = peak()
try:
    main(sys.argv[1:])
finally:
    print("grew by", peak() - before)
"""


def growth(*command: str | Path) -> tuple[str, int]:
    """What ``esgvzarr`` says on stderr, and the MiB by which its process grew."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURED, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "grew by" in done.stdout, done.stderr
    return done.stderr, int(done.stdout.rpartition("grew by")[2])


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "chunk_expands"])
def test_a_scan_believes_no_claim(name: str, tmp_path: Path) -> None:
    defect = HOSTILE[name]
    files = [FileRecord(path.name, str(path)) for path in defect.make(tmp_path)]
    began = time.monotonic()
    with Transport() as transport, pytest.raises(EsgvzarrError) as caught:
        scan(files, transport)
    assert caught.value.code == defect.outcome
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["chunk_expands", "strings_expand"])
def test_a_chunk_that_expands_takes_no_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by stock readers in the proof, nor by libhdf5 in the scan."""
    monkeypatch.setenv("ESGVZARR_LEDGER", str(tmp_path / "ledger.sqlite"))
    (path,) = HOSTILE[name].make(tmp_path)
    said, grown = growth(
        "generate", path, "--dataset-id", DATASET_ID, "--output-dir", tmp_path / "out"
    )
    assert f"[{HOSTILE[name].outcome}]" in said
    assert grown < MOST_MIB
    assert not list(tmp_path.glob("out/*.json"))


ZARRAY = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [4],
    "dtype": "<f4",
    "order": "C",
    "compressor": {"id": "zlib", "level": 1},
    "filters": None,
    "fill_value": 0,
}


def document(zarray: dict[str, object], chunk: bytes) -> bytes:
    refs = {
        ".zgroup": '{"zarr_format":2}',
        "x/.zarray": json.dumps(zarray),
        "x/.zattrs": '{"_ARRAY_DIMENSIONS":["x"]}',
        "x/0": f"base64:{base64.b64encode(chunk).decode()}",
    }
    return json.dumps({"version": 1, "refs": refs}).encode()


def test_a_reference_file_that_expands_takes_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk in it does."""
    monkeypatch.setenv("ESGVZARR_LEDGER", str(tmp_path / "ledger.sqlite"))
    references = tmp_path / "references.json"
    references.write_bytes(document(ZARRAY, zlib.compress(bytes(BOMB), 9)))
    said, grown = growth("verify", references)
    assert "[proof-" in said
    assert grown < MOST_MIB


def test_a_compressed_document_that_expands_is_not_read_on() -> None:
    """65 KiB of zstd stood for 2 GiB."""
    bomb = bytes(numcodecs.zstd.compress(bytes(128 * 2**20), 19))
    assert len(bomb) < 2**16
    with pytest.raises(ValueError, match="more than 67108864 bytes"):
        read(bomb)


def test_a_codec_that_runs_programs_is_refused() -> None:
    """Pickles are, whatever the version of Zarr makes of them."""
    for place in ({"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}):
        with pytest.raises(ProofError) as caught:
            parse(document({**ZARRAY, **place}, b""), "references.json")
        assert caught.value.code == "proof-not-references"
