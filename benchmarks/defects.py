"""``python -m benchmarks.defects``: every defect against esgvzarr, kerchunk, VirtualiZarr and
esgcet's generator.

- Right: the references open, and every variable equals the files, each opened alone, decoded and
  put in the order of time.
- Refused: an error while the references were made.
- Fails: the references were made without an error, but do not open, or cannot be read.
- Silently wrong: they open, and show other values than the files, or values where no answer is
  right.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from datetime import date
from importlib.metadata import version
from pathlib import Path

from esgvzarr.testing import DATASET_ID, DEFECTS, Defect
from esgvzarr.testing.defects import EQUAL

from . import sections, tools

RIGHT = "right"
REFUSED = "refused"
FAILS = "fails"
WRONG = "**silently wrong**"
KINDS = (RIGHT, REFUSED, FAILS, WRONG)
MARKS = {
    kind: f'<span class="outcome-{kind.strip("*").split()[-1]}">{kind.strip("*")}</span>'
    for kind in KINDS
}
"""Each outcome in its colour, of docs/stylesheets/extra.css."""
_LIMIT_S = 120


def ours(out: Path, paths: list[str]) -> None:
    """esgvzarr."""
    from esgvzarr.output.kerchunk import encode

    out.write_bytes(encode(tools.references_of(paths, DATASET_ID)))


def kerchunk(out: Path, paths: list[str]) -> None:
    """kerchunk."""
    tools.kerchunk(out, paths)


def virtualizarr(out: Path, paths: list[str]) -> None:
    """VirtualiZarr."""
    tools.virtualizarr(out, paths)


def esgcet(out: Path, paths: list[str]) -> None:
    """esgcet."""
    tools.esgcet(out, paths)
    root = str(Path(paths[0]).parent)
    served = "https://data.example/thredds/fileServer/root"
    out.write_text(out.read_text().replace(served, root))


TOOLS: tuple[Callable[[Path, list[str]], None], ...] = (ours, kerchunk, virtualizarr, esgcet)


def try_one(tool: Callable[[Path, list[str]], None], name: str) -> str:
    """What becomes of one defect with one tool."""
    warnings.simplefilter("ignore")
    defect = DEFECTS[name]
    with tempfile.TemporaryDirectory() as directory:
        paths = [str(path) for path in defect.make(Path(directory))]
        out = Path(directory) / "references.json"
        try:
            tool(out, paths)
        except BaseException as error:  # noqa: BLE001  (whatever another tool may raise is its refusal)
            return (
                f"{REFUSED} ({type(error).__name__})"
                if tool is not ours
                else f"{REFUSED} (`{getattr(error, 'code', error)}`)"
            )
        return compare(out, paths, defect)


def compare(out: Path, paths: list[str], defect: Defect) -> str:
    """Whether the references show what the files hold, by the comparison that the tests use."""
    import esgvzarr
    from esgvzarr.testing.truth import CFTIME, joined_differences

    try:
        shown = esgvzarr.open_dataset(str(out), chunks=None, decode_times=CFTIME).load()
    except Exception as error:  # noqa: BLE001  (as above)
        return f"{FAILS} ({type(error).__name__})"
    if defect.outcome != EQUAL:
        return WRONG
    found = joined_differences(shown, [Path(path) for path in paths])
    wrong = sorted({re.split("[ :]", text)[0] for text in found})
    return f"{WRONG}: {', '.join(wrong[:4])}" if wrong else RIGHT


def main() -> None:
    """Try all, print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defects", description=__doc__)
    parser.add_argument(
        "--page", type=Path, help="Markdown file whose part to replace; beside it NAME-all.md"
    )
    parser.add_argument(
        "--only", nargs="+", default=list(DEFECTS), choices=list(DEFECTS), metavar="DEFECT"
    )
    options = parser.parse_args()
    results: dict[str, dict[str, str]] = {name: {} for name in options.only}
    for tool in TOOLS:
        pool = ProcessPoolExecutor(1)
        for name in options.only:
            try:
                results[name][tool.__name__] = pool.submit(try_one, tool, name).result(_LIMIT_S)
            except (BrokenProcessPool, TimeoutError) as error:
                results[name][tool.__name__] = (
                    f"{FAILS} ({'crash' if isinstance(error, BrokenProcessPool) else 'hangs'})"
                )
                for process in pool._processes.values():
                    process.kill()
                pool = ProcessPoolExecutor(1)
        pool.shutdown()
    made = Results(results)
    print(made.summary())
    if options.page:
        sections.replace_marked(options.page, sections.DEFECTS, made.summary())
        whole = options.page.with_name(f"{options.page.stem}-all{options.page.suffix}")
        whole.write_text(made.whole())


class Results:
    """What became of each defect with each tool, and the pages that say so."""

    def __init__(self, rows: dict[str, dict[str, str]]) -> None:
        self.rows = rows
        self.names = [tool.__name__ for tool in TOOLS]
        self.heads = {name: f"{name} {version(name)}" for name in self.names[1:]}
        self.heads["ours"] = f"esgvzarr {version('esgvzarr')}"

    def summary(self) -> str:
        """Counts, and a row for each defect of which the tools make different things."""
        differing = {
            defect: row
            for defect, row in self.rows.items()
            if len(set(map(kind_of, row.values()))) > 1
        }
        lines = [
            f"{self._made()}\n",
            (__doc__ or "").partition("\n\n")[2],
            "The defects are those of `esgvzarr.testing.DEFECTS`; the column "
            '"rule" has the number of esgvzarr\'s [rule](trust.md).\n',
            *self._head(""),
        ]
        for kind in KINDS:
            counts = [str(self._count(name, kind)) for name in self.names]
            lines.append(f"| {kind} | " + " | ".join(counts) + " |")
        lines += [
            "",
            "## Where the tools differ\n",
            f"{len(differing)} of {len(self.rows)} defects. The "
            "[whole list](comparison-all.md) also says which variables are wrong and by which "
            "error files were refused.\n",
            *self._head("defect | rule"),
        ]
        for defect, row in differing.items():
            kinds = [kind_of(row[name]) for name in self.names]
            lines.append(_row(defect, [MARKS[kind] for kind in kinds]))
        return "\n".join(lines) + "\n"

    def whole(self) -> str:
        """The second page: every defect, with details."""
        lines = [
            "# Every defect of the comparison\n",
            f"{self._made()} What the words mean, and the counts: [Comparison](comparison.md).\n",
            *self._head("defect | rule"),
        ]
        for defect, row in self.rows.items():
            lines.append(_row(defect, [row[name] for name in self.names]))
        return "\n".join(lines) + "\n"

    def _count(self, tool: str, kind: str) -> int:
        return [kind_of(row[tool]) for row in self.rows.values()].count(kind)

    def _made(self) -> str:
        return (
            "Made by `python -m benchmarks.defects --page docs/explanation/comparison.md` on "
            f"{date.today()}, with xarray {version('xarray')} and zarr {version('zarr')}."
        )

    def _head(self, first: str) -> list[str]:
        columns = [*first.split("|"), *(self.heads[name] for name in self.names)]
        return ["| " + " | ".join(map(str.strip, columns)) + " |", "|---" * len(columns) + "|"]


def kind_of(cell: str) -> str:
    """The outcome that a cell begins with."""
    return next(kind for kind in KINDS if cell.startswith(kind))


def _row(defect: str, cells: list[str]) -> str:
    return f"| {defect} | {DEFECTS[defect].rule or ''} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
