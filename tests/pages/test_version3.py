"""The page of an output of Zarr version 3 draws the same as the files hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

import esgvzarr
from esgvzarr.combine.rectilinear import join_segments
from esgvzarr.output import named
from esgvzarr.pages import page_path
from esgvzarr.pages.facts import read_facts
from esgvzarr.pages.html import dataset_page
from esgvzarr.testing import DATASET_ID, FileSpec, NginxServer, write_files

from .conftest import generate
from .test_pages import drawn_values, open_page, wait_until

YEARS = [
    FileSpec(start=12 * number, chunks=(5, 2, 3), compression="zlib", shuffle=True)
    for number in range(3)
]
"""In chunks of five months: the last chunk of each file is longer than what it shows."""


def write_zarr3(files: Sequence[Path], server: NginxServer, place: Path, *, padded: bool) -> None:
    """The output, as `generate` writes it, and its page. Reading it with zarr-python would need
    Python 3.12, so it is not proved here.
    """
    urls = {str(file): server.url_of(file) for file in files}
    references = esgvzarr.references(list(urls.values()), dataset_id=DATASET_ID).reference_set
    joined = join_segments(references, padded=padded)
    assert joined is not None

    def read(pieces: Sequence[tuple[int, int, int]]) -> list[bytes]:
        found = []
        for number, start, stop in pieces:
            (path,) = [
                path for path, url in urls.items() if url == references.files[number].file.url
            ]
            found.append(Path(path).read_bytes()[start:stop])
        return found

    named("zarr3").write(joined.filled(read), place, location=server.url_of(place))


@pytest.mark.parametrize("padded", [False, True])
def test_a_map_and_a_series_of_chunks_of_different_lengths(
    node: NginxServer, tab: Any, padded: bool
) -> None:
    """The ends of files are copied into the output, or stored longer than they are shown."""
    directory = node.root / f"version3-{padded}"
    files = write_files(directory, YEARS)
    place = directory / f"{DATASET_ID}.zarr3.json"
    write_zarr3(files, node, place, padded=padded)
    reference = generate([node.url_of(file) for file in files], directory)
    facts = read_facts(reference.read_bytes(), str(place))
    page_path(place).write_text(dataset_page(facts, node.url_of(place), place.name))

    open_page(tab, node.url_of(page_path(place)))
    assert tab.get_attribute("#step", "max") == "35"
    truth = []
    for file in files:
        with netCDF4.Dataset(file) as opened:
            truth.append(np.ma.filled(opened["tas"][:].astype(float), np.nan))
    values = np.concatenate(truth)
    for step in (4, 11, 12, 35):
        before = tab.evaluate("window.esgvzarr.map.date")
        tab.evaluate(f"document.getElementById('step').value = {step}")
        tab.dispatch_event("#step", "change")
        wait_until(tab, f"window.esgvzarr.map.date !== '{before}'")
        np.testing.assert_array_equal(drawn_values(tab), values[step])
    tab.click("#map", position={"x": 300, "y": 100})
    wait_until(tab, "window.esgvzarr.series")
    series = tab.evaluate("window.esgvzarr.series")
    there = values[:, series["row"], series["column"]]
    shown = [point["value"] for point in series["points"]]
    np.testing.assert_array_equal([np.nan if one is None else one for one in shown], there)
    assert tab.complaints == []
