"""Files of which each has steps between those of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from trust import oracle

from esgvzarr import RefusedError
from esgvzarr.combine import interleaved
from esgvzarr.testing import DEFECTS


def test_steps_of_two_files_in_turn_are_one_array_in_the_order_of_time(tmp_path: Path) -> None:
    paths = DEFECTS["interleaved"].make(tmp_path)
    references, document = oracle.make(paths)
    assert oracle.groups(document) == [""]
    shown = oracle.shown(document)
    assert shown.sizes["time"] == 24
    assert (np.diff(shown.time.values) > np.timedelta64(0)).all()
    assert oracle.proof(document, paths, full=True).passed
    assert [file.file.url for file in references.files] == list(map(str, paths))


def test_the_provenance_names_each_file_once_with_all_of_its_time(tmp_path: Path) -> None:
    paths = DEFECTS["interleaved"].make(tmp_path)
    _, document = oracle.make(paths)
    provenance = orjson.loads(orjson.loads(document)["provenance"])
    spans = [(file["time_start"][:7], file["time_end"][:7]) for file in provenance["files"]]
    assert spans == [("1850-01", "1851-11"), ("1850-02", "1851-12")]
    assert all("repeated_steps" not in file for file in provenance["files"])


def test_the_proof_finds_two_steps_in_each_others_place(tmp_path: Path) -> None:
    paths = DEFECTS["interleaved"].make(tmp_path)
    _, document = oracle.make(paths)
    wrong = orjson.loads(document)
    refs = wrong["refs"]
    refs["tas/3.0.0"], refs["tas/4.0.0"] = refs["tas/4.0.0"], refs["tas/3.0.0"]
    assert not oracle.proof(orjson.dumps(wrong), paths, full=True).passed


def test_steps_inside_of_a_chunk_of_another_file_are_refused_without_advice_to_retract(
    tmp_path: Path,
) -> None:
    with pytest.raises(RefusedError, match="between steps that one chunk holds") as refused:
        oracle.make(DEFECTS["interleaved_in_chunks"].make(tmp_path))
    assert "retract" not in str(refused.value)
    (finding,) = refused.value.findings
    dates = "1850-02-15T00:00:00 to 1851-10-16T12:00:00"
    assert finding.found == f"{dates}, between steps that one chunk holds"


def test_too_many_stretches_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interleaved, "MOST_STRETCHES", 20)
    with pytest.raises(RefusedError):
        oracle.make(DEFECTS["interleaved"].make(tmp_path))
