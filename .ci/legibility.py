#!/usr/bin/env python3
"""Count what makes code hard to read at first sight, and fail when there is more than allowed.

ruff has no rule for these: a comprehension inside another or with two ``for``, ``a, b = x, y`` of
unlike things, a conditional expression inside another; and its complexity does not count the
branches of expressions. ``--list`` prints each place.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOTS = ("esgvzarr", "benchmarks", "docs")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
BRANCHES = (
    ast.If,
    ast.For,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.comprehension,
    ast.BoolOp,
    ast.match_case,
)
MOST_BRANCHES = 10
MOST_PARAMETERS = 5
MOST_LINES = 420
MOST = {
    "comprehension in a comprehension": 8,
    "tuple assignment of unlike things": 0,
    "conditional in a conditional": 2,
    "fmt: skip": 0,
    "function that branches more than ten times": 19,
    "function of more than five parameters": 14,
    "module far over 400 lines": 10,
}
"""How many there may be. The numbers only shrink."""


def main() -> int:
    """Print the counts, and return the exit status."""
    root = Path(__file__).parents[1]
    paths = [path for name in ROOTS for path in sorted((root / name).rglob("*.py"))]
    counts = dict.fromkeys(MOST, 0)
    for path in paths:
        for line, kind in found_in(path.read_text(encoding="utf-8")):
            counts[kind] += 1
            if "--list" in sys.argv:
                print(f"{path.relative_to(root)}:{line}: {kind}")
    for kind, most in MOST.items():
        mark = "too many" if counts[kind] > most else "ok"
        print(f"{kind}: {counts[kind]}, at most {most}: {mark}")
    return int(any(counts[kind] > most for kind, most in MOST.items()))


def found_in(text: str) -> Iterator[tuple[int, str]]:
    """The line and kind of each hard place."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if line.rstrip().endswith("# fmt: skip"):
            yield number, "fmt: skip"
    if len(lines) > MOST_LINES:
        yield 1, "module far over 400 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from found_in_function(node)
        elif is_folded(node):
            yield node.lineno, "comprehension in a comprehension"
        elif isinstance(node, ast.IfExp) and holds(node, ast.IfExp):
            yield node.lineno, "conditional in a conditional"
        elif is_tuple_assignment(node):
            yield node.lineno, "tuple assignment of unlike things"


def is_folded(node: ast.AST) -> bool:
    """Whether a comprehension has two loops, or holds another comprehension."""
    if not isinstance(node, COMPREHENSIONS):
        return False
    return len(node.generators) > 1 or holds(node, COMPREHENSIONS)


def found_in_function(
    function: ast.FunctionDef | ast.AsyncFunctionDef,
) -> Iterator[tuple[int, str]]:
    """Whether a function branches too often, or has too many parameters."""
    branches = sum(isinstance(inner, BRANCHES) for inner in ast.walk(function))
    if 1 + branches > MOST_BRANCHES:
        yield function.lineno, "function that branches more than ten times"
    if parameters_of(function) > MOST_PARAMETERS:
        yield function.lineno, "function of more than five parameters"


def parameters_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters a function has, ``self`` and ``cls`` apart."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(one.arg not in ("self", "cls") for one in named)


def is_tuple_assignment(node: ast.AST) -> bool:
    """Whether it is ``a, b = x, y``."""
    if not isinstance(node, ast.Assign):
        return False
    return isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple)


def holds(node: ast.AST, kinds: type[ast.AST] | tuple[type[ast.AST], ...]) -> bool:
    """Whether a node of these kinds is inside this one."""
    return any(isinstance(inner, kinds) for inner in ast.walk(node) if inner is not node)


if __name__ == "__main__":
    sys.exit(main())
