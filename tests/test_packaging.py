"""What is imported is declared, and imports are where and when they may be."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

import esgvzarr

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "esgvzarr"
DISTRIBUTIONS = {
    "attr": "attrs",
    "yaml": "pyyaml",
    "stac_fastapi": "stac-fastapi.api",
    "globus_sdk": "globus-sdk",
    "pystac_client": "pystac-client",
}
"""Module -> distribution, where the names differ."""
NEVER_IMPORTED = {
    "aiohttp": "fsspec reads HTTP with it",
    "dask": "xarray wants it for chunks={}",
    "kerchunk": "xarray's engine of that name",
    "zarr": "kerchunk's engine reads with it",
    "esgcet": "imported by the bridge",
    "pandas": "an upper bound for esgcet",
    "stac-fastapi.extensions": "one namespace with stac-fastapi.api",
    "stac-fastapi.types": "one namespace with stac-fastapi.api",
}
"""Declared, and not, or not to be seen, in an import statement of ours; with the reason."""
EXTRA_OF = {
    "output/kerchunk.py": "zstd",
    "output/parquet.py": "parquet",
    "output/icechunk.py": "icechunk",
    "workers.py": "dask",
    "cli/completion.py": "completion",
}
OPERATOR = {"esgpublish/__init__.py", "indexes/globus.py"}
DEMO = {"demo.py"}
TEST = {"testing"}
"""Where packages of the extras may be imported."""


def declared(extra: str = "") -> set[str]:
    """Distributions that are declared, those of an extra included, by their normalised names."""
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    if extra:
        lines += config["options.extras_require"][extra].splitlines()
    names = {normal(match[0]) for line in lines if (match := re.match(r"[\w.-]+", line.strip()))}
    nested = re.findall(
        r"^esgvzarr\[(\w+)\]", "\n".join(line.strip() for line in lines), re.MULTILINE
    )
    return (names | {name for other in nested for name in declared(other)}) - {"esgvzarr"}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def imports(path: Path, *, top_level: bool = False) -> Iterator[str]:
    """Third-party modules that a file imports; with ``top_level`` only when it is imported
    itself.
    """
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        yield from (
            name.split(".")[0]
            for name in names
            if name.split(".")[0] not in {*sys.stdlib_module_names, "esgvzarr"}
        )


def distribution_of(module: str) -> str:
    return DISTRIBUTIONS.get(module, normal(module))


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_a_module_imports_is_declared(path: Path) -> None:
    name = path.relative_to(PACKAGE).as_posix()
    extra = (
        "test"
        if name.split("/")[0] in TEST
        else "demo"
        if name in DEMO
        else "publisher"
        if name in OPERATOR
        else ""
    )
    extra = EXTRA_OF.get(name, extra)
    undeclared = {name for name in imports(path) if distribution_of(name) not in declared(extra)}
    assert not undeclared, f"{path} imports what setup.cfg does not declare" + (
        f" in the extra {extra}" if extra else " in install_requires"
    )


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if "testing" not in path.parts],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_module_can_be_imported_without_any_extra(path: Path) -> None:
    """What extras bring is imported inside functions."""
    assert {distribution_of(name) for name in imports(path, top_level=True)} <= declared()


def test_nothing_is_declared_that_is_not_used() -> None:
    used = {distribution_of(name) for path in MODULES for name in imports(path)}
    assert declared("demo") - used <= NEVER_IMPORTED.keys()


def test_every_requirement_has_a_lower_bound_and_those_of_users_a_reason() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    for line in filter(None, config["options"]["install_requires"].splitlines()):
        assert re.match(r"[\w.-]+ >= [\d.]+ +# \w", line), line


def test_all_bounds_can_be_met_at_once() -> None:
    """What is installed here is within them."""
    packaging = pytest.importorskip("packaging.requirements")
    for text in importlib.metadata.requires("esgvzarr") or ():
        requirement = packaging.Requirement(text)
        if requirement.marker is None:
            installed = importlib.metadata.version(requirement.name)
            assert requirement.specifier.contains(installed, prereleases=True), (
                f"{text}, {installed} is installed"
            )


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = {
        "esgcet",
        "xarray",
        "numpy",
        "h5py",
        "netCDF4",
        "pydantic",
        "pystac",
        "urllib3",
        "dask",
        "zarr",
    }
    loaded = set(
        run("import sys, esgvzarr; print(*{name.split('.')[0] for name in sys.modules})").split()
    )
    assert not loaded & heavy


def test_importing_all_public_names_imports_neither_esgcet_nor_a_test_server() -> None:
    code = (
        "import sys, esgvzarr; [getattr(esgvzarr, n) for n in esgvzarr.__all__]; "
        "print(*{n.split('.')[0] for n in sys.modules})"
    )
    assert not set(run(code).split()) & {
        "esgcet",
        "globus_sdk",
        "requests",
        "uvicorn",
        "fastapi",
        "trustme",
        "xarray",
    }


def test_help_answers_in_time() -> None:
    """A person waits for it: under 0.3 s of CPU, whatever else runs on this machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "esgvzarr", "--help"], stdout=subprocess.DEVNULL, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_the_public_names_are_these() -> None:
    """Others rely on them. A new one is added here, and to the docs; one that goes is first
    deprecated.
    """
    assert esgvzarr.__all__ == [
        "DatasetId",
        "DatasetRecord",
        "EsgvzarrError",
        "FileRecord",
        "ProofError",
        "RefusedError",
        "Report",
        "Settings",
        "Transport",
        "__version__",
        "open_dataset",
        "open_datatree",
        "read_settings",
        "read_source",
    ]
    assert all(getattr(esgvzarr, name) is not None for name in esgvzarr.__all__)


def test_the_program_and_the_plugins_are_installed() -> None:
    points = {
        (point.group, point.name): point
        for point in importlib.metadata.distribution("esgvzarr").entry_points
    }
    assert {name for group, name in points if group == "esgvzarr.formats"} >= {"hdf5", "netcdf3"}
    assert {name for group, name in points if group == "esgvzarr.indexes"} >= {"stac", "catalog"}
    assert callable(points["console_scripts", "esgvzarr"].load())
    assert importlib.metadata.version("esgvzarr") == esgvzarr.__version__


def test_imports_keep_to_the_floors_and_doors() -> None:
    pytest.importorskip("importlinter", reason="import-linter is in the extra `test`")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
