"""What public functions say of themselves: each of many parameters, and what is raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import esgvzarr

PACKAGE = Path(esgvzarr.__file__).parent
MANY = 4
"""Parameters from which on each is described."""

PROTOCOLS = {"output": "output/protocol.py Output"}
"""Room -> what its plugins implement."""
Function = ast.FunctionDef | ast.AsyncFunctionDef
SIGNATURES_OF_OTHERS = {"reader/store.py", "testing/stac_app.py", "reader/backends.py"}
"""Their methods are what zarr, stac-fastapi and xarray call, and are described there."""


def public_functions() -> Iterator[tuple[str, Function]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("testing/") or name in SIGNATURES_OF_OTHERS:
            continue
        yield from _public_in(ast.parse(path.read_text(encoding="utf-8")), name)


def _public_in(node: ast.AST, place: str) -> Iterator[tuple[str, Function]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield from _public_in(inner, f"{place} {inner.name}")
        elif isinstance(inner, Function) and not inner.name.startswith("_"):
            yield f"{place} {inner.name}", inner


@pytest.fixture(scope="module")
def functions() -> dict[str, Function]:
    """Place and name -> each public function."""
    return dict(public_functions())


def parameters(function: Function) -> list[str]:
    arguments = function.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def raised_in(function: Function) -> set[str]:
    """Names of the errors that the function itself raises, and does not catch."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
    return {name for name in found if name.endswith("Error")}


def is_of_a_protocol(function: Function, place: str, functions: dict[str, Function]) -> bool:
    """Whether the protocol of its room has the same method, which is described there."""
    protocol = PROTOCOLS.get(place.partition("/")[0], "")
    if place.startswith(protocol):
        return False
    described = functions.get(f"{protocol} {function.name}")
    return described is not None and parameters(described) == parameters(function)


def undescribed(function: Function, place: str, functions: dict[str, Function]) -> list[str]:
    """Parameters of which the docstring does not speak."""
    names = parameters(function)
    if len(names) < MANY or is_of_a_protocol(function, place, functions):
        return []
    text = ast.get_docstring(function) or ""
    return [name for name in names if not re.search(rf"\b{name}\b", text)]


def test_there_are_functions_to_look_at(functions: dict[str, Function]) -> None:
    assert len(functions) > 300
    assert "verbs.py generate" in functions


def test_docstrings_name_the_parameters_and_what_is_raised(functions: dict[str, Function]) -> None:
    silent = {}
    for name, function in functions.items():
        missing = undescribed(function, name, functions)
        if raised_in(function) and "Raises:" not in (ast.get_docstring(function) or ""):
            missing.append("Raises:")
        if missing:
            silent[name] = missing
    assert silent == {}
