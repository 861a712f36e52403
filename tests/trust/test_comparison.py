"""The comparison of four tools judges by the same truth as these tests do."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import orjson
import pytest

from esgvzarr.testing import DEFECTS

from . import oracle

ROOT = Path(__file__).parents[2]


@pytest.fixture
def defects(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, which is of the repository and not of the package."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.defects")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dataset_id_differs", "refused"),
        ("bounds_unnamed", "right"),
        ("bounds_misnamed", "right"),
        ("time_missing_step_alone", "right"),
    ],
)
def test_what_the_tests_call_right_the_comparison_does_not_call_wrong(
    defects: ModuleType, name: str, kind: str
) -> None:
    assert defects.kind_of(defects.try_one(defects.ours, name)) == kind


def test_the_comparison_sees_one_step_in_the_place_of_another(
    defects: ModuleType, tmp_path: Path
) -> None:
    defect = DEFECTS["compressed"]
    paths = defect.make(tmp_path)
    document = orjson.loads(oracle.make(paths)[1])
    refs = document["refs"]
    refs["tas/3.0.0"], refs["tas/4.0.0"] = refs["tas/4.0.0"], refs["tas/3.0.0"]
    path = tmp_path / "references.json"
    path.write_bytes(orjson.dumps(document))
    found = defects.compare(path, [str(one) for one in paths], defect)
    assert found == f"{defects.WRONG}: tas"


def test_the_page_lists_where_tools_differ_and_the_second_page_lists_all(
    defects: ModuleType,
) -> None:
    pytest.importorskip("virtualizarr", reason="the page names its version; in the extra `test`")
    pytest.importorskip("esgcet", reason="the page names its version; in the extra `publisher`")
    same = dict.fromkeys(("ours", "kerchunk", "virtualizarr", "esgcet"), defects.RIGHT)
    other = {**same, "kerchunk": f"{defects.WRONG}: tas"}
    made = defects.Results({"plain": same, "packed": other})
    assert "| plain |" not in made.summary()
    assert '| <span class="outcome-wrong">silently wrong</span> |' in made.summary()
    assert "| **silently wrong** | 0 | 1 | 0 | 0 |" in made.summary()
    assert "| plain |" in made.whole()
    assert "| packed | 7 | right | **silently wrong**: tas |" in made.whole()


def test_a_part_of_the_page_written_again_keeps_the_part_of_the_other_program(
    defects: ModuleType, tmp_path: Path
) -> None:
    sections = defects.sections
    page = tmp_path / "comparison.md"
    page.write_text((ROOT / "docs" / "explanation" / "comparison.md").read_text())
    sections.replace_marked(page, sections.DEFECTS, "of defects")
    sections.replace_marked(page, sections.CMOR, "of chunks")
    sections.replace_marked(page, sections.DEFECTS, "of defects again")
    parts = (f"{sections.DEFECTS}\nof defects again\n", f"{sections.CMOR}\nof chunks\n")
    assert all(f"{part}{sections.END}" in page.read_text() for part in parts)
    page.write_text("# Without marks\n")
    with pytest.raises(ValueError, match="lacks <!-- chunks of CMOR"):
        sections.replace_marked(page, sections.CMOR, "of chunks")


def test_nearly_all_real_sets_may_be_copied_into_one_array(defects: ModuleType) -> None:
    """By the default bounds: the goal was 62 of 69."""
    segments = importlib.import_module("benchmarks.segments")
    sets = segments.read_table()
    assert len(sets) == 69
    assert sum(one.is_within_bounds for one in sets) == 67
    assert all(one.copied <= segments.COPIED_BYTES for one in sets)
    from esgvzarr.settings import Settings

    defaults = Settings()
    assert defaults.copied_fraction == segments.COPIED_FRACTION
    assert defaults.copied_mib * 2**20 == segments.COPIED_BYTES
