"""The pages of datasets and directories, in the real browser, served by the real nginx."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest

import esgvzarr
from esgvzarr import pages
from esgvzarr.errors import SourceError
from esgvzarr.model import Check, Report
from esgvzarr.pages.facts import read_facts
from esgvzarr.pages.html import dataset_page, directory_page, index_entry, openings, size_text
from esgvzarr.testing import DATASET_ID, NginxServer, StacServer, ThreddsServer, make_item
from esgvzarr.testing.datasets import specs_of, write_files

from .conftest import Site, make_site

MAP_IS_DRAWN = "window.esgvzarr && window.esgvzarr.map"
SOURCE_ID = '"source_id\\":\\"UKESM1-0-LL\\"'
BRIGHTNESS = """
async (picture) => {
  const image = new Image();
  image.src = picture;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const greens = pixels.filter((_, place) => place % 4 === 1).sort();
  return greens[greens.length >> 1];
}
"""
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def wait_until(tab: Any, expression: str) -> None:
    """Ask the page until it says yes; playwright's own waiting needs ``eval`` in the page."""
    end = time.monotonic() + 60
    while not tab.evaluate(f"Boolean({expression})"):
        assert time.monotonic() < end, f"{expression}: {tab.inner_text('#message')}"
        time.sleep(0.02)


def open_page(tab: Any, url: str) -> None:
    tab.goto(url)
    wait_until(tab, MAP_IS_DRAWN)


def drawn_values(tab: Any) -> np.ndarray:
    drawn = tab.evaluate(
        "({...window.esgvzarr.map, values: Array.from(window.esgvzarr.map.values)})"
    )
    values = [np.nan if value is None else value for value in drawn["values"]]
    return np.array(values, float).reshape(drawn["rows"], drawn["columns"])


class TestMap:
    def test_shows_the_values_that_xarray_reads(self, site: Site, tab: Any) -> None:
        open_page(tab, site.page)
        tab.evaluate("document.getElementById('step').value = 30")
        tab.dispatch_event("#step", "change")
        wait_until(tab, "window.esgvzarr.map.date === '1852-07-16'")
        dataset = esgvzarr.open_dataset(str(site.reference))
        np.testing.assert_array_equal(drawn_values(tab), dataset.tas[30].values.astype(float))
        assert str(dataset.time.values[30])[:10] == "1852-07-16"
        shown = dataset.tas[30].values.astype(float)
        assert tab.evaluate("[window.esgvzarr.map.low, window.esgvzarr.map.high]") == [
            shown.min(),
            shown.max(),
        ]
        assert tab.complaints == []

    def test_asks_for_the_references_once_and_for_one_chunk(self, site: Site, tab: Any) -> None:
        asked = []
        tab.on("request", lambda request: asked.append((request.url, request.headers.get("range"))))
        open_page(tab, site.page)
        assert [url for url, _ in asked] == [
            site.page,
            site.server.url_of(site.reference),
            site.server.url_of(site.files[0]),
        ]
        assert re.fullmatch(r"bytes=\d+-\d+", asked[2][1])
        first, last = map(int, asked[2][1].removeprefix("bytes=").split("-"))
        size = (last - first + 1) / 1000
        assert tab.inner_text("#message") == f"1 range request so far, {size:.3g} kB."

    def test_a_click_draws_the_series_of_that_point(self, site: Site, tab: Any) -> None:
        open_page(tab, site.page)
        tab.click("#map", position={"x": 300, "y": 100})
        wait_until(tab, "window.esgvzarr.series")
        series = tab.evaluate("window.esgvzarr.series")
        dataset = esgvzarr.open_dataset(str(site.reference))
        there = dataset.tas[:, series["row"], series["column"]].values.astype(float)
        np.testing.assert_array_equal([point["value"] for point in series["points"]], there)
        assert "all 72 steps" in tab.inner_text("#series-caption")

    def test_works_by_keyboard(self, site: Site, tab: Any) -> None:
        open_page(tab, site.page)
        tab.focus("#map")
        for key in ("ArrowUp", "ArrowLeft", "Enter"):
            tab.keyboard.press(key)
        wait_until(tab, "window.esgvzarr.series")
        row, column = tab.evaluate("[window.esgvzarr.series.row, window.esgvzarr.series.column]")
        assert (row, column) == (10, 17)  # one up and one left of the middle of 20 x 36
        assert tab.inner_text("#point").startswith("lat ")

    def test_the_colours_keep_to_a_range_that_is_typed(self, site: Site, tab: Any) -> None:
        """Until the button takes that of the data again."""
        open_page(tab, site.page)
        of_the_data = tab.inner_text("#legend-low"), tab.inner_text("#legend-high")
        painted = "document.getElementById('map').toDataURL()"
        before = tab.evaluate(painted)
        for name, value in (("low", "200"), ("high", "400")):
            tab.fill(f"#{name}", value)
            tab.dispatch_event(f"#{name}", "change")
        assert (tab.inner_text("#legend-low"), tab.inner_text("#legend-high")) == ("200", "400")
        assert tab.evaluate(painted) != before
        tab.click("#fit")
        assert (tab.inner_text("#legend-low"), tab.inner_text("#legend-high")) == of_the_data
        assert tab.evaluate(painted) == before

    def test_joins_segments(self, node: NginxServer, tab: Any) -> None:
        specs = specs_of((24, 24), grid=(4, 6))
        specs[1] = replace(specs[1], compression="zlib")
        files = write_files(node.root / "segments", specs)
        open_page(tab, make_site(node, files, "segments-zarr").page)
        assert tab.get_attribute("#step", "max") == "47"
        tab.evaluate("document.getElementById('step').value = 40")
        tab.dispatch_event("#step", "change")
        wait_until(tab, "window.esgvzarr.map.date.startsWith('1853-05')")
        with netCDF4.Dataset(files[1]) as file:
            expected = np.ma.filled(file["tas"][16].astype(float), np.nan)
        np.testing.assert_array_equal(drawn_values(tab), expected)
        assert 'engine="esgvzarr"' in tab.inner_text("#code-1")


class TestWords:
    def test_says_which_line_the_data_node_lacks(
        self, site: Site, tab: Any, tmp_path: Path
    ) -> None:
        """The page lies on another host than the data, which does not let it read."""
        with NginxServer(site.server.root) as silent, NginxServer(tmp_path) as other:
            elsewhere = make_site(silent, list(site.files), "silent-zarr")
            for path in (elsewhere.reference, pages.page_path(elsewhere.reference)):
                shutil.copy(path, tmp_path)
            tab.goto(other.url_of(pages.page_path(elsewhere.reference).name))
            wait_until(tab, "document.getElementById('message').classList.contains('error')")
        assert "Access-Control-Allow-Origin" in tab.inner_text("#message")

    def test_says_that_browsers_block_mixed_content(
        self, site: Site, browser: Any, tmp_path: Path
    ) -> None:
        """The page comes by https, and its data by http from a host that is not this machine."""
        reference = tmp_path / site.reference.name
        document = site.reference.read_text()
        reference.write_text(document.replace(site.server.url, "http://data.example"))
        pages.write_page(reference, f"https://data.example/{reference.name}")
        with ThreddsServer(tmp_path, tls=True) as secure:
            tab = browser.new_page(ignore_https_errors=True)
            tab.goto(secure.url_of(pages.page_path(reference)))
            wait_until(tab, "document.getElementById('message').classList.contains('error')")
            said = tab.inner_text("#message")
            tab.close()
        assert "mixed content" in said
        assert "should serve data.example by https" in said

    def test_copies_each_way_to_open_it(self, site: Site, browser: Any) -> None:
        """A tab for each way; arrow keys change from one to the next."""
        tab = browser.new_page()
        tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
        open_page(tab, site.page)
        names = tab.locator(".tabs > label").all_inner_texts()
        assert names == ["xarray", "dataset id", "pystac-client", "curl"]
        tab.focus("#way-1")
        for number in range(1, len(names) + 1):
            code = tab.inner_text(f"#code-{number}")
            tab.click(f"#tab-{number} button.copy")
            wait_until(
                tab, f"document.querySelector('#tab-{number} .copy').textContent == 'Copied'"
            )
            assert tab.evaluate("navigator.clipboard.readText()") == code
            tab.focus(f"#way-{number}")
            tab.keyboard.press("ArrowRight")
        tab.close()

    def test_the_code_for_other_clients_opens_the_dataset(
        self, site: Site, stac_server: StacServer
    ) -> None:
        href = site.server.url_of(site.reference)
        kwargs = {"engine": "kerchunk", "chunks": {}}
        item = make_item(DATASET_ID)
        item["assets"]["reference_file"] = {"href": href, "xarray:open_kwargs": kwargs}
        stac_server.add_item(item)
        facts = read_facts(site.reference.read_bytes(), "here")
        (way,) = [one for one in openings(facts, href) if one.name == "pystac-client"]
        found: dict[str, Any] = {}
        exec(way.code.replace(pages.html.STAC_INDEX, stac_server.url), found)  # noqa: S102
        expected = esgvzarr.open_dataset(str(site.reference))["tas"][7].values
        np.testing.assert_array_equal(found["dataset"]["tas"][7].values, expected)

    def test_search_engines_are_told_what_the_dataset_is(self, site: Site, tab: Any) -> None:
        """As a ``Dataset`` of schema.org."""
        open_page(tab, site.page)
        text = tab.evaluate("document.querySelector('[type=\"application/ld+json\"]').textContent")
        said = json.loads(text)
        assert (said["@context"], said["@type"]) == ("https://schema.org/", "Dataset")
        assert said["identifier"] == DATASET_ID
        assert said["temporalCoverage"].startswith("1850-01-16")
        assert "tas" in said["variableMeasured"]
        (download,) = said["distribution"]
        assert download["contentUrl"] == site.server.url_of(site.reference)

    def test_lists_files_with_sizes_and_checksums_and_draws_them(self, site: Site) -> None:
        document = json.loads(site.reference.read_text())
        provenance = json.loads(document["provenance"])
        for file in provenance["files"]:
            digest = hashlib.sha256(file["url"].encode()).hexdigest()
            file |= {"checksum": digest, "checksum_type": "SHA256"}
        document["provenance"] = json.dumps(provenance)
        facts = read_facts(json.dumps(document).encode(), "here")
        text = dataset_page(facts, "https://node/x.json", "x.json")
        for file, path in zip(provenance["files"], site.files, strict=True):
            assert f">{path.name}</a>" in text
            assert size_text(path.stat().st_size) in text
            assert f"SHA256 {file['checksum']}" in text
        bars = re.findall(r'<rect x="([\d.]+)" y="0" width="([\d.]+)"', text)
        assert len(bars) == len(site.files)
        assert [float(x) for x, _ in bars] == sorted(float(x) for x, _ in bars)

    def test_says_what_was_proved_and_when(self, site: Site) -> None:
        checks = (Check("values", "tas", True, "equal"),)
        report = Report("id", "href", checks, {"xarray": "2026.9"}, "2026-11-28T10:00:00+00:00")
        facts = read_facts(site.reference.read_bytes(), "here", report)
        text = dataset_page(facts, "https://node/x.json", "x.json")
        assert "On 2026-11-28" in text
        assert "1 checks, all passed" in text

    def test_nothing_that_a_dataset_says_becomes_markup(self, node: NginxServer, tab: Any) -> None:
        files = write_files(node.root / "hostile", specs_of((12,), grid=(4, 6)))
        with netCDF4.Dataset(files[0], "a") as file:
            file.title = HOSTILE
            file.license = HOSTILE
            file["tas"].long_name = HOSTILE
        page = make_site(node, files, "hostile-zarr").page
        open_page(tab, page)
        assert tab.evaluate("document.querySelectorAll('img').length") == 0
        assert tab.inner_text("h1") == HOSTILE
        assert tab.complaints == []


class TestPolicy:
    def test_a_long_licence_does_not_push_the_map_away(self, node: NginxServer, tab: Any) -> None:
        files = write_files(node.root / "licensed", specs_of((12,), grid=(4, 6)))
        with netCDF4.Dataset(files[0], "a") as file:
            file.license = "This licence is long. " * 60
        open_page(tab, make_site(node, files, "licensed-zarr").page)
        assert tab.evaluate("document.getElementById('map').getBoundingClientRect().top") < 900
        assert not tab.is_visible(".license p")
        tab.click(".license summary")
        assert tab.is_visible(".license p")

    def test_an_injected_script_does_not_run(self, site: Site, tab: Any) -> None:
        open_page(tab, site.page)
        tab.evaluate(
            "const script = document.createElement('script');"
            "script.textContent = 'window.injected = true'; document.body.append(script)"
        )
        assert tab.evaluate("window.injected === undefined")
        assert any("Content Security Policy" in said for said in tab.complaints)

    def test_connects_to_the_servers_of_the_data_alone(self, site: Site) -> None:
        text = pages.page_path(site.reference).read_text()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
        assert policy is not None
        assert f"connect-src &#39;self&#39; {site.server.url};" in policy[1]
        assert re.findall(r'(?:src|href)="([^"]*)"', text.partition("<details>")[0]) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_a_narrow_screen(site: Site, tab: Any, scheme: str) -> None:
    tab.set_viewport_size({"width": 400, "height": 800})
    tab.emulate_media(color_scheme=scheme)
    open_page(tab, site.page)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 400
    accent = "getComputedStyle(document.documentElement).getPropertyValue('--soft').trim()"
    assert (tab.evaluate(accent) == "#f3f5f8") is (scheme == "light")
    shown = base64.b64encode(tab.screenshot()).decode()
    tab.goto("about:blank")  # whose policy lets it draw pictures
    median = tab.evaluate(BRIGHTNESS, f"data:image/png;base64,{shown}")
    assert (median > 200) if scheme == "light" else (median < 60)


class TestDirectory:
    @pytest.fixture
    def directory(self, node: NginxServer, site: Site) -> Path:
        """Three hundred datasets, copies of one under other ids."""
        directory = node.root / "directory"
        if not directory.exists():
            directory.mkdir()
            document = site.reference.read_text()
            for number in range(300):
                model = f'"source_id\\":\\"MODEL-{number % 3}\\"'
                name = DATASET_ID.replace("r1i1p1f2", f"r{number}i1p1f2")
                text = document.replace(DATASET_ID, name).replace(SOURCE_ID, model)
                (directory / f"{name}.json").write_text(text)
        return directory

    def test_is_searched_by_words_and_facets(
        self, node: NginxServer, directory: Path, tab: Any
    ) -> None:
        index, count = pages.write_pages(directory, node.url_of(directory))
        assert count == 300
        tab.goto(node.url_of(index))
        assert tab.inner_text("#count") == "300 of 300 datasets, the first 200 are listed"
        tab.select_option("select[data-facet=model]", "MODEL-1")
        assert tab.inner_text("#count") == "100 of 300 datasets"
        tab.fill("#search", "r31i")
        assert tab.inner_text("#count") == "1 of 300 datasets"
        tab.click("#results a")
        wait_until(tab, MAP_IS_DRAWN)
        assert tab.complaints == []

    def test_thousands_of_datasets_are_searched(
        self, node: NginxServer, site: Site, tab: Any
    ) -> None:
        entry = index_entry(read_facts(site.reference.read_bytes(), "here"))
        entries = []
        for number in range(5000):
            name = DATASET_ID.replace("r1i1p1f2", f"r{number}i1p1f2")
            facets = {**entry["facets"], "model": f"MODEL-{number % 50}"}
            entries.append({**entry, "id": name, "facets": facets, "page": f"{name}.html"})
        path = node.root / "thousands.html"
        path.write_text(directory_page(entries, "A node"))
        tab.goto(node.url_of(path))
        assert tab.inner_text("#count") == "5000 of 5000 datasets, the first 200 are listed"
        tab.select_option("select[data-facet=model]", "MODEL-7")
        assert tab.inner_text("#count") == "100 of 5000 datasets"
        tab.fill("#search", "r4957i")
        assert tab.locator("#results a").all_inner_texts() == [entries[4957]["id"]]
        assert tab.complaints == []

    def test_a_page_is_written_again_only_when_its_references_are_newer(
        self, site: Site, tmp_path: Path
    ) -> None:
        reference = Path(shutil.copy(site.reference, tmp_path))
        pages.write_pages(tmp_path)
        page = pages.page_path(reference)
        first = page.stat().st_mtime_ns
        pages.write_pages(tmp_path)
        assert page.stat().st_mtime_ns == first

    def test_a_directory_without_references_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(SourceError, match="holds no reference files"):
            pages.write_pages(tmp_path)
        assert not (tmp_path / "index.html").exists()


def test_the_built_scripts_are_those_of_the_sources(tmp_path: Path) -> None:
    """The wheel holds what ``npm run build`` makes in ``web/``."""
    web = Path(__file__).parents[2] / "web"
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed (Debian: npm)")
    copy = Path(
        shutil.copytree(web, tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    )
    install = [npm, "ci", "--omit=optional", "--no-fund", "--no-audit", "--include=optional"]
    done = subprocess.run(install, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm ci failed: {done.stderr[-200:]}")
    subprocess.run(["node", "build.mjs", str(tmp_path / "built")], cwd=copy, check=True)
    for name in ("dataset.js", "directory.js"):
        packaged = Path(pages.__file__).parent / "static" / name
        assert (tmp_path / "built" / name).read_text() == packaged.read_text(), "run npm run build"
