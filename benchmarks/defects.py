"""``python -m benchmarks.defects``: every defect against esgvzarr, kerchunk, VirtualiZarr and
esgcet's generator.

Right: stock xarray reads the references, and every variable equals the files, each opened alone,
    decoded and put into time order.
Refused: an error while the references were made. Fails: they were made without an error, but do not
    open or read. Silently wrong:
they open, and show other values than the files, or values where there is no right answer.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from esgvzarr.testing import DEFECTS, Defect

from . import tools

RIGHT = "right"
REFUSED = "refused"
FAILS = "fails"
WRONG = "**silently wrong**"
_LIMIT_S = 120


def ours(out: Path, paths: list[str]) -> None:
    """esgvzarr."""
    tools.esgvzarr(out, paths)


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
    """Whether the references show what the files hold."""
    import esgvzarr

    try:
        shown = esgvzarr.open_dataset(str(out), chunks=None, decode_times=_cftime()).load()
    except Exception as error:  # noqa: BLE001  (as above)
        return f"{FAILS} ({type(error).__name__})"
    if defect.outcome != "equal":
        return WRONG
    truth = files_alone(paths)
    wrong = sorted(
        name
        for name, values in truth.items()
        if name not in shown.variables or not _equal(shown[name].values, values)
    )
    return f"{WRONG}: {', '.join(wrong[:4])}" if wrong else RIGHT


def files_alone(paths: list[str]) -> dict[str, np.ndarray]:
    """Each variable as the files hold it: put one after the other by time, or the first file's
    where it does not change.
    """
    import xarray

    opened = [
        xarray.open_dataset(path, engine="netcdf4", decode_times=_cftime()).load()
        for path in dict.fromkeys(paths)
    ]
    opened = [file for file in opened if "time" not in file.dims or file.sizes["time"]]
    opened.sort(key=lambda file: file["time"].values[0] if "time" in file.dims else 0)
    steps = (
        np.concatenate([file["time"].values for file in opened])
        if "time" in opened[0].dims
        else None
    )
    unique = np.unique(steps, return_index=True)[1] if steps is not None else None
    found = {}
    for name, variable in opened[0].variables.items():
        if "time" in variable.dims:
            axis = variable.dims.index("time")
            found[str(name)] = np.concatenate(
                [file.variables[name].values for file in opened], axis
            ).take(unique, axis)
        else:
            found[str(name)] = variable.values
    return found


def _cftime() -> Any:
    import xarray

    return xarray.coders.CFDatetimeCoder(use_cftime=True)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "OSUT" or b.dtype.kind in "OSUT":
        return [str(x) for x in a.ravel().tolist()] == [str(x) for x in b.ravel().tolist()]
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"))


def main() -> None:
    """Try all, print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defects", description=__doc__)
    parser.add_argument("--page", type=Path, help="Markdown file to write")
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
    page = table(results)
    print(page)
    if options.page:
        options.page.write_text(page)


def table(results: dict[str, dict[str, str]]) -> str:
    """Counts first, then a row a defect."""
    names = [tool.__name__ for tool in TOOLS]
    heads = {"ours": f"esgvzarr {version('esgvzarr')}"} | {
        name: f"{name} {version(name)}" for name in names[1:]
    }
    lines = [
        "# What becomes of ordinary trouble\n",
        "Made by `python -m benchmarks.defects --page docs/explanation/comparison.md` on "
        f"{date.today()}, with xarray {version('xarray')} and zarr {version('zarr')}. "
        f"{(__doc__ or '').partition(chr(10) * 2)[2]}",
        "The defects are those of `esgvzarr.testing.DEFECTS`; [rules](trust.md) are ours.\n",
        "| | " + " | ".join(heads[name] for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for kind in (RIGHT, REFUSED, FAILS, WRONG):
        counts = Counter[str]()
        for row in results.values():
            counts.update(name for name, value in row.items() if value.startswith(kind))
        lines.append(f"| {kind} | " + " | ".join(str(counts[name]) for name in names) + " |")
    lines += [
        "",
        "| defect | rule | " + " | ".join(heads[name] for name in names) + " |",
        "|---" * (len(names) + 2) + "|",
    ]
    for defect, row in results.items():
        lines.append(
            f"| {defect} | {DEFECTS[defect].rule or ''} | "
            + " | ".join(row[name] for name in names)
            + " |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
