"""``python -m benchmarks.segments``: real file lengths, chunked as CMOR 3.14 chunks: who opens them
as one array, and is it right?

``segments.csv`` has the lengths along time of the files of every data set of several files in
roocs/mini-esgf-data and esmvaltool-sample-data 0.0.4, which keep the time axis of what is published
(CMIP5, CMIP6, CORDEX, C3S). Files of these lengths are written on a small grid, with the number of
steps in a chunk that the rule gives on 192 x 288 points. ``--figure`` draws the picture of
docs/explanation/one-array.md.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from esgvzarr.inspect import cmor_chunk
from esgvzarr.testing import FileSpec, values_of, write_files

from . import tools

TABLE = Path(__file__).with_name("segments.csv")
POINTS = 192 * 288
"""Of one level, for the rule: a grid of 1.25 by 0.94 degrees."""
ENGINE = 'engine="esgvzarr"'
RECIPE = "stock xarray, the recipe"
FILES = "open_mfdataset of the files"


@dataclass(frozen=True, slots=True)
class FileSet:
    """A real data set of several files."""

    name: str
    lengths: tuple[int, ...]
    step_bytes: int

    @property
    def chunks(self) -> list[int]:
        """The chunk length of each file."""
        return [cmor_chunk(length, self.step_bytes) for length in self.lengths]

    @property
    def segments(self) -> int:
        """Runs of files that one regular grid can show."""
        runs = 1
        for number in range(1, len(self.lengths)):
            before = self.chunks[number - 1]
            fits = self.lengths[number - 1] % before == 0 and self.chunks[number] == before
            runs += not fits
        return runs


@dataclass(slots=True)
class Tally:
    """What one way made of all sets."""

    outcomes: Counter[str] = field(default_factory=Counter)
    open_s: list[float] = field(default_factory=list)
    """CPU seconds to open, of sets that came out right."""
    tasks: list[int] = field(default_factory=list)


def read_table() -> list[FileSet]:
    """The sets of the table."""
    with TABLE.open() as file:
        return [
            FileSet(
                row["set"],
                tuple(_unpacked(row["lengths"])),
                POINTS * 4 * int(row["levels"]),
            )
            for row in csv.DictReader(file)
        ]


def _unpacked(text: str) -> list[int]:
    """``12*3 7`` is 12, 12, 12, 7."""
    lengths = list[int]()
    for part in text.split():
        length, _, count = part.partition("*")
        lengths += [int(length)] * int(count or 1)
    return lengths


def build(one: FileSet, directory: Path) -> tuple[list[Path], np.ndarray]:
    """Files of these lengths and chunks, and their numbers in order."""
    specs = []
    start = 0
    for length, chunk in zip(one.lengths, one.chunks, strict=True):
        specs.append(
            FileSpec(
                start=start,
                months=length,
                chunks=(chunk, 4, 6),
                compression="zlib",
                level=1,
                name=f"tas_{start:06}.nc",
                calendar="noleap",
            )
        )
        start += length
    truth = np.concatenate([values_of(spec) for spec in specs])
    return write_files(directory, specs), truth


def ways(only: Sequence[str] = ()) -> dict[str, Callable[[list[Path], Path], Any]]:
    """Name -> opens the files, or references of them, as one dataset.

    Args:
        only: beginnings of the names that are wanted; all if empty.
    """
    import virtualizarr
    from kerchunk import __version__ as kerchunk_version

    known = {
        ENGINE: _by_engine,
        RECIPE: _by_recipe,
        f"VirtualiZarr {virtualizarr.__version__}": _by_virtualizarr,
        f"kerchunk {kerchunk_version}": _by_kerchunk,
        FILES: _files,
    }
    wanted = tuple(only) or ("",)
    return {name: way for name, way in known.items() if name.startswith(wanted)}


def _by_engine(_: list[Path], reference: Path) -> Any:
    import xarray

    return xarray.open_dataset(str(reference), engine="esgvzarr", chunks={})


def _by_recipe(_: list[Path], reference: Path) -> Any:
    import xarray

    root = xarray.open_dataset(str(reference), engine="kerchunk", chunks={})
    if root.variables:
        return root
    where = {"fo": str(reference), "remote_options": {"asynchronous": True}}
    names = root.attrs["esgvzarr_segments"]
    return xarray.concat(
        [
            xarray.open_dataset(
                f"reference://{name}",
                engine="zarr",
                consolidated=False,
                chunks={},
                storage_options=where,
            )
            for name in names
        ],
        dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
    )


def _by_kerchunk(paths: list[Path], reference: Path) -> Any:
    return _opened(tools.kerchunk, paths, reference)


def _by_virtualizarr(paths: list[Path], reference: Path) -> Any:
    return _opened(tools.virtualizarr, paths, reference)


def _opened(tool: Callable[[Path, list[str]], None], paths: list[Path], reference: Path) -> Any:
    import xarray

    out = reference.with_name(f"{tool.__name__}.json")
    if not out.exists():
        tool(out, [str(path) for path in paths])
    return xarray.open_dataset(str(out), engine="kerchunk", chunks={})


def _files(paths: list[Path], _: Path) -> Any:
    import xarray

    return xarray.open_mfdataset(
        [str(path) for path in paths],
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        chunks={},
    )


def judge(
    way: Callable[[list[Path], Path], Any], paths: list[Path], truth: np.ndarray, tally: Tally
) -> str:
    """Open the files in one way, and say what came of it."""
    reference = paths[0].parent / "references.json"
    try:
        way(paths, reference)  # makes what is opened, which is not what is measured
        begun = time.process_time()
        data = way(paths, reference)
        took = time.process_time() - begun
        found = data["tas"].values
    except Exception as error:  # noqa: BLE001  (of whatever tool)
        return f"refused ({type(error).__name__})"
    if found.shape != truth.shape or not np.array_equal(found, truth.astype(found.dtype)):
        return "wrong numbers"
    tally.open_s.append(took)
    tally.tasks.append(len(data["tas"].data.dask))
    return "one array, right"


def measure(sets: Sequence[FileSet], directory: Path, only: Sequence[str] = ()) -> dict[str, Tally]:
    """The ways, on all sets."""
    tallies = {name: Tally() for name in ways(only)}
    for number, one in enumerate(sets):
        place = directory / f"{number:03}"
        paths, truth = build(one, place)
        tools.esgvzarr(place / "references.json", [str(path) for path in paths])
        for name, way in ways(only).items():
            outcome = judge(way, paths, truth, tallies[name])
            tallies[name].outcomes[outcome.partition(" (")[0]] += 1
        print(f"{number + 1} of {len(sets)}: {one.name}, {one.segments} segments", flush=True)
    return tallies


def table(tallies: dict[str, Tally], total: int) -> list[str]:
    """The results as Markdown."""
    lines = [
        f"| of {total} sets | one array, right | wrong numbers | refused | open, CPU s | tasks |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for name, tally in tallies.items():
        kinds = ("one array, right", "wrong numbers", "refused")
        counts = " | ".join(str(tally.outcomes[kind]) for kind in kinds)
        took = f"{statistics.median(tally.open_s):.2f}" if tally.open_s else ""
        most = f", most {max(tally.open_s):.2f}" if tally.open_s else ""
        tasks = f"{max(tally.tasks)}" if tally.tasks else ""
        lines.append(f"| {name} | {counts} | {took}{most} | {tasks} |")
    return lines


def figure(tallies: dict[str, Tally], total: int) -> str:
    """A bar for each way: right, wrong, refused."""
    colours = {"one array, right": "#2a7", "wrong numbers": "#c33", "refused": "#bbb"}
    height = 34 * len(tallies) + 60
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" '
        'font-family="sans-serif" font-size="14">',
        f'<text x="10" y="22">{total} real data sets, chunked as CMOR 3.14 chunks</text>',
    ]
    for row, (name, tally) in enumerate(tallies.items()):
        top = 36 + 34 * row
        label = name.replace("&", "&amp;").replace('"', "&quot;")
        parts.append(f'<text x="10" y="{top + 17}">{label}</text>')
        left = 240.0
        for kind, colour in colours.items():
            count = tally.outcomes[kind]
            width = 500 * count / total
            if count:
                parts.append(
                    f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="24" '
                    f'fill="{colour}"/><text x="{left + 6:.1f}" y="{top + 17}">{count}</text>'
                )
            left += width
    left = 240
    for kind, colour in colours.items():
        parts.append(
            f'<rect x="{left}" y="{height - 20}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{left + 18}" y="{height - 9}">{kind}</text>'
        )
        left += 160
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Build, judge, print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segments", description=__doc__)
    parser.add_argument("--sets", type=int, help="only the first ones of the table")
    parser.add_argument("--ways", nargs="+", default=(), help="beginnings of their names")
    parser.add_argument("--figure", type=Path, help="SVG file to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = read_table()[: options.sets]
    counts = [one.segments for one in sets]
    several = [count for count in counts if count > 1]
    print(
        f"{len(several)} of {len(sets)} sets are in segments: median "
        f"{statistics.median(several):.0f}, most {max(several)}"
    )
    with tempfile.TemporaryDirectory() as directory:
        tallies = measure(sets, Path(directory), options.ways)
    print("\n".join(table(tallies, len(sets))))
    if options.figure:
        options.figure.write_text(figure(tallies, len(sets)))


if __name__ == "__main__":
    main()
