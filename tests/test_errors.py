"""Tests for `esgvzarr.errors`: what handlers decide by."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import esgvzarr
from esgvzarr.errors import (
    EXCEPTIONS,
    BusyError,
    EsgvzarrError,
    Fault,
    LinkError,
    Obstacle,
    SettingsError,
    StoreError,
    TransportError,
    kind_of,
    traits_of,
)

PACKAGE = Path(esgvzarr.__file__).parent
REFERENCE = PACKAGE.parent / "docs" / "reference" / "errors.md"
_PARSING = ("startswith", "endswith", "partition", "rpartition", "split", "removeprefix")
_SHIPPED_ASSERTIONS = PACKAGE / "testing"


def _is_code(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "code"


def _compares_with_a_spelling(node: ast.Compare) -> bool:
    for other in node.comparators:
        parts = other.elts if isinstance(other, ast.Tuple | ast.Set) else [other]
        for part in parts:
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value:
                return True
    return False


def _reads_of_codes(path: Path) -> Iterator[str]:
    text = path.read_text()
    if ".code" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        parses = isinstance(node, ast.Attribute) and node.attr in _PARSING and _is_code(node.value)
        compares = (
            isinstance(node, ast.Compare)
            and _is_code(node.left)
            and _compares_with_a_spelling(node)
        )
        if parses or compares:
            yield f"{path}:{node.lineno}"


def test_no_module_but_errors_decides_by_how_a_code_is_spelled() -> None:
    modules = [
        path
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "errors.py" and _SHIPPED_ASSERTIONS not in path.parents
    ]
    assert len(modules) > 50
    assert [place for path in modules for place in _reads_of_codes(path)] == []


@pytest.mark.parametrize(
    "line", ['error.code.startswith("index-")', 'x.code in ("a-b", "c")', 'x.code == "store-busy"']
)
def test_a_module_that_reads_a_code_is_noticed(line: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(f"found = {line}")
    assert list(_reads_of_codes(module))


def test_an_error_has_the_traits_of_its_code() -> None:
    error = LinkError("index", "HTTP 502", code="index-http-502")
    assert (error.fault, error.status) == (Fault.INDEX, 502)
    assert (error.blocks_all, error.may_be_applied, error.retryable) == (True, True, True)
    assert SettingsError("esg.yaml", "wrong").blocks_all


@pytest.mark.parametrize(
    ("code", "applied", "retryable"),
    [
        ("index-http-400", False, False),
        ("index-http-408", True, True),
        ("index-http-429", False, True),
        ("index-http-500", True, True),
        ("index-http-503", False, True),
        ("transport-http-503", False, True),
        ("transport-http-500", False, False),
    ],
)
def test_a_status_says_whether_the_change_may_have_been_made(
    code: str, applied: bool, retryable: bool
) -> None:
    traits = traits_of(code)
    assert (traits.may_be_applied, traits.retryable) == (applied, retryable)


@pytest.mark.parametrize(
    ("code", "obstacle"),
    [
        ("transport-http-404", Obstacle.GONE),
        ("transport-http-403", Obstacle.REFUSED),
        ("transport-http-429", Obstacle.BUSY),
        ("transport-http-502", Obstacle.BUSY),
        ("transport-html", Obstacle.ANOTHER_THING),
        ("transport-slow", Obstacle.SILENT),
        ("transport-checksum-differs", Obstacle.OTHER_BYTES),
        ("transport-host-refused", Obstacle.NOT_ASKED),
        ("transport-path", Obstacle.UNKNOWN),
    ],
)
def test_a_transport_error_says_what_stood_in_the_way_of_the_bytes(
    code: str, obstacle: Obstacle
) -> None:
    assert TransportError("https://x/a.nc", "failed", code=code).obstacle is obstacle


def test_an_error_that_knows_better_than_its_code_may_pass_keeps_that_through_pickle() -> None:
    error = TransportError("x", "cut short", code="transport-truncated", retryable=True)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  (our own bytes)
    assert again.retryable
    assert again.fault is Fault.DATA_NODE
    assert not TransportError("x", "cut short", code="transport-truncated").retryable


def test_a_dataset_that_another_process_has_is_an_error_of_its_own_class() -> None:
    error = BusyError("dataset", "another process is working on it")
    assert isinstance(error, StoreError)
    assert (error.code, error.retryable, error.blocks_all) == ("store-busy", True, False)


def test_every_code_belongs_to_the_class_that_the_first_word_names() -> None:
    for kind in (*EsgvzarrError.__subclasses__(), BusyError, EsgvzarrError):
        assert kind_of(kind.code) is kind
    assert kind_of("calendar-differs").__name__ == "RefusedError"


def _written_by_hand() -> str:
    return REFERENCE.read_text().partition("<!-- Traits")[0]


def test_the_reference_says_which_codes_may_pass() -> None:
    said = set(re.findall(r"^\| `([a-z-]+)` .*\| yes \|$", _written_by_hand(), re.MULTILINE))
    assert said == {code for code, traits in EXCEPTIONS.items() if traits.retryable}


_BY_OTHER_WORDS = {
    "audit-changed": "State.CHANGED",
    "audit-dangling": "State.DANGLING",
    "audit-misrecorded": "State.MISRECORDED",
    "audit-missing": "State.MISSING",
    "audit-moved": "State.MOVED",
    "audit-stale": "State.STALE",
    "audit-unchecked": "State.UNCHECKED",
    "audit-unproven": "State.UNPROVEN",
    "audit-unreachable": "State.UNREACHABLE",
    "audit-unreadable": "State.UNREADABLE",
}
"""Code -> how tests name it."""


def _described() -> set[str]:
    rows = re.findall(r"^\| `([^`]+)`", _written_by_hand(), re.MULTILINE)
    return {code for code in rows if "-" in code and "<" not in code}


def _named_in_tests() -> str:
    places = [*Path(__file__).parent.rglob("*.py"), *_SHIPPED_ASSERTIONS.rglob("*.py")]
    texts = [place.read_text() for place in places if place != Path(__file__)]
    return "\n".join(texts)


def test_every_code_comes_up_in_a_test() -> None:
    text = _named_in_tests()
    words = set(re.findall(r"[a-z-]+", text))
    missing = set()
    for code in _described():
        other_words = _BY_OTHER_WORDS.get(code)
        comes_up = other_words in text if other_words else code in words
        if not comes_up:
            missing.add(code)
    assert missing == set()
