"""What was opened without decoding decodes, too."""

from __future__ import annotations

from esgvzarr.proof.documented import check_documented

from .in_memory import dataset, group


def test_a_group_that_xarray_decodes_opens_as_documented() -> None:
    (check,) = check_documented([group(dataset([15.5, 45.0]), "seg-000")])
    assert check.passed
    assert check.subject == "/seg-000"


def test_a_group_that_xarray_does_not_decode_fails_with_the_reason() -> None:
    wrong = group(dataset([15.5, 45.0], units="days since the flood"))
    right = group(dataset([15.5, 45.0]), "right")
    checks = list(check_documented([wrong, right]))
    assert [check.passed for check in checks] == [False, True]
    assert "the flood" in checks[0].detail
