"""The documentation as it is built, and as a browser shows it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DEAD_ANCHORS = """
() => Array.from(document.querySelectorAll("a[href*='#']"))
  .filter((link) => link.pathname === location.pathname && link.hash.length > 1)
  .filter((link) => !document.getElementById(decodeURIComponent(link.hash.slice(1))))
  .map((link) => link.hash)
"""
WIDE_TABLES = """
() => Array.from(document.querySelectorAll(".md-typeset__scrollwrap"))
  .filter((frame) => frame.scrollWidth > frame.clientWidth + 1)
  .map((frame) => frame.textContent.trim().slice(0, 80))
"""
TOGGLES = "document.querySelectorAll('[data-md-component=palette] input').length"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; building it gave no warning."""
    pytest.importorskip("mkdocs", reason="mkdocs is in the extra `docs`")
    site = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return site


@pytest.fixture(scope="module")
def window(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    yield page
    page.close()


def test_no_heading_shows_the_mark_of_its_name(built: Path) -> None:
    for page in built.rglob("*.html"):
        assert "{ #" not in page.read_text(), page


def test_links_within_pages_lead_somewhere_and_tables_fit(built: Path, window: Any) -> None:
    """At 1400 pixels, on every page; each has the switch between light and dark."""
    for page in sorted(built.rglob("index.html")):
        window.goto(page.as_uri())
        assert window.evaluate(DEAD_ANCHORS) == [], page
        assert window.evaluate(WIDE_TABLES) == [], page
        assert window.evaluate(TOGGLES) == 2, page


BARE_PICTURES = """
() => Array.from(document.querySelectorAll("article img[src$='.svg']"))
  .filter((image) => image.naturalWidth === 0 || image.clientWidth < 600)
  .map((image) => image.src)
"""
REDS = """
async (picture) => {
  const image = new Image();
  image.src = picture;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const reds = pixels.filter((_, place) => place % 4 === 0).sort();
  return [reds[0], reds[reds.length >> 1], reds[reds.length - 1]];
}
"""


@pytest.mark.parametrize(("scheme", "ground"), [("default", 255), ("slate", 40)])
def test_charts_are_readable_on_light_and_dark_pages(
    built: Path, window: Any, scheme: str, ground: int
) -> None:
    """They are drawn at their size, so that text has 13 pixels, and on the ground of the page."""
    window.goto((built / "explanation" / "benchmarks" / "index.html").as_uri())
    window.evaluate(f"document.body.dataset.mdColorScheme = '{scheme}'")
    assert window.evaluate(BARE_PICTURES) == []
    charts = window.locator("article img[src*='benchmarks-']")
    assert charts.count() == 2
    for number in range(2):
        shown = base64.b64encode(charts.nth(number).screenshot()).decode()
        darkest, median, lightest = window.evaluate(REDS, f"data:image/png;base64,{shown}")
        assert abs(median - ground) < 20
        assert lightest - darkest > 150
