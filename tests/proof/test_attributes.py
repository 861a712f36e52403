"""Attributes that are shown, against those of the files."""

from __future__ import annotations

from typing import Any

import pytest

from esgvzarr.proof import attributes

ONE = {"units": "K", "history": "a"}
OTHER = {"units": "K", "history": "b"}


def wrong(shown: dict[str, Any], *versions: dict[str, Any]) -> set[str]:
    return set(attributes.wrong_attrs(shown, versions))


@pytest.mark.parametrize(
    ("shown", "versions", "expected"),
    [
        ({"units": "K"}, (ONE, OTHER), set()),
        ({"units": "K", "history": "b"}, (ONE, OTHER), set()),  # that of one file
        ({"units": "K", "history": "c"}, (ONE, OTHER), {"history"}),
        ({}, (ONE, OTHER), {"units"}),  # all files have it
        ({"units": "K"}, (ONE, ONE), {"history"}),
        ({"units": "K"}, (ONE, OTHER, OTHER), set()),
        ({"units": "K"}, (ONE, {"units": "K"}), set()),
    ],
)
def test_shown_is_what_some_file_says_and_all_that_every_file_says(
    shown: dict[str, Any], versions: tuple[dict[str, Any], ...], expected: set[str]
) -> None:
    assert wrong(shown, *versions) == expected
