"""HDF5 that few programs write: what netCDF-C reads of it is served, the rest refused by name."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
from trust.oracle import record_of

from esgvzarr import Transport
from esgvzarr.combine.rules import check
from esgvzarr.errors import FormatError
from esgvzarr.formats import scan
from esgvzarr.formats.values import decode_chunk
from esgvzarr.generate import make_references
from esgvzarr.model import FileReferences
from esgvzarr.testing import DEFECTS


def scanned(name: str, directory: Path) -> list[FileReferences]:
    with Transport() as transport:
        return scan(record_of(DEFECTS[name].make(directory)).files, transport)


def test_chunks_after_a_user_block_are_where_the_file_has_them(tmp_path: Path) -> None:
    (file, *_) = scanned("user_block", tmp_path)
    path = Path(file.file.url)
    with netCDF4.Dataset(path) as opened:
        opened.set_auto_mask(False)
        expected = opened["tas"][0]
    table = file.variables["tas"].chunks
    start, size = int(table.offsets[0]), int(table.sizes[0])
    chunk = path.read_bytes()[start : start + size]
    decoded = decode_chunk(chunk, file.variables["tas"].codecs, expected.nbytes, "test")
    assert np.array_equal(np.frombuffer(decoded, "f4").reshape(expected.shape), expected)


def test_a_dangling_link_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="'gone' is a link to '/nowhere', which does not exist"):
        scanned("link_to_nothing", tmp_path)


def test_strings_of_one_length_keep_their_blanks_and_end_at_a_nul(tmp_path: Path) -> None:
    (file, *_) = scanned("fixed_length_strings", tmp_path)
    values = file.variables["note"].values
    assert values is not None
    assert values.tolist() == ["ice   ", "séa  ", "land  ", "      "]


def test_groups_are_named_in_a_warning(tmp_path: Path) -> None:
    series = check(scanned("groups", tmp_path), "test")
    assert {finding.code for finding in series.warnings} == {"file-groups-not-shown"}


def test_integer_times_stay_of_their_type_when_they_are_rebased(tmp_path: Path) -> None:
    paths = DEFECTS["time_integer_rebased"].make(tmp_path)
    with Transport() as transport:
        references = make_references(record_of(paths), transport)
    arrays = {array.name: array for array in references.groups[-1].arrays}
    assert {arrays[name].dtype for name in ("time", "time_bnds")} == {np.dtype("i4")}
