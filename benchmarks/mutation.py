"""``python -m benchmarks.mutation``: change one operator, number or branch of the code at a time,
and see whether a quick test fails.

cosmic-ray lists the mutants of four rooms (``pip install cosmic-ray``; no extra brings it). A
seeded sample of each room is drawn, spread evenly over the room's modules, and each mutant is
tested in a copy of the committed tree: first by the quick tests of its module
(``tests/<room>/test_<module>.py``), and if it lives by those of its room. What survives is printed
as a difference, to be judged.
Mutants of annotations and decorators are left out: the former are never evaluated. So are those
that Python does not parse: any test would notice them.

Each run of the tests is a copy of this process, which has imported what the tests need of others.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

SAMPLES = {"cf": 45, "combine": 60, "proof": 50, "link": 40}
"""How many mutants of each room are drawn."""
_LIMIT_S = 400
_PYTEST = ("-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", "--no-header", "--tb=line")
_ANY = ("--disable-warnings", "-W", "ignore::pytest.PytestAssertRewriteWarning")
_IMPORTED = ("pytest", "xarray", "netCDF4", "h5py", "hypothesis", "requests", "pydantic", "cftime")
"""What the tests need of other packages. None of ours: each run imports the changed code."""
_CRASHED = 70
"""The status of a run that ended in an error of pytest's own."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module: the ``occurrence``-th place that an operator of cosmic-ray has."""

    module: Path
    position: tuple[int, int]
    operator: str
    arguments: dict[str, Any]
    occurrence: int

    def change(self, before: str) -> str | None:
        """The changed text of the module. None if cosmic-ray cannot write it."""
        from cosmic_ray.mutating import mutate_code
        from cosmic_ray.plugins import get_operator

        try:
            after = mutate_code(
                before, get_operator(self.operator)(**self.arguments), self.occurrence
            )
        except AttributeError:  # its exception replacer knows no dotted name
            return None
        return None if after == before or not _parses(after) else after


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except SyntaxError:
        return False
    return True


def main() -> int:
    """Test the sample, and print the score of each room and what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", nargs="*", default=list(SAMPLES), choices=SAMPLES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual sample sizes")
    options = parser.parse_args()
    for name in _IMPORTED:
        importlib.import_module(name)
    for room in options.rooms:
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory)
            _copy_tree(copy)
            _test_room(copy, room, round(SAMPLES[room] * options.share), options.seed)
    return 0


def _copy_tree(copy: Path) -> None:
    root = Path(__file__).parents[1]
    archive = subprocess.run(
        ["git", "archive", "HEAD"], cwd=root, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(copy)], input=archive, check=True)


def _test_room(copy: Path, room: str, size: int, seed: int) -> None:
    everything = list(_mutants(copy / "esgvzarr" / room))
    if not _passes(copy, [f"tests/{room}"]):
        raise SystemExit(f"the quick tests of {room} fail without a mutant")
    counts: Counter[str] = Counter()
    for mutant in _draw(everything, size, seed):
        before = mutant.module.read_text(encoding="utf-8")
        after = mutant.change(before)
        if after is None:
            continue
        mutant.module.write_text(after, encoding="utf-8")
        outcome = _outcome(copy, room, mutant.module.stem)
        mutant.module.write_text(before, encoding="utf-8")
        counts[outcome] += 1
        place = f"{mutant.module.relative_to(copy)}:{mutant.position[0]}"
        print(f"{outcome:8} {place} {mutant.operator}", flush=True)
        if outcome == "survived":
            print(_difference(before, after), flush=True)
    dead = sum(counts.values()) - counts["survived"]
    print(f"{room}: {dead} of {sum(counts.values())} killed; {len(everything)} mutants in all")


def _difference(before: str, after: str) -> str:
    """The changed lines."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:3] not in ("---", "+++"))


def _mutants(room: Path) -> Iterator[Mutant]:
    """Every mutant of a room that can change what the code does."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB, use_db

    session = room.parent.parent / f"{room.name}.sqlite"
    with use_db(str(session), WorkDB.Mode.create) as database:
        init(sorted(room.glob("*.py")), database, {})
        mutations = [item.mutations[0] for item in database.work_items]
    inert = {path: _inert_parts(path) for path in room.glob("*.py")}
    for mutation in mutations:
        path = Path(mutation.module_path)
        position = mutation.start_pos
        if not any(begin <= position <= end for begin, end in inert[path]):
            yield Mutant(
                module=path,
                position=position,
                operator=mutation.operator_name,
                arguments=mutation.operator_args,
                occurrence=mutation.occurrence,
            )


def _inert_parts(path: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations and decorators begin and end."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for field in ("annotation", "returns"):
            value = getattr(node, field, None)
            if isinstance(value, ast.expr):
                found.append(value)
        found += getattr(node, "decorator_list", [])
    return [
        ((one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0))
        for one in found
    ]


def _draw(everything: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """A sample: from each module in turn, so that small modules are looked at too, and one mutant
    of a place, so that an operator that can become eleven others counts once.
    """
    generator = random.Random(seed)
    by_place: dict[tuple[Path, tuple[int, int]], list[Mutant]] = {}
    for mutant in sorted(everything, key=_order):
        by_place.setdefault((mutant.module, mutant.position), []).append(mutant)
    by_module: dict[Path, list[Mutant]] = {}
    for (module, _), mutants in by_place.items():
        by_module.setdefault(module, []).append(generator.choice(mutants))
    for mutants in by_module.values():
        generator.shuffle(mutants)
    drawn: list[Mutant] = []
    while len(drawn) < size and any(by_module.values()):
        modules = [module for module, mutants in by_module.items() if mutants]
        generator.shuffle(modules)
        drawn += [by_module[module].pop() for module in modules[: size - len(drawn)]]
    return sorted(drawn, key=_order)


def _order(mutant: Mutant) -> tuple[Path, tuple[int, int], str]:
    return mutant.module, mutant.position, mutant.operator


def _outcome(copy: Path, room: str, module: str) -> str:
    own = f"tests/{room}/test_{module}.py"
    if (copy / own).exists() and not _passes(copy, [own]):
        return "killed"
    return "survived" if _passes(copy, [f"tests/{room}"]) else "killed"


def _passes(copy: Path, tests: list[str]) -> bool:
    """Whether the tests pass in time. A run that never ends is one that a person would notice."""
    number = os.fork()
    if not number:
        _run_tests(copy, tests)
    deadline = time.monotonic() + _LIMIT_S
    while time.monotonic() < deadline:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            if code == _CRASHED:
                raise SystemExit(f"pytest does not run: {tests}")
            return code in (0, 5)  # 5: no test was chosen
        time.sleep(0.05)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return False


def _run_tests(copy: Path, tests: list[str]) -> NoReturn:
    """Be the process that runs the tests. It ends here."""
    code = _CRASHED
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        os.environ["PYTHONDONTWRITEBYTECODE"] = ""
        sys.path.insert(0, str(copy))
        pytest = importlib.import_module("pytest")
        code = int(pytest.main([*_PYTEST, *_ANY, *tests]))
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
