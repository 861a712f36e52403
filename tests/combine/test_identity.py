"""Files of several datasets are refused by each attribute that tells them apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from trust import oracle

from esgvzarr import Transport, drs
from esgvzarr.combine.identity import check_identity, confirm_id
from esgvzarr.formats import scan
from esgvzarr.model import FileReferences, Series
from esgvzarr.testing import DATASET_ID, DEFECTS, write_monthly


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[FileReferences]]:
    paths = write_monthly(tmp_path_factory.mktemp("files"), lengths=(1, 1))
    with Transport() as transport:
        yield scan(oracle.record_of(paths).files, transport)


def _series(files: list[FileReferences], **attrs: object) -> Series:
    second = replace(files[1], attrs={**files[1].attrs, **attrs})
    return Series((files[0], second), None, ())


@pytest.mark.parametrize("name", drs.IDENTIFYING)
def test_each_identifying_attribute_tells_datasets_apart(
    name: str, scanned: list[FileReferences]
) -> None:
    first = replace(scanned[0], attrs={**scanned[0].attrs, name: "one"})
    found = list(check_identity(_series([first, scanned[1]], **{name: "another"})))
    assert [(finding.code, finding.refuse) for finding in found] == [("dataset-mixed", True)]
    found = list(check_identity(_series([first, scanned[1]], **{name: ""})))
    assert [(finding.code, finding.refuse) for finding in found] == [("identity-absent", False)]


def test_a_file_that_lacks_what_another_states_is_told_either_way(
    scanned: list[FileReferences],
) -> None:
    one = replace(scanned[0], attrs={"table_id": "Amon"})
    other = replace(scanned[1], attrs={})
    (found,) = check_identity(Series((one, other), None, ()))
    assert (found.expected[:17], found.found) == ("table_id = 'Amon'", "'absent'")
    (found,) = check_identity(Series((other, one), None, ()))
    assert (found.expected[:19], found.found) == ("table_id = 'absent'", "'Amon'")


def test_an_id_of_no_known_project_is_taken_with_a_warning(scanned: list[FileReferences]) -> None:
    (found,) = confirm_id(_series(scanned), "my.own.dataset.v1")
    assert (found.code, found.refuse) == ("dataset-id-unknown", False)


def test_a_file_that_does_not_say_of_which_dataset_it_is_is_told_by_rule_32(
    scanned: list[FileReferences],
) -> None:
    silent = replace(scanned[0], attrs={})
    (found,) = confirm_id(Series((silent,), None, ()), DATASET_ID)
    assert (found.code, found.rule, found.refuse) == ("identity-absent", 32, False)


def test_a_mistyped_id_is_refused(scanned: list[FileReferences]) -> None:
    found = list(confirm_id(_series(scanned), DATASET_ID.replace("Amon.tas", "Amon.ta")))
    assert {finding.code for finding in found} == {"dataset-id-differs"}
    assert list(confirm_id(_series(scanned), DATASET_ID)) == []


@pytest.mark.parametrize("name", ["variant_label_differs", "cell_methods_differ"])
def test_verify_finds_files_of_several_datasets_too(name: str, tmp_path: Path) -> None:
    plain = DEFECTS["plain"].make(tmp_path / "plain")
    _, document = oracle.make(plain)
    mixed = DEFECTS[name].make(tmp_path / "plain")
    failed = {check.name for check in oracle.proof(document, mixed).failures}
    assert "identity" in failed
