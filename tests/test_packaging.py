"""What is imported is declared, and imports are where and when they may be."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import importlib.util
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import esgvzarr
from esgvzarr.generate import generate
from esgvzarr.model import DatasetId
from esgvzarr.settings import Settings
from esgvzarr.sources import read_source
from esgvzarr.testing import DATASET_ID, write_monthly
from esgvzarr.transport import Transport

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "esgvzarr"
DISTRIBUTIONS = {
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
    "output/icechunk_writing.py": "icechunk",
    "backfill/workers.py": "dask",
    "cli/completion.py": "completion",
    "demo.py": "demo",
    "indexes/globus.py": "publisher",
}
"""Modules that import packages of an extra, which their users have asked for."""
READER = {
    "__init__.py",
    "__main__.py",
    "cli",
    "errors.py",
    "esg_yaml.py",
    "extras.py",
    "garbage.py",
    "interruption.py",
    "model.py",
    "outcome.py",
    "permissions.py",
    "reader",
    "settings.py",
    "transport",
    "version.py",
}
"""What works with the base install. All other rooms need the extra ``generator``."""


@functools.cache
def declared(extra: str = "") -> frozenset[str]:
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
    return frozenset(names.union(*map(declared, nested))) - {"esgvzarr"}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


@dataclass(frozen=True)
class Imports:
    """Third-party modules that a file imports."""

    top_level: frozenset[str]
    """When it is imported itself."""
    all: frozenset[str]


@functools.cache
def imports(path: Path) -> Imports:
    tree = ast.parse(path.read_text())
    return Imports(frozenset(_imported(tree.body)), frozenset(_imported(ast.walk(tree))))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [str(node.module)]
        for name in names:
            package = name.split(".")[0]
            if package not in sys.stdlib_module_names and package != "esgvzarr":
                yield package


def distribution_of(module: str) -> str:
    return DISTRIBUTIONS.get(module, normal(module))


MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def extra_of(path: Path) -> str:
    """The extra whose packages a module may import."""
    name = path.relative_to(PACKAGE).as_posix()
    if name in EXTRA_OF:
        return EXTRA_OF[name]
    if room_of(path) in ("testing", "esgpublish"):
        return {"testing": "test", "esgpublish": "publisher"}[room_of(path)]
    return "" if room_of(path) in READER else "generator"


def test_what_a_module_imports_is_declared() -> None:
    undeclared = {}
    for path in MODULES:
        extra = extra_of(path)
        names = imports(path).all
        unknown = {name for name in names if distribution_of(name) not in declared(extra)}
        if unknown:
            undeclared[str(path)] = (extra or "install_requires", unknown)
    assert undeclared == {}


def test_a_module_can_be_imported_in_the_install_of_its_role() -> None:
    """What other extras bring is imported inside functions."""
    unmet = {}
    for path in MODULES:
        role = "" if room_of(path) in READER else "generator"
        wanted = {distribution_of(name) for name in imports(path).top_level}
        if "testing" not in path.parts and not wanted <= declared(role):
            unmet[str(path)] = wanted - declared(role)
    assert unmet == {}


BASE_ONLY = """
import sys
from esgvzarr.extras import EXTRA_OF
sys.modules.update(dict.fromkeys(EXTRA_OF))  # an import of these fails
"""


def test_a_reader_needs_no_extra(tmp_path: Path) -> None:
    """A reference file is opened, and values are read, with the packages of the base install."""
    files = write_monthly(tmp_path, lengths=(2, 3))
    with Transport() as transport:
        record = read_source([*map(str, files)], DatasetId.parse(DATASET_ID), transport, {})
        settings = Settings(ledger=tmp_path / "ledger.sqlite")
        written = generate(record, tmp_path, transport, settings)
    code = (
        f"{BASE_ONLY}\nimport esgvzarr\n"
        f"print(esgvzarr.open_dataset({str(written.reference.path)!r}).tas.load().sizes['time'])"
    )
    assert run(code).strip() == "5"


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["generate", "x.nc", "--dataset-id", DATASET_ID, "--output-dir", "."], "generator"),
        (["--print-completion", "bash"], "completion"),
    ],
)
def test_a_command_without_its_packages_names_the_extra(
    arguments: list[str], extra: str, tmp_path: Path
) -> None:
    (tmp_path / "x.nc").touch()
    done = subprocess.run(
        [sys.executable, "-c", f"{BASE_ONLY}\nfrom esgvzarr.cli import main; main({arguments})"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "[settings-extra]" in done.stderr, done.stderr
    assert f"pip install 'esgvzarr[{extra}]'" in done.stderr
    assert done.returncode == 2


def test_nothing_is_declared_that_is_not_used() -> None:
    used = {distribution_of(name) for path in MODULES for name in imports(path).all}
    assert declared("demo") - used <= NEVER_IMPORTED.keys()


def test_every_requirement_has_a_lower_bound_and_those_of_users_a_reason() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    for extra in ("generator", "publisher"):
        lines += config["options.extras_require"][extra].splitlines()
    for line in lines:
        if not line or line.startswith("esgvzarr["):
            continue
        assert re.match(r"[\w.-]+ (>=|<) [\d.]+ +# \w", line), line


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
        "References",
        "RefusedError",
        "Report",
        "Settings",
        "Transport",
        "__version__",
        "audit",
        "combine",
        "doctor",
        "extract",
        "generate",
        "inspect",
        "link",
        "open_dataset",
        "open_datatree",
        "read_settings",
        "read_source",
        "references",
        "resume",
        "status",
        "unpublish",
        "verify",
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


def test_links_in_the_description_on_pypi_lead_to_pages_of_the_site() -> None:
    description = load_setup().long_description()
    targets = re.findall(r"\]\(([^)]+)\)", description)
    prefix = load_setup().DOCUMENTATION
    inside = [target.removeprefix(prefix) for target in targets if target.startswith(prefix)]
    assert inside
    assert [target for target in targets if not target.startswith("https://")] == []
    for target in inside:
        place = target.split("#")[0]
        page = ROOT / "docs" / f"{place.rstrip('/')}.md"
        assert page.exists() or (ROOT / "docs" / place).exists(), target


def load_setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_esgvzarr", ROOT / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_source_distribution_is_complete_and_its_tests_run(tmp_path: Path) -> None:
    """It is made from a copy: building leaves files in the source tree."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if tracked.returncode:
        pytest.skip("not a git clone: this is the source distribution itself")
    names = {name for name in tracked.stdout.split("\0") if (ROOT / name).is_file()}
    for name in names:
        copy = tmp_path / "tree" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy)
    build = "from setuptools.build_meta import build_sdist; build_sdist('../dist')"
    run_in(tmp_path / "tree", "-c", build)
    (archive,) = (tmp_path / "dist").iterdir()
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    present = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*")}
    assert names - present == set()
    some = ["tests/test_model.py", "tests/combine/test_interleaved.py"]  # the latter takes others
    told = run_in(unpacked, "-m", "pytest", "-q", *some)
    assert re.search(r"\d+ passed", told)


def run_in(directory: Path, *arguments: str) -> str:
    """Run this Python there, with the package of that directory."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("step", ["lint", "docs", "quick"])
def test_pre_commit_runs_a_step_of_ci(step: str) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert f".ci/run {step}" in [hook["entry"] for hook in hooks]
    assert f"run_{step}()" in (ROOT / ".ci" / "run").read_text()


def test_the_extra_dev_is_light() -> None:
    assert declared("dev") & {"esgcet", "esgvoc", "psycopg", "pypgstac", "distributed"} == set()


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


@functools.cache
def defined_in(path: Path) -> frozenset[str]:
    """The names that a module's own statements define, those that it imports included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return frozenset(names)


def module_of(node: ast.ImportFrom, importer: Path) -> Path | None:
    """The file or folder of this tree that an import statement means; None for other packages."""
    if node.level:
        base = importer.parents[node.level - 1]
    elif (node.module or "").partition(".")[0] in ("esgvzarr", "benchmarks"):
        base = ROOT
    else:
        return None
    return base.joinpath(*(node.module or "").split("."))


def test_benchmarks_import_what_is_there() -> None:
    """They are run by hand, months apart: a name that moved is found here."""
    missing = []
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            module = module_of(node, path) if isinstance(node, ast.ImportFrom) else None
            if module is None or not isinstance(node, ast.ImportFrom):
                continue
            file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
            known = set(defined_in(file)) if file.exists() else set()
            if module.is_dir():
                known |= {one.stem for one in module.iterdir()}
            absent = {alias.name for alias in node.names} - known
            missing += [f"{path.name}: {name} of {module}" for name in absent]
    assert missing == []
