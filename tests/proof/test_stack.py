"""The readers' stack is imported beside other work, and its versions are told."""

from __future__ import annotations

import sys

import pytest

import esgvzarr
from esgvzarr.proof import stack


def test_what_can_be_imported_is_and_the_rest_is_left_to_the_proof(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stack, "READERS_STACK", ("no_such_package", "this.neither", "colorsys"))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    thread = stack.import_readers()
    assert thread.daemon  # a program that ends does not wait for it
    thread.join(30)
    assert sys.modules.pop("colorsys").__name__ == "colorsys"


def test_versions_are_looked_up_once() -> None:
    assert stack.versions() is stack.versions()
    assert stack.versions()["esgvzarr"] == esgvzarr.__version__


def test_a_package_that_is_missing_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_TOOLS", ("numpy", "no-such-package"))
    found = stack.versions.__wrapped__()
    assert found["no-such-package"] == "not installed"
    assert found["numpy"][0].isdigit()
