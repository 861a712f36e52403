"""Whether all files are of one dataset, and of the one that their document names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from esgvzarr import drs
from esgvzarr.model import Check
from esgvzarr.proof.identity import check_identity

ID = "CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.tas.gn.v20190406"
OWN = {"variant_label": "r1i1p1f2", "source_id": "UKESM1-0-LL", "table_id": "Amon"}


def judged(dataset_id: str, *files: Mapping[str, Any], **variables: Any) -> Check:
    (check,) = check_identity({"": files, **variables}, dataset_id)
    return check


def test_files_that_say_the_same_are_of_one_dataset() -> None:
    assert judged(ID, OWN, OWN, {}).passed
    assert judged(ID, OWN).detail == "1 files of one dataset"
    assert judged("", OWN, {}).subject == "all files"


@pytest.mark.parametrize("name", drs.IDENTIFYING)
def test_each_identifying_attribute_tells_files_apart(name: str) -> None:
    """Files that do not state it are passed over."""
    check = judged("", {}, {name: "one"}, {}, {name: "another"}, {name: "third"})
    assert not check.passed
    assert check.detail == f"{name} is 'one' and 'another'"


@pytest.mark.parametrize(
    ("stated", "detail"),
    [
        ({"variant_label": "r2i1p1f2"}, "variant_label is 'r2i1p1f2', not 'r1i1p1f2'"),
        ({"source_id": "another"}, "source_id is 'another', not 'UKESM1-0-LL'"),
        ({"table_id": "day"}, "table_id is 'day', not 'Amon'"),
    ],
)
def test_files_are_of_the_dataset_that_is_named(stated: dict[str, str], detail: str) -> None:
    check = judged(ID, {**OWN, **stated})
    assert not check.passed
    assert check.detail == detail
    assert judged("my.own.v1", {**OWN, **stated}).passed  # of no known project


def test_what_is_done_to_cells_tells_variables_of_one_name_apart() -> None:
    def methods(*texts: str) -> Check:
        return judged("", OWN, tas=[{"cell_methods": text} for text in texts])

    assert methods("area: time: mean", "area: time: mean").passed
    check = methods("area: time: mean", "area: mean time: maximum")
    assert not check.passed
    assert "tas:cell_methods" in check.detail
