"""``python -m benchmarks.segments``: real file lengths, chunked as CMOR 3.14 chunks: who opens them
as one array, and is it right?

``segments.csv`` has the lengths along time of the files of every data set of several files in
roocs/mini-esgf-data and esmvaltool-sample-data 0.0.4, which keep the time axis of what is published
(CMIP5, CMIP6, CORDEX, C3S). Files of these lengths are written on a small grid, with the number of
steps in a chunk that the rule gives on 192 x 288 points. Whether file ends may be copied, and how
many bytes that is, goes by 192 x 288 points, too. ``--figure`` draws the picture of
docs/explanation/one-array.md. ``--years 164`` measures a data set of as many yearly files of daily
data in place of these.

The outputs ``icechunk`` and ``zarr3`` need Python 3.12.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from esgvzarr.inspect import cmor_chunk
from esgvzarr.testing import FileSpec, values_of, write_files

from . import sections, tools

TABLE = Path(__file__).with_name("segments.csv")
POINTS = 192 * 288
"""Of one level, for the rule: a grid of 1.25 by 0.94 degrees."""
ENGINE = 'engine="esgvzarr"'
RECIPE = "stock xarray, the recipe"
FILES = "open_mfdataset of the files"
ICECHUNK = "stock xarray, `icechunk`"
ZARR3 = "stock xarray, `zarr3`"
COPIED_FRACTION = 0.1
COPIED_BYTES = 256 * 2**20
"""The defaults of the settings ``copied_fraction`` and ``copied_mib``."""
NAME = "CMIP6.CMIP.MOHC.UKESM1-0-LL.historical.r1i1p1f2.Amon.tas.gn.v20190406"


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

    @property
    def copied(self) -> int:
        """Bytes of the ends of all files but the last, not compressed."""
        pairs = list(zip(self.lengths, self.chunks, strict=True))
        return sum(length % chunk for length, chunk in pairs[:-1]) * self.step_bytes

    @property
    def copied_fraction(self) -> float:
        """Of all bytes."""
        return self.copied / (sum(self.lengths) * self.step_bytes)

    @property
    def is_within_bounds(self) -> bool:
        """Whether the default settings copy these ends."""
        return self.copied_fraction <= COPIED_FRACTION and self.copied <= COPIED_BYTES


@dataclass(slots=True)
class Tally:
    """What one way made of all sets; figures of those that came out right."""

    outcomes: Counter[str] = field(default_factory=Counter)
    open_s: list[float] = field(default_factory=list)
    """CPU seconds to open."""
    mean_s: list[float] = field(default_factory=list)
    """CPU seconds for the mean of all values."""
    tasks: list[int] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Bytes of what is opened; of a directory, of all files in it."""


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
        ICECHUNK: _by_icechunk,
        ZARR3: _by_zarr3,
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


def _by_icechunk(_: list[Path], reference: Path) -> Any:
    import icechunk
    import xarray

    place = reference.with_name(f"{NAME}.icechunk")
    storage = icechunk.local_filesystem_storage(str(place))
    config = icechunk.Repository.fetch_config(storage)
    access = icechunk.credentials.LocalFileSystemAccess
    allowed = dict.fromkeys(config.virtual_chunk_containers, access)
    repository = icechunk.Repository.open(storage, authorize_virtual_chunk_access=allowed)
    store = repository.readonly_session("main").store
    return xarray.open_zarr(store, consolidated=False, chunks={})


def _by_zarr3(_: list[Path], reference: Path) -> Any:
    import xarray

    place = reference.with_name(f"{NAME}.zarr3.json")
    where = {"fo": str(place), "remote_protocol": "file", "skip_instance_cache": True}
    return xarray.open_dataset(
        "reference://", engine="zarr", consolidated=False, chunks={}, storage_options=where
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
        way(paths, reference).close()  # makes what is opened, which is not what is measured
        begun = time.process_time()
        data = way(paths, reference)
        opened = time.process_time()
        data["tas"].mean().compute()
        ended = time.process_time()
        found = data["tas"].values
    except Exception as error:  # noqa: BLE001  (of whatever tool)
        return f"refused ({type(error).__name__})"
    data.close()
    if found.shape != truth.shape or not np.array_equal(found, truth.astype(found.dtype)):
        return "wrong numbers"
    tally.open_s.append(opened - begun)
    tally.mean_s.append(ended - opened)
    tally.tasks.append(len(data["tas"].data.dask))
    tally.layers.append(len(data["tas"].data.dask.layers))
    return "one array, right"


@contextmanager
def rectilinear_allowed() -> Iterator[None]:
    """As stock readers of Zarr version 3 are told to; older releases know no such word."""
    import zarr

    with zarr.config.set({"array.rectilinear_chunks": True}):
        yield


def make_outputs(one: FileSet, paths: list[Path], place: Path, only: Sequence[str]) -> None:
    """Return what esgvzarr's own outputs open. ``icechunk`` and ``zarr3`` are proved."""
    tools.esgvzarr(place / "references.json", [str(path) for path in paths])
    wanted = ways(only)
    names = [name for name, way in (("icechunk", ICECHUNK), ("zarr3", ZARR3)) if way in wanted]
    if not names:
        return
    from esgvzarr import DatasetId, DatasetRecord, FileRecord, Transport
    from esgvzarr.generate import generate
    from esgvzarr.settings import Settings

    files = tuple(FileRecord(path.name, str(path), path.stat().st_size) for path in paths)
    record = DatasetRecord(DatasetId.parse(NAME), "", files)
    fraction = 1.0 if one.is_within_bounds else 0.0
    settings = Settings(outputs=tuple(names), copied_fraction=fraction, pages=False)
    with Transport() as transport:
        generate(record, place, transport, settings)


def size_of(name: str, place: Path) -> int:
    """Bytes of what one of our ways opens; 0 for other ways."""
    from esgvzarr.output.parts import parts_of

    ends = {ENGINE: "references.json", ICECHUNK: f"{NAME}.icechunk", ZARR3: f"{NAME}.zarr3.json"}
    if name not in ends:
        return 0
    return sum(file.stat().st_size for file in parts_of(place / ends[name]))


def measure(sets: Sequence[FileSet], directory: Path, only: Sequence[str] = ()) -> dict[str, Tally]:
    """The ways, on all sets."""
    tallies = {name: Tally() for name in ways(only)}
    for number, one in enumerate(sets):
        place = directory / f"{number:03}"
        paths, truth = build(one, place)
        make_outputs(one, paths, place, only)
        for name, way in ways(only).items():
            tally = tallies[name]
            with rectilinear_allowed():
                outcome = judge(way, paths, truth, tally)
            tally.outcomes[outcome.partition(" (")[0]] += 1
            if outcome == "one array, right" and size_of(name, place):
                tally.sizes.append(size_of(name, place))
        shutil.rmtree(place)
        print(f"{number + 1} of {len(sets)}: {one.name}, {one.segments} segments", flush=True)
    return tallies


def table(tallies: dict[str, Tally], total: int) -> list[str]:
    """The results as Markdown."""
    lines = [
        f"| of {total} sets | one array, right | wrong numbers | refused | open, CPU s | "
        "full mean, CPU s | dask layers | tasks | kB |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, tally in tallies.items():
        kinds = ("one array, right", "wrong numbers", "refused")
        counts = " | ".join(str(tally.outcomes[kind]) for kind in kinds)
        figures = [
            _seconds(tally.open_s),
            _seconds(tally.mean_s),
            f"up to {max(tally.layers)}" if tally.layers else "",
            f"up to {max(tally.tasks):,}" if tally.tasks else "",
            f"{statistics.median(tally.sizes) / 1000:.0f}" if tally.sizes else "",
        ]
        lines.append(f"| {name} | {counts} | {' | '.join(figures)} |")
    return lines


def _seconds(took: Sequence[float]) -> str:
    """Median and most."""
    if not took:
        return ""
    return f"{statistics.median(took):.2f}, most {max(took):.2f}"


def comparison(tallies: dict[str, Tally], total: int) -> str:
    """The section of the comparison page."""
    counted = ["one array, right", "wrong numbers", "refused"]
    lines = [
        f"Made by `python -m benchmarks.segments` on {date.today()}: the real lengths of {total} "
        "data sets of several files, each file in chunks as CMOR 3.14 chooses them, every number "
        "compared. [One array](one-array.md) explains the results.",
        "",
        f"| of {total} sets | right | **silently wrong** | refused, or shown in parts |",
        "|---|---|---|---|",
    ]
    for name, tally in tallies.items():
        counts = " | ".join(str(tally.outcomes[kind]) for kind in counted)
        lines.append(f"| {name} | {counts} |")
    return "\n".join(lines)


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
    parser.add_argument("--comparison", type=Path, help="page whose last section is written")
    parser.add_argument("--years", type=int, help="yearly files of daily data, in place of these")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sets = read_table()[: options.sets]
    if options.years:
        sets = [FileSet("daily, 365_day", (365,) * options.years, POINTS * 4)]
    counts = [one.segments for one in sets]
    several = [count for count in counts if count > 1]
    print(
        f"{len(several)} of {len(sets)} sets are in segments: median "
        f"{statistics.median(several):.0f}, most {max(several)}"
    )
    shares = [one.copied_fraction for one in sets if one.segments > 1]
    copied = [one.copied / 2**20 for one in sets if one.is_within_bounds and one.copied]
    print(
        f"file ends of these: mean {100 * statistics.mean(shares):.1f} %, median "
        f"{100 * statistics.median(shares):.1f} %; {sum(one.is_within_bounds for one in sets)} of "
        f"{len(sets)} sets within the bounds; copied of these, not compressed: median "
        f"{statistics.median(copied):.1f} MiB, most {max(copied):.0f} MiB"
    )
    with tempfile.TemporaryDirectory() as directory:
        tallies = measure(sets, Path(directory), options.ways)
    print("\n".join(table(tallies, len(sets))))
    if options.comparison:
        text = comparison(tallies, len(sets))
        sections.replace_marked(options.comparison, sections.CMOR, text)
    if options.figure:
        options.figure.write_text(figure(tallies, len(sets)))


if __name__ == "__main__":
    main()
