"""A data node with pages, and a real browser that looks at them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from esgvzarr import cli, pages
from esgvzarr.testing import DATASET_ID, NginxServer
from esgvzarr.testing.datasets import specs_of, write_files
from esgvzarr.testing.nginx import available

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LETS_PAGES_READ = "add_header Access-Control-Allow-Origin *;"


@dataclass(frozen=True, slots=True)
class Site:
    """One dataset on a data node, its reference file, and its page."""

    server: NginxServer
    files: tuple[Path, ...]
    reference: Path

    @property
    def page(self) -> str:
        """URL of the page."""
        return self.server.url_of(pages.page_path(self.reference))


def generate(sources: list[str], directory: Path) -> Path:
    """The reference file that ``esgvzarr generate`` writes."""
    command = ["generate", *sources, "--dataset-id", DATASET_ID, "--output-dir", str(directory)]
    with pytest.raises(SystemExit) as stop:
        cli.main(command)
    assert stop.value.code == 0
    return directory / f"{DATASET_ID}.json"


def make_site(server: NginxServer, files: list[Path], name: str) -> Site:
    """References of the files by their URLs, and a page."""
    sources = [server.url_of(file) for file in files]
    reference = generate(sources, server.root / name)
    pages.write_page(reference, server.url_of(reference))
    return Site(server, tuple(files), reference)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium. While playwright is on, this thread has a running event loop: it is off
    before tests of other modules.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NginxServer]:
    """nginx as the documentation has it."""
    if available():
        pytest.skip(available())
    root = tmp_path_factory.mktemp("pages")
    with NginxServer(root, lines=LETS_PAGES_READ) as server:
        yield server


@pytest.fixture(scope="session")
def site(node: NginxServer) -> Site:
    """Three plain files of two years, one chunk a step."""
    specs = specs_of((24, 24, 24), grid=(20, 36), calendar="360_day")
    return make_site(node, write_files(node.root / "plain", specs), "plain-zarr")


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A new tab; whatever its console says against the page fails the test."""
    page = browser.new_page(viewport={"width": 1000, "height": 1200})
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.complaints = complaints
    yield page
    page.close()
