"""A format that another package registers is scanned as the built-in ones are. The proof reads it
with netCDF-C, and refuses what netCDF-C does not read.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from outside import write_distribution

import esgvzarr
from esgvzarr.errors import FormatError
from esgvzarr.formats import known_formats
from esgvzarr.testing import DATASET_ID

MAGIC = b"TOY1"
OUTSIDE = '''
import json
import struct

import numpy as np

from esgvzarr.errors import FormatError
from esgvzarr.model import ChunkTable, FileReferences, Variable


class Toy:
    """A magic, the length of a JSON header, the header, and one array behind the other."""

    name = "toy"
    magics = (b"TOY1",)
    user_blocks = False

    @staticmethod
    def scan(file, content):
        (length,) = struct.unpack("<I", content.read(4, 8))
        yield [(8, 8 + length)]
        header = json.loads(content.read(8, 8 + length))
        sizes = header["dimensions"]
        start = 8 + length
        variables = {}
        for name, about in header["variables"].items():
            dtype = np.dtype(about["dtype"])
            shape = tuple(sizes[dim] for dim in about["dims"])
            size = int(np.prod(shape)) * dtype.itemsize
            if start + size > content.size:
                raise FormatError(file.url, f"{name!r} is cut short", code="file-truncated")
            where = ChunkTable(
                np.zeros((1, len(shape)), np.int64), np.array([start]), np.array([size])
            )
            variables[name] = Variable(
                name, tuple(about["dims"]), shape, dtype, about["attrs"], None, shape, (), where
            )
            start += size
        return FileReferences(file, Toy.name, sizes, {}, variables, content.size)
'''


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution with a module and an entry point."""
    package = tmp_path / "package"
    registered = "[esgvzarr.formats]\ntoy = someones_format:Toy\n"
    write_distribution(package, "someones_format", registered, OUTSIDE)
    monkeypatch.syspath_prepend(str(package))
    yield
    sys.modules.pop("someones_format", None)


def write_toy(path: Path, start: int) -> str:
    """Three days of ``tas`` from a day on, counted up. The name is that of a NetCDF file: other
    files are not taken for data.
    """
    time = np.arange(start, start + 3, dtype="<f8")
    tas = np.arange(start * 2, start * 2 + 6, dtype="<f4")
    dates = {"units": "days since 2000-01-01", "calendar": "standard", "axis": "T"}
    header = {
        "dimensions": {"time": 3, "x": 2},
        "variables": {
            "time": {"dims": ["time"], "dtype": "<f8", "attrs": dates},
            "tas": {"dims": ["time", "x"], "dtype": "<f4", "attrs": {"units": "K"}},
        },
    }
    text = json.dumps(header).encode()
    length = struct.pack("<I", len(text))
    path.write_bytes(MAGIC + length + text + time.tobytes() + tas.tobytes())
    return str(path)


def test_its_files_are_scanned_and_combined(tmp_path: Path) -> None:
    assert "toy" in {known.name for known in known_formats()}
    paths = [write_toy(tmp_path / "a.nc", 0), write_toy(tmp_path / "b.nc", 3)]
    found = esgvzarr.references(paths, dataset_id=DATASET_ID)
    assert found.to_xarray()["tas"].values.ravel().tolist() == list(range(12))


def test_what_it_refuses_keeps_its_code(tmp_path: Path) -> None:
    path = Path(write_toy(tmp_path / "a.nc", 0))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError) as caught:
        esgvzarr.references(str(path), dataset_id=DATASET_ID)
    assert caught.value.code == "file-truncated"


def test_the_proof_refuses_what_netcdf_c_does_not_read(tmp_path: Path) -> None:
    references = esgvzarr.references(write_toy(tmp_path / "a.nc", 0), dataset_id=DATASET_ID)
    with pytest.raises(FormatError, match="netCDF-C cannot read it") as caught:
        references.prove()
    assert caught.value.code == "file-unreadable"
