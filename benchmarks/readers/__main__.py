"""``python -m benchmarks.readers``: what the clients of the field make of datasets that esgvzarr
publishes.

The real esgpublish registers three datasets on a data node and in indexes on this machine. Then
each client finds them in the index and opens or downloads them, in an environment of its own, which
uv makes of the newest releases that the client takes. Same values: all that it shows, times and
bounds included, is what the NetCDF files hold. Same files: it downloads the NetCDF files, byte for
byte, and nothing else.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from esgvzarr.testing.truth import CFTIME, open_alone

from ..sections import replace_marked
from .environments import CannotRunError, command_of
from .program import plain
from .published import CASES, INDEXES, Case, Published, cases_in

SAME = "same values"
FILES = "same files"
NOTHING = "shows no variables"
FAILS = "fails"
_HERE = Path(__file__).parent
_MARK = "<!-- made by benchmarks.readers -->"


@dataclass(frozen=True)
class Client:
    """A program, the index that it asks, and what is expected of each case: an outcome, or how it
    begins.
    """

    program: str
    index: str = "stac"
    outcomes: tuple[str, ...] = (SAME, SAME, SAME)

    @property
    def cases(self) -> list[Case]:
        """Those that are in its index."""
        return cases_in(self.index)

    @property
    def path(self) -> Path:
        """Of the program."""
        return _HERE / self.program


_ONE_DATASET = (SAME, NOTHING, SAME)
CLIENTS = (
    Client("with_xarray.py"),
    Client("with_xarray.py", "stac-zst"),
    Client("with_older_xarray.py"),
    Client("with_datapoint.py", outcomes=_ONE_DATASET),
    Client("with_datapoint.py", "stac-zst", _ONE_DATASET),
    Client("with_xpystac.py", outcomes=(FAILS, FAILS, FAILS)),
    Client("with_xpystac.py", "stac-json", (SAME, FAILS, SAME)),
    Client("with_esgf_pyclient.py", "solr", (SAME, NOTHING)),
    Client("with_virtualizarr.py"),
    Client("with_zarrita.mjs"),
    Client("with_gdal.py"),
    Client("with_intake_esgf.py", outcomes=(FILES, FILES, FILES)),
    Client("with_intake_esgf.py", "solr", (FILES, FILES)),
    Client("with_intake_esgf.py", "globus", (FILES, FILES)),
    Client("with_patched_intake_esgf.py", outcomes=(SAME, FILES, SAME)),
    Client("with_patched_intake_esgf.py", "solr", (SAME, FILES)),
    Client("with_patched_intake_esgf.py", "globus", (SAME, FILES)),
    Client("with_esgpull.py", outcomes=(FILES, FILES, FILES)),
    Client("with_esgpull.py", "solr", (FILES, FILES)),
)


@dataclass(frozen=True)
class Row:
    """What became of a client."""

    client: Client
    versions: str
    outcomes: tuple[str, ...]

    @property
    def expected(self) -> bool:
        """Whether it came as it should."""
        return all(
            found.startswith(wanted)
            for found, wanted in zip(self.outcomes, self.client.outcomes, strict=True)
        )


def try_client(
    client: Client, command: Sequence[str], published: Published, directory: Path
) -> Row:
    """Run its program on all cases, and look at what it says."""
    job = directory / "job.json"
    out = directory / "out.json"
    job.write_text(json.dumps(published.job(client.index, out)))
    done = subprocess.run(
        [*command, job],
        cwd=directory,
        env=published.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    (directory / "said").write_text(done.stdout + done.stderr)
    if not out.exists():
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return Row(client, "", (f"{FAILS}: {last}",) * len(client.cases))
    about = json.loads(out.read_text())
    outcomes = tuple(
        judge(about["results"][case.title], published.files(case), case.variable)
        for case in client.cases
    )
    return Row(client, ", ".join(about["versions"]), outcomes)


def judge(result: Mapping[str, Any], files: Sequence[Path], variable: str) -> str:
    """An outcome, in a few words."""
    if "fails" in result:
        return f"{FAILS}: {result['fails'].partition(chr(10))[0]}"
    if "files" in result:
        found = sorted((Path(path).name, Path(path).read_bytes()) for path in result["files"])
        same_files = found == [(path.name, path.read_bytes()) for path in files]
        return FILES if same_files else f"**other files**: {', '.join(name for name, _ in found)}"
    shown = result["variables"]
    if not shown:
        return NOTHING
    truth = truth_of(files)
    wrong = [
        name
        for name in {variable: None, **shown}
        if name not in shown or not same(shown[name], truth.get(name))
    ]
    return f"**other values**: {', '.join(wrong)}" if wrong else SAME


def truth_of(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """Each variable as the files hold it: put one after the other by time, or the first file's
    where it does not change.
    """
    opened = open_alone(files, decode_times=CFTIME)
    found = {}
    for name, variable in opened[0].variables.items():
        found[str(name)] = variable.values
        if "time" in variable.dims:
            parts = [dataset.variables[name].values for dataset in opened]
            found[str(name)] = np.concatenate(parts, axis=variable.dims.index("time"))
    return found


def same(array: Mapping[str, Any], truth: np.ndarray | None) -> bool:
    """Shape and every value; NaN where the files have nothing."""
    if truth is None or tuple(array["shape"]) != truth.shape:
        return False
    wanted = plain(truth)
    if wanted and isinstance(wanted[0], str):
        return bool(array["data"] == wanted)
    return bool(
        np.array_equal(
            np.array(array["data"], dtype="f8"), np.array(wanted, dtype="f8"), equal_nan=True
        )
    )


def described(client: Client) -> str:
    """What was done: the text at the program's top."""
    text = client.path.read_text()
    if client.path.suffix == ".py":
        top = ast.get_docstring(ast.parse(text)) or ""
    else:
        top = re.sub(r"^// ?", "", text[: text.index("\nimport")], flags=re.MULTILINE)
    return " ".join(top.split())


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown."""
    heads = ["client", "index", *(case.title for case in CASES), "what was done"]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        outcomes = [
            outcome if len(outcome) < 60 else outcome[:60] + " ..." for outcome in row.outcomes
        ]
        outcomes += ["-"] * (len(CASES) - len(outcomes))
        yield (
            "| "
            + " | ".join(
                [row.versions, INDEXES[row.client.index], *outcomes, described(row.client)]
            )
            + " |"
        )


def main() -> None:
    """Publish, read, print Markdown; status 1 if an outcome is not the documented one, or a client
    cannot be had.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__)
    parser.add_argument(
        "--page", type=Path, help="Markdown file that takes the table, between its marks"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="PROGRAM", help="programs to run, for example with_xarray.py"
    )
    parser.add_argument("--keep", type=Path, help="empty directory to work in, which is left there")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = (
            options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        ready = []
        missing = []
        for number, client in enumerate(
            client for client in CLIENTS if client.program in (options.only or client.program)
        ):
            (place := directory / str(number)).mkdir()
            try:
                ready.append((client, command_of(client.path, place), place))
            except CannotRunError as error:
                missing.append(f"{client.program} was not run: {error}")
        published = stack.enter_context(
            Published(directory, {client.index: None for client, _, _ in ready})
        )
        rows = [try_client(client, command, published, place) for client, command, place in ready]
    lines = list(table(rows))
    print("\n".join(lines))
    surprises = [f"{row.client}: {row.outcomes}" for row in rows if not row.expected]
    print("\n".join([*missing, *surprises]), file=sys.stderr)
    if options.page:
        made = f"Made by `python -m benchmarks.readers --page {options.page}` on {date.today()}."
        replace_marked(options.page, _MARK, "\n".join([made, "", *lines]))
    sys.exit(1 if surprises or missing else 0)


if __name__ == "__main__":
    main()
