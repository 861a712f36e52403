"""The quick tier leaves out what is listed, and all that is listed is there."""

from __future__ import annotations

import re

from conftest import HERE, SLOW, SLOW_TESTS


def test_each_slow_directory_or_module_is_there() -> None:
    assert [name for name in SLOW if not (HERE / name).exists()] == []


def test_each_slow_test_is_there_and_not_in_a_slow_module() -> None:
    for name, tests in SLOW_TESTS.items():
        assert not {name, name.split("/")[0]} & SLOW.keys(), name
        defined = set(re.findall(r"def (test_\w+)", (HERE / name).read_text()))
        assert [test for test in tests if test.rpartition(":")[2] not in defined] == []
