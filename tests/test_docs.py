"""The docs say what the code does: pages made from it are fresh, nothing is left out, and what can
be run runs.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import esgvzarr
from esgvzarr.cli import make_parser
from esgvzarr.cli.completion import SHELLS
from esgvzarr.generate import generate
from esgvzarr.output import named, provenance_at, reading_of
from esgvzarr.settings import Settings, read_settings
from esgvzarr.testing import DATASET_ID, DEFECTS, StacServer, ThreddsServer, make_item
from esgvzarr.testing.node import DataNode

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
NOT_CODES = {"filter-lang"}
"""Other words of this form: a parameter of STAC searches."""
WORDS = re.compile(r"[a-z]+(?:-[a-z0-9]+)+\Z")
HREF = "https://esgf-data.example.org/thredds/fileServer/esg_dataroot/dataset.json"
STAC = "https://stac.example.org"
DSID = "CMIP6.CMIP.SNU.SAM0-UNICON.historical.r1i1p1f1.Amon.tas.gn.v20190323"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


# ---- pages that are made from the code


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "commands.md"])
def test_a_page_that_is_made_from_the_code_is_fresh(name: str) -> None:
    made = load(DOCS / "write_reference.py").PAGES[name]()
    assert page(f"reference/{name}").rstrip("\n") == made.rstrip("\n"), (
        "stale: run python docs/write_reference.py"
    )


def test_the_charts_are_those_of_the_tables() -> None:
    made = load(DOCS / "write_chart.py")
    for path, draw in made.CHARTS.items():
        assert path.read_text() == draw(), f"{path.name} is stale: run python docs/write_chart.py"
    for groups in (list(made.read_scan()), list(made.read_end_to_end())):
        assert {group.title[0] for group in groups} >= {"A", "B", "D", "E"}
        assert all(group.seconds["esgvzarr"] for group in groups)


def test_measuring_again_replaces_the_tables_and_no_prose(tmp_path: Path) -> None:
    """The charts are drawn of what was written."""
    written = page("explanation/benchmarks.md")
    copy = tmp_path / "benchmarks.md"
    copy.write_text(written)
    runs = []
    for tool, seconds in (("esgvzarr", 0.5), ("end_to_end", 1.5), ("kerchunk", 3.0)):
        run = {"data": "A", "where": "20 ms", "tool": tool, "seconds": seconds}
        runs.append({**run, "peak_mib": 100.0, "status": 0, "requests": 7, "sent": 10**6})
    (tmp_path / "runs.json").write_text(json.dumps(runs))
    command = [sys.executable, "-m", "benchmarks", "--tools", "--latency", "20"]
    arguments = ["--add", tmp_path / "runs.json", "--page", copy]
    subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, check=True)
    outside = re.compile(r"(<!-- [^>]*made by benchmarks -->).*?(?=<!-- end -->)", re.DOTALL)
    assert outside.sub(r"\1", copy.read_text()) == outside.sub(r"\1", written)
    made = load(DOCS / "write_chart.py")
    made.EXPLANATION = tmp_path
    (scan,) = made.read_scan()
    (whole,) = made.read_end_to_end()
    assert scan.seconds == {"esgvzarr": 0.5, "kerchunk": 3.0}
    assert whole.seconds == {"esgvzarr": 1.5, "kerchunk": 3.0}


def test_the_numbers_of_the_readme_are_those_of_the_comparison() -> None:
    made = load(DOCS / "write_chart.py")
    _, counts = made.read_counts()
    total = sum(numbers[0] for numbers in counts.values())
    wrong = counts["silently wrong"][1:]
    said = (
        f"Of {total} kinds of trouble that real files have,\nesgvzarr shows {counts['right'][0]} "
    )
    said += f"right and refuses {counts['refused'][0]}; "
    said += f"three other tools show wrong numbers for {min(wrong)} to {max(wrong)} of them"
    assert counts["silently wrong"][0] == 0
    for name in ("README.md", "docs/index.md"):
        assert said in (ROOT / name).read_text(), name


def test_the_report_says_of_each_code_what_the_documentation_says() -> None:
    made = load(DOCS / "write_reference.py")
    assert made.CODES.read_text(encoding="utf-8") == made.codes_text(), (
        "stale: run python docs/write_reference.py"
    )
    assert made.codes()["source-retracted"] == [
        "source",
        "the dataset is retracted: esgvzarr does not reference retracted data",
    ]


def test_every_setting_is_described() -> None:
    text = page("reference/settings.md")
    assert [name for name in Settings.model_fields if f"## `{name}`" not in text] == []
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def commands() -> dict[str, argparse.ArgumentParser]:
    actions = make_parser()._actions
    return next(
        dict(action.choices) for action in actions if isinstance(action, argparse._SubParsersAction)
    )


def test_every_command_and_option_is_described() -> None:
    text = page("reference/commands.md")
    for name, parser in commands().items():
        assert f"## `esgvzarr {name}`" in text
        for action in parser._actions:
            assert action.help, f"{name} {action.dest}"
            assert all(
                option in text for option in action.option_strings if option not in ("-h", "--help")
            )


# ---- error codes


def codes_in_the_code() -> set[str]:
    """Every stable code, wherever it stands as a string; ``<status>`` for those that an HTTP status
    ends. A string is a code where an error is given it, and if the page has codes that begin with
    its first word.
    """
    first_words = {code.partition("-")[0] for code in codes_in(page("reference/errors.md"))}
    found = set()
    texts = [path.read_text() for path in (ROOT / "esgvzarr").rglob("*.py")]
    for text in [text for text in texts if re.search(r"[\"'][a-z]+-", text)]:
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and WORDS.match(node.value)
                and node.value.partition("-")[0] in first_words
                and node.value not in NOT_CODES
            ):
                found.add(re.sub(r"-http-\d+$", "-http-<status>", node.value))
            elif isinstance(node, ast.keyword) and node.arg == "code":
                given = node.value.value if isinstance(node.value, ast.Constant) else ""
                found.update({given} if isinstance(given, str) and WORDS.match(given) else ())
            elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                found.update(
                    f"{start}<status>"
                    for start in re.findall(r"^[a-z]+-http-\Z", str(node.values[0].value))
                )
    return found


def codes_in(text: str) -> set[str]:
    return {code for code in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE) if "-" in code}


def test_every_error_code_is_described_and_none_that_there_is_not() -> None:
    assert codes_in(page("reference/errors.md")) == codes_in_the_code()


def rules() -> dict[int, str]:
    """The rows of the tables in Trust, by rule."""
    return {
        int(number): row
        for number, row in re.findall(
            r"^\| (\d+) \|(.*)$", page("explanation/trust.md"), re.MULTILINE
        )
    }


def test_trust_has_every_rule_once() -> None:
    numbers = re.findall(r"^\| (\d+) \|", page("explanation/trust.md"), re.MULTILINE)
    assert len(set(numbers)) == len(numbers)
    assert rules().keys() >= set(range(1, 32))


@pytest.mark.parametrize(
    "defect",
    [defect for defect in DEFECTS.values() if defect.outcome != "equal"],
    ids=lambda defect: defect.name,
)
def test_trust_names_the_code_under_which_a_defect_is_refused(defect: Any) -> None:
    """Defects of rule 0 have no rule of their own to stand under."""
    assert not defect.rule or f"`{defect.outcome}`" in rules()[defect.rule]


@functools.cache
def findings() -> list[tuple[str, int]]:
    """(code, rule) of each finding that the checks can make."""
    found = set()
    modules = (ROOT / "esgvzarr" / "combine").glob("*.py")
    for node in [node for path in modules for node in ast.walk(ast.parse(path.read_text()))]:
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Finding"
        ):
            code, rule = node.args[:2]
            if isinstance(code, ast.Constant) and isinstance(rule, ast.Constant):
                found.add((str(code.value), int(rule.value)))  # type: ignore[arg-type]
    return sorted(found)


def test_the_rule_that_a_finding_cites_says_so() -> None:
    assert len(findings()) > 20
    assert [(code, rule) for code, rule in findings() if f"`{code}`" not in rules()[rule]] == []


def test_the_reference_names_the_rules_of_findings() -> None:
    rows = dict(
        re.findall(r"^\| `([a-z-]+)` \| ([\d, ]+) \|", page("reference/errors.md"), re.MULTILINE)
    )
    cited = {code: {int(number) for number in row.split(",")} for code, row in rows.items()}
    assert [(code, rule) for code, rule in findings() if rule not in cited.get(code, set())] == []


# ---- commands and recipes in the text


def spoken_commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of each esgvzarr command in a shell block."""
    for path in PAGES:
        for block in blocks(path.read_text(), "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                yield from (
                    (path.name, words)
                    for words in re.findall(
                        r"(?:^|&& |do )(?:\.venv/bin/)?(esgvzarr [^|&;#>]*)", line
                    )
                )


@pytest.mark.parametrize(("where", "line"), list(spoken_commands()))
def test_a_command_in_the_docs_can_be_given(where: str, line: str) -> None:
    """As far as its name and options go."""
    words = line.split()[1:]
    if words[0] == "--print-completion":
        assert words[1] in SHELLS
        return
    options, rest = make_parser().parse_known_args(words)
    assert not [
        word for word in rest if word.startswith("-") and word != "--map" and words[0] != "publish"
    ]
    if words[0] != "publish":
        assert not rest
    assert options.run


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_python_in_the_docs_is_python(path: Path) -> None:
    for block in blocks(path.read_text(), "python"):
        ast.parse(block)


def test_yaml_in_the_how_to_is_a_section_that_is_read(tmp_path: Path) -> None:
    (config := tmp_path / "esg.yaml").write_text("".join(blocks(page("how-to/publish.md"), "yaml")))
    assert read_settings(config).reference_url is not None


@pytest.fixture(params=["plain", "compressed", "packing_differs"])
def published(request: pytest.FixtureRequest, tmp_path: Path, thredds_server: ThreddsServer) -> str:
    """URL of the reference file of a small dataset; the last is in segments."""
    urls = [thredds_server.url_of(path) for path in DEFECTS[request.param].make(tmp_path)]
    settings = Settings(ledger=tmp_path / "ledger.sqlite")
    with esgvzarr.Transport(allowed_hosts=[thredds_server.host]) as transport:
        record = esgvzarr.read_source(urls, esgvzarr.DatasetId.parse(DATASET_ID), transport, {})
        written = generate(record, tmp_path, transport, settings).reference
    assert written is not None
    return thredds_server.url_of(written.path)


def reader_blocks() -> list[str]:
    return blocks(page("how-to/read.md"), "python")


def test_the_recipes_for_readers_run(
    published: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order of the page, as one session, and all ways of opening give the same."""
    pytest.importorskip("pystac_client")
    path = tmp_path / published.rsplit("/", 1)[-1]
    asset = {
        "href": published,
        "xarray:open_kwargs": named("json").open_kwargs("http", reading_of(provenance_at(path))),
        "roles": ["data"],
        "type": "application/json",
    }
    with StacServer() as index:
        item = make_item(DATASET_ID)
        index.add_item({**item, "assets": {**item.get("assets", {}), "reference_file": asset}})
        session: dict[str, Any] = {}
        means = []
        for block in reader_blocks():
            text = (
                block.replace(STAC, index.url)
                .replace(HREF, published)
                .replace(DSID, str(esgvzarr.DatasetId.parse(DATASET_ID)))
            )
            if 'dataset["tas"]' in text and not session["dataset"].variables:
                continue  # in segments: the page says to open them another way
            if "tas" in session.get("dataset", ()):
                means.append(float(session["dataset"]["tas"].mean()))
            exec(compile(text, "docs/how-to/read.md", "exec"), session)  # noqa: S102
        means.append(float(session["dataset"]["tas"].mean()))
    assert session["dataset"].sizes["time"] == 36
    assert means == pytest.approx([means[0]] * len(means), rel=1e-6)


# ---- the examples of the API page


def test_the_examples_of_the_api_run(
    node: DataNode, stac_server: StacServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page, as one session, on a data node and an index."""
    pytest.importorskip("esgcet", reason="the index' login is esgcet's, of the extra `publisher`")
    files = sorted(node.directory_of(DATASET_ID).glob("*.nc"))
    hrefs = {file.name: node.thredds.url_of(file) for file in files}
    stac_server.add_item(make_item(DATASET_ID, hrefs, data_node=node.thredds.host))
    node.write_config(
        data_paths={str(node.data): f"{node.thredds.url}/thredds/fileServer/esg_dataroot"}
    )
    spec = tmp_path / "simulation.yaml"
    spec.write_text(f"name: simulation\nstreams:\n  atmos: {node.directory_of(DATASET_ID)}/*.nc\n")
    monkeypatch.chdir(tmp_path)
    places = {
        "https://esgf-data.example.org/thredds/catalog/esgcet/1/tas.xml": node.thredds.add_dataset(
            DATASET_ID, files
        ),
        "esgf-data.example.org": node.thredds.host,
        "/srv/zarr": str(tmp_path / "zarr"),
        "esg.yaml": str(node.config),
        "simulation.yaml": str(spec),
    }
    session: dict[str, Any] = {"dataset_files": files}
    for block in blocks(page("reference/api.md"), "python"):
        text = block
        for example, place in places.items():
            text = text.replace(f'"{example}"', repr(place))
        exec(compile(text, "docs/reference/api.md", "exec"), session)  # noqa: S102
    assert session["report"].passed
    assert session["outcome"].state == "linked", session["outcome"]
    assert session["dataset"].sizes["time"] == session["tree"]["atmos"].sizes["time"]
    assert (tmp_path / "part.nc").exists()


def test_every_public_name_is_on_the_api_page() -> None:
    text = page("reference/api.md")
    assert [name for name in esgvzarr.__all__ if name not in text] == ["__version__"]


def test_every_room_is_in_the_table_of_the_architecture() -> None:
    package = ROOT / "esgvzarr"
    rooms = [path.stem for path in package.glob("*.py") if path.stem != "__init__"]
    rooms += [path.parent.name for path in package.glob("*/__init__.py")]
    rows = re.findall(r"^\| (`.+?`) \|", page("explanation/architecture.md"), re.MULTILINE)
    assert set(rooms) == set(re.findall(r"`(\w+)`", " ".join(rows)))


# ---- the two commands, and what .ci/run makes of them


def set_up_lines() -> list[str]:
    return [
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("python3 -m venv")
    ]


def test_the_readme_has_two_commands_of_one_line() -> None:
    demo, tests = set_up_lines()
    assert demo.endswith("&& .venv/bin/esgvzarr demo")
    assert tests.endswith("&& .venv/bin/pytest -n auto")


def test_ci_finds_the_test_command_in_the_readme() -> None:
    pattern = re.search(
        r"command=\$\(grep -m1 '([^']+)' README\.md\)", (ROOT / ".ci" / "run").read_text()
    )
    assert pattern is not None
    found = subprocess.run(
        ["grep", "-m1", pattern[1], "README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == set_up_lines()[1]


def test_ci_is_sound_bash() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_tutorial_runs_the_readmes_command() -> None:
    assert set_up_lines()[0] in blocks(page("tutorial.md"), "sh")[0]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    """mkdocs checks the same in the site; this also covers the README."""
    for target in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target
